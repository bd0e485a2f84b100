package app_test

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/store"
)

// pauseFor writes into the database what other replicas would: their credentials were
// refused twice, and a service asked for a pause.
func pauseFor(t *testing.T, r reloading, d time.Duration) {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{SQLite: filepath.Join(r.folder, "gatewright.db"), WithoutLock: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { must(t, s.Close()) }()
	now := time.Now()
	for _, p := range []huaweicloud.Pause{
		{Key: "credentials 0123", Reason: "list tasks: APIGW.0301", Since: now, Until: now.Add(d), Refusals: 2},
		{Key: "credentials refused-once", Reason: "list tasks: APIGW.0301", Since: now, Until: now.Add(d), Refusals: 1},
		{Key: "servicestage https://elsewhere", Reason: "show pipeline: APIGW.0308", Since: now, Until: now.Add(d)},
	} {
		must(t, s.SavePause(t.Context(), p))
	}
}

// TestPauseShows holds that a pause of all replicas is told by /readyz and by a metric,
// and that the service stays ready.
func TestPauseShows(t *testing.T) {
	t.Parallel()
	r := reloadingOf(apptest.OnSQLite(t))
	if got := r.metric(t, `gatewright_remote_paused_seconds{what="credentials"}`); got != "0" {
		t.Errorf("before a pause the metric is %s", got)
	}
	pauseFor(t, r, time.Hour)
	degraded := r.ready(t).Degraded
	if len(degraded) != 2 || degraded[0].What != "credentials" || !strings.HasPrefix(degraded[0].Reason, "all replicas pause until ") || !strings.HasSuffix(degraded[0].Reason, ": list tasks: APIGW.0301") ||
		degraded[1].What != "servicestage" {
		t.Errorf("degraded %+v", degraded)
	}
	for _, what := range []string{"credentials", "servicestage"} {
		left, err := strconv.ParseFloat(r.metric(t, `gatewright_remote_paused_seconds{what="`+what+`"}`), 64)
		if err != nil || left < 3000 || left > 3600 {
			t.Errorf("%s: the metric is %v, %v", what, left, err)
		}
	}
}
