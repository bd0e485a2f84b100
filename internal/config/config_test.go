package config_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/webhook"
)

// environment is what the cases find in their environment. Every secret that a case
// can reach holds the word hunter2, which no output may show.
func environment(name string) (string, bool) {
	value, found := map[string]string{
		"ACCESS_KEY":          "hunter2-access",
		"SECRET_KEY":          "hunter2-secret-key",
		"SHORT":               "hunter2-shorter",
		"SIGNING_TOKEN":       "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg==",
		"SIGNING_TOKEN_2":     "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMw==",
		"EMPTY":               " \n",
		"APP_KEY":             appKey(),
		"APP_KEY_ON_ONE_LINE": strings.ReplaceAll(appKey(), "\n", `\n`),
	}[name]
	// A secret for each connection of a case: SECRET, SECRET_2 and so on.
	if number, ok := strings.CutPrefix(name, "SECRET"); ok && !found {
		return "hunter2-of-a-connection" + number, true
	}
	return value, found
}

const secretWord = "hunter2"

// appKey is the private key of a GitHub App.
var appKey = sync.OnceValue(func() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
})

// kinds are those of the service.
func kinds() []config.Kind {
	var kinds []config.Kind
	for _, kind := range webhook.Kinds() {
		kinds = append(kinds, config.Kind(kind))
	}
	return kinds
}

func load(t *testing.T, file string) (*config.Config, string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, complaints := config.Load(file, data, kinds(), environment, os.ReadFile)
	if (c == nil) != (len(complaints) > 0) {
		t.Fatalf("config %v together with complaints %v", c, complaints)
	}
	if c == nil {
		return nil, complaints.Error() + "\n"
	}
	return c, ""
}

func cases(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", folder, err)
	}
	return files
}

func TestRedacted(t *testing.T) {
	for _, file := range cases(t, "good") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, complaints := load(t, file)
			if c == nil {
				t.Fatal(complaints)
			}
			out, err := c.Redacted()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(out), secretWord) {
				t.Errorf("a secret is printed:\n%s", out)
			}
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".golden", string(out))

			var asJSON bytes.Buffer
			if out, err = c.JSON(); err != nil {
				t.Fatal(err)
			}
			if err := json.Indent(&asJSON, out, "", "  "); err != nil {
				t.Fatalf("not JSON: %v\n%s", err, out)
			}
			if strings.Contains(asJSON.String(), secretWord) {
				t.Errorf("a secret is printed:\n%s", asJSON.String())
			}
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".json", asJSON.String()+"\n")
		})
	}
}

func TestComplaints(t *testing.T) {
	for _, file := range cases(t, "bad") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, complaints := load(t, file)
			if c != nil {
				t.Fatal("no complaint")
			}
			if strings.Contains(complaints, secretWord) {
				t.Errorf("a secret is printed:\n%s", complaints)
			}
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".golden", complaints)
		})
	}
}

// TestLoadFor: only the secrets that are needed are read, and only they are missed.
func TestLoadFor(t *testing.T) {
	const file = "testdata/needs.yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		needs     config.Needs
		complains string
	}{
		{config.Needs{}, ""},
		{config.Needs{Database: true}, "store.postgres.dsn: the environment variable ABSENT_DSN is not set"},
		{config.Needs{Connection: "ready"}, ""},
		{config.Needs{Connection: "other"}, "connections[1].signing_tokens[0]: the environment variable ABSENT_TOKEN is not set"},
	} {
		c, complaints := config.LoadFor(test.needs, file, data, kinds(), environment, os.ReadFile)
		if (test.complains == "") != (len(complaints) == 0) || len(complaints) > 1 || !strings.Contains(complaints.Error(), test.complains) {
			t.Errorf("%+v: complaints %v, want %q", test.needs, complaints, test.complains)
		}
		if c == nil {
			continue
		}
		ready, _ := c.Connection("ready")
		if got := ready.Secrets[0].Value(); (got != "") != (test.needs.Connection == "ready") {
			t.Errorf("%+v: the connection's secret is read: %t", test.needs, got != "")
		}
	}
}

