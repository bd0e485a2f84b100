package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/doctor"
	"github.com/gatewright/gatewright/internal/standin"
)

// TestDoctor runs the command as a person does, with a password at IAM; TestDoctor of
// internal/app plants the faults.
func TestDoctor(t *testing.T) {
	t.Parallel()
	variables := map[string]string{"WEBHOOK_SECRET": "a-webhook-secret", "IAM_PASSWORD": "a-password"}
	for _, test := range []struct {
		name, password string
		ahead          time.Duration
		code           int
		want           []string
	}{
		{"all is well", "a-password", 0, command.OK, []string{"ok         credentials: are accepted\n", "ok         project 41b8df4bf53f4d51b8e6c5b32e8d2a07: its tasks can be read\n",
			"ok         task of acme/shop main (acme): is shop-main\n", "unchecked  token of connection acme: it has none, so nothing is read from this host, and nothing reported there\n"}},
		{"the clock is off", "a-password", time.Hour, command.No, []string{"wrong      clock: this machine's clock and that of http://127.0.0.1:", "synchronize this machine's clock"}},
		{"a wrong password", "another", 0, command.No, []string{"wrong      credentials: get token: 401: The username or password is wrong.", "unchecked  project 41b8df4bf53f4d51b8e6c5b32e8d2a07: the credentials are refused\n"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			remote := startStandin(t, "ci", test.password, func(o *standin.Options) {
				o.Now = func() time.Time { return time.Now().Add(test.ahead) }
			})
			path := filepath.Join(folder, "gatewright.yaml")
			for name, text := range map[string]string{
				"gatewright.yaml": `
connections:
  - {name: acme, kind: gitlab, url: "https://git.example.com", secrets: [{env: WEBHOOK_SECRET}]}
huaweicloud:
  auth: {password: {user: ci, password: {env: IAM_PASSWORD}, domain: ci, project: cn-north-4}}
  endpoints: {iam: "` + remote + `", codecheck: "` + remote + `", servicestage: "` + remote + `"}
`,
				"rules.yaml": `
version: 1
rules:
  - name: main
    on: push
    match: {repository: acme/shop, branch: main}
    check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07, name: payments}}
    release: [{pipeline: caf409b1-10df-483a-b14d-7b05f7e12c88, action: approve, task: k2m8qa}]
`,
			} {
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, stdout, stderr := runCommand(t, variables, "doctor", "--config", path)
			if code != test.code || stderr != "" {
				t.Errorf("exit code %d, want %d; %s", code, test.code, stderr)
			}
			for _, want := range test.want {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in\n%s", want, stdout)
				}
			}
			code, stdout, _ = runCommand(t, variables, "doctor", "--config", path, "--json")
			var answer struct {
				OK       bool
				Findings []doctor.Finding
			}
			if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != test.code || answer.OK != (code == command.OK) || len(answer.Findings) < 8 {
				t.Errorf("exit code %d, error %v:\n%s", code, err, stdout)
			}
			for _, secret := range variables {
				if strings.Contains(stdout, secret) {
					t.Errorf("a secret is shown:\n%s", stdout)
				}
			}
		})
	}
}
