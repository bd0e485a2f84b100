package app_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// outage is a time in which the database takes nothing.
type outage struct {
	begin, end func() error
	// readable: the database can be read meanwhile, so the server stays ready.
	readable bool
}

// TestOutage sends before, during and after an outage of the database: what cannot be
// stored is answered 503, and what was acknowledged is there and decided.
func TestOutage(t *testing.T) {
	t.Parallel()
	t.Run("postgres goes away", func(t *testing.T) {
		t.Parallel()
		server := storetest.NewServer(t)
		d := apptest.Start(t, storetest.Database{Name: "postgres", Postgres: server.DSN}, demo.Options{})
		testOutage(t, d, outage{begin: server.Down, end: server.Up})
	})
	t.Run("no room in the file", func(t *testing.T) {
		t.Parallel()
		d := apptest.OnSQLite(t)
		limit := func(pages int) error {
			_, err := d.Store().SQLite().ExecContext(t.Context(), fmt.Sprintf("PRAGMA max_page_count = %d", pages))
			return err
		}
		testOutage(t, d, outage{
			// The least that SQLite accepts is what is in use.
			begin:    func() error { return limit(1) },
			end:      func() error { return limit(1 << 30) },
			readable: true,
		})
	})
	t.Run("no room on the disk", func(t *testing.T) {
		t.Parallel()
		folder := smallDisk(t)
		if folder == "" {
			// Mounting needs root; the outage above goes the same way.
			return
		}
		d := apptest.OnSQLite(t)
		d.Halt(t)
		d.Resume(t, "{sqlite: {path: "+filepath.Join(folder, "gatewright.db")+"}}")
		filler := filepath.Join(folder, "filler")
		testOutage(t, d, outage{
			begin: func() error {
				err := os.WriteFile(filler, make([]byte, 64<<20), 0o600)
				if err == nil {
					err = fmt.Errorf("%s has more room than it should", folder)
				} else if strings.Contains(err.Error(), "no space left") {
					err = nil
				}
				return err
			},
			end:      func() error { return os.Remove(filler) },
			readable: true,
		})
		d.Halt(t)
	})
}

// smallDisk mounts a disk of 16 MiB; empty where that is not allowed.
func smallDisk(t *testing.T) string {
	t.Helper()
	folder := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=16m", "none", folder).CombinedOutput(); err != nil {
		t.Logf("no disk of its own: %v: %s", err, out)
		return ""
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", folder).CombinedOutput(); err != nil {
			t.Errorf("unmount: %v: %s", err, out)
		}
	})
	return folder
}

func testOutage(t *testing.T, d apptest.Service, o outage) {
	acknowledged := map[string]bool{}
	// send sends a push to a branch that no rule names, as large as a real one.
	send := func() int {
		t.Helper()
		s := d.Push(t, event.GitLab, uuid.NewString(), demo.Change{Branch: "scratch-" + strings.Repeat(uuid.NewString(), 200), SHA: d.World.Clean})
		if s.Status == http.StatusAccepted {
			acknowledged[s.ID] = true
		}
		return s.Status
	}
	ready := func() bool { return apptest.Answers(d.Private() + "/readyz") }
	for range 5 {
		if status := send(); status != http.StatusAccepted {
			t.Errorf("before: answered %d", status)
		}
	}
	if err := o.begin(); err != nil {
		t.Fatal(err)
	}
	// What is free inside the file is used up first.
	apptest.WaitFor(t, "nothing can be stored", func() bool { return send() == http.StatusServiceUnavailable })
	for range 5 {
		if status := send(); status != http.StatusServiceUnavailable && !o.readable {
			t.Errorf("during: answered %d", status)
		}
	}
	if o.readable {
		apptest.WaitFor(t, "it is ready during the outage", ready)
	} else if ready() {
		t.Error("it is ready during the outage")
	}
	if !apptest.Answers(d.Private() + "/healthz") {
		t.Error("the process does not live through it")
	}
	if err := o.end(); err != nil {
		t.Fatal(err)
	}
	apptest.WaitFor(t, "it works again", func() bool { return send() == http.StatusAccepted })
	apptest.WaitFor(t, "it is ready again", ready)
	checkStored(t, d, acknowledged)
	d.Until(t, "all are decided", func(r demo.Records) bool {
		decided := 0
		for _, delivery := range r.Deliveries {
			if acknowledged[delivery.ID] && delivery.State != event.DeliveryReceived {
				decided++
			}
		}
		return decided == len(acknowledged)
	})
	// And the rest of the way of a push works too.
	d.Push(t, event.GitHub, "after", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean, Time: time.Now().UTC().Format(time.RFC3339)})
	d.Until(t, "a push is released", apptest.Released)
}

// checkStored checks that the database has every delivery that was acknowledged.
func checkStored(t *testing.T, d apptest.Service, acknowledged map[string]bool) {
	t.Helper()
	for id := range acknowledged {
		err := d.Store().View(t.Context(), func(tx *store.Tx) error { _, err := tx.Delivery(t.Context(), id); return err })
		if err != nil {
			t.Errorf("acknowledged and lost: %v", err)
		}
	}
}
