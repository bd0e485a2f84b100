package app

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/webhook"
)

// TestAuthorizes holds that each way of huaweicloud.auth is accepted by both services, and
// what the log of the service says where one is not.
func TestAuthorizes(t *testing.T) {
	options, err := standin.Sample(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	options.AgencyDomain, options.Agency = "customer", "gatewright"
	strict := options
	strict.RequireProjectID = true
	late := options
	late.Now, late.ClockTolerance = func() time.Time { return time.Now().Add(20 * time.Minute) }, 15*time.Minute

	const key = "{id: {env: KEY}, secret: {env: SECRET}}"
	const password = "{user: $USER, password: {env: PASSWORD}, domain: $DOMAIN"
	const project = "project_id: $PROJECT, "
	for name, test := range map[string]struct {
		options standin.Options
		auth    string
		want    string // in the error; empty: it works
	}{
		"key":                              {options, project + "auth: {access_key: " + key + "}", ""},
		"key with X-Project-Id":            {strict, project + "auth: {access_key: " + key + "}", ""},
		"key without X-Project-Id":         {strict, "auth: {access_key: " + key + "}", "APIGW.0310"},
		"key and a wrong clock":            {late, project + "auth: {access_key: " + key + "}", "behind the service's, and a signature of another time is refused: synchronize it (NTP)"},
		"password":                         {options, "auth: {password: " + password + "}}", ""},
		"password needs no X-Project-Id":   {strict, "auth: {password: " + password + "}}", ""},
		"agency by password":               {strict, "auth: {agency: {name: gatewright, domain: customer, password: " + password + "}}}", ""},
		"agency by key":                    {strict, "auth: {agency: {name: gatewright, domain: customer, access_key: " + key + "}}", ""},
		"no such agency":                   {options, "auth: {agency: {name: other, domain: customer, access_key: " + key + "}}", "The agency is not found."},
		"agency of another account":        {options, "auth: {agency: {name: gatewright, domain: other, access_key: " + key + "}}", "The agency is not found."},
		"agency by somebody unknown":       {options, "auth: {agency: {name: gatewright, domain: customer, access_key: {id: {env: SECRET}, secret: {env: SECRET}}}}", "requires authentication"},
		"token that is over":               {options, project + "auth: {token: {file: token}}", "APIGW.0301"},
		"password and a refused user":      {options, "auth: {password: {user: nobody, password: {env: PASSWORD}, domain: $DOMAIN}}", "The username or password is wrong."},
		"password in English and a region": {options, "language: en-us, auth: {password: " + password + "}}", ""},
	} {
		t.Run(name, func(t *testing.T) {
			server, err := standin.New(test.options)
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			listener := httptest.NewServer(server.Handler())
			defer listener.Close()
			folder := t.TempDir()
			write(t, filepath.Join(folder, "token"), "not-a-token-of-iam\n")
			file := filepath.Join(folder, "gatewright.yaml")
			values := strings.NewReplacer("$USER", options.User, "$DOMAIN", options.Domain, "$PROJECT", options.RegionProject.ID, "$URL", `"`+listener.URL+`"`, "$REGION", options.RegionProject.Name)
			write(t, file, "connections: [{name: github, kind: github, secrets: [{env: SECRET}]}]\n"+
				values.Replace("huaweicloud: {region: $REGION, endpoints: {iam: $URL, codecheck: $URL, servicestage: $URL}, "+test.auth+"}\n"))
			cfg, err := LoadConfig(file, func(name string) (string, bool) {
				value, ok := map[string]string{"KEY": options.AccessKey, "SECRET": options.SecretKey, "PASSWORD": options.Password}[name]
				return value, ok
			})
			if err != nil {
				t.Fatal(err)
			}
			clients, err := newAccounts(cfg, rests{memory: noMemory{}})
			if err != nil {
				t.Fatal(err)
			}
			defer clients.close()
			r := clients[""]
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err = r.checker.ReadProject(ctx, options.Projects[0].ID)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Fatalf("error %v, want %q", err, test.want)
			}
			if test.want != "" {
				return
			}
			if cfg.HuaweiCloud.Auth.UsesIAM() {
				if id, err := r.credentials.ProjectID(ctx); err != nil || id != options.RegionProject.ID {
					t.Errorf("project %q of the token, %v", id, err)
				}
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// nobody takes deliveries.
type nobody struct{ webhook.Inbox }

// TestChangedCredentialFiles holds that a key and a token in files are used as soon as the
// files have changed, with no restart, and that none of them is logged.
func TestChangedCredentialFiles(t *testing.T) {
	options, err := standin.Sample(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	options.SecurityToken = "security-token-of-the-key"
	server, err := standin.New(options)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	listener := httptest.NewServer(server.Handler())
	defer listener.Close()
	tokens, err := huaweicloud.NewTokenSource(huaweicloud.TokenOptions{Endpoint: listener.URL, HTTP: listener.Client(),
		Domain: options.Domain, User: options.User, Password: options.Password, ProjectName: options.RegionProject.Name})
	if err != nil {
		t.Fatal(err)
	}
	carrier := httptest.NewRequest("GET", "/", nil)
	if err := tokens.Authorize(t.Context(), carrier, nil); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		auth         string
		wrong, right map[string]string
		refusal      string
	}{
		"token": {"{token: {file: token}}", map[string]string{"token": "an-old-token"}, map[string]string{"token": carrier.Header.Get("X-Auth-Token")}, "APIGW.0301"},
		"temporary key": {"{access_key: {id: {file: id}, secret: {file: secret}, security_token: {file: security}}}",
			map[string]string{"id": "OLD", "secret": "an-old-secret", "security": "an-old-security-token"},
			map[string]string{"id": options.AccessKey, "secret": options.SecretKey, "security": options.SecurityToken}, "ak not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			put := func(files map[string]string) {
				for name, text := range files {
					write(t, filepath.Join(folder, name), text+"\n")
				}
			}
			put(test.wrong)
			file := filepath.Join(folder, "gatewright.yaml")
			write(t, file, "connections: [{name: github, kind: github, secrets: [{env: HOOK}]}]\n"+
				strings.ReplaceAll("huaweicloud: {endpoints: {codecheck: $URL, servicestage: $URL}, auth: "+test.auth+"}\n", "$URL", `"`+listener.URL+`"`))
			write(t, filepath.Join(folder, "rules.yaml"), "version: 1\nrules: [{name: none, on: [push], ignore: true}]\n")
			lookup := func(name string) (string, bool) { return "a-secret-of-the-webhook", name == "HOOK" }
			cfg, policy, err := Load(file, lookup)
			if err != nil {
				t.Fatal(err)
			}
			var logged strings.Builder
			replaced := make(chan struct{}, 8)
			log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{MessageKey: "msg"}), zapcore.Lock(zapcore.AddSync(&logged)), zap.DebugLevel),
				zap.Hooks(func(e zapcore.Entry) error {
					if e.Message == "credentials of Huawei Cloud replaced" {
						replaced <- struct{}{}
					}
					return nil
				}))
			registry := prometheus.NewRegistry()
			r, err := newReloader(Options{Config: cfg, Policy: policy, File: file, LookupEnv: lookup, Log: log}, registry)
			if err != nil {
				t.Fatal(err)
			}
			if r.accounts, err = newAccounts(cfg, rests{memory: noMemory{}, registry: registry, log: log}); err != nil {
				t.Fatal(err)
			}
			defer r.accounts.close()
			if r.hosts, err = newHosts(cfg, registry); err != nil {
				t.Fatal(err)
			}
			if r.endpoint, err = webhook.New(webhook.Options{Connections: webhookConnections(cfg), Inbox: nobody{}}); err != nil {
				t.Fatal(err)
			}
			read := func() error { return r.accounts[""].checker.ReadProject(t.Context(), options.Projects[0].ID) }
			if err := read(); err == nil || !strings.Contains(err.Error(), test.refusal) {
				t.Fatalf("with what is wrong: %v, want %q", err, test.refusal)
			}
			r.record = func(context.Context, string, string) error { return nil }
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); r.run(ctx) }()
			put(test.right)
			err = errors.New("no reload")
			for end := time.After(time.Minute); err != nil; err = read() {
				select {
				case <-replaced:
				case <-end:
					t.Fatalf("the new ones are not used: %v", err)
				}
			}
			stop()
			<-done
			for _, files := range []map[string]string{test.wrong, test.right} {
				for _, secret := range files {
					if strings.Contains(logged.String(), secret) && len(secret) > 3 {
						t.Errorf("%q is logged", secret)
					}
				}
			}
		})
	}
}