// TestWarnings compares the warnings about each testdata/warn/*.yaml; a good file has none.
func TestWarnings(t *testing.T) {
	for _, file := range cases(t, "warn") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			c, complaints := load(t, file)
			if c == nil {
				t.Fatal(complaints)
			}
			golden.Text(t, strings.TrimSuffix(file, ".yaml")+".golden", c.Warnings().Error()+"\n")
		})
	}
	for _, file := range cases(t, "good") {
		if c, _ := load(t, file); len(c.Warnings()) > 0 {
			t.Errorf("%s: warnings %v", file, c.Warnings())
		}
	}
}

// TestValues holds what the golden files cannot show, because it is hidden or a type.
func TestValues(t *testing.T) {
	c, complaints := load(t, "testdata/good/everything.yaml")
	if c == nil {
		t.Fatal(complaints)
	}
	hub, found := c.Connection("hub")
	if !found {
		t.Fatal("connection hub is not found")
	}
	for name, pair := range map[string][2]any{
		"secret from the environment":         {hub.Secrets[0].Value(), "hunter2-of-a-connection"},
		"secret from a file, its end trimmed": {hub.Token.Value(), "hunter2-from-a-file"},
		"access key":                          {c.HuaweiCloud.Auth.AccessKey.ID.Value(), "hunter2-access"},
		"secret key":                          {c.HuaweiCloud.Auth.AccessKey.Secret.Value(), "hunter2-secret-key"},
		"body limit":                          {c.HTTP.MaxBody, 32 * config.MiB},
		"shutdown grace":                      {c.HTTP.ShutdownGrace, 45 * time.Second},
		"dialect written as a number":         {c.HuaweiCloud.Dialect, config.Dialect2023},
		"rules beside the file":               {c.Rules, filepath.Join("testdata", "good", "rules.d")},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: got %v, want %v", name, pair[0], pair[1])
		}
	}
	if _, found := c.Connection("nobody"); found {
		t.Error("a connection that is not configured is found")
	}
	if pool, err := c.HuaweiCloud.RootCAs(); err != nil || pool == nil {
		t.Errorf("RootCAs with a ca_file: %v, %v", pool, err)
	}
	least, complaints := load(t, "testdata/good/least.yaml")
	if least == nil {
		t.Fatal(complaints)
	}
	if pool, err := least.HuaweiCloud.RootCAs(); err != nil || pool != nil {
		t.Errorf("RootCAs without a ca_file: %v, %v; want the system's, nil", pool, err)
	}
}

// TestConfirms holds before which steps each connection's host is asked.
func TestConfirms(t *testing.T) {
	c, complaints := load(t, "testdata/good/everything.yaml")
	if c == nil {
		t.Fatal(complaints)
	}
	for name, want := range map[string][2]bool{ // runs, releases
		"hub":       {true, true},   // it signs, and says always
		"lab":       {false, false}, // there is no token
		"lab-com":   {true, true},   // it accepts a secret too, which proves no body
		"gitee":     {true, true},
		"gitee-old": {false, false}, // never
		"nobody":    {false, false},
	} {
		connection, _ := c.Connection(name)
		if got := [2]bool{connection.ConfirmsRuns(), connection.ConfirmsReleases()}; got != want {
			t.Errorf("%s: runs and releases %v, want %v", name, got, want)
		}
	}
	if pool, err := connectionOf(t, c, "lab-com").RootCAs(); err != nil || pool == nil {
		t.Errorf("RootCAs with a ca_file: %v, %v", pool, err)
	}
	unconfirmed, complaints := load(t, "testdata/warn/unconfirmed.yaml")
	if unconfirmed == nil {
		t.Fatal(complaints)
	}
	for name, api := range map[string]string{"gitee-asked": "https://gitee.com/api/v5", "github-asked": "https://api.github.com", "gitea-asked": "https://git.example.com/git/api/v1"} {
		if asked := connectionOf(t, unconfirmed, name); asked.APIURL != api || !asked.ConfirmsReleases() || asked.ConfirmsRuns() != (name == "gitee-asked") {
			t.Errorf("%s: API %q, confirms runs %v and releases %v", name, asked.APIURL, asked.ConfirmsRuns(), asked.ConfirmsReleases())
		}
	}
}

func connectionOf(t *testing.T, c *config.Config, name string) config.Connection {
	t.Helper()
	connection, found := c.Connection(name)
	if !found {
		t.Fatalf("connection %q is not found", name)
	}
	return connection
}

