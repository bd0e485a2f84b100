package standin_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/standin"
)

// patch sets switches over HTTP, as an operator does.
func (c *client) patch(status int, body string) string {
	c.t.Helper()
	res, raw := c.send(http.MethodPatch, "/standin/switches", body, nil)
	if res.StatusCode != status {
		c.t.Fatalf("patch switches %s: %d %s", body, res.StatusCode, raw)
	}
	return string(raw)
}

// get asks with the token; it returns the status and the body.
func (c *client) get(path string) string {
	c.t.Helper()
	res, raw := c.send(http.MethodGet, path, "", map[string]string{"X-Auth-Token": c.token})
	return fmt.Sprint(res.StatusCode, " ", string(raw))
}

func (c *client) post(path, body string) string {
	c.t.Helper()
	res, raw := c.send(http.MethodPost, path, body, map[string]string{"X-Auth-Token": c.token, "Content-Type": "application/json"})
	return fmt.Sprint(res.StatusCode, " ", string(raw))
}

// switchCases show of every switch what each of its values changes: see asks, and the answer
// contains the text of the value that is set.
func switchCases(opts standin.Options) map[string]struct {
	see  func(c *client) string
	want map[string]string
} {
	clean, feature := opts.Tasks[0].ID, opts.Tasks[1].ID
	tasks := "/v2/" + project + "/tasks"
	createV2 := func(language string) string {
		return `{"git_url":"https://git.example.com/acme/shop.git","git_branch":"main","language":["` + language + `"]}`
	}
	createV3 := func(name, projectName string) string {
		return `{"repo_url":"git@git.example.com:acme/x.git","branch":"main","name":"` + name + `","project_id":"` + project + `","project_name":"` + projectName + `",
			"config_template":{"repo_type":"DevCloud","branch":"main","rule_sets":[{"language":"GO"}],"project_id":"` + project + `","project_name":"` + projectName + `"}}`
	}
	progress := func(c *client) string { return c.get("/v2/tasks/" + clean + "/progress") }
	// checked asks when the bad branch has been checked.
	checked := func(see func(c *client) string) func(c *client) string {
		return func(c *client) string {
			c.check(feature, "{}")
			return see(c)
		}
	}
	summary := checked(func(c *client) string { return c.get("/v2/tasks/" + feature + "/defects-summary") })
	release := func(action string) func(c *client) string {
		return func(c *client) string { return c.post(pipelines+"/"+pipeline+"/action?action_id="+action, "{}") }
	}
	code := "/v5/" + project + "/api/pipelines/" + opts.CodePipelines[0].ID
	get := func(path string) func(c *client) string { return func(c *client) string { return c.get(path) } }
	post := func(path, body string) func(c *client) string {
		return func(c *client) string { return c.post(path, body) }
	}
	comment := func(api string) func(c *client) string {
		return func(c *client) string {
			res, raw := c.send(http.MethodPost, api, `{"body":"well done"}`, map[string]string{"Authorization": "Bearer standin-api-token", "Content-Type": "application/json"})
			return fmt.Sprint(res.StatusCode, " ", string(raw))
		}
	}
	hubComment := comment("/api/v3/repos/acme/shop/issues/7/comments")
	return map[string]struct {
		see  func(c *client) string
		want map[string]string
	}{
		"git_token_reads_only":   {hubComment, map[string]string{"false": "201 ", "true": "403 "}},
		"github_secondary_limit": {hubComment, map[string]string{"false": "201 ", "true": "secondary-rate-limits"}},
		"hook_rights": {func(c *client) string {
			status, answer := c.host(http.MethodGet, "/api/v3/repos/acme/shop/hooks", "", "", "")
			return fmt.Sprint(status, " ", answer)
		}, map[string]string{"granted": "200 []", "forbidden": "403 ", "hidden": "404 "}},
		"hook_deliveries": {func(c *client) string {
			path, body := hookOf("gitea", c.url+"/standin/counts") // which takes no POST
			c.made(path, body)
			return fmt.Sprintf("%d %+v", len(c.push("gitea", "acme/shop")), c.server.Hooks()[0].Deliveries)
		}, map[string]string{"sent": "Status:404", "fail": "Status:0", "dropped": "0 []"}},
		"gitlab_disables_hooks": {func(c *client) string {
			path, body := hookOf("gitlab", c.url+"/standin/counts")
			c.made(path, body)
			for range 5 {
				c.push("gitlab", "acme/shop")
			}
			return fmt.Sprintf("%+v", c.server.Hooks()[0])
		}, map[string]string{"after_failures": "Disabled:temporarily_disabled", "never": "Disabled: Failures:5"}},
		"gitee_check_runs": {comment("/api/v5/repos/acme/shop/check-runs"), map[string]string{"taken": "400 ", "forbidden": "403 ", "absent": "404 "}},

		"dialect":          {post("/v2/tasks/"+clean+"/run", `{"ref":"sideways"}`), map[string]string{"2026": "400 ", "2023": "exec_id"}},
		"paging":           {get(tasks + "?offset=1&limit=2"), map[string]string{"page": `"depot-main"`, "page_from_one": `"shop-main"`, "record": `[{"task_id":"` + feature}},
		"defects_paging":   {checked(get("/v2/tasks/" + feature + "/defects-detail?offset=1&limit=1")), map[string]string{"as_paging": `"defect_level":"1"`, "page": `"defect_level":"1"`, "page_from_one": `"defect_level":"0"`, "record": `"defect_level":"1"`}},
		"list_incremental": {get(tasks + "?limit=100"), map[string]string{"auto": `"total":4`, "true": `"total":5`, "false": `"total":4`}},
		"refuse_ref":       {post("/v2/tasks/"+feature+"/run", `{"ref":"pull"}`), map[string]string{"false": `"exec_id"`, "true": "CC.00050000.400"}},
		"ignore_job_id":    {checked(get("/v2/tasks/" + feature + "/progress?job_id=" + region)), map[string]string{"false": `"task_status":null`, "true": `"task_status":2`}},
		"unknown_job_id":   {get("/v2/tasks/" + feature + "/progress?job_id=" + region), map[string]string{"null": `"task_status":null`, "error": "400 "}},
		"never_checked":    {progress, map[string]string{"null": `"progress":null`, "object": `"progress":{"ratio":null,"info":null}`}},
		"time_format":      {get(tasks + "?limit=1"), map[string]string{"auto": "T08:30:00Z", "zulu": "T08:30:00Z", "plain": " 08:30:00"}},
		"plain_time_zone": {func(c *client) string {
			c.patch(204, `{"time_format":"plain"}`)
			return c.get(tasks + "?limit=1")
		}, map[string]string{"utc": " 08:30:00", "beijing": " 16:30:00"}},
		"summary_shape":         {summary, map[string]string{"flat": `{"task_id":"` + feature, "camel_task_id": `"taskId":"` + feature, "old_envelope": `"criticalCount":1`}},
		"quality_as_text":       {summary, map[string]string{"false": `"code_quality":6`, "true": `"code_quality":"6`}},
		"is_access":             {summary, map[string]string{"0_1": `"is_access":"0"`, "false_true": `"is_access":"false"`, "error_success": `"is_access":"error"`, "fail_pass": `"is_access":"fail"`, "empty": `"is_access":""`}},
		"allow_duplicate_names": {post("/v3/task", createV3("shop-main", "payments")), map[string]string{"false": "CC.00050016", "true": `"status":"success"`}},
		"project_names": {func(c *client) string {
			return c.post("/v3/task", createV3("a", "other")) + c.post("/v3/task", createV3("b", ""))
		},
			map[string]string{"given": `"success"}400`, "right": "are correct.\"}400", "optional": `"success"}200`}},
		"languages":             {post("/v2/"+project+"/task", createV2("GO")), map[string]string{"any": "task_id", "edition": "400 "}},
		"check_list_needs_type": {get("/v4/task/" + clean + "/check-list"), map[string]string{"false": `"success"`, "true": "400 "}},
		"content_type": {func(c *client) string {
			send := func(path string) string {
				res, _ := c.send(http.MethodPost, path, "{}", map[string]string{"X-Auth-Token": c.token})
				return fmt.Sprint(res.StatusCode, " ")
			}
			return send("/v2/tasks/"+clean+"/run") + send(pipelines+"/"+pipeline+"/action?action_id=start")
		}, map[string]string{"documented": "200 400 ", "always": "400 400 ", "never": "200 200 "}},
		"defects_over_limit": {checked(func(c *client) string {
			return fmt.Sprint(strings.Count(c.get("/v2/tasks/"+feature+"/defects-detail?limit=1"), `"defect_id"`), " defects")
		}), map[string]string{"false": "1 defects", "true": "2 defects"}},
		"error_status":    {get("/v2/" + region + "/tasks"), map[string]string{"200": "200 ", "400": "400 ", "505": "505 "}},
		"error_suffix":    {func(c *client) string { return c.get("/v2/"+region+"/tasks") + c.get(tasks+"?limit=0") }, map[string]string{"auto": `CC.00050000.400"`, "true": `CC.00050013.400"`, "false": `CC.00050000"`}},
		"envelope_errors": {post("/v3/task", "{}"), map[string]string{"false": "400 ", "true": `{"httpStatus":"BAD_REQUEST","result":null,"status":"error"}`}},
		"envelope_status": {get("/v1/tasks"), map[string]string{"OK": `"httpStatus":"OK"`, "ACCEPTED": `"httpStatus":"ACCEPTED"`, "ok": `"httpStatus":"ok"`, "200": `"httpStatus":200`}},
		"scan_delay": {func(c *client) string {
			c.post("/v2/tasks/"+clean+"/run", "{}")
			return progress(c)
		}, map[string]string{"1h": `"task_status":0`}},
		"register_delay": {func(c *client) string {
			c.patch(204, `{"scan_delay":"1h"}`)
			c.post("/v2/tasks/"+clean+"/run", "{}")
			return progress(c)
		}, map[string]string{"1h": `"task_status":null`, "0s": `"task_status":0`}},

		"expired_answer": {func(c *client) string {
			c.putFaults(`{"faults":[{"kind":"expired","next":1}]}`, 204)
			return c.get(tasks)
		}, map[string]string{"gateway": "401 {\"error_code\":\"APIGW.0307\"", "service": "CC.00000003", "service_200": "200 {\"error_code\":\"CC.00050007\""}},
		"token_lifetime": {func(c *client) string {
			_, raw := c.send(http.MethodPost, "/v3/auth/tokens", loginBody(opts), nil)
			return string(raw)
		}, map[string]string{"1h": `"expires_at":"2026-03-01T09:30:00.000000Z"`}},
		"token_length": {func(c *client) string {
			token := c.login(opts)
			c.token = token
			return fmt.Sprint(len(token), " ", c.get(tasks)[:3])
		}, map[string]string{"36": "36 200", "260": "260 200", "100000": "100000 200"}},
		"keep_key_unlocked": {func(c *client) string {
			bad := vectors(c.t)[0]
			bad.Authorization += "0"
			for range 6 {
				bad.signed(c.t, c.server)
			}
			calls := c.server.Calls()
			return fmt.Sprintf("compared: %t", calls[len(calls)-1].Detail == "the signature is another one")
		}, map[string]string{"false": "compared: false", "true": "compared: true"}},
		"require_project_id": {signed, map[string]string{"false": "200 ", "true": "403 APIGW.0310"}},
		"clock_tolerance":    {signed, map[string]string{"10s": "401 APIGW.0301", "1m": "200 "}},
		"summary_delay": {checked(func(c *client) string { return c.get("/v2/tasks/" + feature + "/defects-summary") }),
			map[string]string{"1h": `"issue_count":null`, "0s": `"issue_count":2`}},
		"omit_new_counts": {summary, map[string]string{"false": `"new_major_count":"1"`, "true": `"new_major_count":null`}},
		"gateway_prefix":  {func(c *client) string { return c.get("/v9/nothing") }, map[string]string{"APIGW": `"APIGW.0101"`, "APIG": `"APIG.0101"`}},

		"release_text_ids":         {release("start"), map[string]string{"false": `"id":286541`, "true": `"id":"286541"`}},
		"release_list_object":      {get(pipelines), map[string]string{"false": "200 [", "true": `200 {"pipelines":[`}},
		"release_declaration_list": {get(pipelines + "/" + pipeline), map[string]string{"false": `"pipeline_declaration":{`, "true": `"pipeline_declaration":[{`}},
		"release_hide_task_status": {get(pipelines + "/" + pipeline), map[string]string{"false": `"order_index":0,"status":1`, "true": `"order_index":0,"tasks"`}},
		"release_declared_records": {func(c *client) string {
			release("start")(c)
			return c.get(pipelines + "/" + pipeline + "/records")
		}, map[string]string{"false": `"trigger":"standin","version":1`, "true": `"trigger":0,"version":[{`}},
		"release_not_found_401": {get(pipelines + "/x"), map[string]string{"false": "404 ", "true": "401 {\"error_code\":\"SVCSTG.00100401\""}},
		"release_error_key":     {release("stop"), map[string]string{"error_msg": `"error_msg"`, "error_message": `"error_message"`}},
		"release_failures_end_good": {func(c *client) string {
			c.post(pipelines+"/"+pipeline+"/action?action_id=start", firstStage)
			until(c.t, "the release to end", func() bool { return !strings.Contains(c.get(pipelines), `"status":4`) })
			return c.get(pipelines)
		}, map[string]string{"false": `"status":3`, "true": `"status":2`}},
		"release_new_executions": {func(c *client) string {
			failed(c)
			return release("retry")(c)
		}, map[string]string{"false": `"id":286541,`, "true": `"id":286542,`}},
		"release_pause_blocks_start": {func(c *client) string {
			c.patch(204, `{"release_stop_delay":"0s"}`)
			release("start")(c)
			release("stop")(c)
			until(c.t, "the pipeline to pause", func() bool { return strings.Contains(c.get(pipelines), `"status":7`) })
			return release("start")(c)
		}, map[string]string{"false": "200 ", "true": "400 "}},
		"release_stop_delay": {func(c *client) string {
			release("start")(c)
			return release("stop")(c) + c.get(pipelines)
		}, map[string]string{"1h": `"status":13,`}},
		"release_restart_delay": {func(c *client) string {
			failed(c)
			release("retry")(c)
			return c.get(pipelines)
		}, map[string]string{"1h": `"status":14`}},
		"release_rollback_delay": {func(c *client) string {
			failed(c)
			release("rollback")(c)
			return c.get(pipelines)
		}, map[string]string{"1h": `"status":10`}},
		"release_register_delay": {func(c *client) string {
			release("start")(c)
			return c.get(pipelines)
		}, map[string]string{"1h": `"status":1,`, "0s": `"status":`}},
		"release_approval_delay": {func(c *client) string {
			c.post(pipelines+"/"+pipeline+"/action?action_id=start", `{"selected_tasks":[{"stage_name":"uipfzw","tasks":["k2m8qa"]}]}`)
			until(c.t, "the checkpoint to wait", func() bool { return strings.Contains(c.get(pipelines), `"status":5`) })
			return c.post(pipelines+"/"+pipeline+"/action?action_id=approval", `{"task_name":"k2m8qa","approval_type":"agree"}`)
		}, map[string]string{"1h": `"status":5`, "0s": `"status":4`}},

		"review_state": {func(c *client) string {
			c.post(code+"/run", `{"choose_stages":["Deploy"]}`)
			return c.get(code + "/pipeline-runs/detail")
		}, map[string]string{"suspend": `"status":"SUSPEND","trigger_type"`, "suspend_step": `"last_dispatch_id":null,"status":"SUSPEND","message":null,"start_time":1772353800000,"end_time":null,"daily_build_number"`, "running": `"status":"RUNNING","trigger_type"`}},
		"code_pipeline_errors": {get(code + "/pipeline-runs/detail"), map[string]string{"400": "400 ", "200": `200 {"error_code":"DEVPIPE`, "nested_200": `200 {"error":{"code":"DEVPIPE`}},
		"many_changed_files": {func(c *client) string {
			_, raw := c.send(http.MethodGet, "/api/v3/repos/acme/shop/pulls/7", "", map[string]string{"Authorization": "Bearer standin-api-token"})
			return string(raw)
		}, map[string]string{"false": `"changed_files":2,`, "true": `"changed_files":5002,`}},
	}
}

