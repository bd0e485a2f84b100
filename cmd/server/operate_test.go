package main

import (
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// halt stops the server, once it has started, and leaves the stand-in.
func (d *demonstration) halt(t *testing.T) {
	t.Helper()
	waitFor(t, "the server is ready", func() bool { return answers(d.base + "/readyz") })
	d.stopApp()
	d.stopApp = nil
	if err := <-d.stopped; err != nil {
		t.Fatal(err)
	}
}

// resume starts the server again, on the database that d.store names.
func (d *demonstration) resume(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d.base = "http://" + l.Addr().String()
	if err := d.startApp(t.Context(), l, d.cfg.HuaweiCloud.Endpoints.CodeCheck); err != nil {
		t.Fatal(err)
	}
}

// gatewright runs a command on the server's own file.
func (d *demonstration) gatewright(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return command(t, d.secrets, append(args, "--config", filepath.Join(d.folder, "gatewright.yaml"))...)
}

// sendGitLab sends a body to the GitLab connection as it is.
func (d *demonstration) sendGitLab(t *testing.T, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.base+"/webhooks/gitlab", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Gitlab-Event", "Push Hook")
	request.Header.Set("X-Gitlab-Token", d.secrets["DEMO_GITLAB_TOKEN"])
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// replayed is the answer of replay --json.
type replayed struct {
	Deliveries []replayView `json:"deliveries"`
	Replayed   int          `json:"replayed"`
	Left       int          `json:"left"`
	DryRun     bool         `json:"dry_run"`
}

func (d *demonstration) replay(t *testing.T, wantCode int, args ...string) (r replayed) {
	t.Helper()
	code, stdout, stderr := d.gatewright(t, append([]string{"replay", "--json"}, args...)...)
	if code != wantCode {
		t.Fatalf("replay %q: exit code %d, want %d\n%s%s", args, code, wantCode, stdout, stderr)
	}
	if wantCode == exitOK || stdout != "" {
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatalf("replay %q: %v\n%s", args, err, stdout)
		}
	}
	return r
}

// TestReplayCommand replays beside a running server, and while none runs: each delivery is
// decided again, and nothing that was done is done twice.
func TestReplayCommand(t *testing.T) { demonstrate(t, testReplayCommand) }

func testReplayCommand(t *testing.T, d *demonstration) {
	if status := d.sendGitLab(t, `{"object_kind":"push","ref":7}`); status != http.StatusAccepted {
		t.Fatalf("answered %d", status)
	}
	d.push(t, event.GitHub, "1", change{Branch: "main", Before: d.world.parent, SHA: d.world.clean})
	decided := func(since time.Time) func(records) bool {
		return func(r records) bool {
			for _, delivery := range r.deliveries {
				if delivery.State == event.DeliveryReceived || !delivery.UpdatedAt.After(since) {
					return false
				}
			}
			return allReleased(r)
		}
	}
	before := d.until(t, "all is done", decided(time.Time{}))
	failed, pushed := before.deliveries[0].ID, before.deliveries[1].ID
	last := func(r records) time.Time { return r.deliveries[len(r.deliveries)-1].UpdatedAt }

	if r := d.replay(t, exitOK, "--failed", "--dry-run"); r.Replayed != 1 || !r.DryRun || r.Deliveries[0].ID != failed || r.Deliveries[0].Replayed {
		t.Errorf("dry run: %+v", r)
	}
	if r := d.replay(t, exitOK, "--state", "ignored"); len(r.Deliveries) != 0 {
		t.Errorf("none is ignored: %+v", r)
	}
	if r := d.replay(t, exitOK, "--until", "1h"); len(r.Deliveries) != 0 {
		t.Errorf("none is an hour old: %+v", r)
	}
	if r := d.replay(t, exitOK, "--since", "1h"); r.Replayed != 2 || !r.Deliveries[0].Replayed || !r.Deliveries[1].Replayed {
		t.Errorf("both are not an hour old: %+v", r)
	}
	again := d.until(t, "both are decided again", decided(last(before)))

	d.halt(t)
	if r := d.replay(t, exitOK, failed, pushed, failed); r.Replayed != 3 || r.Left != 0 {
		t.Errorf("while no server runs: %+v", r)
	}
	if r := d.replay(t, exitNo, pushed); r.Left != 1 || !strings.Contains(r.Deliveries[0].Problem, "waits") {
		t.Errorf("what waits already: %+v", r)
	}
	d.resume(t)
	d.replay(t, exitNo, "nobody")
	once := d.until(t, "both are decided once more", decided(last(again)))

	if d := once.deliveries[0]; d.State != event.DeliveryFailed {
		t.Errorf("the unreadable one ended %s", d.State)
	}
	if d := once.deliveries[1]; d.State != event.DeliveryDecided || !strings.Contains(d.Reason, "checks that commit already") {
		t.Errorf("the push ended %s for %q", d.State, d.Reason)
	}
	if len(once.runs) != 1 || len(once.releases) != 2 {
		t.Errorf("%d runs and %d releases", len(once.runs), len(once.releases))
	}
	for _, operation := range []string{"run_task", "operate_pipeline/start", "operate_pipeline/approval"} {
		if acted := d.standin.Counts().Acted[operation]; acted != 1 {
			t.Errorf("%s was done %d times", operation, acted)
		}
	}
}

// TestReplayOfAnOldPush replays a push that newer ones have overtaken: the branch
// stays where it is.
func TestReplayOfAnOldPush(t *testing.T) { demonstrate(t, testReplayOfAnOldPush) }

func testReplayOfAnOldPush(t *testing.T, d *demonstration) {
	d.push(t, event.GitHub, "1", change{Branch: "main", SHA: d.world.parent})
	d.until(t, "the first run is there", func(r records) bool { return len(r.runs) == 1 })
	d.push(t, event.GitHub, "2", change{Branch: "main", Before: d.world.parent, SHA: d.world.bad})
	d.until(t, "the second run is there", func(r records) bool { return len(r.runs) == 2 })
	d.push(t, event.GitHub, "3", change{Branch: "main", Before: d.world.bad, SHA: d.world.clean})
	before := d.until(t, "the third is released", allReleased)
	d.replay(t, exitOK, before.deliveries[0].ID, before.deliveries[1].ID)
	after := d.until(t, "both are decided again", func(r records) bool {
		return r.deliveries[0].UpdatedAt.After(before.deliveries[0].UpdatedAt) && r.deliveries[0].State != event.DeliveryReceived &&
			r.deliveries[1].UpdatedAt.After(before.deliveries[1].UpdatedAt) && r.deliveries[1].State != event.DeliveryReceived
	})
	if len(after.runs) != len(before.runs) {
		t.Errorf("%d runs, before %d", len(after.runs), len(before.runs))
	}
	for _, rel := range after.releases {
		if rel.Event.HeadSHA != d.world.clean {
			t.Errorf("commit %s was released", rel.Event.HeadSHA)
		}
	}
}

// TestMigrateCommand runs migrate alone: on nothing, once more, many at once, and
// beside a server.
func TestMigrateCommand(t *testing.T) { storetest.Each(t, testMigrateCommand) }

func testMigrateCommand(t *testing.T, db storetest.Database) {
	d := startDemonstration(t, db)
	code, stdout, stderr := d.gatewright(t, "migrate")
	if db.SQLite != "" {
		if code != exitNo || !strings.Contains(stderr, "another gatewright works on this file") {
			t.Errorf("beside a server: exit code %d\n%s%s", code, stdout, stderr)
		}
	} else if code != exitOK {
		t.Errorf("beside replicas: exit code %d\n%s%s", code, stdout, stderr)
	}
	d.halt(t)
	for range 2 {
		if code, stdout, stderr := d.gatewright(t, "migrate"); code != exitOK || !strings.Contains(stdout, "up to date: version") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	}
}

func TestMigrateManyAtOnce(t *testing.T) {
	d := &demonstration{folder: t.TempDir(), secrets: map[string]string{"DEMO_DSN": storetest.Postgres(t)}, store: "{postgres: {dsn: {env: DEMO_DSN}}}"}
	if err := d.start(t.Context(), "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if err := d.stop(); err != nil {
		t.Fatal(err)
	}
	d.secrets["DEMO_DSN"] = storetest.Postgres(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if code, stdout, stderr := d.gatewright(t, "migrate"); code != exitOK {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	wg.Wait()
}

// TestStoreCopy moves an installation in the middle of a run, and in the middle of a
// release: it goes on over there, and nothing is done twice.
func TestStoreCopy(t *testing.T) {
	for name, reached := range map[string]func(records) bool{
		"undecided":              func(r records) bool { return len(r.deliveries) == 1 },
		"while the scan runs":    func(r records) bool { return len(r.runs) == 1 && r.runs[0].State == codecheck.Running },
		"while the release runs": func(r records) bool { return len(r.releases) == 2 && r.releases[0].State == release.Running },
	} {
		t.Run(name, func(t *testing.T) { testStoreCopy(t, name, reached) })
	}
}

func testStoreCopy(t *testing.T, name string, reached func(records) bool) {
	dsn := storetest.Postgres(t)
	d := startDemonstration(t, storetest.Database{Name: "sqlite", SQLite: "the demonstration's own"})
	d.secrets["GATEWRIGHT_DSN"] = dsn
	arguments := []string{"store", "copy", "--from", "sqlite", "--to", "postgres", "--sqlite", d.cfg.Store.SQLite.Path}
	d.push(t, event.GitHub, "1", change{Branch: "main", Before: d.world.parent, SHA: d.world.clean})
	d.until(t, name, reached)
	if code, _, stderr := command(t, d.secrets, arguments...); code != exitNo || !strings.Contains(stderr, "another gatewright works on this file") {
		t.Errorf("while the server runs: exit code %d, %s", code, stderr)
	}
	d.halt(t)
	code, stdout, stderr := command(t, d.secrets, arguments...)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, want := range []string{"deliveries     1", "heads", "to go on with"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if code, _, stderr := command(t, d.secrets, arguments...); code != exitNo || !strings.Contains(stderr, "not empty") {
		t.Errorf("once more: exit code %d, %s", code, stderr)
	}
	d.store = "{postgres: {dsn: {env: GATEWRIGHT_DSN}}}"
	d.resume(t)
	r := d.until(t, "released", allReleased)
	for _, rel := range r.releases {
		if rel.State != release.Succeeded {
			t.Errorf("%s ended %s: %s", rel.Plan.Action, rel.State, rel.Reason)
		}
	}
	for _, operation := range []string{"run_task", "operate_pipeline/start", "operate_pipeline/approval"} {
		if acted := d.standin.Counts().Acted[operation]; acted != 1 {
			t.Errorf("%s was done %d times", operation, acted)
		}
	}
	if again := d.push(t, event.GitHub, "1", change{Branch: "main", Before: d.world.parent, SHA: d.world.clean}); again.status != http.StatusOK {
		t.Errorf("a delivery that was known over there was answered %d", again.status)
	}
	back := []string{"store", "copy", "--from", "postgres", "--to", "sqlite", "--sqlite", filepath.Join(t.TempDir(), "back.db")}
	if code, _, stderr := command(t, d.secrets, back...); code != exitNo || !strings.Contains(stderr, "stop every replica") {
		t.Errorf("back, while a replica runs: exit code %d, %s", code, stderr)
	}
}

// TestSecondServer holds that a second server on one SQLite file does not start.
func TestSecondServer(t *testing.T) {
	d := startDemonstration(t, storetest.Database{Name: "sqlite", SQLite: "the demonstration's own"})
	waitFor(t, "the server is ready", func() bool { return answers(d.base + "/readyz") })
	code, _, stderr := d.gatewright(t, "serve")
	if code != exitNo || !strings.Contains(stderr, "another gatewright works on this file") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	// Looking is allowed.
	if code, _, stderr := d.gatewright(t, "list", "deliveries"); code != exitOK {
		t.Errorf("list: exit code %d, %s", code, stderr)
	}
}

// stored holds that the database has every delivery that was acknowledged.
func (d *demonstration) stored(t *testing.T, acknowledged map[string]bool) {
	t.Helper()
	for id := range acknowledged {
		err := d.app.store.View(t.Context(), func(tx *store.Tx) error { _, err := tx.Delivery(t.Context(), id); return err })
		if err != nil {
			t.Errorf("acknowledged and lost: %v", err)
		}
	}
}