func TestRulesPath(t *testing.T) {
	for text, want := range map[string]string{
		"log: {level: info}":         "etc/rules.yaml",
		"rules: rules.d\nunknown: 1": "etc/rules.d",
		"rules: /rules.d":            "/rules.d",
		"rules: [":                   "",
		"":                           "",
	} {
		if got := config.RulesPath("etc/gatewright.yaml", []byte(text)); got != want {
			t.Errorf("RulesPath of %q = %q, want %q", text, got, want)
		}
	}
}

// A secret must not show, however it is printed.
func TestSecretIsHidden(t *testing.T) {
	c, complaints := load(t, "testdata/good/least.yaml")
	if c == nil {
		t.Fatal(complaints)
	}
	secret := c.Connections[0].Secrets[0]
	if secret.Value() != "hunter2-of-a-connection" {
		t.Fatalf("the secret is %q: nothing is tested", secret.Value())
	}
	var log strings.Builder
	logger := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(&log), zap.DebugLevel))
	logger.Info("loaded", zap.Any("secret", secret), zap.Stringer("stringer", secret), zap.Reflect("config", c))
	asJSON, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	printed := map[string]string{"zap": log.String(), "json": string(asJSON)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		printed[verb] = fmt.Sprintf(verb, secret) + fmt.Sprintf(verb, &secret) + fmt.Sprintf(verb, c) + fmt.Sprintf(verb, *c)
	}
	for how, text := range printed {
		if strings.Contains(text, secretWord) || strings.Contains(text, fmt.Sprintf("%x", secretWord)) {
			t.Errorf("%s prints the secret: %s", how, text)
		}
	}
	for _, how := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if !strings.Contains(printed[how], "<secret>") {
			t.Errorf("%s does not say <secret>: %s", how, printed[how])
		}
	}
}

func TestSecretFileTooLong(t *testing.T) {
	const file = `
connections: [{name: github, kind: github, secrets: [{file: /secret}]}]
huaweicloud: {region: cn-north-4, auth: {access_key: {id: {env: ACCESS_KEY}, secret: {env: SECRET_KEY}}}}
`
	for size, want := range map[int]bool{64 << 10: true, 64<<10 + 1: false} {
		c, complaints := config.Load("gatewright.yaml", []byte(file), kinds(), environment, func(string) ([]byte, error) {
			return []byte(strings.Repeat("s", size)), nil
		})
		if (c != nil) != want {
			t.Errorf("a secret of %d bytes: %v", size, complaints)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]config.Size{
		"0": 0, "1": 1, "7B": 7, "512KiB": 512 << 10, "25MiB": 25 << 20, "1GiB": 1 << 30, "3 MiB": 3 << 20, "1536": 1536,
	} {
		got, err := config.ParseSize(text)
		if err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", text, got, err, want)
		}
		if again, err := config.ParseSize(got.String()); err != nil || again != got {
			t.Errorf("%q is printed as %q, which is read as %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{"", "MiB", "-1", "-1MiB", "1.5MiB", "25MB", "1TiB", "9999999999GiB", "0x10", "1KiBB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %d; want an error", text, got)
		}
	}
}

// Whatever the file says, loading ends with either a configuration that can be
// printed or complaints, reads nothing else, and shows no secret.
func FuzzLoad(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	const canary = "canary-6d1f"
	env := func(name string) (string, bool) { return canary + name, name != "" }
	readFile := func(path string) ([]byte, error) {
		if strings.Contains(path, "missing") {
			return nil, &fs.PathError{Op: "open", Path: path, Err: errors.New("no such file")}
		}
		return []byte(canary), nil
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if strings.Contains(string(data), canary) {
			t.Skip("the canary stands in the file itself")
		}
		c, complaints := config.Load("gatewright.yaml", data, kinds(), env, readFile)
		if (c == nil) != (len(complaints) > 0) {
			t.Fatalf("config %v together with complaints %v", c, complaints)
		}
		if c == nil {
			if strings.Contains(complaints.Error(), canary) {
				t.Fatalf("a complaint shows a secret: %v", complaints)
			}
			return
		}
		out, err := c.Redacted()
		if err != nil {
			t.Fatal(err)
		}
		asJSON, err := c.JSON()
		if err != nil || !json.Valid(asJSON) {
			t.Fatalf("not JSON: %v\n%s", err, asJSON)
		}
		if strings.Contains(string(out)+string(asJSON), canary) {
			t.Fatalf("the redacted file shows a secret:\n%s\n%s", out, asJSON)
		}
	})
}
