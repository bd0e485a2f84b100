package standin_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/standin"
)

// createV3Body is the example of 002_027ac2077e514b6c.txt, changed: a key with a dot is one of
// config_template, and nil leaves a field out.
func createV3Body(changes map[string]any) string {
	template := map[string]any{"branch": "master", "repo_type": "GitHub", "rule_sets": []any{map[string]any{"language": "C++"}},
		"project_id": project, "project_name": "payments", "authId": "6f9c2c1e", "authType": "GitHub"}
	body := map[string]any{"repo_url": "https://github.com/acme/CppWebHookTest.git", "branch": "master", "name": "CppWebHookTest",
		"config_template": template, "project_id": project, "project_name": "payments"}
	for key, value := range changes {
		into := body
		if name, inner := strings.CutPrefix(key, "."); inner {
			into, key = template, name
		}
		into[key] = value
		if value == nil {
			delete(into, key)
		}
	}
	text, _ := json.Marshal(body)
	return string(text)
}

// TestCreateV3Limits holds each row of 002_027ac2077e514b6c.txt: what is refused, and what is not.
func TestCreateV3Limits(t *testing.T) {
	both := func(key string, value any) map[string]any { return map[string]any{key: value, "." + key: value} }
	long := strings.Repeat("a", 129)
	for name, test := range map[string]struct {
		change map[string]any
		detail string // empty: taken
	}{
		"as it stands":               {nil, ""},
		"custom language":            {map[string]any{".rule_sets": []any{map[string]any{"language": "Zig"}}}, ""},
		"name with Chinese letters":  {map[string]any{"name": "代码-检查_1.0"}, ""},
		"name of 128":                {map[string]any{"name": long[:128]}, ""},
		"branch of 200":              {both("branch", strings.Repeat("b", 200)), ""},
		"authType differs":           {map[string]any{".authType": "GitPub"}, ""},
		"authId of an http project":  {map[string]any{".authId": "x"}, ""},
		"name of 129":                {map[string]any{"name": long}, "name has 1 to 128"},
		"name with a slash":          {map[string]any{"name": "a/b"}, "name has 1 to 128"},
		"no name":                    {map[string]any{"name": nil}, "name has 1 to 128"},
		"branch of 201":              {both("branch", strings.Repeat("b", 201)), "branch has 1 to 200"},
		"no branch":                  {map[string]any{"branch": nil}, "branch has 1 to 200"},
		"another branch":             {map[string]any{".branch": "main"}, "config_template.branch"},
		"no config_template":         {map[string]any{"config_template": nil}, "config_template is missing"},
		"unknown repo_type":          {map[string]any{".repo_type": "github"}, "repo_type is not one of"},
		"no authId":                  {map[string]any{".authId": nil}, "authId is missing"},
		"no authType":                {map[string]any{".authType": nil}, "authType is not one of"},
		"unknown authType":           {map[string]any{".authType": "password"}, "authType is not one of"},
		"ssh address":                {map[string]any{"repo_url": "git@github.com:acme/x.git"}, "starts with http"},
		"http address of DevCloud":   {map[string]any{".repo_type": "DevCloud"}, "starts with git"},
		"project_id of 31":           {both("project_id", project[:31]), "project_id"},
		"two project_ids":            {map[string]any{".project_id": region}, "project_id"},
		"no project_name":            {both("project_name", nil), "project_name"},
		"no rule_sets":               {map[string]any{".rule_sets": []any{}}, "rule_sets is empty"},
		"rule set without language":  {map[string]any{".rule_sets": []any{map[string]any{}}}, "without language"},
		"rule_sets is not a list":    {map[string]any{".rule_sets": "C++"}, "documented types"},
		"config_template is a list":  {map[string]any{"config_template": []any{}}, "documented types"},
		"DevCloud without authId":    {map[string]any{".repo_type": "DevCloud", ".authId": nil, ".authType": nil, "repo_url": "git@codehub.devcloud.example.com:x/y.git"}, ""},
		"DevCloud authId, no matter": {map[string]any{".repo_type": "DevCloud", "repo_url": "git@codehub.devcloud.example.com:x/y.git"}, ""},
	} {
		t.Run(name, func(t *testing.T) { wantDetail(t, "/v3/task", createV3Body(test.change), test.detail) })
	}
	for _, repoType := range []string{"Gitee", "GitHub", "GitPub", "gitcode", "gitlab", "self_gitlab", "tfs_git", "bitbucket"} {
		t.Run(repoType, func(t *testing.T) {
			body := createV3Body(map[string]any{".repo_type": repoType, ".authType": repoType})
			wantDetail(t, "/v3/task", body, "")
		})
	}
}