// failed starts a release whose first task fails, and waits for the failure.
func failed(c *client) {
	c.post(pipelines+"/"+pipeline+"/action?action_id=start", firstStage)
	until(c.t, "the release to fail", func() bool { return strings.Contains(c.get(pipelines), `"status":3`) })
}

// signed sends a request that is signed without X-Project-Id, 15 seconds from now.
func signed(c *client) string {
	status, code := vectors(c.t)[1].signed(c.t, c.server)
	return fmt.Sprint(status, " ", code)
}

const firstStage = `{"selected_tasks":[{"stage_name":"899tih","tasks":["ujgdh4"]}]}`

// TestSwitches sets each switch over HTTP to each of its values and sees what changes.
func TestSwitches(t *testing.T) {
	known := standin.Switches()
	opts := sample(t)
	cases := switchCases(opts)
	for name := range cases {
		if !slices.ContainsFunc(known, func(s standin.Switch) bool { return s.Name == name }) {
			t.Errorf("there is no switch %s", name)
		}
	}
	for _, s := range known {
		t.Run(s.Name, func(t *testing.T) {
			test, tested := cases[s.Name]
			if !tested {
				t.Fatal("no case")
			}
			for _, value := range s.Values {
				if _, tested := test.want[value]; !tested {
					t.Errorf("no case of %s", value)
				}
			}
			for value, want := range test.want {
				c := serve(t, prepared(opts))
				c.patch(204, `{"`+s.Name+`":"`+value+`"}`)
				if got := test.see(c); !strings.Contains(got, want) {
					t.Errorf("%s %s: no %s in\n%s", s.Name, value, want, got)
				}
				if got := c.switches()[s.Name]; got != value && got != durationText(value) {
					t.Errorf("the value is %q, want %q", got, value)
				}
			}
		})
	}
}

