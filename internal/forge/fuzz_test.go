package forge

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatewright/gatewright/internal/event"
)

// answering gives every request the same answer, as the transport hands it on; a network would be too
// slow here.
type answering struct {
	status int
	body   []byte
}

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: a.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a.body))}
	if refusal := errorOf(resp, "", time.Time{}); refusal != nil {
		return nil, refusal
	}
	return resp, nil
}

// FuzzGitee: whatever Gitee answers to a read, a status, a comment and the question for rights, each ends
// with a result or an error, and a comment and a check run that were written have an id.
func FuzzGitee(f *testing.F) {
	addAnswers(f, "gitee")
	f.Fuzz(func(t *testing.T, body []byte, code int) {
		status := http.StatusOK
		if code >= 300 && code < 600 {
			status = code
		}
		r := &giteeClient{base: "https://gitee.com/api/v5", http: &http.Client{Transport: answering{status, body}}}
		c := &connected{client: r}
		target := Target{Repository: event.Repository{FullName: "acme/api"}, SHA: "1f2e3d4c5b6a79881726354453627180a1b2c3d4", Number: 7}
		wanted := Status{Context: "gatewright/check", State: StateFailure, Annotations: []Annotation{{Path: "main.go", Line: 1}}}
		handle, err := r.setStatus(t.Context(), target, wanted, "")
		if id, ended := checkRunOf(handle); err == nil && handle != "" && (id <= 0 || !ended) {
			t.Errorf("the handle is %q", handle)
		}
		if id, err := c.saveComment(t.Context(), "acme/api", 7, "<!-- marker -->", "text", ""); err == nil && strings.Trim(id, "0123456789") != "" || err == nil && id == "0" {
			t.Errorf("the comment's id is %q", id)
		}
		if found, err := r.readComment(t.Context(), "acme/api", 7, "9"); err == nil && found.Number < 0 {
			t.Errorf("the comment is %+v", found)
		}
		if may, err := r.writes(t.Context(), "acme/api", User{"11", "mona"}); may && (err != nil || status != http.StatusOK || !bytes.Contains(body, []byte("11"))) {
			t.Errorf("answer %d lets the account write, error %v", status, err)
		}
		if told, err := r.mayReport(t.Context(), "acme/api"); told && err == nil {
			t.Error("Gitee does not tell scopes, so it cannot be sure")
		}
	})
}

// FuzzGitea: the same of Gitea.
func FuzzGitea(f *testing.F) {
	addAnswers(f, "gitea")
	f.Fuzz(func(t *testing.T, body []byte, code int) {
		status := http.StatusOK
		if code >= 300 && code < 600 {
			status = code
		}
		r := giteaClient{base: "https://gitea.com/api/v1", http: &http.Client{Transport: answering{status, body}}}
		c := &connected{client: r}
		target := Target{Repository: event.Repository{FullName: "acme/api"}, SHA: "1f2e3d4c5b6a79881726354453627180a1b2c3d4", Number: 7}
		if handle, err := r.setStatus(t.Context(), target, Status{Context: "gatewright/check", State: StateFailure}, "kept"); handle != "kept" || (err == nil) != (status == http.StatusOK) {
			t.Errorf("answer %d: handle %q, error %v", status, handle, err)
		}
		if id, err := c.saveComment(t.Context(), "acme/api", 7, "<!-- marker -->", "text", ""); err == nil && (strings.Trim(id, "0123456789") != "" || id == "0") {
			t.Errorf("the comment's id is %q", id)
		}
		for _, read := range []func() (string, error){
			func() (string, error) { return r.branch(t.Context(), "acme/api", "main") },
			func() (string, error) { return r.tag(t.Context(), "acme/api", "v1.2") },
			func() (string, error) {
				request, err := r.mergeRequest(t.Context(), "acme/api", 7)
				return request.HeadSHA, err
			},
		} {
			if _, err := read(); err == nil && status != http.StatusOK {
				t.Errorf("answer %d was read", status)
			}
		}
		if found, err := r.readComment(t.Context(), "acme/api", 7, "9"); err == nil && found.Number < 0 {
			t.Errorf("the comment is %+v", found)
		}
		if _, err := r.react(t.Context(), "acme/api", 7, "9"); (err == nil) != (status == http.StatusOK) {
			t.Errorf("answer %d: error %v", status, err)
		}
		if may, err := r.writes(t.Context(), "acme/api", User{"11", "mona"}); may && (err != nil || status != http.StatusOK || !bytes.Contains(body, []byte("11"))) {
			t.Errorf("answer %d lets the account write, error %v", status, err)
		}
		if told, err := r.mayReport(t.Context(), "acme/api"); told && err == nil {
			t.Error("Gitea does not tell scopes, so it cannot be sure")
		}
	})
}