// wantDetail posts a body: it is taken, or refused with that detail in the journal.
func wantDetail(t *testing.T, path, body, detail string) {
	t.Helper()
	opts := standin.Options{User: "u", Password: "p", Domain: "u", AllowDuplicateNames: true, RegionProject: standin.RegionProject{ID: region, Name: "r"},
		Projects: []standin.Project{{ID: project, Name: "payments"}}}
	c := serve(t, opts)
	res, raw := c.send(http.MethodPost, path, body, map[string]string{"X-Auth-Token": c.token, "Content-Type": "application/json;charset=UTF-8"})
	calls := c.server.Calls()
	last := calls[len(calls)-1]
	if detail == "" && (res.StatusCode != 200 || !last.Acted) || detail != "" && (res.StatusCode != 400 || !strings.Contains(last.Detail, detail) || !strings.Contains(string(raw), "CC.00050000.400")) {
		t.Errorf("%s: %d %s: %q, want %q", body, res.StatusCode, raw, last.Detail, detail)
	}
}

// TestCreateV2Limits holds the fields of specs/codearts-check.md 1.3.
func TestCreateV2Limits(t *testing.T) {
	inc := func(changes map[string]any) map[string]any {
		config := map[string]any{"parent_task_id": region, "git_source_branch": "dev", "git_target_branch": "main", "merge_id": "4", "event_type": "merge_request", "action": "open"}
		maps.Copy(config, changes)
		return map[string]any{"task_type": "inc", "inc_config": config}
	}
	for name, test := range map[string]struct {
		change map[string]any
		detail string
	}{
		"as it stands":           {nil, ""},
		"full":                   {map[string]any{"task_type": "full", "endpoint_id": "x", "enable_fossbot": false, "resource_pool_id": ""}, ""},
		"rule sets only":         {map[string]any{"language": nil, "rule_sets": []any{map[string]any{"language": "java"}}}, ""},
		"an ssh address":         {map[string]any{"git_url": "git@example.com:a/b.git"}, ""},
		"a path":                 {map[string]any{"git_url": "/srv/git"}, "git_url starts with"},
		"no branch":              {map[string]any{"git_branch": ""}, "git_branch has 1 to 200"},
		"nothing to check":       {map[string]any{"language": nil}, "language and rule_sets are both missing"},
		"an empty language":      {map[string]any{"language": []any{""}}, "a language is empty"},
		"unknown task_type":      {map[string]any{"task_type": "all"}, "task_type is full or inc"},
		"no inc_config":          {map[string]any{"task_type": "inc"}, "parent_task_id is missing"},
		"neither MR nor branch":  {inc(map[string]any{"merge_id": "", "git_source_branch": ""}), "neither a merge request nor a source branch"},
		"no target":              {inc(map[string]any{"git_target_branch": ""}), "git_target_branch is missing"},
		"unknown event_type":     {inc(map[string]any{"event_type": "push"}), "event_type is merge_request or push_request"},
		"unknown action":         {inc(map[string]any{"action": "merge"}), "action is open, close or update"},
		"language is a word":     {map[string]any{"language": "java"}, "documented types"},
		"enable_fossbot is text": {map[string]any{"enable_fossbot": "no"}, "documented types"},
	} {
		t.Run(name, func(t *testing.T) {
			body := map[string]any{"git_url": "https://example.com/a/b.git", "git_branch": "main", "language": []any{"java"}}
			maps.Copy(body, test.change)
			text, _ := json.Marshal(body)
			wantDetail(t, "/v2/"+project+"/task", string(text), test.detail)
		})
	}
}