// TestProxy holds that huaweicloud.proxy carries the calls, whatever the environment names,
// also those to loopback.
func TestProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	asked := make(chan string, 1)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.RequestURI
		_, _ = w.Write([]byte(`{"tasks":[],"total":0}`))
	}))
	defer proxy.Close()
	file := filepath.Join(t.TempDir(), "gatewright.yaml")
	write(t, file, `connections: [{name: github, kind: github, secrets: [{env: A}]}]
huaweicloud:
  endpoints: {codecheck: "http://127.0.0.1:2/check", servicestage: "http://127.0.0.1:2"}
  proxy: `+proxy.URL+`
  auth: {access_key: {id: {env: A}, secret: {env: B}}}
`)
	cfg, err := LoadConfig(file, func(name string) (string, bool) { return "a-secret-named-" + name, true })
	if err != nil {
		t.Fatal(err)
	}
	clients, err := newAccounts(cfg, rests{memory: noMemory{}})
	if err != nil {
		t.Fatal(err)
	}
	defer clients.close()
	if err := clients[""].checker.ReadProject(t.Context(), "41b8df4bf53f4d51b8e6c5b32e8d2a07"); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; !strings.HasPrefix(got, "http://127.0.0.1:2/check/v2/41b8df4bf53f4d51b8e6c5b32e8d2a07/tasks") {
		t.Errorf("the proxy was asked for %s", got)
	}
}

// TestMissingAccount holds that a record of an account which is not configured any more is
// not tried again and again.
func TestMissingAccount(t *testing.T) {
	t.Parallel()
	none := accounts{}
	run, _, _, prepared := checkers{none}.Prepare(t.Context(), codecheck.Run{Check: rules.Check{Account: "gone"}})
	_, _, polled := checkers{none}.Poll(t.Context(), run)
	deleted := checkers{none}.Delete(t.Context(), codecheck.Task{Account: "gone"})
	_, _, _, followed := operators{none}.Follow(t.Context(), release.Release{Plan: rules.Release{Account: "gone"}})
	for _, err := range []error{prepared, polled, deleted, followed, checkers{none}.Stop(t.Context(), run)} {
		var failure interface{ Retryable() bool }
		if !errors.As(err, &failure) || failure.Retryable() || !strings.Contains(err.Error(), `no account "gone" any more`) {
			t.Errorf("error %v", err)
		}
	}
}
