package configs_test

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/webhook"
)

// dummy stands for a secret that the examples name; it has the form of a signing
// token, so that it can be any of them.
func dummy(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "whsec_" + base64.StdEncoding.EncodeToString(sum[:])
}

func env(name string) (string, bool) { return dummy(name), true }

func readFile(path string) ([]byte, error) {
	if filepath.IsAbs(path) {
		return []byte(dummy(path)), nil
	}
	return os.ReadFile(path)
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s: %v", pattern, err)
	}
	return files
}

func TestPipelines(t *testing.T) {
	pipelines, err := standin.LoadPipelines("standin/pipelines.yaml", read(t, "standin/pipelines.yaml"))
	if err != nil || len(pipelines) != 1 || !slices.Equal(pipelines[0].Checkpoints(), []string{"k2m8qa"}) {
		t.Errorf("pipelines %+v, error %v", pipelines, err)
	}
}

func TestCodePipelines(t *testing.T) {
	pipelines, err := standin.LoadCodePipelines("standin/code-pipelines.yaml", read(t, "standin/code-pipelines.yaml"))
	if err != nil || len(pipelines) != 1 || !slices.Equal(pipelines[0].Reviews(), []string{"Deploy/Rollout/Confirm"}) {
		t.Errorf("pipelines %+v, error %v", pipelines, err)
	}
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Every example can be used as it stands: the server file loads, and so do the rules
// that it names, both without a warning.
func TestExamplesLoad(t *testing.T) {
	used := map[string][]rules.Connection{} // rules file: the connections of the server files that use it
	groups := map[string]map[string]rules.Group{}
	for _, file := range glob(t, "*.yaml") {
		if file == "rules.yaml" {
			continue
		}
		t.Run(file, func(t *testing.T) {
			c, complaints := config.Load(file, read(t, file), kinds(), env, readFile)
			if len(complaints) > 0 {
				t.Fatal(complaints)
			}
			if warnings := c.Warnings(); len(warnings) > 0 {
				t.Errorf("warnings:\n%v", warnings)
			}
			groups[c.Rules] = map[string]rules.Group{}
			for name, group := range c.Groups {
				groups[c.Rules][name] = rules.Group{People: c.PeopleOf(name), Claim: group.Claim != ""}
			}
			for _, connection := range c.Connections {
				used[c.Rules] = append(used[c.Rules], rules.Connection{Name: connection.Name, RepoType: connection.RepoType})
			}
		})
	}
	for _, file := range append(glob(t, "rules/*.yaml"), "rules.yaml") {
		t.Run(file, func(t *testing.T) {
			policy, complaints := rules.Load(rules.Source{Name: file, Data: read(t, file)})
			if len(complaints) > 0 {
				t.Fatal(complaints)
			}
			server := rules.Server{Connections: used[file], Groups: groups[file], Accounts: map[string]rules.Account{"": {CreateV3: true}}}
			if complaints := policy.CheckFor(server); len(complaints) > 0 {
				t.Errorf("complaints:\n%v", complaints)
			}
			if warnings := append(policy.Warnings(), policy.WarningsFor(server)...); len(warnings) > 0 {
				t.Errorf("warnings:\n%v", warnings)
			}
			if len(policy.Rules()) == 0 {
				t.Error("there is no rule")
			}
			if used[file] == nil {
				t.Error("no server file uses these rules")
			}
		})
	}
}

// There is a server file and a rules file for each host, and the server file has no
// connection of another kind.
func TestEachHostHasItsExample(t *testing.T) {
	for _, host := range []string{"github", "gitlab", "gitee", "gitea"} {
		file := host + ".yaml"
		c, complaints := config.Load(file, read(t, file), kinds(), env, readFile)
		if len(complaints) > 0 {
			t.Fatal(complaints)
		}
		if c.Rules != filepath.Join("rules", host+".yaml") {
			t.Errorf("%s uses the rules %s", file, c.Rules)
		}
		if slices.ContainsFunc(c.Connections, func(c config.Connection) bool { return c.Kind != host }) {
			t.Errorf("%s has a connection of another kind", file)
		}
	}
}

// kinds are the kinds of git hosts that a server file can name.
func kinds() []config.Kind {
	var kinds []config.Kind
	for _, kind := range webhook.Kinds() {
		kinds = append(kinds, config.Kind(kind))
	}
	return kinds
}
