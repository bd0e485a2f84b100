package dashboard_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/net/html"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/dashboard"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// evil is what a stranger could put into any text.
const evil = `"'></title></textarea></pre><script>alert(1)</script><img src=x onerror=alert(2)><a href="javascript:alert(3)">`

// poison sets every text below a value that is empty to evil, but for those that are ids or words of ours.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			poison(v.Elem())
		}
	case reflect.Struct:
		if _, isTime := v.Interface().(time.Time); isTime {
			return
		}
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				poison(v.Field(i))
			}
		}
	case reflect.Slice:
		if v.Len() == 0 && v.Type().Elem().Kind() == reflect.String {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			poison(v.Index(i))
		}
	case reflect.String:
		if v.Len() == 0 {
			v.SetString(evil)
		}
	}
}

// hostile is a store in which every text of every record is evil.
func hostile(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "test.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now()
	ev := event.Event{Number: 7, Kind: event.MergeRequest}
	poison(reflect.ValueOf(&ev).Elem())
	ev.IgnoredReason, ev.Recovered = "", event.NotRecovered
	d := rules.Decision{Event: ev, Outcome: rules.Matched, Omitted: 3,
		Matches: []rules.Match{{Releases: []rules.Release{{Timeout: time.Hour}}}},
		Trace:   []rules.RuleTrace{{Result: rules.RuleMatched, Clauses: []rules.Clause{{Holds: true}, {}}}, {Result: rules.RuleSkipped}}}
	poison(reflect.ValueOf(&d).Elem())
	d.NeedsTrust = nil
	run := codecheck.Run{ID: "run", DeliveryID: "delivery", Event: ev, State: codecheck.Failed, CreatedAt: now, StartedAt: now, FinishedAt: now, ReceivedAt: now, Deadline: now,
		Verdict: &codecheck.Verdict{Comparisons: []codecheck.Comparison{{Exceeded: true}}}, Findings: &codecheck.FindingsState{RunID: "run", Count: 1}}
	poison(reflect.ValueOf(&run).Elem())
	run.SharesRunID = ""
	r := release.Release{ID: "release", RunID: "run", State: release.AwaitingApproval, Event: ev, CreatedAt: now, StartedAt: now, WaitsForPersonSince: now, Deadline: now,
		Actions: []release.Action{{At: now}}, Waiting: []string{"", ""}}
	poison(reflect.ValueOf(&r).Elem())
	held := release.Release{ID: "held", RunID: "run", Index: 1, State: release.Held, Event: ev, CreatedAt: now, Deadline: now.Add(time.Hour),
		Hold: &release.Hold{Since: now, Until: now.Add(time.Hour), OpensAt: now.Add(time.Minute), Wanted: 2, Missing: 1, BreakGlass: &release.BreakGlass{At: now}, Origin: &release.Origin{MergeRequests: []int{7}}}}
	poison(reflect.ValueOf(&held).Elem())
	approval := store.Approval{ID: "approval", ReleaseID: "held"}
	poison(reflect.ValueOf(&approval).Elem())
	finding := codecheck.Finding{}
	poison(reflect.ValueOf(&finding).Elem())
	if err := s.SaveFindings(t.Context(), "run", []codecheck.Finding{finding}); err != nil {
		t.Fatal(err)
	}
	packed, err := s.Pack(event.Delivery{ID: "delivery", Connection: evil, Host: event.Host(evil), Key: "key", HostID: evil, Event: evil, ReceivedAt: now,
		Header: map[string][]string{evil: {evil}}, Body: []byte(`{"x": ` + quoted(evil) + `}`)})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.AddDeliveries(t.Context(), []store.Packed{packed}); err != nil {
			return err
		}
		if err := tx.EndDelivery(t.Context(), "delivery", event.DeliveryDecided, evil, store.SaidBy(ev, &d), &d); err != nil {
			return err
		}
		if _, _, err := tx.AddRun(t.Context(), run); err != nil {
			return err
		}
		for _, r := range []release.Release{r, held} {
			if _, err := tx.AddRelease(t.Context(), r); err != nil {
				return err
			}
		}
		if _, _, err := tx.AddApproval(t.Context(), approval); err != nil {
			return err
		}
		return tx.AddAction(t.Context(), store.Action{ID: "action", Kind: store.RecordRun, RecordID: "run", Name: store.ActionName(evil), Actor: evil, Reason: evil, Details: evil})
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func quoted(text string) string {
	return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
}

// orders notes what it is asked for, and answers with what a test wants.
type orders struct {
	got []access.Order
	err error
}

func (o *orders) Do(_ context.Context, _ access.User, order access.Order) (access.Result, error) {
	o.got = append(o.got, order)
	return access.Result{}, o.err
}

// serve serves the pages of a store in which everything is evil, to a local user.
func serve(t *testing.T, done *orders) *httptest.Server {
	t.Helper()
	return serveTo(t, done, access.Options{Local: &access.Local{}})
}

// serveTo serves them to whom the options let in.
func serveTo(t *testing.T, done *orders, allow access.Options) *httptest.Server {
	t.Helper()
	s := hostile(t)
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: []byte("version: 1\nrules:\n  - {name: all, on: [push], ignore: true}\n")})
	if complaints != nil {
		t.Fatal(complaints)
	}
	d, err := dashboard.New(dashboard.Options{
		Store: s, Policy: func() *rules.Policy { return policy }, Orders: done, Log: zap.NewNop(), MissingAfter: time.Hour,
		Read: func(d event.Delivery) (event.Event, error) {
			return event.Event{Kind: event.Push, Branch: evil, Title: evil, Repository: event.Repository{FullName: evil}}, nil
		},
		Service: func(context.Context) (dashboard.Service, error) {
			return dashboard.Service{Version: evil, RulesHash: evil, ConfigHash: evil, Problems: []dashboard.Problem{{What: evil, Reason: evil}},
				Connections: []dashboard.Connection{{Name: evil, Kind: evil}}, Remotes: []dashboard.Remote{{Name: evil, Address: evil}}}, nil
		},
		FileURL: func(string, string, string, string, int) string { return "javascript:alert(4)" },
		Groups:  func(string, []string) []string { return []string{evil} },
	})
	if err != nil {
		t.Fatal(err)
	}
	allow.Store, allow.People, allow.Log, allow.Metrics = s, nobody{}, zap.NewNop(), access.NewMetrics(prometheus.NewRegistry())
	if allow.Settings == nil {
		allow.Settings = func() access.Settings { return access.Settings{} }
	}
	allowed, err := access.New(allow)
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	allowed.Register(e, func(echo.Context) bool { return false })
	d.Register(e)
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	t.Cleanup(d.Close)
	return server
}