func durationText(value string) string {
	d, _ := time.ParseDuration(value)
	return d.String()
}

// prepared returns opts with a fixed clock, a merge request's task, and a pipeline whose first task
// fails at once.
func prepared(opts standin.Options) standin.Options {
	opts.Now = func() time.Time { return time.Date(2026, 3, 1, 8, 30, 0, 0, time.UTC) }
	opts.AccessKey, opts.SecretKey = "AKEXAMPLE0000000001", "SKexample/secret+key0000000000000000001"
	zero := 0.0
	p := opts.Pipelines[0]
	p.FailMode = "continue"
	p.Stages = []standin.Stage{
		{Name: "899tih", Tasks: []standin.PipelineTask{{Name: "ujgdh4", Seconds: &zero, Fail: true}}},
		{Name: "uipfzw", Tasks: []standin.PipelineTask{{Name: "k2m8qa", Kind: "approval"}}},
	}
	opts.Pipelines = []standin.Pipeline{p}
	opts.Tasks = append(slices.Clone(opts.Tasks), standin.TaskSeed{Name: "mr", RepoURL: opts.Tasks[0].RepoURL, Branch: "main",
		Parent: opts.Tasks[0].ID, MergeID: "7", SourceBranch: "feature/discount", TargetBranch: "main"})
	return opts
}

