package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/rules"
)

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
