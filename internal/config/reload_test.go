package config_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/config"
)

const runningFile = `
http: {addr: "127.0.0.1:8080"}
store: {postgres: {dsn: {file: dsn}}}
connections:
  - name: hub
    kind: github
    secrets: [{file: hub}]
  - name: lab
    kind: gitlab
    secrets: [{file: lab}]
huaweicloud:
  region: cn-north-4
  ca_file: ca.pem
  auth: {access_key: {id: {file: ak}, secret: {file: sk}}}
accounts:
  partner: {region: cn-south-1, ca_file: ca.pem, auth: {access_key: {id: {file: ak2}, secret: {file: sk2}}}}
`

// runningSecrets are the files that it names.
var runningSecrets = map[string]string{"dsn": "postgres://one", "hub": "hub one", "lab": "lab one", "ak": "ak one", "sk": "sk one", "ak2": "ak of partner", "sk2": "sk of partner",
	"new": "new one", "key": appKey(), "signing": "whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg=="}

// loadText loads a server file with its secrets; edits replace what a file holds, or a
// text of the server file.
func loadText(t *testing.T, edits map[string]string) *config.Config {
	t.Helper()
	text := runningFile
	for before, after := range edits {
		text = strings.ReplaceAll(text, before, after)
	}
	readFile := func(path string) ([]byte, error) {
		if edited, ok := edits["file "+path]; ok {
			return []byte(edited), nil
		}
		if path == "ca.pem" {
			return os.ReadFile("testdata/files/ca.pem")
		}
		return []byte(runningSecrets[path]), nil
	}
	c, complaints := config.Load("gatewright.yaml", []byte(text), kinds(), environment, readFile)
	if c == nil {
		t.Fatal(complaints)
	}
	return c
}

