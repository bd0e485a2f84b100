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
		if _, err := json.Marshal(answer); err != nil {
			t.Error(err)
		}
	})
}

// TestPayloadWithoutSecrets: what may be a secret is removed, wherever it stands.
func TestPayloadWithoutSecrets(t *testing.T) {
	var p Payload
	var body any
	text := `{"password": "hunter2", "sign": "c2ln", "hook": {"config": {"secret": "hunter2", "url": "https://ann:hunter2@example.com/x?token=hunter2&a=1"}}, "list": [{"access_token": "hunter2"}],
		"text": "see ghp_hunter2hunter2hunter2hunter2", "tokens_url": "https://api.github.com/tokens", "ref": "refs/heads/main", "token": 2}`
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatal(err)
	}
	out, err := json.Marshal(p.clean("", body))
	if err != nil {
		t.Fatal(err)
	}
	for _, kept := range []string{"refs/heads/main", "https://api.github.com/tokens", "a=1"} {
		if !strings.Contains(string(out), kept) {
			t.Errorf("%q is gone: %s", kept, out)
		}
	}
	if strings.Contains(string(out), "hunter2") || strings.Contains(string(out), "c2ln") || p.Removed < 7 {
		t.Errorf("%d removed: %s", p.Removed, out)
	}
}
