package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/test/harness"
)

// background runs a command until the test ends, and then wants it to have
// stopped cleanly.
func background(t *testing.T, variables map[string]string, args ...string) (stop func(), stderr *apptest.Output) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stderr = &apptest.Output{}
	ended := make(chan int, 1)
	go func() {
		ended <- execute(ctx, args, command.Environment{Stdin: strings.NewReader(""), Stdout: &apptest.Output{}, Stderr: stderr, LookupEnv: lookup(variables)})
	}()
	stop = sync.OnceFunc(func() {
		cancel()
		if code := <-ended; code != command.OK {
			t.Errorf("%s ended with exit code %d:\n%s", args[0], code, stderr)
		}
	})
	t.Cleanup(stop)
	return stop, stderr
}

func lookup(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
		return value, ok
	}
}

// execute runs one command line of the program.
func execute(ctx context.Context, args []string, env command.Environment) int {
	return command.Run(ctx, newRoot(env), args, env)
}

// runCommand runs a command to its end.
func runCommand(t *testing.T, variables map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = execute(t.Context(), args, command.Environment{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, LookupEnv: lookup(variables)})
	return code, out.String(), errs.String()
}

// startStandin serves the stand-in with its sample repositories to one IAM user, and
// returns its address; change changes its options.
func startStandin(t *testing.T, user, password string, change ...func(*standin.Options)) string {
	t.Helper()
	options, err := standin.Sample(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	options.User, options.Password, options.Domain = user, password, user
	options.ScanDelay = 100 * time.Millisecond
	for _, change := range change {
		change(&options)
	}
	remote, err := standin.New(options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(remote.Handler())
	t.Cleanup(func() {
		server.Close()
		remote.Close()
	})
	return server.URL
}

// TestServe runs the server, which knows the stand-in by its address and a password
// only, and reads the results with the other commands.
func TestServe(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	variables := map[string]string{"WEBHOOK_SECRET": "hush-hush", "TEAM_SECRET": "hush-team", "OTHER_SECRET": "hush-other", "IAM_PASSWORD": "a-password"}
	addrs, err := harness.FreeAddrs(2)
	if err != nil {
		t.Fatal(err)
	}
	remote, addr, private := startStandin(t, "ci", "a-password"), addrs[0], addrs[1]
	files := map[string]string{
		"gatewright.yaml": `
http: {addr: "` + addr + `", private_addr: "` + private + `", max_body: 1KiB}
connections:
  - {name: acme, kind: gitlab, url: "https://git.example.com", secrets: [{env: WEBHOOK_SECRET}]}
  - {name: team, kind: gitlab, url: "https://git.example.com", secrets: [{env: TEAM_SECRET, repositories: ["acme/web-*"]}]}
  - {name: other, kind: gitlab, url: "https://git.example.com", repositories: ["other/*"], secrets: [{env: OTHER_SECRET}]}
huaweicloud:
  auth: {password: {user: ci, password: {env: IAM_PASSWORD}, domain: ci, project: cn-north-4}}
  endpoints: {iam: "` + remote + `", codecheck: "` + remote + `", servicestage: "` + remote + `"}
  poll: {min: 50ms, max: 100ms}
  release_poll: {min: 50ms, max: 100ms}
`,
		"rules.yaml": `
version: 1
defaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: payments}}}
rules:
  - name: main
    on: push
    match: {repository: acme/shop}
    check: {}
    release: [{pipeline: caf409b1-10df-483a-b14d-7b05f7e12c88, action: start}, {pipeline: caf409b1-10df-483a-b14d-7b05f7e12c88, action: approve, task: k2m8qa}]
`,
		"push.headers": "X-Gitlab-Event: Push Hook\nContent-Type: application/json\n",
		"push.json": `{"object_kind":"push","event_name":"push","ref":"refs/heads/main","before":"95790bf891e76fee5e1747ab589903a6a1f80f22",
"after":"1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c","checkout_sha":"1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c","user_username":"lena","project_id":15,
"project":{"id":15,"web_url":"https://git.example.com/acme/shop","git_http_url":"https://git.example.com/acme/shop.git","git_ssh_url":"git@git.example.com:acme/shop.git",
"path_with_namespace":"acme/shop","default_branch":"main","visibility_level":0},"commits":[],"total_commits_count":0}`,
		"large.json": `{"object_kind":"push","padding":"` + strings.Repeat("x", 2000) + `"}`,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := func(name string) string { return filepath.Join(folder, name) }

	stop, log := background(t, variables, "serve", "--config", path("gatewright.yaml"))
	apptest.WaitFor(t, "the server is ready", func() bool { return apptest.Answers("http://" + private + "/readyz") })

	apptest.WaitFor(t, "the start is logged", func() bool { return strings.Contains(log.String(), `"service started"`) })
	started := struct {
		Msg, Version, Addr, Store string
		RulesHash                 string `json:"rules_hash"`
		Endpoints                 map[string]string
	}{}
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, `"service started"`) {
			if err := json.Unmarshal([]byte(line), &started); err != nil {
				t.Error(err)
			}
		}
	}
	if started.Version != version || started.Addr != addr || started.Store != "sqlite "+path("gatewright.db") || len(started.RulesHash) != 12 ||
		started.Endpoints["iam"] != remote || started.Endpoints["codecheck"] != remote || started.Endpoints["servicestage"] != remote {
		t.Errorf("the start line is %+v", started)
	}

	send := func(payload string, more ...string) (int, string) {
		code, stdout, _ := runCommand(t, variables, append([]string{"send", "--config", path("gatewright.yaml"),
			"--connection", "acme", "--headers", path("push.headers"), "--payload", path(payload)}, more...)...)
		return code, stdout
	}
	if code, stdout := send("push.json"); code != command.OK || !strings.Contains(stdout, "202 Accepted") {
		t.Errorf("send: exit code %d\n%s", code, stdout)
	}
	if code, stdout := send("large.json", "--json"); code != command.No || !strings.Contains(stdout, `"status": 413`) {
		t.Errorf("send of what is too large: exit code %d\n%s", code, stdout)
	}

	list := func(what, state string) string {
		// Reading needs none of the server's secrets.
		code, stdout, stderr := runCommand(t, nil, "list", what, "--state", state, "--config", path("gatewright.yaml"), "--json")
		if code != command.OK {
			t.Fatalf("list %s: exit code %d: %s", what, code, stderr)
		}
		return stdout
	}
	apptest.WaitFor(t, "both releases succeed", func() bool { return strings.Count(list("releases", "succeeded"), `"run_id"`) == 2 })
	var deliveries struct{ Deliveries []view.Delivery }
	if err := json.Unmarshal([]byte(list("deliveries", "decided")), &deliveries); err != nil || len(deliveries.Deliveries) != 1 {
		t.Fatalf("decided deliveries: %+v, error %v", deliveries, err)
	}
	// Neither connection may speak of the repository.
	for connection, reason := range map[string]string{
		"team":  `the secret that verified it is for other repositories: repository "acme/shop" does not match "acme/web-*"`,
		"other": `the connection is for other repositories: repository "acme/shop" does not match "other/*"`,
	} {
		if code, stdout := send("push.json", "--connection", connection); code != command.OK {
			t.Errorf("send to %s: exit code %d\n%s", connection, code, stdout)
		}
		apptest.WaitFor(t, "the delivery is ignored", func() bool {
			var ignored struct{ Deliveries []view.Delivery }
			if err := json.Unmarshal([]byte(list("deliveries", "ignored")), &ignored); err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(ignored.Deliveries, func(d view.Delivery) bool { return d.Connection == connection && d.Reason == reason })
		})
	}
	code, stdout, stderr := runCommand(t, variables, "show", deliveries.Deliveries[0].ID, "--config", path("gatewright.yaml"))
	for _, want := range []string{"state       decided", "matched   main", "state       passed", "critical 0 ≤ 0"} {
		if code != command.OK || !strings.Contains(stdout, want) {
			t.Errorf("show: exit code %d, no %q in\n%s%s", code, want, stdout, stderr)
		}
	}
	if code, _, stderr := runCommand(t, variables, "show", "nothing", "--config", path("gatewright.yaml")); code != command.No || !strings.Contains(stderr, "nothing") {
		t.Errorf("show of what is not there: exit code %d, %s", code, stderr)
	}

	stop()
	for _, secret := range variables {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds the secret %q", secret)
		}
	}
	for _, want := range []string{`"msg":"service started"`, `"msg":"delivery decided"`, `"msg":"service stopped"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, log)
		}
	}
}