type nobody struct{}

func (nobody) PersonOf(string) string             { return "" }
func (nobody) GroupsOf(string, []string) []string { return nil }

// TestHostile holds that no text of any record becomes an element, an attribute or an address of a
// page.
func TestHostile(t *testing.T) {
	server := serve(t, &orders{})
	q := url.QueryEscape(evil)
	for _, path := range []string{
		"/", "/changes/delivery", "/changes/delivery?severity=" + q + "&text=%3Cscript", "/changes/delivery/payload", "/deliveries", "/runs", "/releases", "/missing", "/approvals", "/approvals?actor=" + q, "/audit", "/audit?q=" + q + "&actor=" + q, "/audit?kind=" + q + "&action=" + q + "&record=" + q + "&after=" + q,
		"/releases/held/evidence", "/releases/" + q + "/evidence",
		"/deliveries?q=" + q + "&state=" + q + "&rule=" + q + "&connection=" + q + "&after=" + q, "/rules", "/rules?delivery=delivery", "/rules?delivery=" + q,
		"/changes/" + url.PathEscape(evil), "/?lang=" + q, "/?lang=zh", "/runs?since=" + q,
	} {
		response, err := http.Get(server.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		harmless(t, path, response)
	}
	response, err := http.PostForm(server.URL+"/rules", url.Values{"connection": {evil}, "headers": {"X: " + evil}, "payload": {evil}})
	if err != nil {
		t.Fatal(err)
	}
	harmless(t, "POST /rules", response)
}

// harmless checks every element of a page.
func harmless(t *testing.T, path string, response *http.Response) {
	t.Helper()
	defer response.Body.Close()
	if response.StatusCode >= 500 || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/html") {
		text, _ := io.ReadAll(response.Body)
		t.Errorf("%s: %s %.300s", path, response.Status, text)
		return
	}
	if policy := response.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("%s: policy %q", path, policy)
	}
	elements := 0
	for tokens := html.NewTokenizer(response.Body); tokens.Next() != html.ErrorToken; {
		token := tokens.Token()
		if token.Type != html.StartTagToken && token.Type != html.SelfClosingTagToken {
			continue
		}
		elements++
		switch token.Data {
		case "img", "iframe", "style", "object", "base":
			t.Errorf("%s: %s", path, token)
		}
		for _, a := range token.Attr {
			value := strings.ToLower(strings.TrimSpace(a.Val))
			ours := strings.HasPrefix(value, "/") && !strings.HasPrefix(value, "//") || strings.HasPrefix(value, "#")
			switch {
			case strings.HasPrefix(a.Key, "on"), a.Key == "style":
				t.Errorf("%s: %s", path, token)
			case (a.Key == "href" || a.Key == "src" || a.Key == "action") && !ours:
				t.Errorf("%s: address %q of %s", path, a.Val, token.Data)
			case token.Data == "script" && a.Key == "src" && !strings.HasPrefix(a.Val, "/assets/live-"):
				t.Errorf("%s: script %q", path, a.Val)
			}
		}
		if token.Data == "script" && tokens.Next() == html.TextToken && strings.TrimSpace(string(tokens.Text())) != "" {
			t.Errorf("%s: a script in the page", path)
		}
	}
	if elements < 30 {
		t.Errorf("%s: only %d elements", path, elements)
	}
}