// switches are the values by name, as GET /standin/switches tells them.
func (c *client) switches() map[string]string {
	c.t.Helper()
	_, raw := c.send(http.MethodGet, "/standin/switches", "", nil)
	var all []standin.Switch
	if err := json.Unmarshal(raw, &all); err != nil {
		c.t.Fatal(err)
	}
	values := map[string]string{}
	for _, s := range all {
		values[s.Name] = s.Value
	}
	return values
}

func TestSwitchesAreRefusedWhole(t *testing.T) {
	c := serve(t, sample(t))
	before := c.switches()
	for body, want := range map[string]string{
		`{"paging":"record","pageing":"record"}`: `unknown switch "pageing"; the switches are dialect, paging,`,
		`{"paging":"sideways"}`:                  `switch paging: "sideways": write page, page_from_one or record`,
		`{"scan_delay":"-1s"}`:                   `write a time from 0 on, such as 2s`,
		`{"ignore_job_id":"yes"}`:                `write true or false`,
		`{"token_length":200000}`:                `write a number from 36 to 100000`,
		`["paging"]`:                             `read switches:`,
		`{} {}`:                                  `more than one JSON value`,
		``:                                       `read switches: EOF`,
	} {
		if got := c.patch(400, body); !strings.Contains(got, want) {
			t.Errorf("%s: %s", body, got)
		}
	}
	if after := c.switches(); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("a refused change changed\n%v\n%v", before, after)
	}
	c.patch(204, `{"ignore_job_id":true,"error_status":400}`)
	if got := c.switches(); got["ignore_job_id"] != "true" || got["error_status"] != "400" {
		t.Errorf("a boolean and a number are not taken: %v", got)
	}
}