// TestTokenLength: a token has 1 to 100000 characters (all five documents).
func TestTokenLength(t *testing.T) {
	c := serve(t, sample(t))
	for _, token := range []string{"", strings.Repeat("x", 100000), strings.Repeat("x", 100001)} {
		res, raw := c.send(http.MethodGet, "/v2/"+project+"/tasks", "", map[string]string{"X-Auth-Token": token})
		if res.StatusCode != 401 || !strings.Contains(string(raw), "APIGW.0301") {
			t.Errorf("%d characters: %d %s", len(token), res.StatusCode, raw)
		}
	}
}

// TestCheckModes: what of a merge request's code is reported (specs/codearts-check.md 1.14). The
// merge request changes a file that had a defect, and adds one with a defect; a third file with a
// defect is not touched.
func TestCheckModes(t *testing.T) {
	opts := sample(t)
	url := opts.Tasks[0].RepoURL
	path := opts.Repositories[url]
	checkOut(t, path, "feature/discount", false)
	checkOut(t, path, "next", true)
	old, err := os.ReadFile(filepath.Join(path, "partner.ini"))
	if err != nil {
		t.Fatal(err)
	}
	commitFile(t, path, "partner.ini", string(old)+"# renew it in May\n")
	commitFile(t, path, "ugly.go", "package main\n\nfunc  ugly() {}\n")
	c := serve(t, opts)
	created := c.call(200, http.MethodPost, "/v2/"+project+"/task", `{"git_url":"`+url+`","git_branch":"main","language":["GO"],"task_type":"inc",
		"inc_config":{"parent_task_id":"`+opts.Tasks[0].ID+`","git_source_branch":"next","git_target_branch":"feature/discount"}}`)
	task, _ := created["task_id"].(string)
	for mode, want := range map[int]string{0: "1", 4: "2", 5: "3"} {
		c.call(200, http.MethodPut, "/v1/task/check-mode", fmt.Sprintf(`{"id":%q,"mrCheckMode":%d}`, task, mode))
		if status, _ := c.check(task, "{}"); status != 2 {
			t.Fatalf("mode %d: task_status %d", mode, status)
		}
		summary := c.call(200, http.MethodGet, "/v2/tasks/"+task+"/defects-summary", "")
		if got := fmt.Sprint(summary["issue_count"]); got != want || summary["new_count"] != 1.0 {
			t.Errorf("mode %d: %s defects of which %v are new, want %s and 1", mode, got, summary["new_count"], want)
		}
	}
}

// TestCredentialsAreNotTold: neither the journal nor the log of a run has what a call named for a
// repository.
func TestCredentialsAreNotTold(t *testing.T) {
	opts := sample(t)
	opts.Dialect, opts.RepositoryUser, opts.RepositoryToken = standin.Dialect2023, "ci", "hush-hush"
	c := serve(t, opts)
	url := "https://git.example.com/acme/depot.git"
	c.call(200, http.MethodPost, "/v2/"+project+"/task", `{"git_url":"`+url+`","git_branch":"main","language":["go"],"username":"ci","access_token":"hush-hush"}`)
	if status, _ := c.check(opts.Tasks[0].ID, `{"git_url":"`+url+`","git_branch":"main","username":"ci","access_token":"wrong-hush"}`); status != 1 {
		t.Errorf("task_status %d", status)
	}
	told := c.get("/standin/calls") + c.get("/standin/counts") + c.get("/v2/"+project+"/tasks/"+opts.Tasks[0].ID+"/log-detail")
	if strings.Contains(told, "hush") || !strings.Contains(told, `"address":"`+url+`","branch":"main"`) {
		t.Error(told)
	}
}