// TestReloaded holds what a running server takes over from its file, what it leaves for
// a restart and names, and that each of them shows in the hash when it is in force.
func TestReloaded(t *testing.T) {
	ca, err := os.ReadFile("testdata/files/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	first := func(name string) func(*config.Config) string {
		return func(c *config.Config) string {
			conn, _ := c.Connection(name)
			return conn.Secrets[0].Value()
		}
	}
	for _, test := range []struct {
		name    string
		edits   map[string]string
		restart []string
		value   func(*config.Config) string
		want    string
	}{
		{"nothing", nil, nil, first("hub"), "hub one"},
		{"webhook secret", map[string]string{"file hub": "hub two\n"}, nil, first("hub"), "hub two"},
		{"one more webhook secret", map[string]string{"[{file: hub}]": "[{file: new}, {file: hub}]"}, nil, first("hub"), "new one"},
		{"a signing token", map[string]string{"[{file: lab}]": "[{file: lab}]\n    signing_tokens: [{file: signing}]"}, nil, first("lab"), "lab one"},
		{"an API token", map[string]string{"[{file: lab}]": "[{file: lab}]\n    token: {file: new}"}, nil,
			func(c *config.Config) string { return c.Connections[1].Token.Value() }, "new one"},
		{"an App in place of nothing", map[string]string{"[{file: hub}]": "[{file: hub}]\n    app: {id: 7, installation: 8, private_key: {file: key}}"}, nil,
			func(c *config.Config) string { return c.Connections[0].App.Key() + c.Connections[0].APIURL }, strings.TrimSpace(appKey()) + "https://api.github.com"},
		{"an account to clone with", map[string]string{"[{file: lab}]": "[{file: lab}]\n    clone: {username: reader, token: {file: new}}"}, nil,
			func(c *config.Config) string { return c.Connections[1].Clone.Token.Value() }, "new one"},
		{"secret key", map[string]string{"file sk": "sk two"}, nil,
			func(c *config.Config) string { return c.HuaweiCloud.Auth.AccessKey.Secret.Value() }, "sk two"},
		{"secret key of an account", map[string]string{"file sk2": "sk2 two"}, nil,
			func(c *config.Config) string { return c.Accounts["partner"].Auth.AccessKey.Secret.Value() }, "sk2 two"},
		{"a name of an account's pipeline", map[string]string{"partner: {": "partner: {pipelines: {shop: caf409b1-10df-483a-b14d-7b05f7e12c88}, "}, nil,
			func(c *config.Config) string { return c.Pipelines()["shop"] }, "caf409b1-10df-483a-b14d-7b05f7e12c88"},
		{"another account", map[string]string{"  partner:": "  other: {region: cn-south-2, auth: {access_key: {id: {file: ak}, secret: {file: sk}}}}\n  partner:"}, []string{"accounts.other"},
			func(c *config.Config) string { return strings.Join(c.AccountNames(), " ") }, " partner"},
		{"a region of an account", map[string]string{"cn-south-1": "cn-south-4"},
			[]string{"accounts.partner.endpoints.codecheck", "accounts.partner.endpoints.iam", "accounts.partner.endpoints.pipeline", "accounts.partner.endpoints.servicestage", "accounts.partner.region"},
			func(c *config.Config) string { return c.Accounts["partner"].Region }, "cn-south-1"},
		{"rules", map[string]string{"http:": "rules: other.yaml\nhttp:"}, nil, func(c *config.Config) string { return c.Rules }, "other.yaml"},
		{"a name of a pipeline", map[string]string{"huaweicloud:": "huaweicloud:\n  pipelines: {shop: caf409b1-10df-483a-b14d-7b05f7e12c88}"}, nil,
			func(c *config.Config) string { return c.HuaweiCloud.Pipelines["shop"] }, "caf409b1-10df-483a-b14d-7b05f7e12c88"},
		{"address", map[string]string{":8080": ":9090"}, []string{"http.addr"}, func(c *config.Config) string { return c.HTTP.Addr }, "127.0.0.1:8080"},
		{"database password", map[string]string{"file dsn": "postgres://two"}, []string{"store.postgres.dsn"},
			func(c *config.Config) string { return c.Store.Postgres.DSN.Value() }, "postgres://one"},
		{"certificates", map[string]string{"file ca.pem": string(ca) + string(ca)}, []string{"accounts.partner.ca_file", "huaweicloud.ca_file"}, first("hub"), "hub one"},
		{"another connection", map[string]string{"name: lab": "name: lap", "file hub": "hub two"}, []string{"connections[1].name"}, first("hub"), "hub two"},
		{"one connection less", map[string]string{"  - name: lab\n    kind: gitlab\n    secrets: [{file: lab}]\n": ""}, []string{"connections"}, first("lab"), "lab one"},
		{"another way to authorise", map[string]string{"access_key: {id: {file: ak}, secret: {file: sk}}": "password: {user: u, domain: d, password: {file: sk}}"},
			[]string{"huaweicloud.auth.access_key", "huaweicloud.auth.password"},
			func(c *config.Config) string { return c.HuaweiCloud.Auth.AccessKey.ID.Value() }, "ak one"},
	} {
		t.Run(test.name, func(t *testing.T) {
			running, next := loadText(t, nil), loadText(t, test.edits)
			before := hash(t, running, "rules")
			inForce, restart, err := running.Reloaded(next)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.restart, restart); diff != "" {
				t.Errorf("what needs a restart (-want +got):\n%s", diff)
			}
			if got := test.value(inForce); got != test.want {
				t.Errorf("in force is %q, want %q", got, test.want)
			}
			if hash(t, running, "rules") != before {
				t.Error("the running configuration was changed")
			}
			// A change that waits for a restart is not in force.
			if changed := len(test.edits) > len(test.restart); (hash(t, inForce, "rules") != before) != changed {
				t.Errorf("the hash says changed: %v", !changed)
			}
			if hash(t, inForce, "other rules") == hash(t, inForce, "rules") {
				t.Error("the hash does not depend on the rules")
			}
		})
	}
}

func hash(t *testing.T, c *config.Config, rules string) string {
	t.Helper()
	hash, err := c.Hash(rules)
	if err != nil || len(hash) != 12 {
		t.Fatalf("hash %q, error %v", hash, err)
	}
	return hash
}