// TestOrders holds what a form asks for, and what is answered.
func TestOrders(t *testing.T) {
	done := &orders{}
	server := serve(t, done)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	post := func(site string, form url.Values) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/orders", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.Header.Set("Sec-Fetch-Site", site)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode, response.Header.Get("Location")
	}
	form := url.Values{"action": {"rerun"}, "kind": {"run"}, "id": {"run"}, "reason": {" the scan was interrupted "}}
	if status, to := post("same-origin", form); status != http.StatusSeeOther || to != "/changes/run?done=1" {
		t.Errorf("answered %d, to %q", status, to)
	}
	if len(done.got) != 1 || done.got[0] != (access.Order{Action: access.ActionRerun, Kind: "run", ID: "run", Reason: "the scan was interrupted"}) {
		t.Fatalf("ordered %+v", done.got)
	}
	decision := url.Values{"action": {"rerun"}, "kind": {"release"}, "id": {"r"}, "reason": {"x"}, "commit": {strings.Repeat("a", 40)}, "version": {"7"}}
	if status, _ := post("same-origin", decision); status != http.StatusSeeOther || len(done.got) != 2 || done.got[1].Commit != strings.Repeat("a", 40) || done.got[1].IfMatch != "7" {
		t.Fatalf("status %d, ordered %+v", status, done.got)
	}
	done.got = done.got[:1]
	if status, _ := post("cross-site", form); status != http.StatusForbidden || len(done.got) != 1 {
		t.Errorf("from another site: %d, %d orders", status, len(done.got))
	}
	for kind, body := range map[string]string{
		"application/x-www-form-urlencoded":     form.Encode() + "&reason=" + strings.Repeat("x", 1<<20),
		"multipart/form-data; boundary=B":       "--B\r\nContent-Disposition: form-data; name=\"action\"\r\n\r\nrerun\r\n--B--\r\n",
		"multipart/form-data; boundary=longest": strings.Repeat("x", 1<<20),
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/orders", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", kind)
		request.Header.Set("Sec-Fetch-Site", "same-origin")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest || len(done.got) != 1 {
			t.Errorf("%s: %d, %d orders", kind, response.StatusCode, len(done.got))
		}
	}
	for reason, want := range map[string]int{"": 422, "  ": 422, strings.Repeat("x", 2001): 422} {
		form.Set("reason", reason)
		if status, _ := post("same-origin", form); status != want || len(done.got) != 1 {
			t.Errorf("reason %.10q: %d, %d orders", reason, status, len(done.got))
		}
	}
	form.Set("reason", "a reason")
	for _, c := range []struct {
		err  error
		want int
	}{{access.ErrForbidden, 403}, {access.ErrNotFound, 404}, {access.ErrStale, 412}, {access.ConflictError{Message: "it has ended"}, 409}, {access.InvalidError{Message: "no task"}, 422}, {io.ErrUnexpectedEOF, 500}} {
		done.err = c.err
		if status, _ := post("same-origin", form); status != c.want {
			t.Errorf("%v: %d, want %d", c.err, status, c.want)
		}
	}
	// What a refused order says is shown as it is.
	done.err = access.ConflictError{Message: "ann pushed the commit <b>"}
	response, err := client.PostForm(server.URL+"/orders", form)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(text), "ann pushed the commit &lt;b&gt;") {
		t.Errorf("a refusal does not say why: %s, error %v", text, err)
	}
	done.err = nil
	before := len(done.got)
	form.Set("action", "everything")
	if status, _ := post("same-origin", form); status != http.StatusForbidden || len(done.got) != before {
		t.Errorf("an action that there is none of: %d", status)
	}
}

