package app_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/storetest"
)

// reloading is a service whose files a test changes.
type reloading struct {
	apptest.Service
	folder string
}

func reloadingOf(s apptest.Service) reloading {
	return reloading{Service: s, folder: filepath.Dir(s.ServerFile())}
}

func (r reloading) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (r reloading) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(r.folder, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// edit replaces a text in a file, which must be there.
func (r reloading) edit(t *testing.T, name, before, after string) {
	t.Helper()
	text := r.read(t, name)
	if !strings.Contains(text, before) {
		t.Fatalf("%s does not have %q:\n%s", name, before, text)
	}
	r.write(t, name, strings.Replace(text, before, after, 1))
}

func (r reloading) get(t *testing.T, path string) (int, string) {
	t.Helper()
	response, err := http.Get(r.Private() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// metric is the value of a metric without labels, or of one with these labels.
func (r reloading) metric(t *testing.T, name string) string {
	t.Helper()
	var found []string
	pattern := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` (.*)$`)
	// What the database does not answer in time is left out.
	apptest.WaitFor(t, "metric "+name, func() bool {
		_, text := r.get(t, "/metrics")
		found = pattern.FindStringSubmatch(text)
		return found != nil
	})
	return found[1]
}

// readiness is what /readyz answers.
type readiness struct {
	Status   string
	Degraded []struct {
		What, Reason string
		Since        time.Time
	}
	Config struct {
		Hash         string
		NeedsRestart []string `json:"needs_restart"`
	}
}

// ready is what /readyz answers when it answers 200: a slow disk may make it say once that
// the database takes no writes.
func (r reloading) ready(t *testing.T) (answer readiness) {
	t.Helper()
	apptest.WaitFor(t, "the service is ready", func() bool {
		status, body := r.get(t, "/readyz")
		if status != http.StatusOK {
			return false
		}
		if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Status != "ready" {
			t.Fatalf("readiness %s (%v)", body, err)
		}
		return true
	})
	return answer
}

// reloaded waits until another configuration is in force than the one with this hash.
func (r reloading) reloaded(t *testing.T, hash string) {
	t.Helper()
	apptest.WaitFor(t, "another configuration is in force", func() bool { return r.ready(t).Config.Hash != hash })
}

func (r reloading) hash(t *testing.T) string {
	t.Helper()
	return r.ready(t).Config.Hash
}

// pushed sends a push to main of GitHub and returns its answer's status.
func (r reloading) pushed(t *testing.T, id string) int {
	t.Helper()
	return r.Push(t, event.GitHub, id, demo.Change{Branch: "main", Before: r.World.Parent, SHA: r.World.Clean}).Status
}

// rule is the rule of the only run of a push; it waits for it.
func (r reloading) ruleOf(t *testing.T, runs int) string {
	t.Helper()
	return r.Until(t, "a run is there", func(records demo.Records) bool { return len(records.Runs) == runs }).Runs[runs-1].Rule
}

// TestReloadRules holds that changed rules decide what comes then, and that a run keeps
// what the rules said when it was decided.
func TestReloadRules(t *testing.T) {
	t.Parallel()
	r := reloadingOf(apptest.Start(t, storetest.Database{Name: "sqlite"}, demo.Options{ScanDelay: apptest.EndlessScan}))
	hash, number := r.hash(t), r.metric(t, "gatewright_config_hash")
	r.pushed(t, "1")
	r.Until(t, "it is scanned", apptest.Scanning)

	rules := r.read(t, "rules.yaml")
	r.edit(t, "rules.yaml", "name: release-main", "name: check-only")
	r.write(t, "rules.yaml", regexp.MustCompile(`(?s)    release:\n.*?\n\n`).ReplaceAllString(r.read(t, "rules.yaml"), "\n"))
	r.reloaded(t, hash)
	if r.metric(t, "gatewright_config_hash") == number {
		t.Error("the metric of the hash did not change")
	}
	r.Standin.SetScanDelay(apptest.ShortScan)
	r.Standin.EndScans()
	r.Push(t, event.GitHub, "2", demo.Change{Branch: "main", Before: r.World.Parent, SHA: r.World.Clean, Time: "2026-01-02T03:04:05Z"})
	if records := r.Until(t, "the run of the old rules was released", apptest.Released); records.Runs[0].Rule != "release-main" {
		t.Errorf("the run is of rule %q", records.Runs[0].Rule)
	}

	// Back to the old rules is back to the old hash.
	r.write(t, "rules.yaml", rules)
	apptest.WaitFor(t, "the old configuration is in force", func() bool { return r.ready(t).Config.Hash == hash })
	if again := r.metric(t, "gatewright_config_hash"); again != number {
		t.Errorf("hash %s of the same configuration, want %s", again, number)
	}
}

// TestReloadOfMountedFolder replaces the rules as Kubernetes replaces a ConfigMap: the
// files are links through ..data, which is replaced by a rename.
func TestReloadOfMountedFolder(t *testing.T) {
	t.Parallel()
	r := reloadingOf(apptest.OnSQLite(t))
	hash := r.hash(t)
	rules := r.read(t, "rules.yaml")
	mount := func(version, text string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(r.folder, version), 0o700); err != nil {
			t.Fatal(err)
		}
		r.write(t, version+"/rules.yaml", text)
		if err := os.Symlink(version, filepath.Join(r.folder, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(r.folder, "..data_tmp"), filepath.Join(r.folder, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	mount("..1", strings.ReplaceAll(rules, "release-main", "first"))
	if err := os.Remove(filepath.Join(r.folder, "rules.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..data/rules.yaml", filepath.Join(r.folder, "rules.yaml")); err != nil {
		t.Fatal(err)
	}
	r.reloaded(t, hash)
	for version, rule := range map[string]string{"..2": "second", "..3": "third"} {
		hash = r.ready(t).Config.Hash
		mount(version, strings.ReplaceAll(rules, "release-main", rule))
		r.reloaded(t, hash)
	}
	// Kubernetes removes the folders that are no longer used.
	for _, version := range []string{"..1", "..2", "..3"} {
		if target, _ := os.Readlink(filepath.Join(r.folder, "..data")); target != version {
			if err := os.RemoveAll(filepath.Join(r.folder, version)); err != nil {
				t.Fatal(err)
			}
		}
	}
	hash = r.ready(t).Config.Hash
	mount("..4", strings.ReplaceAll(rules, "release-main", "fourth"))
	r.reloaded(t, hash)
	r.pushed(t, "1")
	if rule := r.ruleOf(t, 1); rule != "fourth" {
		t.Errorf("decided by %q", rule)
	}
}

// TestReloadOfBadFiles holds that the last good configuration stays in force, and that
// everything says so, until the files are good again.
func TestReloadOfBadFiles(t *testing.T) {
	t.Parallel()
	r := reloadingOf(apptest.OnSQLite(t))
	hash := r.hash(t)
	rules := r.read(t, "rules.yaml")
	for name, spoil := range map[string]func(){
		"a wrong key":       func() { r.write(t, "rules.yaml", rules+"\nruels: []\n") },
		"no rules":          func() { must(t, os.Remove(filepath.Join(r.folder, "rules.yaml"))) },
		"a missing secret":  func() { r.edit(t, "gatewright.yaml", "{env: DEMO_GITHUB_SECRET}", "{file: secrets/hub}") },
		"server file empty": func() { r.write(t, "gatewright.yaml", "") },
	} {
		t.Run(name, func(t *testing.T) {
			server := r.read(t, "gatewright.yaml")
			spoil()
			apptest.WaitFor(t, "the files are rejected", func() bool { return r.metric(t, "gatewright_config_last_reload_successful") == "0" })
			state := r.ready(t)
			if len(state.Degraded) != 1 || state.Degraded[0].What != "configuration" || state.Degraded[0].Reason == "" || state.Config.Hash != hash {
				t.Errorf("readiness %+v", state)
			}
			r.write(t, "gatewright.yaml", server)
			r.write(t, "rules.yaml", rules)
			apptest.WaitFor(t, "the files are good again", func() bool { return r.metric(t, "gatewright_config_last_reload_successful") == "1" })
			if state := r.ready(t); len(state.Degraded) != 0 || state.Config.Hash != hash {
				t.Errorf("readiness %+v", state)
			}
		})
	}
	if !strings.Contains(r.read(t, "gatewright.log"), "configuration rejected, the last good one stays in force") {
		t.Error("the log does not say so")
	}
	r.pushed(t, "1")
	if rule := r.ruleOf(t, 1); rule != "release-main" {
		t.Errorf("decided by %q", rule)
	}
}

// TestReloadSecret replaces a webhook secret in its file.
func TestReloadSecret(t *testing.T) {
	t.Parallel()
	r := reloadingOf(apptest.OnSQLite(t))
	hash := r.hash(t)
	secret := r.Secrets["DEMO_GITHUB_SECRET"]
	must(t, os.Mkdir(filepath.Join(r.folder, "secrets"), 0o700))
	r.write(t, "secrets/hub", "another secret, for now\n")
	r.edit(t, "gatewright.yaml", "{env: DEMO_GITHUB_SECRET}", "{file: secrets/hub}")
	r.reloaded(t, hash)
	if status := r.pushed(t, "1"); status != http.StatusUnauthorized {
		t.Errorf("with the wrong secret: %d", status)
	}
	hash = r.ready(t).Config.Hash
	r.write(t, "secrets/hub", secret)
	r.reloaded(t, hash)
	if status := r.pushed(t, "1"); status != http.StatusAccepted {
		t.Errorf("with the right secret: %d", status)
	}
}

// TestHangup holds what a person who asks for a reload is told.
func TestHangup(t *testing.T) {
	t.Parallel()
	r := reloadingOf(apptest.OnSQLite(t))
	hash := r.hash(t)
	r.edit(t, "gatewright.yaml", "timeout: 10s", "timeout: 11s")
	apptest.WaitFor(t, "the change is seen", func() bool { return len(r.ready(t).Config.NeedsRestart) > 0 })
	r.Hangup()
	apptest.WaitFor(t, "the log answers", func() bool { return strings.Contains(r.read(t, "gatewright.log"), "environment variables change only") })
	if state := r.ready(t); state.Config.Hash != hash || strings.Join(state.Config.NeedsRestart, " ") != "huaweicloud.timeout" {
		t.Errorf("readiness %+v", state)
	}
	log := r.read(t, "gatewright.log")
	for _, want := range []string{`"msg":"configuration reloaded"`, `"settings":["huaweicloud.timeout"]`, `"DEMO_GITHUB_SECRET"`, `"config_hash":"` + hash + `"`} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not have %s", want)
		}
	}
	for name, secret := range r.Secrets {
		if strings.Contains(log, secret) {
			t.Errorf("the log has the value of %s", name)
		}
	}
}

// TestMendedCredentials starts with a wrong secret key. The service stays ready and
// says why nothing runs; when the file has the right key, the run goes on.
func TestMendedCredentials(t *testing.T) {
	t.Parallel()
	r := reloadingOf(apptest.OnSQLite(t))
	hash := r.hash(t)
	r.write(t, "key", "wrong-secret-key")
	r.edit(t, "gatewright.yaml", "secret: {env: DEMO_SECRET_KEY}", "secret: {file: key}")
	r.reloaded(t, hash)
	r.pushed(t, "1")
	apptest.WaitFor(t, "the refusal shows", func() bool { return len(r.ready(t).Degraded) == 1 })
	first := r.ready(t).Degraded[0]
	if first.What != "credentials" || !strings.Contains(first.Reason, "APIGW.0301") {
		t.Errorf("degraded %+v", first)
	}
	// The next attempt is not sent, and does not replace the reason.
	r.Push(t, event.GitLab, "2", demo.Change{Branch: "main", Before: r.World.Parent, SHA: r.World.Clean})
	apptest.WaitFor(t, "the second run has tried", func() bool { return strings.Count(r.read(t, "gatewright.log"), "job failed, will be retried") >= 2 })
	r.Until(t, "both runs say why they wait", func(records demo.Records) bool {
		return len(records.Runs) == 2 && strings.Contains(records.Runs[0].Reason, "APIGW.0301") && strings.Contains(records.Runs[1].Reason, "APIGW.0301")
	})
	if now := r.ready(t).Degraded; len(now) != 1 || now[0] != first {
		t.Errorf("degraded %+v, then %+v", first, now)
	}
	r.write(t, "key", r.Secrets["DEMO_SECRET_KEY"]+"\n")
	mended := time.Now()
	records := r.Until(t, "both runs pass", func(records demo.Records) bool {
		return len(records.Runs) == 2 && records.Runs[0].State == codecheck.Passed && records.Runs[1].State == codecheck.Passed
	})
	if took := records.Runs[0].StartedAt.Sub(mended); took > 2*time.Minute {
		t.Errorf("the run was started %s after the key was mended", took)
	}
	if state := r.ready(t); len(state.Degraded) != 0 {
		t.Errorf("still degraded: %+v", state.Degraded)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
