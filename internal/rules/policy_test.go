package rules_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/rules"
)

func TestCheckConnections(t *testing.T) {
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte(`
version: 1
rules:
  - {name: any, on: tag, ignore: true}
  - {name: fits, on: push, match: {connection: ["git*"], branch: a}, ignore: true}
  - {name: misspelt, on: push, match: {connection: githubb, branch: b}, ignore: true}
`)})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	got := policy.CheckConnections([]string{"github", "gitee"})
	if len(got) != 1 || got[0].Line != 6 || !strings.Contains(got[0].String(), `"github", "gitee"`) {
		t.Errorf("complaints %v", got)
	}
}
