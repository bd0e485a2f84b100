package view_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// open is a store with one delivery that was decided, a run of it that failed, one that
// is new, a release of each kind, and a delivery that waits.
func open(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(t.TempDir(), "test.db"), Now: func() time.Time { return noon.Add(time.Second) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return fill(t.Context(), s, tx) }); err != nil {
		t.Fatal(err)
	}
	return s
}

func fill(ctx context.Context, s *store.Store, tx *store.Tx) error {
	ev := event.Event{
		Connection: "github", Kind: event.MergeRequest, Action: event.Opened, Branch: "main", SourceBranch: "feature", HeadSHA: strings.Repeat("ab", 20),
		Number: 7, Title: "a discount", Author: "ann", Sender: "bob", Labels: []string{}, NewCode: true,
		Repository: event.Repository{Host: event.GitHub, ID: "1", FullName: "acme/api", HTTPSURL: "https://github.com/acme/api.git"},
	}
	zero := 0
	check := rules.Check{ProjectID: strings.Repeat("4", 32), ProjectName: "payments", Scan: rules.ScanIncremental, Ref: rules.RefAuto, TaskName: "api-main",
		Supersede: true, Timeout: 45 * time.Minute, Gate: rules.Gate{Critical: &zero, Major: &zero}}
	plan := rules.Release{Pipeline: "caf409b1-10df-483a-b14d-7b05f7e12c88", Action: rules.ReleaseStart, Timeout: time.Hour}
	decision := rules.Decision{
		Event: ev, Outcome: rules.Matched, Reason: `rule "merge-requests" matched`,
		Matches: []rules.Match{{Rule: "merge-requests", Check: check, Releases: []rules.Release{plan}}},
		Trace: []rules.RuleTrace{{Rule: "merge-requests", Result: rules.RuleMatched, Reason: `branch "main" matches "main"`, File: "rules.yaml", Line: 3,
			Clauses: []rules.Clause{{Field: "branch", Holds: true, Text: `branch "main" matches "main"`}}}},
	}
	for _, id := range []string{"0a-de", "0b-ab"} {
		packed, err := s.Pack(event.Delivery{ID: id, Connection: "github", Host: event.GitHub, Key: id, HostID: "guid-" + id, Event: "pull_request", ReceivedAt: noon, Body: []byte("{}")})
		if err != nil {
			return err
		}
		if _, err := tx.AddDeliveries(ctx, []store.Packed{packed}); err != nil {
			return err
		}
	}
	if err := tx.EndDelivery(ctx, "0a-de", event.DeliveryDecided, decision.Reason, store.SaidBy(ev, &decision), &decision); err != nil {
		return err
	}
	failed := codecheck.Run{
		ID: "0c-abc", DeliveryID: "0a-de", Rule: "merge-requests", Event: ev, Check: check, Releases: []rules.Release{plan},
		State: codecheck.Failed, Reason: "the gate is exceeded: major 1 > 0",
		Task: codecheck.Task{ID: "task", Name: "api-main", URL: "https://github.com/acme/api.git", Branch: "main"}, Origin: codecheck.Found,
		Ref: codecheck.Pull, RefReason: "merge_request was tried first", RefsTried: []codecheck.Ref{codecheck.MergeRequest, codecheck.Pull},
		ExecID: "execution", Counts: codecheck.Counts{Major: 1}, NewCounts: &codecheck.Counts{Major: 1},
		Defects: []codecheck.Defect{{ID: "1", Severity: "major", Rule: "G.1", Text: "a <tag> in a text", File: "main.go", Line: 7}},
		Polls:   3, SeenRunning: true, Intent: &codecheck.Intent{SentAt: noon},
		ReceivedAt: noon, CreatedAt: noon, StartedAt: noon.Add(time.Second), FinishedAt: noon.Add(90500 * time.Millisecond), Deadline: noon.Add(45 * time.Minute),
	}
	verdict := codecheck.Judge(check.Gate, codecheck.Facts{Counts: failed.Counts, NewCounts: failed.NewCounts, Access: "0", AccessMeans: codecheck.AccessFailed})
	failed.Verdict = &verdict
	queued := codecheck.Run{ID: "0d-abc", DeliveryID: "0a-de", Rule: "other", Event: ev, Check: check, State: codecheck.Queued,
		SharesRunID: "0c-abc", ReceivedAt: noon, CreatedAt: noon, Deadline: noon.Add(45 * time.Minute)}
	for _, run := range []codecheck.Run{failed, queued} {
		if _, _, err := tx.AddRun(ctx, run); err != nil {
			return err
		}
	}
	waiting := release.Release{
		ID: "0e-abc", RunID: "0c-abc", Rule: "merge-requests", Plan: plan, Event: ev, State: release.AwaitingApproval, Reason: "waits for approval",
		ExecutionID: "286541", Status: int(release.StatusToBeApproved), Waiting: []string{"k2m8qa"}, Intent: &release.Intent{Action: "start", SentAt: noon},
		Actions: []release.Action{{Name: "start", At: noon, ExecutionID: "286541", Result: "accepted"}},
		Polls:   2, CreatedAt: noon, StartedAt: noon, Deadline: noon.Add(time.Hour),
	}
	approval := release.Release{ID: "0f-abc", RunID: "0c-abc", Index: 1, Rule: "merge-requests", Event: ev, State: release.Starting, After: "0e-abc",
		Plan: rules.Release{Pipeline: plan.Pipeline, Action: rules.ReleaseApprove, Task: "k2m8qa", Timeout: plan.Timeout}, CreatedAt: noon, Deadline: noon.Add(time.Hour)}
	expired := waiting
	expired.ID, expired.RunID, expired.RerunOf, expired.State, expired.Waiting = "90-abc", "0d-abc", "0e-abc", release.Expired, nil
	expired.WaitsForPersonSince, expired.FinishedAt = noon, noon.Add(72*time.Hour)
	for _, r := range []release.Release{waiting, approval, expired} {
		if _, err := tx.AddRelease(ctx, r); err != nil {
			return err
		}
	}
	for i, a := range []store.Action{
		{Kind: store.RecordRelease, RecordID: "90-abc", Name: store.ActionRemark, Actor: store.Gatewright, Reason: "execution 286541 goes on: releasing (4)"},
		{Kind: store.RecordRelease, RecordID: "90-abc", Name: store.ActionResolve, Actor: "ann", Reason: "seen in the console", Details: "succeeded"},
		{Kind: store.RecordRun, RecordID: "0c-abc", Name: store.ActionRerun, Actor: "ann", Reason: "once more", Details: "0d-abc"},
	} {
		a.ID = fmt.Sprint("2-", i)
		if err := tx.AddAction(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// TestJSON holds the contract of docs/json.md.
func TestJSON(t *testing.T) {
	s := open(t)
	err := s.View(t.Context(), func(tx *store.Tx) error {
		for name, id := range map[string]string{"delivery": "0a-de", "undecided": "0b", "run": "0c-abc", "queued": "0d", "release": "0e", "approval": "0f", "expired": "90"} {
			found, err := view.Find(t.Context(), tx, id)
			if err != nil {
				return err
			}
			golden.JSON(t, "testdata/"+name+".golden", found)
		}
		deliveries, err := view.Deliveries(t.Context(), tx, store.Filter{Limit: 10})
		if err != nil {
			return err
		}
		golden.JSON(t, "testdata/deliveries.golden", deliveries)
		runs, err := view.Runs(t.Context(), tx, store.Filter{Limit: 1})
		if err != nil {
			return err
		}
		golden.JSON(t, "testdata/runs.golden", runs)
		releases, err := view.Releases(t.Context(), tx, store.Filter{Limit: 10, Connection: "nobody"})
		golden.JSON(t, "testdata/releases.golden", releases)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDocumented holds that docs/json.md names every field that a program can meet.
func TestDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "json.md"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.golden")
	if err != nil || len(files) == 0 {
		t.Fatalf("golden files %q, error %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal(data, &value); err != nil {
			t.Fatal(err)
		}
		for _, name := range names(value, "") {
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("%s has the field %q, which docs/json.md does not name", filepath.Base(file), name)
			}
		}
	}
}

// names lists the names of an object's fields and of those below it, but for what a
// decision and a check hold, which are described where the rules are.
func names(value any, parent string) (list []string) {
	switch value := value.(type) {
	case map[string]any:
		for name, below := range value {
			if parent != "decision" && parent != "check" && parent != "select" && name != "items" && name != "next" {
				list = append(list, name)
			}
			if parent != "decision" && parent != "check" {
				list = append(list, names(below, name)...)
			}
		}
	case []any:
		for _, below := range value {
			list = append(list, names(below, parent)...)
		}
	}
	return list
}

func TestFind(t *testing.T) {
	s := open(t)
	for id, want := range map[string]string{
		"0":     "more than one id begins with",
		"1":     "no delivery, run or release",
		"":      "no delivery, run or release",
		"0c":    "",
		"0c-ab": "",
	} {
		err := s.View(t.Context(), func(tx *store.Tx) error {
			_, err := view.Find(t.Context(), tx, id)
			return err
		})
		if (err == nil) != (want == "") || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v, want %q", id, err, want)
		}
	}
}

// TestAll holds that each record is as `show` prints it, oldest first.
func TestAll(t *testing.T) {
	s := open(t)
	err := s.View(t.Context(), func(tx *store.Tx) error {
		all, err := view.All(t.Context(), tx, 1000)
		if err != nil {
			return err
		}
		var got []any
		for _, d := range all.Deliveries {
			got = append(got, d)
		}
		for _, run := range all.Runs {
			got = append(got, run)
		}
		for _, r := range all.Releases {
			got = append(got, r)
		}
		var want []any
		for _, id := range []string{"0a-de", "0b-ab", "0c-abc", "0d-abc", "0e-abc", "0f-abc", "90-abc"} {
			found, err := view.Find(t.Context(), tx, id)
			if err != nil {
				return err
			}
			want = append(want, found)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCursor walks a list page by page.
func TestCursor(t *testing.T) {
	s := open(t)
	var got []string
	cursor := ""
	for range 10 {
		err := s.View(t.Context(), func(tx *store.Tx) error {
			filter, err := view.ParseFilter(view.ListRuns, url.Values{"limit": {"1"}, "cursor": {cursor}}, 10, noon)
			if err != nil {
				return err
			}
			page, err := view.Runs(t.Context(), tx, filter)
			for _, run := range page.Items {
				got = append(got, run.ID)
			}
			cursor = page.Next
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if cursor == "" {
			break
		}
	}
	if diff := cmp.Diff([]string{"0d-abc", "0c-abc"}, got); diff != "" {
		t.Errorf("runs (-want +got):\n%s", diff)
	}
}

// TestCursorIsBound: a cursor is of one list and one filter, and one that was changed is refused.
func TestCursorIsBound(t *testing.T) {
	s := open(t)
	next := func(list string, values url.Values) string {
		t.Helper()
		filter, err := view.ParseFilter(list, values, 10, noon)
		if err != nil {
			t.Fatal(err)
		}
		var page view.Page[view.Run]
		if err := s.View(t.Context(), func(tx *store.Tx) error { page, err = view.Runs(t.Context(), tx, filter); return err }); err != nil {
			t.Fatal(err)
		}
		if page.Next == "" {
			t.Fatal("there is no next page")
		}
		return page.Next
	}
	cursor := next(view.ListRuns, url.Values{"limit": {"1"}})
	ofMain := next(view.ListRuns, url.Values{"limit": {"1"}, "branch": {"main"}})
	for _, test := range []struct {
		list   string
		values url.Values
		good   bool
	}{
		{view.ListRuns, url.Values{"cursor": {cursor}}, true},
		// A page of another size goes on at the same place, and so does one whose age was counted from a later moment.
		{view.ListRuns, url.Values{"cursor": {cursor}, "limit": {"3"}, "since": {"2h"}}, true},
		{view.ListRuns, url.Values{"cursor": {cursor}, "branch": {"main"}}, false},
		{view.ListRuns, url.Values{"cursor": {ofMain}, "branch": {"main"}}, true},
		{view.ListRuns, url.Values{"cursor": {ofMain}}, false},
		{view.ListReleases, url.Values{"cursor": {cursor}}, false},
		{view.ListRuns, url.Values{"cursor": {cursor[:len(cursor)-1]}}, false},
		{view.ListRuns, url.Values{"cursor": {cursor + "A"}}, false},
		{view.ListRuns, url.Values{"cursor": {"x"}}, false},
		{view.ListRuns, url.Values{"cursor": {"!"}}, false},
		{view.ListRuns, url.Values{"cursor": {strings.Repeat("A", 100)}}, false},
	} {
		if _, err := view.ParseFilter(test.list, test.values, 10, noon); (err == nil) != test.good {
			t.Errorf("%s %v: error %v", test.list, test.values, err)
		}
	}
	for i := range cursor {
		changed := []byte(cursor)
		changed[i] = map[bool]byte{true: 'B', false: 'A'}[changed[i] == 'A']
		if _, err := view.ParseCursor(view.ListRuns, store.Filter{}, string(changed)); err == nil {
			t.Errorf("the cursor is taken with another character at %d", i)
		}
	}
}

// FuzzCursor: whatever is sent for a cursor is refused, or is the cursor of a place.
func FuzzCursor(f *testing.F) {
	for _, seed := range []string{"", "x", "MTIz", "AAAAAAAAAAAxNzcyMzY2NDAwMDAwMDAwIDBkLWFiYw"} {
		f.Add(seed, "main")
	}
	f.Fuzz(func(t *testing.T, text, branch string) {
		filter := store.Filter{Branch: branch, Limit: 1}
		c, err := view.ParseCursor(view.ListRuns, filter, text)
		if err != nil || text == "" {
			return
		}
		if c.ID == "" || c.At.IsZero() {
			t.Errorf("%q is the cursor %+v", text, c)
		}
		if _, err := view.ParseCursor(view.ListReleases, filter, text); err == nil {
			t.Errorf("%q is a cursor of two lists", text)
		}
	})
}

// TestParameters: what a list does not have, or does not take, is refused with what to write.
func TestParameters(t *testing.T) {
	for _, test := range []struct{ list, query, want string }{
		{view.ListRuns, "state=gone", `state: "gone": write one or more of queued, starting`},
		{view.ListRuns, "state=passed,failed", ""},
		{view.ListDeliveries, "state=passed", `state: "passed": write one or more of received`},
		{view.ListRuns, "after=1h", "after: the list of runs does not have this"},
		{view.ListMissing, "after=1h", ""},
		{view.ListMissing, "after=-1h", "after: "},
		{view.ListActions, "action=approve&actor=ann", ""},
		{view.ListActions, "action=eat", `action: "eat": write one or more of rerun`},
		{view.ListRuns, "branch=a&branch=b", "branch: give it once"},
		{view.ListRuns, "limit=0", "limit: write a number from 1 to 500"},
		{view.ListRuns, "limit=501", "limit: write a number from 1 to 500"},
		{view.ListRuns, "limit=1e2", "limit: "},
		{view.ListRuns, "number=-1", "number: "},
		{view.ListRuns, "commit=xyz", "commit: "},
		{view.ListRuns, "commit=ABCD", ""},
		{view.ListRuns, "since=yesterday", `since: "yesterday": write a time`},
		{view.ListRuns, "since=2h&until=2026-03-01", ""},
		{view.ListRuns, "search=" + strings.Repeat("a", 201), "search: write at most 200"},
		{view.ListRuns, "page=2", "page: the list of runs does not have this: it has state, connection"},
	} {
		values, err := url.ParseQuery(test.query)
		if err != nil {
			t.Fatal(err)
		}
		_, err = view.ParseFilter(test.list, values, 500, noon)
		if (err == nil) != (test.want == "") || err != nil && !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s?%s: error %v, want %q", test.list, test.query, err, test.want)
		}
	}
}

// TestSearch finds records by what they hold.
func TestSearch(t *testing.T) {
	s := open(t)
	for _, test := range []struct {
		list, text string
		want       int
	}{
		{view.ListRuns, "ACME/", 2}, {view.ListRuns, "bob", 2}, {view.ListRuns, "other", 1}, {view.ListRuns, "abababab", 2}, {view.ListRuns, "%", 0}, {view.ListRuns, "nobody", 0},
		{view.ListDeliveries, "matched", 1}, {view.ListDeliveries, "guid-0b", 1}, {view.ListReleases, "merge-requests", 3}, {view.ListActions, "the console", 1}, {view.ListActions, "ANN", 2},
	} {
		filter, err := view.ParseFilter(test.list, url.Values{"search": {test.text}}, 10, noon)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		err = s.View(t.Context(), func(tx *store.Tx) error {
			var err error
			switch test.list {
			case view.ListRuns:
				page, failed := view.Runs(t.Context(), tx, filter)
				got, err = len(page.Items), failed
			case view.ListDeliveries:
				page, failed := view.Deliveries(t.Context(), tx, filter)
				got, err = len(page.Items), failed
			case view.ListReleases:
				page, failed := view.Releases(t.Context(), tx, filter)
				got, err = len(page.Items), failed
			default:
				page, failed := view.Actions(t.Context(), tx, filter)
				got, err = len(page.Items), failed
			}
			return err
		})
		if err != nil || got != test.want {
			t.Errorf("%s with %q: %d, error %v, want %d", test.list, test.text, got, err, test.want)
		}
	}
}
