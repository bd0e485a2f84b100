package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/notify"
	"github.com/gatewright/gatewright/internal/release"
)

// TestNoticesOfOneRelease: whoever is to approve hears of a release that is held, and once more when its pipeline
// waits at a checkpoint.
func TestNoticesOfOneRelease(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var heard []notify.Notice
	target := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			Data struct{ Notices []notify.Notice }
		}
		text, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(text, &body)
		}
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		heard = append(heard, body.Data.Notices...)
	}))
	defer target.Close()
	told := func() []notify.Notice {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(heard)
	}
	opts := heldBy("approvals: {count: 1, groups: [leads]}")
	people := opts.Server
	opts.Secrets = map[string]string{"NOTICES": target.URL, "NOTICES_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
	opts.Server = func(text string) string {
		text = strings.Replace(people(text), "auth: ${AUTH}", "auth: {none: {person: ada}}", 1)
		return text + "notify: [{name: lead, kind: webhook, url: {env: NOTICES}, secret: {env: NOTICES_SECRET}, per_minute: 60, events: [approval_wanted]}]\n"
	}
	d := apptest.OnSQLiteWith(t, opts)

	r := held(t, d).Releases[0]
	apptest.WaitFor(t, "it is told that it is held", func() bool { return len(told()) == 1 })
	newAPIClient(t, d, "").ask(t, 200, http.MethodPost, "/releases/{id}/approve", "", `{"reason": "read", "commit": "`+d.World.Clean+`"}`, map[string]string{"If-Match": "*"}, r.ID)
	d.Until(t, "the checkpoint waits", func(r demo.Records) bool { return r.Releases[0].State == release.AwaitingApproval })
	apptest.WaitFor(t, "it is told that a checkpoint waits", func() bool { return len(told()) == 2 })
	if wanted := told(); slices.ContainsFunc(wanted, func(n notify.Notice) bool { return n.RecordID != r.ID }) || wanted[0].Reason == wanted[1].Reason {
		t.Errorf("notices %+v", wanted)
	}
}
