package main

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/storetest"
)

// gatewright runs a command on the server file of a service.
func gatewright(t *testing.T, d apptest.Service, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return runCommand(t, d.Secrets, append(args, "--config", d.ServerFile())...)
}

// sendGitLab sends a body to the GitLab connection as it is.
func sendGitLab(t *testing.T, d apptest.Service, body string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.Base()+"/webhooks/gitlab", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Gitlab-Event", "Push Hook")
	request.Header.Set("X-Gitlab-Token", d.Secrets["DEMO_GITLAB_TOKEN"])
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
	Skipped    int          `json:"skipped"`
	DryRun     bool         `json:"dry_run"`
}

func replayJSON(t *testing.T, d apptest.Service, wantCode int, args ...string) (r replayed) {
	t.Helper()
	code, stdout, stderr := gatewright(t, d, append([]string{"replay", "--json"}, args...)...)
	if code != wantCode {
		t.Fatalf("replay %q: exit code %d, want %d\n%s%s", args, code, wantCode, stdout, stderr)
	}
	if wantCode == command.OK || stdout != "" {
		if err := json.Unmarshal([]byte(stdout), &r); err != nil {
			t.Fatalf("replay %q: %v\n%s", args, err, stdout)
		}
	}
	return r
}

// TestReplayCommand replays beside a running server, and while none runs: each delivery is
// decided again, and nothing that was done is done twice.
func TestReplayCommand(t *testing.T) { apptest.Each(t, demo.Options{}, testReplayCommand) }

func testReplayCommand(t *testing.T, d apptest.Service) {
	if status := sendGitLab(t, d, `{"object_kind":"push","ref":7}`); status != http.StatusAccepted {
		t.Fatalf("answered %d", status)
	}
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	decided := func(since time.Time) func(demo.Records) bool {
		return func(r demo.Records) bool {
			for _, delivery := range r.Deliveries {
				if delivery.DecidedAt == nil || !delivery.DecidedAt.After(since) {
					return false
				}
			}
			return apptest.Released(r)
		}
	}
	before := d.Until(t, "all is done", decided(time.Time{}))
	failed, pushed := before.Deliveries[0].ID, before.Deliveries[1].ID
	last := func(r demo.Records) time.Time { return *r.Deliveries[len(r.Deliveries)-1].DecidedAt }

	if r := replayJSON(t, d, command.OK, "--failed", "--dry-run"); r.Replayed != 1 || !r.DryRun || r.Deliveries[0].ID != failed || r.Deliveries[0].Replayed {
		t.Errorf("dry run: %+v", r)
	}
	if r := replayJSON(t, d, command.OK, "--state", "ignored"); len(r.Deliveries) != 0 {
		t.Errorf("none is ignored: %+v", r)
	}
	if r := replayJSON(t, d, command.OK, "--until", "1h"); len(r.Deliveries) != 0 {
		t.Errorf("none is an hour old: %+v", r)
	}
	if r := replayJSON(t, d, command.OK, "--since", "1h"); r.Replayed != 2 || !r.Deliveries[0].Replayed || !r.Deliveries[1].Replayed {
		t.Errorf("both are not an hour old: %+v", r)
	}
	again := d.Until(t, "both are decided again", decided(last(before)))

	d.Halt(t)
	if r := replayJSON(t, d, command.OK, failed, pushed, failed); r.Replayed != 3 || r.Skipped != 0 {
		t.Errorf("while no server runs: %+v", r)
	}
	if r := replayJSON(t, d, command.No, pushed); r.Skipped != 1 || !strings.Contains(r.Deliveries[0].Problem, "not decided yet") {
		t.Errorf("what waits already: %+v", r)
	}
	d.Resume(t, "")
	replayJSON(t, d, command.No, "nobody")
	once := d.Until(t, "both are decided once more", decided(last(again)))

	if d := once.Deliveries[0]; d.State != event.DeliveryFailed {
		t.Errorf("the unreadable one ended %s", d.State)
	}
	if d := once.Deliveries[1]; d.State != event.DeliveryDecided || !strings.Contains(d.Reason, "checks that commit already") {
		t.Errorf("the push ended %s for %q", d.State, d.Reason)
	}
	if len(once.Runs) != 1 || len(once.Releases) != 2 {
		t.Errorf("%d runs and %d releases", len(once.Runs), len(once.Releases))
	}
	d.ActedOnce(t)
}

// TestReplayOfAnOldPush replays a push that newer ones have overtaken: the branch
// stays where it is.
func TestReplayOfAnOldPush(t *testing.T) {
	// A scan of an older push lasts until it is stopped.
	apptest.Each(t, demo.Options{ScanDelay: apptest.EndlessScan}, testReplayOfAnOldPush)
}

func testReplayOfAnOldPush(t *testing.T, d apptest.Service) {
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", SHA: d.World.Parent})
	d.Until(t, "the first run is there", func(r demo.Records) bool { return len(r.Runs) == 1 })
	d.Push(t, event.GitHub, "2", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Bad})
	// Its scan must have begun: one that begins later is short, and is over before the
	// next push.
	d.Until(t, "the second scan runs", func(r demo.Records) bool { return len(r.Runs) == 2 && r.Runs[1].State == codecheck.Running })
	d.Standin.SetScanDelay(apptest.ShortScan)
	d.Push(t, event.GitHub, "3", demo.Change{Branch: "main", Before: d.World.Bad, SHA: d.World.Clean})
	before := d.Until(t, "the third is released", apptest.Released)
	replayJSON(t, d, command.OK, before.Deliveries[0].ID, before.Deliveries[1].ID)
	decidedAgain := func(r demo.Records, i int) bool {
		at := r.Deliveries[i].DecidedAt
		return at != nil && at.After(*before.Deliveries[i].DecidedAt)
	}
	after := d.Until(t, "both are decided again", func(r demo.Records) bool { return decidedAgain(r, 0) && decidedAgain(r, 1) })
	if len(after.Runs) != len(before.Runs) {
		t.Errorf("%d runs, before %d", len(after.Runs), len(before.Runs))
	}
	for _, rel := range after.Releases {
		if rel.Commit != d.World.Clean {
			t.Errorf("commit %s was released", rel.Commit)
		}
	}
}