// addAnswers adds the answers of a host's case files.
func addAnswers(f *testing.F, host string) {
	f.Helper()
	pattern := "testdata/*/" + host + "/*.txtar"
	if strings.Contains(host, "/") { // a folder, such as a purpose and a host
		pattern = "testdata/" + host + "/*.txtar"
	}
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds, error %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range txtar.Parse(data).Files {
			if _, body, found := strings.Cut(string(part.Data), "\n\n"); found {
				f.Add([]byte(strings.TrimSpace(body)), 0)
			}
		}
	}
	f.Add([]byte("403 Forbidden"), http.StatusForbidden)
}

// FuzzHooks: whatever a host answers about its webhooks, each call ends with a result that is bounded or an error, and
// no secret of an answer is kept.
func FuzzHooks(f *testing.F) {
	for _, host := range hosts() {
		addAnswers(f, "hooks/"+string(host.name))
	}
	f.Add([]byte(`[{"id": 1, "password": "hunter2", "config": {"secret": "hunter2", "url": "https://gate.example.com"}}]`), 0)
	f.Fuzz(func(t *testing.T, body []byte, code int) {
		status := http.StatusOK
		if code >= 300 && code < 600 {
			status = code
		}
		for _, host := range hosts() {
			made, err := host.newClient(Connection{APIURL: "https://git.example.com/api", Token: "token"}, &http.Client{Transport: answering{status, body}}, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			all := &Forge{timeout: time.Minute, now: time.Now, clients: map[string]*connected{"c": {client: made, hookKind: host.hookKind}}}
			owner := HookOwner{Connection: "c", Repository: "acme/api"}
			found, err := all.Hooks(t.Context(), owner)
			if err == nil && status != http.StatusOK {
				t.Errorf("answer %d was read: %v", status, found)
			}
			saved, _ := all.SaveHook(t.Context(), owner, "", HookSettings{URL: "https://gate.example.com", Secret: "s"})
			for _, hook := range append(found, saved) {
				if hook.ID != "" && !isHookID(hook.ID) || len([]rune(hook.URL)) > maxHookURL || len(hook.Events) > maxHookEvents {
					t.Errorf("%s: %+v", host.name, hook)
				}
			}
			if err := all.DeleteHook(t.Context(), owner, "7"); err == nil && status != http.StatusOK && status != http.StatusNotFound && status != http.StatusGone {
				t.Errorf("answer %d was taken for a deletion", status)
			}
		}
	})
}

// FuzzRequestsOf: whatever a host answers about a commit, a merge request that is told is one by which
// somebody can be excluded, or none is.
func FuzzRequestsOf(f *testing.F) {
	for _, host := range hosts() {
		addAnswers(f, "./"+string(host.name))
	}
	const sha = "1f2e3d4c5b6a79881726354453627180a1b2c3d4"
	f.Fuzz(func(t *testing.T, body []byte, code int) {
		status := http.StatusOK
		if code >= 300 && code < 600 {
			status = code
		}
		for _, host := range hosts() {
			made, err := host.newClient(Connection{APIURL: "https://git.example.com/api", Token: "token"}, &http.Client{Transport: answering{status, body}}, time.Now)
			if err != nil {
				t.Fatal(err)
			}
			all := &Forge{timeout: time.Minute, now: time.Now, clients: map[string]*connected{"c": {client: made}}}
			found, err := all.MergeRequestsOf(t.Context(), "c", "acme/api", sha)
			if err == nil && status != http.StatusOK {
				t.Errorf("%s: answer %d was read: %v", host.name, status, found)
			}
			for _, r := range found {
				if r.Number <= 0 || r.Branch == "" || rank(r) < 0 || strings.Trim(r.AuthorID, "0123456789") != "" || r.AuthorID == "" && r.Author != "" ||
					r.MergedSHA != "" && (r.State != RequestMerged || !isCommit(r.MergedSHA)) {
					t.Errorf("%s: %+v", host.name, r)
				}
			}
		}
	})
}
