package standin_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/standin"
)

// severities asks the statistic of a task.
func (c *client) severities(task string) map[string]any {
	c.t.Helper()
	severity, _ := c.call(http.StatusOK, http.MethodGet, "/v2/tasks/"+task+"/defects-statistic", "")["severity"].(map[string]any)
	return severity
}

func (c *client) defects(task, query string) []map[string]any {
	c.t.Helper()
	list, _ := c.call(http.StatusOK, http.MethodGet, "/v2/tasks/"+task+"/defects-detail"+query, "")["defects"].([]any)
	var defects []map[string]any
	for _, item := range list {
		defects = append(defects, item.(map[string]any))
	}
	return defects
}

func TestFullChecksFindTrueDefects(t *testing.T) {
	opts := sample(t)
	c := serve(t, opts)
	clean, feature := opts.Tasks[0].ID, opts.Tasks[1].ID

	if status, _ := c.check(clean, "{}"); status != 2 {
		t.Fatalf("clean branch: task_status %d", status)
	}
	none := map[string]any{"critical": 0.0, "major": 0.0, "minor": 0.0, "suggestion": 0.0}
	if diff := cmp.Diff(none, c.severities(clean)); diff != "" {
		t.Error(diff)
	}
	if status, _ := c.check(feature, "{}"); status != 2 {
		t.Fatalf("feature branch: task_status %d", status)
	}
	want := map[string]any{"critical": 1.0, "major": 1.0, "minor": 0.0, "suggestion": 0.0}
	if diff := cmp.Diff(want, c.severities(feature)); diff != "" {
		t.Error(diff)
	}

	first := c.defects(feature, "")
	if len(first) != 2 || first[0]["file_path"] != "partner.ini" || first[0]["line_number"] != "2" || first[0]["defect_level"] != "0" ||
		first[1]["file_path"] != "discount.go" || first[1]["line_number"] != "4" || first[1]["defect_level"] != "1" {
		t.Fatalf("defects: %v", first)
	}
	if raw, _ := json.Marshal(first); strings.Contains(string(raw), "ghp_") {
		t.Error("the answer repeats the secret")
	}
	if status, _ := c.check(feature, "{}"); status != 2 {
		t.Fatal("the second run failed")
	}
	again := c.defects(feature, "")
	for i := range first {
		if first[i]["defect_id"] != again[i]["defect_id"] {
			t.Errorf("defect %d changed its id", i)
		}
	}
	summary := c.call(http.StatusOK, http.MethodGet, "/v2/tasks/"+feature+"/defects-summary", "")
	if summary["new_count"] != 0.0 || summary["new_critical_count"] != "0" || summary["is_access"] != "0" || summary["critical_count"] != "1" {
		t.Errorf("summary of the second run: %v", summary)
	}
	if got := c.defects(feature, "?severity=1"); len(got) != 1 {
		t.Errorf("severity=1 gives %d defects", len(got))
	}
	if got := c.defects(feature, "?offset=1&limit=1"); len(got) != 1 || got[0]["file_path"] != "discount.go" {
		t.Errorf("page 1 of size 1: %v", got)
	}
}

