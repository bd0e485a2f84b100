package rules_test

import (
	"fmt"
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

// TestEffectiveOfMany: the effective rules of a large policy are one file too.
func TestEffectiveOfMany(t *testing.T) {
	var text strings.Builder
	text.WriteString("version: 1\nrules:\n")
	for i := range 250 {
		fmt.Fprintf(&text, "  - {name: rule-%d, on: push, match: {branch: b-%d}, ignore: true}\n", i, i)
	}
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte(text.String())})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	effective, err := policy.Effective()
	if err != nil {
		t.Fatal(err)
	}
	again, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: effective})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	infos := again.Rules()
	if len(infos) != 250 || infos[249].Name != "rule-249" || again.Hash() != policy.Hash() {
		t.Errorf("%d rules with hash %s came back, want 250 with hash %s", len(infos), again.Hash(), policy.Hash())
	}
}
