package store_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

func TestFindingsAreKept(t *testing.T) { storetest.Each(t, testFindingsAreKept) }

func testFindingsAreKept(t *testing.T, db storetest.Database) {
	s := open(t, db)
	read := func(id string) []codecheck.Finding {
		t.Helper()
		list, err := s.Findings(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := read("a"); list != nil {
		t.Errorf("nothing is kept, and %d findings are read", len(list))
	}
	first := []codecheck.Finding{{ID: "1", Fingerprint: "f", Severity: "major", Rule: "r", RuleID: "7", Path: "a\x00b.go", Line: 3, Message: "\u202e\xff", Baseline: codecheck.BaselineNew}}
	var many []codecheck.Finding
	for i := range 5000 {
		many = append(many, codecheck.Finding{ID: fmt.Sprint(i), Message: strings.Repeat("x", 2000)})
	}
	for _, list := range [][]codecheck.Finding{first, many, first[:0]} {
		if err := s.SaveFindings(t.Context(), "a", list); err != nil {
			t.Fatal(err)
		}
		want := list
		if len(list) == 1 {
			want = []codecheck.Finding{list[0]}
			want[0].Message = "\u202e\ufffd"
		}
		if diff := cmp.Diff(want, read("a")); diff != "" {
			t.Errorf("%d findings (-want +got):\n%.2000s", len(list), diff)
		}
	}
	if list := read("b"); list != nil {
		t.Errorf("another run has %d", len(list))
	}
}

// TestBaseline holds which run the findings of another one are compared with.
func TestBaseline(t *testing.T) { storetest.Each(t, testBaseline) }

func testBaseline(t *testing.T, db storetest.Database) {
	s := open(t, db)
	made := 0
	run := func(id, sha string, change func(*codecheck.Run)) codecheck.Run {
		made++
		r := codecheck.Run{
			ID: id, DeliveryID: "d", Rule: "rule " + id, Event: push("", sha), State: codecheck.Passed, CreatedAt: noon.Add(time.Duration(made) * time.Minute),
			Check: rules.Check{ProjectID: "p", Scan: rules.ScanFull}, Findings: &codecheck.FindingsState{RunID: id, Complete: true},
		}
		r.Event.Branch = "main"
		if change != nil {
			change(&r)
		}
		saved := r
		saved.State = codecheck.Running
		update(t, s, func(tx *store.Tx) error {
			if _, _, err := tx.AddRun(t.Context(), saved); err != nil {
				return err
			}
			return tx.SaveRun(t.Context(), r, new(store.Version))
		})
		return r
	}
	baseline := func(r codecheck.Run, want string) {
		t.Helper()
		if got, err := s.Baseline(t.Context(), r); err != nil || got != want {
			t.Errorf("run %s is compared with %q, want %q, error %v", r.ID, got, want, err)
		}
	}
	first := run("first", "1", nil)
	baseline(first, "")
	second := run("second", "2", func(r *codecheck.Run) { r.State = codecheck.Failed })
	baseline(second, "first")
	run("without all findings", "3", func(r *codecheck.Run) { r.Findings.Complete = false })
	run("without findings", "4", func(r *codecheck.Run) { r.Findings = nil })
	run("shares", "5", func(r *codecheck.Run) { r.Findings.RunID = "second" })
	run("another branch", "6", func(r *codecheck.Run) { r.Event.Branch = "other" })
	run("another repository", "7", func(r *codecheck.Run) { r.Event.Repository.ID = "77" })
	run("another project", "8", func(r *codecheck.Run) { r.Check.ProjectID = "q" })
	third := run("third", "9", nil)
	baseline(third, "second")
	baseline(second, "first")
	// A run that is repeated is not compared with itself: nothing would be new then.
	again := run("third again", "9", nil)
	baseline(again, "second")

	for _, scan := range []rules.Scan{rules.ScanIncremental, rules.ScanFull} {
		request := run("request "+string(scan), "a", func(r *codecheck.Run) {
			r.Event.Kind, r.Event.Number, r.Event.SourceBranch, r.Check.Scan = event.MergeRequest, 7, "feature", scan
		})
		baseline(request, "third again")
	}
	errored := run("errored", "b", func(r *codecheck.Run) { r.State = codecheck.Errored })
	baseline(run("last", "c", nil), errored.ID)
}

// TestFindingsGoWithTheirRun holds that nothing of a removed run is kept.
func TestFindingsGoWithTheirRun(t *testing.T) { storetest.Each(t, testFindingsGoWithTheirRun) }

func testFindingsGoWithTheirRun(t *testing.T, db storetest.Database) {
	s, now := clocked(t, db)
	*now = noon.Add(-40 * day)
	for id, state := range map[string]codecheck.State{"ended": codecheck.Passed, "running": codecheck.Running} {
		ev := push("", id)
		ev.Branch = id
		update(t, s, func(tx *store.Tx) error {
			_, _, err := tx.AddRun(t.Context(), codecheck.Run{ID: id, DeliveryID: "d", Rule: "r", Event: ev, State: state, CreatedAt: *now})
			return err
		})
		if err := s.SaveFindings(t.Context(), id, []codecheck.Finding{{ID: "1"}}); err != nil {
			t.Fatal(err)
		}
	}
	*now = noon
	removed, err := s.Expire(t.Context(), noon, 7*day, 30*day, 10)
	if err != nil || removed.Runs != 1 || removed.Findings != 1 {
		t.Errorf("removed %+v, error %v", removed, err)
	}
	for id, want := range map[string]int{"ended": 0, "running": 1} {
		if list, err := s.Findings(t.Context(), id); err != nil || len(list) != want {
			t.Errorf("%s: %d findings are left, want %d, error %v", id, len(list), want, err)
		}
	}
}

// TestFindingsAreCopied copies them from one kind of database to the other, with what says
// that a run is a baseline.
func TestFindingsAreCopied(t *testing.T) {
	for name, toPostgres := range map[string]bool{"to postgres": true, "to sqlite": false} {
		t.Run(name, func(t *testing.T) {
			fromDB, toDB := storetest.Database{Postgres: storetest.Postgres(t)}, storetest.Database{SQLite: filepath.Join(t.TempDir(), "copy.db")}
			if toPostgres {
				fromDB, toDB = toDB, fromDB
			}
			from, to := open(t, fromDB), withQueue(t, open(t, toDB))
			run := codecheck.Run{ID: "a", Rule: "r", Event: push("", "1"), CreatedAt: noon, State: codecheck.Running}
			update(t, from, func(tx *store.Tx) error {
				if _, _, err := tx.AddRun(t.Context(), run); err != nil {
					return err
				}
				run.State, run.Findings = codecheck.Passed, &codecheck.FindingsState{RunID: "a", Complete: true}
				return tx.SaveRun(t.Context(), run, new(store.Version))
			})
			found := []codecheck.Finding{{ID: "1", Message: "m"}}
			if err := from.SaveFindings(t.Context(), "a", found); err != nil {
				t.Fatal(err)
			}
			if _, err := to.Copy(t.Context(), from, func(*store.Tx) error { return nil }); err != nil {
				t.Fatal(err)
			}
			got, err := to.Findings(t.Context(), "a")
			if diff := cmp.Diff(found, got); err != nil || diff != "" {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
			run.ID, run.Event.HeadSHA = "b", "2"
			if id, err := to.Baseline(t.Context(), run); err != nil || id != "a" {
				t.Errorf("the baseline is %q, error %v", id, err)
			}
		})
	}
}
