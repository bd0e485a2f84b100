package jobs_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// TestRejudge holds that a run is judged again without being changed, and only where there
// are counts to judge.
func TestRejudge(t *testing.T) { each(t, testRejudge) }

func testRejudge(t *testing.T, b bench) {
	in, err := jobs.NewInserter(b.store, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	one := 1
	verdict := codecheck.Judge(rules.Gate{}, codecheck.Facts{Counts: codecheck.Counts{Major: 2}, Access: "1", AccessMeans: codecheck.AccessPassed})
	judged := codecheck.Run{ID: "judged", Rule: "first", State: codecheck.Passed, Counts: codecheck.Counts{Major: 2}, Verdict: &verdict, CreatedAt: time.Now(), Deadline: time.Now()}
	errored := codecheck.Run{ID: "errored", Rule: "first", State: codecheck.Errored, CreatedAt: time.Now(), Deadline: time.Now()}
	err = b.store.Update(t.Context(), func(tx *store.Tx) error {
		for _, run := range []codecheck.Run{judged, errored} {
			if _, _, err := tx.AddRun(t.Context(), run); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	done, err := in.Rejudge(t.Context(), "judged", rules.Gate{Major: &one, CodeArtsGate: rules.AccessRequire}, "ann")
	if err != nil || done.New.Passed || !done.Run.Verdict.Passed {
		t.Fatalf("%+v, error %v", done, err)
	}
	const want = `judged again for ann by rule "first" as it is now: it would be failed (major 2 > 1, CodeArts Check's own gate passed (is_access is "1")); it is passed (the gate sets no limit)`
	for id, refused := range map[string]string{"errored": "it is errored and has no verdict", "nobody": "not found"} {
		if _, err := in.Rejudge(t.Context(), id, rules.Gate{}, "ann"); err == nil || !strings.Contains(err.Error(), refused) {
			t.Errorf("%s: error %v, want %q", id, err, refused)
		}
	}
	err = b.store.View(t.Context(), func(tx *store.Tx) error {
		run, err := tx.Run(t.Context(), "judged")
		if err != nil || run.State != codecheck.Passed || !run.Verdict.Passed {
			t.Errorf("the run is %s, error %v", run.State, err)
		}
		for id, remarks := range map[string]int{"judged": 1, "errored": 0} {
			actions, err := tx.ActionsOf(t.Context(), id)
			if err != nil || len(actions) != remarks {
				t.Errorf("%s has %d remarks, want %d, error %v", id, len(actions), remarks, err)
			}
			if remarks == 1 && (actions[0].Name != store.ActionRemark || actions[0].Actor != store.Gatewright || actions[0].Reason != want) {
				t.Errorf("remark %+v", actions[0])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