func TestFaultsNameWhatIsKnown(t *testing.T) {
	c := serve(t, sample(t))
	for body, want := range map[string]string{
		`{"faults":[{"kind":"lost","operations":["run_tasks"]}]}`: `unknown operation "run_tasks"; the operations are create_token, list_tasks,`,
		`{"faults":[{"kind":"earthquake"}]}`:                      `unknown fault kind "earthquake"; the kinds are latency, throttle,`,
		`{"faults":[{"kind":"lost","operation":["run_task"]}]}`:   `unknown field "operation"`,
		`{"fault":[]}`: `unknown field "fault"`,
	} {
		res, raw := c.send(http.MethodPut, "/standin/faults", body, nil)
		if res.StatusCode != 400 || !strings.Contains(string(raw), want) {
			t.Errorf("%s: %d %s", body, res.StatusCode, raw)
		}
	}
	c.putFaults(`{"faults":[{"kind":"absent","operations":["show_last_jobs"]},{"kind":"queued","operations":["run_code_pipeline"]}]}`, 204)
	if got := c.get("/v4/tasks/" + project + "/last-jobs"); !strings.HasPrefix(got, `404 {"error_code":"APIGW.0101"`) {
		t.Errorf("absent: %s", got)
	}
	if got := c.post("/v5/"+project+"/api/pipelines/"+project+"/run", "{}"); !strings.HasPrefix(got, `400 {"error_code":"DEVPIPE.00011169"`) {
		t.Errorf("queued: %s", got)
	}
	var known struct{ Operations, Kinds []string }
	_, raw := c.send(http.MethodGet, "/standin/operations", "", nil)
	if err := json.Unmarshal(raw, &known); err != nil || len(known.Operations) < 40 || len(known.Kinds) != len(standin.FaultKinds()) {
		t.Errorf("operations: %v %s", err, raw)
	}
}

func TestAddTask(t *testing.T) {
	opts := sample(t)
	c := serve(t, opts)
	for body, want := range map[string]string{
		`{}`: "needs a name, a repository and a branch",
		`{"name":"a","repo_url":"u","branch":"b","parent":"` + region + `"}`:                          "not a full task that exists already",
		`{"name":"a","repo_url":"u","branch":"b","merge_id":"1"}`:                                     "needs a parent, a source and a target branch",
		`{"name":"a","repo_url":"u","branch":"b","id":"` + opts.Tasks[0].ID + `"}`:                    "needs an id of its own",
		`{"name":"a","repo_url":"u","branch":"b","id":"x","project_id":"y"}`:                          `of 32 hex digits, got "x", and is of the unknown project "y"`,
		`{"name":"a","repo_url":"u","branch":"b","brunch":"b"}`:                                       `unknown field "brunch"`,
		`{"name":"a","repo_url":"u","branch":"b","parent":"` + opts.Tasks[0].ID + `","merge_id":"1"}`: "source and a target branch",
	} {
		res, raw := c.send(http.MethodPost, "/standin/tasks", body, nil)
		if res.StatusCode != 400 || !strings.Contains(string(raw), want) {
			t.Errorf("%s: %d %s", body, res.StatusCode, raw)
		}
	}
}

// TestLoadCodePipelines holds testdata/code_pipelines as TestLoadPipelines does testdata/pipelines.
func TestLoadCodePipelines(t *testing.T) {
	files, _ := filepath.Glob("testdata/code_pipelines/*.yaml")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if _, err = standin.LoadCodePipelines(filepath.Base(file), data); err != nil {
			got = err.Error() + "\n"
		}
		golden.Text(t, strings.TrimSuffix(file, ".yaml")+".txt", got)
	}
}

func FuzzLoadCodePipelines(f *testing.F) {
	files, _ := filepath.Glob("testdata/code_pipelines/*.yaml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if pipelines, err := standin.LoadCodePipelines("f.yaml", data); err != nil && len(pipelines) > 0 {
			t.Error("both pipelines and an error")
		}
	})
}