// TestResolvedAndNewDefects changes a repository between two runs.
func TestResolvedAndNewDefects(t *testing.T) {
	opts := sample(t)
	c := serve(t, opts)
	task, path := opts.Tasks[0].ID, opts.Repositories["https://git.example.com/acme/shop.git"]
	c.check(task, "{}")

	commitFile(t, path, "bad.json", "{\"a\": }\n")
	commitFile(t, path, "bad.yaml", "a: [1\nb: 2\n")
	commitFile(t, path, "bad.sh", "#!/bin/sh\nif true; then\n")
	commitFile(t, path, "ugly.go", "package main\n\nfunc  ugly() {}\n")
	commitFile(t, path, "open.txt", "no newline")
	commitFile(t, path, "vendor/x/bad.json", "{")
	c.check(task, "{}")
	want := map[string]any{"critical": 0.0, "major": 3.0, "minor": 1.0, "suggestion": 1.0}
	if diff := cmp.Diff(want, c.severities(task)); diff != "" {
		t.Fatalf("%s\n%v", diff, c.defects(task, ""))
	}
	lines := map[any]any{}
	for _, d := range c.defects(task, "") {
		lines[d["file_path"]] = d["line_number"]
	}
	if diff := cmp.Diff(map[any]any{"bad.json": "1", "bad.yaml": "2", "bad.sh": "2", "ugly.go": "3", "open.txt": "1"}, lines); diff != "" {
		t.Error(diff)
	}

	commitFile(t, path, "bad.json", "{\"a\": 1}\n")
	c.check(task, "{}")
	summary := c.call(http.StatusOK, http.MethodGet, "/v2/tasks/"+task+"/defects-summary", "")
	if summary["new_count"] != 0.0 || summary["solve_count"] != 1.0 || summary["major_count"] != "2" {
		t.Errorf("after one repair: %v", summary)
	}
	if got := c.defects(task, "?status_ids=1"); len(got) != 1 || got[0]["defect_status"] != "1" {
		t.Errorf("resolved: %v", got)
	}
}

func TestMergeRequests(t *testing.T) {
	opts := sample(t)
	opts.Repositories["https://gitee.com/acme/shop.git"] = opts.Repositories["https://git.example.com/acme/shop.git"]
	c := serve(t, opts)
	tests := []struct {
		name, url, body, mergeID string
		status                   int
		log                      string
	}{
		{"github with pull", "https://git.example.com/acme/shop.git", `{"ref":"pull"}`, "7", 2, ""},
		{"github by default", "https://git.example.com/acme/shop.git", `{}`, "7", 1, "fatal: couldn't find remote ref refs/merge-requests/7/head"},
		{"gitee by default", "https://gitee.com/acme/shop", `{}`, "7", 2, ""},
		{"gitee with merge_request", "https://gitee.com/acme/shop", `{"ref":"merge_request"}`, "7", 1, "refs/merge-requests/7/head"},
		{"gitlab by default", "git@git.example.com:acme/depot.git", `{}`, "7", 2, ""},
		{"gitlab with pull", "https://git.example.com/Acme/Depot/", `{"ref":"pull"}`, "7", 1, "fatal: couldn't find remote ref refs/pull/7/head"},
		{"no such merge request", "https://git.example.com/acme/depot.git", `{}`, "8", 1, "refs/merge-requests/8/head"},
		{"unknown repository", "https://github.com/acme/elsewhere.git", `{}`, "7", 1, "repository not reachable"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := &client{t: t, server: c.server, url: c.url, token: c.token}
			full := c.call(http.StatusOK, http.MethodPost, "/v2/"+project+"/task",
				fmt.Sprintf(`{"git_url":%q,"git_branch":"main","language":["GO"]}`, test.url))["task_id"]
			inc, _ := c.call(http.StatusOK, http.MethodPost, "/v2/"+project+"/task", fmt.Sprintf(
				`{"git_url":%q,"git_branch":"feature/discount","language":["GO"],"task_type":"inc","inc_config":{"parent_task_id":%q,`+
					`"git_source_branch":"feature/discount","git_target_branch":"main","merge_id":%q,"event_type":"merge_request","action":"open","title":"t"}}`,
				test.url, full, test.mergeID))["task_id"].(string)
			status, id := c.check(inc, test.body)
			if status != test.status {
				t.Fatalf("task_status %d, want %d", status, test.status)
			}
			log := c.call(http.StatusOK, http.MethodGet, "/v2/"+project+"/tasks/"+inc+"/log-detail?execute_id="+id, "")
			if raw, _ := json.Marshal(log["log_info"]); !strings.Contains(string(raw), test.log) || (test.log == "") != (string(raw) == "[]") {
				t.Errorf("log: %s", raw)
			}
			if status != 2 {
				return
			}
			summary := c.call(http.StatusOK, http.MethodGet, "/v2/tasks/"+inc+"/defects-summary?job_id="+id, "")
			if summary["critical_count"] != "1" || summary["new_critical_count"] != "1" || summary["new_major_count"] != "1" {
				t.Errorf("summary: %v", summary)
			}
			// The README is not changed by the merge request: only two files count.
			if total := summary["code_line_total"]; total != 8.0 {
				t.Errorf("code_line_total is %v", total)
			}
		})
	}
}