// TestMigrateCommand runs migrate alone: on nothing, once more, many at once, and
// beside a server.
func TestMigrateCommand(t *testing.T) { apptest.Each(t, demo.Options{}, testMigrateCommand) }

func testMigrateCommand(t *testing.T, d apptest.Service) {
	code, stdout, stderr := gatewright(t, d, "migrate")
	if d.SQLite() != "" {
		if code != command.No || !strings.Contains(stderr, "another gatewright uses this file") {
			t.Errorf("beside a server: exit code %d\n%s%s", code, stdout, stderr)
		}
	} else if code != command.OK {
		t.Errorf("beside replicas: exit code %d\n%s%s", code, stdout, stderr)
	}
	d.Halt(t)
	for range 2 {
		if code, stdout, stderr := gatewright(t, d, "migrate"); code != command.OK || !strings.Contains(stdout, "up to date: version") {
			t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
		}
	}
}

func TestMigrateManyAtOnce(t *testing.T) {
	t.Parallel()
	d := apptest.Start(t, storetest.Database{Name: "postgres", Postgres: storetest.Postgres(t)}, demo.Options{})
	d.Halt(t)
	d.Secrets["DEMO_DSN"] = storetest.Postgres(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if code, stdout, stderr := gatewright(t, d, "migrate"); code != command.OK {
				t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
			}
		})
	}
	wg.Wait()
}

// TestStoreCopy moves an installation in the middle of a run, and in the middle of a
// release: it goes on over there, and nothing is done twice.
func TestStoreCopy(t *testing.T) {
	t.Parallel()
	for name, reached := range map[string]func(demo.Records) bool{
		"undecided":              func(r demo.Records) bool { return len(r.Deliveries) == 1 },
		"while the scan runs":    apptest.Scanning,
		"while the release runs": func(r demo.Records) bool { return len(r.Releases) == 2 && r.Releases[0].ExecutionID != "" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testStoreCopy(t, name, reached)
		})
	}
}

func testStoreCopy(t *testing.T, name string, reached func(demo.Records) bool) {
	dsn := storetest.Postgres(t)
	d := apptest.OnSQLite(t)
	d.Secrets["GATEWRIGHT_DSN"] = dsn
	arguments := []string{"store", "copy", "--from", "sqlite", "--to", "postgres", "--sqlite", d.SQLite()}
	pushed := demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean, Time: time.Now().UTC().Format(time.RFC3339)}
	d.Push(t, event.GitHub, "1", pushed)
	d.Until(t, name, reached)
	if code, _, stderr := runCommand(t, d.Secrets, arguments...); code != command.No || !strings.Contains(stderr, "another gatewright uses this file") {
		t.Errorf("while the server runs: exit code %d, %s", code, stderr)
	}
	d.Halt(t)
	code, stdout, stderr := runCommand(t, d.Secrets, arguments...)
	if code != command.OK {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for _, want := range []string{" deliveries 1 ", "heads", "webhook_secrets 4", "to go on with"} {
		if !strings.Contains(strings.Join(strings.Fields(stdout), " "), want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if code, _, stderr := runCommand(t, d.Secrets, arguments...); code != command.No || !strings.Contains(stderr, "not empty") {
		t.Errorf("once more: exit code %d, %s", code, stderr)
	}
	d.Resume(t, "{postgres: {dsn: {env: GATEWRIGHT_DSN}}}")
	r := d.Until(t, "released", apptest.Released)
	for _, rel := range r.Releases {
		if rel.State != release.Succeeded {
			t.Errorf("%s ended %s: %s", rel.Action, rel.State, rel.Reason)
		}
	}
	d.ActedOnce(t)
	if again := d.Push(t, event.GitHub, "1", pushed); again.Status != http.StatusOK {
		t.Errorf("a delivery that was known over there was answered %d", again.Status)
	}
	back := []string{"store", "copy", "--from", "postgres", "--to", "sqlite", "--sqlite", filepath.Join(t.TempDir(), "back.db")}
	if code, _, stderr := runCommand(t, d.Secrets, back...); code != command.No || !strings.Contains(stderr, "stop every replica") {
		t.Errorf("back, while a replica runs: exit code %d, %s", code, stderr)
	}
}

// TestSecondServer holds that a second server on one SQLite file does not start.
func TestSecondServer(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLite(t)
	apptest.WaitFor(t, "the server is ready", func() bool { return apptest.Answers(d.Private() + "/readyz") })
	code, _, stderr := gatewright(t, d, "serve")
	if code != command.No || !strings.Contains(stderr, "another gatewright uses this file") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	// Looking is allowed.
	if code, _, stderr := gatewright(t, d, "list", "deliveries"); code != command.OK {
		t.Errorf("list: exit code %d, %s", code, stderr)
	}
}