// FuzzRequests sends any body and query to every call that decodes one: each is answered with
// JSON or nothing, and never with a server error.
func FuzzRequests(f *testing.F) {
	calls := []string{
		"POST /v3/auth/tokens", "POST /v3/task", "POST /v2/" + project + "/task", "GET /v2/" + project + "/tasks", "GET /v1/tasks",
		"PUT /v1/task/check-mode", "PUT /v1/task/code-gate", "GET /v2/" + project + "/rulesets",
		"POST /v2/tasks/TASK/run", "GET /v2/tasks/TASK/progress", "GET /v2/tasks/TASK/defects-detail", "GET /v2/tasks/TASK/defects-summary",
		"GET /v3/" + project + "/tasks/TASK/branches", "GET /v3/task/TASK", "GET /v4/tasks/TASK/jobs", "GET /v4/task/TASK/check-list",
		"GET /v2/" + project + "/tasks/TASK/checkrecord",
		"POST " + pipelines + "/" + pipeline + "/action",
		"POST /v5/" + project + "/api/pipelines/CODE/run", "POST /v5/" + project + "/api/pipelines/CODE/pipeline-runs/list",
		"GET /v5/" + project + "/api/pipelines/CODE/pipeline-runs/detail", "POST /v5/" + project + "/api/pipelines/list",
		"PUT /standin/faults", "PATCH /standin/switches", "POST /standin/tasks",
	}
	opts := standin.Options{
		User: "u", Password: "p", RegionProject: standin.RegionProject{ID: region, Name: "r"}, Projects: []standin.Project{{ID: project, Name: "payments"}},
		Tasks: []standin.TaskSeed{{ID: strings.Repeat("ab", 16), Name: "a", RepoURL: "https://192.0.2.1/a/b.git", Branch: "main"}},
		CodePipelines: []standin.CodePipeline{{ID: strings.Repeat("c", 32), Name: "c", Stages: []standin.CodeStage{
			{Name: "s", Jobs: []standin.CodeJob{{Name: "j", Steps: []standin.CodeStep{{Name: "r", Review: true}}}}}}}},
		Pipelines: []standin.Pipeline{{ID: pipeline, Name: "pp", Stages: []standin.Stage{{Name: "s", Tasks: []standin.PipelineTask{{Name: "t", Kind: "approval"}}}}}},
	}
	server, err := standin.New(opts)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(server.Close)
	for i := range calls {
		f.Add(uint8(i), "offset=1&limit=2&check_type=mr&action_id=start", createV3Body(nil))
		f.Add(uint8(i), "page=0&job_id=%zz", `{"id":null,"reviewData":[{"value":1e99}],"sources":[{"params":{"build_params":[]}}],"start_time":"x"}`)
	}
	f.Fuzz(func(t *testing.T, which uint8, query, body string) {
		method, path, _ := strings.Cut(calls[int(which)%len(calls)], " ")
		path = strings.NewReplacer("TASK", strings.Repeat("ab", 16), "CODE", strings.Repeat("c", 32)).Replace(path)
		login := httptest.NewRequest(http.MethodPost, "/v3/auth/tokens", strings.NewReader(loginBody(standin.Options{User: "u", Password: "p", Domain: "u", RegionProject: opts.RegionProject})))
		// What a case before has set must not refuse this one.
		if err := server.SetFaults(standin.Faults{}); err != nil {
			t.Fatal(err)
		}
		answer := httptest.NewRecorder()
		server.Handler().ServeHTTP(answer, login)

		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.URL.RawQuery, req.RemoteAddr = query, "127.0.0.1:1"
		req.Header.Set("X-Auth-Token", answer.Header().Get("X-Subject-Token"))
		req.Header.Set("Content-Type", "application/json")
		res := httptest.NewRecorder()
		server.Handler().ServeHTTP(res, req)
		if res.Code >= 500 && res.Code != 505 {
			t.Errorf("%s %s?%s %q: %d", method, path, query, body, res.Code)
		}
		if text := res.Body.Bytes(); len(text) > 0 && strings.HasPrefix(res.Header().Get("Content-Type"), "application/json") && !json.Valid(text) {
			t.Errorf("%s %s?%s %q: %s", method, path, query, body, text)
		}
	})
}
