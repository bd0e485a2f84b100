package jobs_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestTwoJobsOfOneRelease: while a start is sent, another job of the release looks at it, and a person speaks of it. The
// service refuses the start because somebody else was first. Their execution must not be taken for ours.
func TestTwoJobsOfOneRelease(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		w := newWorld(t, db)
		var whileSent atomic.Pointer[func()]
		handler := w.services.Handler()
		service := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if do := whileSent.Load(); do != nil && r.URL.Query().Get("action_id") == "start" {
				whileSent.Store(nil)
				(*do)()
			}
			handler.ServeHTTP(rw, r)
		}))
		t.Cleanup(service.Close)
		opts, client, err := queueOptions(w.store, service.URL, policyText, w.clock.now)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.CloseIdle)
		q, err := jobs.New(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		w.leave(t, func(l *lost) {
			r := l.newRelease("ours")
			r.State, r.Plan.Pipeline = release.Starting, gateID(number(r.Event))
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		var wait time.Duration
		meanwhile := func() {
			if _, err := w.services.operate(t.Context(), gateID(0), "start", struct{}{}); err != nil {
				t.Error(err)
			}
			if wait, err = q.Act(t.Context(), "ours"); err != nil {
				t.Error(err)
			}
		}
		whileSent.Store(&meanwhile)
		if _, err := q.Act(t.Context(), "ours"); err != nil {
			t.Fatal(err)
		}
		if wait < time.Second {
			t.Errorf("the other job looks again after %s", wait)
		}
		var now release.Release
		err = w.store.View(t.Context(), func(tx *store.Tx) (err error) { now, err = tx.Release(t.Context(), "ours"); return err })
		if err != nil || now.State != release.Starting || now.ExecutionID != "" || now.Unanswered() {
			t.Errorf("it is %s with execution %q: %s, %v", now.State, now.ExecutionID, now.Reason, err)
		}
	})
}