// TestMergeRequestCountsItsOwnChanges: what main did since the branch left it is
// not the merge request's, and what main has too is not new.
func TestMergeRequestCountsItsOwnChanges(t *testing.T) {
	opts := sample(t)
	c := serve(t, opts)
	url := "https://git.example.com/acme/shop.git"
	commitFile(t, opts.Repositories[url], "README.md", "changed on main")
	commitFile(t, opts.Repositories[url], "discount.go", "package main\n\nfunc discount(total int int {\n")
	inc, _ := c.call(http.StatusOK, http.MethodPost, "/v2/"+project+"/task", fmt.Sprintf(
		`{"git_url":%q,"git_branch":"feature/discount","language":["GO"],"task_type":"inc",`+
			`"inc_config":{"parent_task_id":%q,"git_target_branch":"main","merge_id":"7"}}`, url, opts.Tasks[0].ID))["task_id"].(string)
	if status, _ := c.check(inc, `{"ref":"pull"}`); status != 2 {
		t.Fatalf("task_status %d", status)
	}
	summary := c.call(http.StatusOK, http.MethodGet, "/v2/tasks/"+inc+"/defects-summary", "")
	for field, want := range map[string]any{
		"critical_count": "1", "new_critical_count": "1", "major_count": "1", "new_major_count": "0", "suggestion_count": "0", "code_line_total": 8.0,
	} {
		if summary[field] != want {
			t.Errorf("%s is %v, want %v", field, summary[field], want)
		}
	}
}

// TestLoopbackClone clones over HTTP, from git's own server.
func TestLoopbackClone(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("there is no git program here to serve a repository over HTTP")
	}
	opts := sample(t)
	root := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), git, "clone", "--mirror", opts.Repositories["https://git.example.com/acme/shop.git"],
		filepath.Join(root, "shop.git")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	remote := httptest.NewServer(&cgi.Handler{
		Path: git, Args: []string{"http-backend"}, Dir: root,
		Env:    []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"},
		Stderr: io.Discard,
	})
	t.Cleanup(remote.Close)
	c := serve(t, opts)
	task, _ := c.call(http.StatusOK, http.MethodPost, "/v2/"+project+"/task",
		fmt.Sprintf(`{"git_url":%q,"git_branch":"feature/discount","language":["GO"]}`, remote.URL+"/shop.git"))["task_id"].(string)
	if status, _ := c.check(task, "{}"); status != 2 {
		t.Fatalf("task_status %d: %v", status, c.call(http.StatusOK, http.MethodGet, "/v2/"+project+"/tasks/"+task+"/log-detail", ""))
	}
	if got := c.severities(task)["critical"]; got != 1.0 {
		t.Errorf("critical: %v", got)
	}
}

func TestMakeRepositoryIsReproducible(t *testing.T) {
	spec := standin.RepositorySpec{Name: "shop", RefStyle: standin.RefMergeRequest, Number: 12}
	one, err := standin.MakeRepository(filepath.Join(t.TempDir(), "one"), spec)
	if err != nil {
		t.Fatal(err)
	}
	two, err := standin.MakeRepository(filepath.Join(t.TempDir(), "two"), spec)
	if err != nil {
		t.Fatal(err)
	}
	two.Path = one.Path
	if diff := cmp.Diff(one, two); diff != "" {
		t.Error(diff)
	}
	if one.MergeRef != "refs/merge-requests/12/head" || len(one.CleanSHA) != 40 || one.ParentSHA == one.CleanSHA {
		t.Errorf("made %+v", one)
	}
	if _, err := standin.MakeRepository(one.Path, spec); err == nil {
		t.Error("a second repository was made over the first")
	}
	if _, err := os.Stat(filepath.Join(one.Path, "cart.go")); err != nil {
		t.Errorf("main is not checked out: %v", err)
	}
}
