package app_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// TestHTTPSurface asks what strangers and probes ask.
func TestHTTPSurface(t *testing.T) { apptest.Each(t, demo.Options{}, testHTTPSurface) }

func testHTTPSurface(t *testing.T, d apptest.Service) {
	ask := func(method, path, body string, header ...string) (int, string) {
		t.Helper()
		base := d.Base()
		if rest, private := strings.CutPrefix(path, "private:"); private {
			base, path = d.Private(), rest
		}
		request, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			request.Header.Set(header[i], header[i+1])
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		answer, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(answer)
	}
	apptest.WaitFor(t, "it is ready", func() bool { return apptest.Answers(d.Private() + "/readyz") })
	token := d.Secrets["DEMO_GITLAB_TOKEN"]
	for _, test := range []struct {
		name, method, path, body string
		header                   []string
		want                     int
		wantText                 string
	}{
		{"alive", "GET", "private:/healthz", "", nil, 200, "ok"},
		{"ready", "GET", "private:/readyz", "", nil, 200, "ready"},
		{"metrics", "GET", "private:/metrics", "", nil, 200, "gatewright_rules_info{hash="},
		{"metrics of the database", "GET", "private:/metrics", "", nil, 200, `gatewright_runs{state="passed"} 0`},
		{"no metrics in public", "GET", "/metrics", "", nil, 404, "not_found"},
		{"no health in public", "GET", "/healthz", "", nil, 404, "not_found"},
		{"no readiness in public", "GET", "/readyz", "", nil, 404, "not_found"},
		{"no webhooks in private", "POST", "private:/webhooks/gitlab", "{}", nil, 404, "not_found"},
		{"nothing there", "GET", "/secrets", "", nil, 404, "not_found"},
		{"wrong method", "GET", "/webhooks/github", "", nil, 405, "method_not_allowed"},
		{"unknown connection", "POST", "/webhooks/nobody", "{}", nil, 404, "connection"},
		{"no signature", "POST", "/webhooks/github", "{}", []string{"X-GitHub-Event", "push"}, 401, "error"},
		{"wrong token", "POST", "/webhooks/gitlab", "{}", []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", "wrong"}, 401, "error"},
		{"not JSON", "POST", "/webhooks/gitlab", "{", []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", token}, 400, "JSON"},
		{"unwanted", "POST", "/webhooks/gitlab", `{"object_kind":"issue"}`, []string{"X-Gitlab-Event", "Issue Hook", "X-Gitlab-Token", token}, 202, "accepted"},
		{"not what it claims", "POST", "/webhooks/gitlab", `{"object_kind":"push","ref":7}`, []string{"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", token}, 202, "accepted"},
	} {
		t.Run(test.name, func(t *testing.T) {
			status, answer := ask(test.method, test.path, test.body, test.header...)
			if status != test.want || !strings.Contains(answer, test.wantText) {
				t.Errorf("got %d %s, want %d with %q", status, answer, test.want, test.wantText)
			}
			if strings.Contains(answer, token) {
				t.Error("the answer holds a secret")
			}
		})
	}
	r := d.Until(t, "both authentic ones have ended", func(r demo.Records) bool {
		return len(r.Deliveries) == 2 && r.Decided()
	})
	for i, want := range []event.DeliveryState{event.DeliveryIgnored, event.DeliveryFailed} {
		if r.Deliveries[i].State != want || r.Deliveries[i].Reason == "" {
			t.Errorf("delivery %d ended %s for %q, want %s", i, r.Deliveries[i].State, r.Deliveries[i].Reason, want)
		}
	}
	// The failed one is taken again when the host sends it again.
	status, _ := ask("POST", "/webhooks/gitlab", `{"object_kind":"push","ref":7}`, "X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", token)
	if status != http.StatusAccepted {
		t.Errorf("a failed delivery that came again was answered %d", status)
	}
	// What the queue has begun it must be able to end, or it would go on trying.
	apptest.WaitFor(t, "no job is left", func() bool {
		left := 0
		err := d.Store().View(t.Context(), func(tx *store.Tx) error {
			jobs, err := tx.CountJobs(t.Context())
			for _, number := range jobs {
				left += number
			}
			return err
		})
		return err == nil && left == 0
	})
	if err := d.Store().Close(); err != nil {
		t.Fatal(err)
	}
	for path, header := range map[string][]string{
		"/webhooks/gitlab": {"X-Gitlab-Event", "Push Hook", "X-Gitlab-Token", token},
	} {
		if status, answer := ask("POST", path, `{"object_kind":"other"}`, header...); status != http.StatusServiceUnavailable {
			t.Errorf("with the database gone: %d %s", status, answer)
		}
	}
	if status, _ := ask("GET", "private:/readyz", ""); status != http.StatusServiceUnavailable {
		t.Errorf("ready with the database gone: %d", status)
	}
	if status, _ := ask("GET", "private:/healthz", ""); status != http.StatusOK {
		t.Errorf("not alive with the database gone: %d", status)
	}
}
