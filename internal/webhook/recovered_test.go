package webhook_test

import (
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

const recoveredCommit = "1f2e3d4c5b6a79881726354453627180a1b2c3d4"

// TestParseRecovered: what was read from a host is bound and checked as what it sends by itself.
func TestParseRecovered(t *testing.T) {
	c := webhook.Connection{Name: "c", Host: event.GitLab, URL: "https://git.example.com/sub"}
	push := `{"connection":"other","kind":"push","action":"updated","repository":{"host":"github","id":"7","full_name":"acme/api","https_url":"https://evil.example.com/x.git"},"branch":"main","head_sha":"` + recoveredCommit + `"}`
	ev, err := webhook.ParseRecovered(c, []byte(push))
	if err != nil || ev.Connection != "c" || ev.Repository.Host != event.GitLab || ev.Repository.HTTPSURL != "https://git.example.com/sub/acme/api.git" || !ev.NewCode || ev.IgnoredReason != "" {
		t.Errorf("event %+v, error %v", ev, err)
	}
	deleted := strings.Replace(push, `"action":"updated"`, `"action":"deleted","deleted":true`, 1)
	if ev, err := webhook.ParseRecovered(c, []byte(deleted)); err != nil || ev.IgnoredReason == "" || ev.NewCode {
		t.Errorf("a deletion is %+v, error %v", ev, err)
	}
	for name, body := range map[string]string{
		"not JSON":          `{`,
		"unknown field":     `{"kind":"push","x":1}`,
		"a comment":         strings.Replace(push, `"push"`, `"comment"`, 1),
		"no branch":         strings.Replace(push, `"main"`, `""`, 1),
		"no commit":         strings.Replace(push, recoveredCommit, "", 1),
		"a short commit":    strings.Replace(push, recoveredCommit, recoveredCommit[:8], 1),
		"no id":             strings.Replace(push, `"id":"7"`, `"id":""`, 1),
		"an id of words":    strings.Replace(push, `"id":"7"`, `"id":"7 x"`, 1),
		"a name with dots":  strings.Replace(push, "acme/api", "acme/..", 1),
		"a branch too long": strings.Replace(push, `"main"`, `"`+strings.Repeat("x", 2000)+`"`, 1),
		"no number":         strings.Replace(push, `"push"`, `"merge_request"`, 1),
	} {
		if ev, err := webhook.ParseRecovered(c, []byte(body)); err == nil {
			t.Errorf("%s is read as %+v", name, ev)
		}
	}
	if _, err := webhook.ParseRecovered(webhook.Connection{Name: "c", Host: "svn"}, []byte(push)); err == nil {
		t.Error("an unknown host is read")
	}
}

// FuzzParseRecovered: whatever a host answers, what is read of it is complete.
func FuzzParseRecovered(f *testing.F) {
	f.Add([]byte(`{"kind":"push","action":"updated","repository":{"id":"7","full_name":"acme/api"},"branch":"main","head_sha":"` + recoveredCommit + `"}`))
	f.Add([]byte(`{"kind":"merge_request","action":"closed","number":7,"repository":{"id":"7","full_name":"acme/api"},"branch":"main","head_sha":"` + recoveredCommit + `","labels":["a"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		ev, err := webhook.ParseRecovered(webhook.Connection{Name: "c", Host: event.Gitea, URL: "https://git.example.com"}, body)
		if err != nil {
			return
		}
		if ev.Connection != "c" || ev.Repository.ID == "" || ev.Repository.HTTPSURL == "" || ev.Labels == nil || ev.Kind == event.Push && ev.Branch == "" || ev.Kind == event.MergeRequest && ev.Number <= 0 {
			t.Errorf("event %+v", ev)
		}
	})
}
