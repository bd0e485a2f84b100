package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/webhook"
)

// FuzzEvaluate: whatever is sent to be evaluated is refused with 400 or 422, or evaluated.
func FuzzEvaluate(f *testing.F) {
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte("version: 1\nrules: [{name: main, on: [push, merge_request], match: {branch: [main]}, ignore: true}]\n")})
	if complaints != nil {
		f.Fatal(complaints)
	}
	parse := func(d event.Delivery) (event.Event, error) {
		return webhook.Parse(webhook.Connection{Name: "github", Host: event.GitHub, URL: "https://github.com"}, d.Header, d.Body)
	}
	for _, seed := range []string{
		`{}`, `{"delivery_id": "x"}`, `[]`, `{"connection": "github", "headers": {"X-GitHub-Event": "push"}, "payload": {"ref": "refs/heads/main", "after": "` + strings.Repeat("a", 40) + `"}}`,
		`{"connection": "github", "headers": {"X-GitHub-Event": "ping"}, "payload": "{}"}`, `{"connection": "github", "payload": null}`, `{"connection": "", "payload": {}} x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var wanted Evaluate
		err := decode(body, &wanted)
		var answer Evaluation
		if err == nil && wanted.DeliveryID == "" {
			d, failed := wanted.delivery()
			if err = failed; err == nil {
				answer, err = evaluate(policy, parse, d, wanted.AllRules)
			}
		}
		if p, known := err.(problem); err != nil && (!known || p.status != http.StatusBadRequest && p.status != http.StatusUnprocessableEntity) {
			t.Errorf("error %v", err)
		}
		if err != nil && (strings.Contains(err.Error(), "Go ") || strings.Contains(err.Error(), "api.")) {
			t.Errorf("the error names a type of ours: %v", err)
		}
		if _, err := json.Marshal(answer); err != nil {
			t.Error(err)
		}
	})
}