// TestStrangers holds what somebody sees who is not logged in, and who may only look.
func TestStrangers(t *testing.T) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(address string) (status int, to, text string) {
		response, err := client.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, response.Header.Get("Location"), string(body)
	}
	closed := serveTo(t, &orders{}, access.Options{})
	for path, next := range map[string]string{"/": "%2F", "/changes/delivery": "%2Fchanges%2Fdelivery", "/runs/run": "%2Fruns%2Frun", "/runs?state=failed": "%2Fruns%3Fstate%3Dfailed",
		"/changes/delivery/payload": "%2Fchanges%2Fdelivery%2Fpayload", "/audit": "%2Faudit", "/rules": "%2Frules", "/?live=1": "%2F%3Flive%3D1"} {
		if status, to, text := get(closed.URL + path); status != http.StatusSeeOther || to != "/login?next="+next || strings.Contains(text, "script") {
			t.Errorf("%s: %d, to %q, %.100q", path, status, to, text)
		}
	}
	response, err := client.PostForm(closed.URL+"/orders", url.Values{"action": {"rerun"}, "reason": {"x"}})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("an order of nobody: %d", response.StatusCode)
	}
	done := &orders{}
	public := serveTo(t, done, access.Options{Settings: func() access.Settings { return access.Settings{PublicView: true} }})
	status, _, text := get(public.URL + "/changes/delivery")
	if status != http.StatusOK || strings.Contains(text, "<form method=\"post\"") || strings.Contains(text, "/payload") {
		t.Errorf("a viewer: %d, %d forms", status, strings.Count(text, "<form"))
	}
	if status, to, _ := get(public.URL + "/changes/delivery/payload"); status != http.StatusSeeOther || !strings.HasPrefix(to, "/login?") {
		t.Errorf("the payload for a viewer: %d, to %q", status, to)
	}
	if status, to, _ := get(public.URL + "/audit"); status != http.StatusSeeOther || !strings.HasPrefix(to, "/login?") {
		t.Errorf("the audit log for somebody who is not logged in: %d, to %q", status, to)
	}
	response, err = client.PostForm(public.URL+"/orders", url.Values{"action": {"rerun"}, "kind": {"run"}, "id": {"run"}, "reason": {"x"}})
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusForbidden || len(done.got) != 0 {
		t.Errorf("an order of a viewer: %d, %d carried out", response.StatusCode, len(done.got))
	}
}
