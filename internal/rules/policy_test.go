package rules_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/strictyaml"
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

// TestPipelineNames resolves the names that the server file gives to pipelines, and complains
// of others with the nearest name.
func TestPipelineNames(t *testing.T) {
	const id = "caf409b1-10df-483a-b14d-7b05f7e12c88"
	load := func(pipelines map[string]string, entries string) (*rules.Policy, strictyaml.Complaints) {
		return rules.LoadWith(pipelines, rules.Source{Name: "rules.yaml", Data: []byte(`version: 1
defaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}
rules: [{name: a, on: push, check: {}, release: [` + entries + `]}]`)})
	}
	names := map[string]string{"shop": id, "web": "d5c06f2e-7a41-4b0f-9c1e-000000000001"}
	policy, complaints := load(names, `{pipeline: shop, action: start}, {pipeline: `+id+`, action: approve, task: t}`)
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	for _, r := range policy.Targets()[0].Releases {
		if r.Pipeline != id || r.PipelineName != "shop" {
			t.Errorf("%s of %q, which is called %q", r.Action, r.Pipeline, r.PipelineName)
		}
	}
	for entries, want := range map[string]string{
		`{pipeline: shpo, action: start}`:                                        `"shpo" is not a name in huaweicloud.pipelines of the server file; did you mean "shop"?`,
		`{pipeline: x, action: start}`:                                           `known here: shop, web`,
		`{pipeline: shop, action: start}, {pipeline: ` + id + `, action: start}`: `starts a pipeline that this rule starts already`,
	} {
		if _, complaints := load(names, entries); !strings.Contains(complaints.Error(), want) {
			t.Errorf("%s: %v, want %q", entries, complaints, want)
		}
	}
	if _, complaints := load(map[string]string{}, `{pipeline: shop, action: start}`); !strings.Contains(complaints.Error(), "write huaweicloud.pipelines: {shop: ID} there") {
		t.Errorf("no names: %v", complaints)
	}
	policy, complaints = load(nil, `{pipeline: shop, action: start}`)
	if len(complaints) > 0 || len(policy.Warnings()) != 1 || !strings.Contains(policy.Warnings().Error(), "only the server file can resolve") {
		t.Errorf("without a server file: %v", complaints)
	}
}
