package dashboard_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
)

// axeFile is axe-core, which is not ours and not in the repository: .ci/run installs it.
const axeFile = "../../build/axe/node_modules/axe-core/axe.min.js"

// screenshots names a folder for pictures of each page, for people to look at.
const screenshots = "GATEWRIGHT_SCREENSHOTS"

// browser is a Chromium that notes all that goes wrong in it.
type browser struct {
	ctx  context.Context
	home *url.URL
	mu   sync.Mutex
	// wrong are script errors, refusals by the policy, failed loads and requests elsewhere.
	wrong []string
}

func newBrowser(t *testing.T, home string) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("no Chromium: install it (Debian: chromium)")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(2*time.Minute))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	b := &browser{}
	if b.home, err = url.Parse(home); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithListener(func(ev any) {
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.note("script error: " + ev.ExceptionDetails.Text)
		case *cdplog.EventEntryAdded:
			b.note(fmt.Sprintf("%s: %s (%s)", ev.Entry.Source, ev.Entry.Text, ev.Entry.URL))
		case *network.EventRequestWillBeSent:
			// Chromium draws its own parts of a form from data: addresses.
			if u, err := url.Parse(ev.Request.URL); err != nil || u.Host != b.home.Host && u.Scheme != "data" {
				b.note("request elsewhere: " + ev.Request.URL)
			}
		}
	}))
	t.Cleanup(cancel)
	b.ctx = ctx
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Call(ctx, cdplog.Enable, cdp.Empty{}); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *browser) note(what string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrong = append(b.wrong, what)
}

// open loads a page and fails the test for all that went wrong in it.
func (b *browser) open(t *testing.T, path string, then ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	steps := append([]chromedp.Action[chromedp.Void]{chromedp.Navigate(b.home.String() + path), chromedp.WaitReady("main")}, then...)
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	b.check(t, path)
}

func (b *browser) check(t *testing.T, where string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, wrong := range b.wrong {
		t.Errorf("%s: %s", where, wrong)
	}
	b.wrong = nil
}

// screen is one way in which pages are looked at.
type screen struct {
	name  string
	width int64
	dark  bool
}

func screens() []screen {
	return []screen{{"wide-light", 1280, false}, {"wide-dark", 1280, true}, {"narrow-light", 390, false}, {"narrow-dark", 390, true}}
}

func (s screen) set(ctx context.Context) error {
	scheme := "light"
	if s.dark {
		scheme = "dark"
	}
	_, err := chromedp.Call(ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: s.width, Height: 900, DeviceScaleFactor: 1, Mobile: s.width < 500})
	if err != nil {
		return err
	}
	_, err = chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
	return err
}

// TestPages loads each page of a service that has worked, on each screen: no script error, nothing
// that the policy refuses, no request elsewhere, nothing wider than the screen, and nothing serious
// that axe-core finds.
func TestPages(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser and a service")
	}
	s := apptest.OnSQLite(t)
	s.Push(t, event.GitHub, "first", demo.Change{Branch: "main", Before: s.World.Parent, SHA: s.World.Clean})
	s.Request(t)
	records := s.Until(t, "all has ended", func(r demo.Records) bool {
		return len(r.Deliveries) == 2 && len(r.Runs) == 2 && r.Told() && apptest.Released(r)
	})
	push, request := records.Deliveries[0].ID, records.Deliveries[1].ID
	b := newBrowser(t, s.Private())
	b.picture(t, []shown{
		{"overview", "/"}, {"released", "/changes/" + push}, {"failed", "/changes/" + request}, {"payload", "/changes/" + push + "/payload"},
		{"findings", "/changes/" + request + "?severity=critical&text=token"}, {"deliveries", "/deliveries"}, {"runs", "/runs?state=failed"}, {"releases", "/releases"},
		{"missing", "/missing"}, {"none", "/runs?q=nobody/nothing"}, {"audit", "/audit"}, {"rules", "/rules?delivery=" + request},
		{"chinese", "/changes/" + request + "?lang=zh"}, {"chinese-overview", "/"}, {"english", "/rules?lang=en"}, {"login", "/login"},
	})
}

// shown is a page that is looked at.
type shown struct{ name, path string }

// picture looks at pages on each screen, as TestPages says.
func (b *browser) picture(t *testing.T, pages []shown) {
	t.Helper()
	axe, err := os.ReadFile(axeFile)
	if err != nil {
		t.Skip("no axe-core: make axe installs it with npm")
	}
	for _, screen := range screens() {
		if err := screen.set(b.ctx); err != nil {
			t.Fatal(err)
		}
		for _, p := range pages {
			name, path := p.name, p.path
			b.open(t, path)
			tooWide, err := chromedp.Run(b.ctx, chromedp.Evaluate[int](`document.documentElement.scrollWidth - document.documentElement.clientWidth`))
			if err != nil {
				t.Fatal(err)
			}
			answer := b.axe(t, string(axe))
			b.check(t, path)
			if tooWide > 0 {
				t.Errorf("%s, %s: %d px wider than the screen", name, screen.name, tooWide)
			}
			for _, v := range violations(t, answer) {
				if v.Impact == "serious" || v.Impact == "critical" {
					t.Errorf("%s, %s: %s %s: %s\n%s", name, screen.name, v.Impact, v.ID, v.Help, strings.Join(v.Nodes, "\n"))
				}
			}
			if folder := os.Getenv(screenshots); folder != "" {
				beyond := true
				picture, err := chromedp.Call(b.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond})
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(folder, name+"-"+screen.name+".png"), picture.Data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// axe returns what axe-core finds on the page that is open. The policy of the page lets nobody load
// it; the debugger may.
func (b *browser) axe(t *testing.T, script string) string {
	t.Helper()
	answer, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](script+`;
		axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => (
			{impact: v.impact, id: v.id, help: v.help, nodes: v.nodes.map(n => n.html.slice(0, 200) + " " + n.failureSummary)}))))`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// violation is a rule of axe-core that a page breaks.
type violation struct {
	Impact, ID, Help string
	Nodes            []string
}

func violations(t *testing.T, answer string) (list []violation) {
	t.Helper()
	if err := json.Unmarshal([]byte(answer), &list); err != nil {
		t.Fatalf("axe-core answered %q: %v", answer, err)
	}
	return list
}

// TestLive holds that an open page shows what happens without being loaded again, and keeps what
// somebody writes.
func TestLive(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser and a service")
	}
	s := apptest.OnSQLite(t)
	b := newBrowser(t, s.Private())
	b.open(t, "/deliveries", chromedp.WaitVisible(`[data-live=on]`), chromedp.WaitVisible(`#list p.quiet`), chromedp.SetValue("#q", "half a word"))
	s.Push(t, event.GitHub, "first", demo.Change{Branch: "main", Before: s.World.Parent, SHA: s.World.Clean})
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.WaitVisible(`#list tbody tr a[href^="/changes/"]`)); err != nil {
		t.Fatal(err)
	}
	written, err := chromedp.Run(ctx, chromedp.Value("#q"))
	if err != nil {
		t.Fatal(err)
	}
	b.check(t, "live page")
	if written != "half a word" {
		t.Errorf("the search holds %q", written)
	}
}

// oneWaits are rules with which a push to main waits for a person at the checkpoint of its pipeline.
const oneWaits = `version: 1
defaults:
  check: {project: {id: ${PROJECT}, name: demo}, languages: [GO, JSON, SHELL], timeout: 2m}
  gate: {critical: 0, major: 0}
rules:
  - name: release-main
    on: [push]
    match: {connection: github, repository: acme/shop, branch: main}
    check: {}
    release: [{pipeline: shop, action: start, timeout: 2m}]
`

// TestActions approves a checkpoint, has a commit checked again and a delivery decided again, each by
// the form on its page, with a reason that is kept.
func TestActions(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser and a service")
	}
	s := apptest.OnSQLiteWith(t, demo.Options{Rules: oneWaits})
	s.Push(t, event.GitHub, "first", demo.Change{Branch: "main", Before: s.World.Parent, SHA: s.World.Clean})
	waits := s.Until(t, "the pipeline waits", func(r demo.Records) bool {
		return len(r.Releases) == 1 && r.Releases[0].State == release.AwaitingApproval
	})
	delivery, run, starter := waits.Deliveries[0].ID, waits.Runs[0].ID, waits.Releases[0].ID
	b := newBrowser(t, s.Private())
	b.open(t, "/", chromedp.WaitVisible(`#needs a[href="/changes/`+starter+`"]`))
	b.open(t, "/releases/"+starter)
	b.order(t, "approve", starter)
	approved := s.Until(t, "it was approved", func(r demo.Records) bool { return len(r.Releases) == 2 && r.Ended() })
	history := approved.Releases[0].History
	if len(history) == 0 || history[0].Name != "approve" || history[0].Reason != "seen by a test" || history[0].Actor == "" {
		t.Fatalf("what was done: %+v", history)
	}
	for _, r := range approved.Releases {
		if r.State != release.Succeeded {
			t.Errorf("%s %s is %s: %s", r.Action, r.Checkpoint, r.State, r.Reason)
		}
	}
	b.open(t, "/audit?q=seen+by&actor="+url.QueryEscape(history[0].Actor), chromedp.WaitVisible(`#list a[href="/changes/`+starter+`"]`))
	b.open(t, "/runs/"+run)
	b.order(t, "rerun", run)
	s.Until(t, "it was checked again", func(r demo.Records) bool { return len(r.Runs) == 2 })
	b.open(t, "/deliveries/"+delivery)
	b.order(t, "replay", delivery)
}

// oneHeld are rules with which a push to main is held for two people.
const oneHeld = `version: 1
defaults:
  check: {project: {id: ${PROJECT}, name: demo}, languages: [GO, JSON, SHELL], timeout: 2m}
  gate: {critical: 0, major: 0}
freezes: [{name: stocktaking, from: "2020-01-01T00:00:00Z", to: "2120-01-01T00:00:00Z", reason: the year is counted}]
break_glass: {groups: [leads]}
rules:
  - name: release-main
    on: [push]
    match: {connection: github, repository: acme/shop, branch: main}
    check: {}
    release: [{pipeline: shop, action: start, timeout: 2m, hold: {approvals: {count: 2, groups: [leads]}, expires: 8h}}]
`

// TestHeld approves a held release, breaks the glass for it and refuses it, each by the form on its page, and looks at
// the pages that show it, on each screen.
func TestHeld(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a browser and a service")
	}
	s := apptest.OnSQLiteWith(t, demo.Options{Rules: oneHeld, Server: func(text string) string {
		return strings.Replace(text, "dashboard: {auth: ${AUTH}}", "people: [{name: ann, oidc: a}, {name: bob, oidc: b}]\ngroups: {leads: {people: [ann, bob]}}\ndashboard: {auth: {none: {person: ann}}}", 1)
	}})
	s.Push(t, event.GitHub, "first", demo.Change{Branch: "main", Before: s.World.Parent, SHA: s.World.Clean})
	held := s.Until(t, "it is held", func(r demo.Records) bool { return len(r.Releases) == 1 && r.Releases[0].State == release.Held })
	id := held.Releases[0].ID
	b := newBrowser(t, s.Private())
	b.open(t, "/", chromedp.WaitVisible(`#needs a[href="/changes/`+id+`"]`))
	b.says(t, "#needs", "2 of 2 approvals missing")
	b.open(t, "/releases/"+id)
	b.says(t, "#releases", "0 of 2", "leads", "stocktaking", s.World.Clean)
	b.order(t, "approve_held", id)
	b.says(t, "#releases", "1 of 2", "ann", "seen by a test")
	b.says(t, "#timeline", "hold", "approval ann", "a person")
	b.open(t, "/approvals", chromedp.WaitVisible(`#list a[href="/changes/`+id+`"]`))
	b.open(t, "/audit?kind=approval", chromedp.WaitVisible(`#list a[href="/changes/`+id+`"]`))
	b.picture(t, []shown{{"held-overview", "/"}, {"held", "/releases/" + id}, {"approvals", "/approvals"}, {"audit-log", "/audit"}, {"held-chinese", "/releases/" + id + "?lang=zh"}, {"audit-english", "/audit?lang=en&kind=approval"}})
	b.open(t, "/releases/"+id)
	b.order(t, "break_glass", id)
	b.says(t, "#releases", "Glass broken by")
	b.order(t, "refuse_held", id)
	s.Until(t, "it is refused", func(r demo.Records) bool { return r.Releases[0].State == release.Refused })
	apptest.WaitFor(t, "the evidence", func() bool { return apptest.Answers(s.Private() + "/releases/" + id + "/evidence") })
	b.open(t, "/releases/"+id, chromedp.WaitVisible(`a[download][href="/releases/`+id+`/evidence"]`))
	b.says(t, "#releases", "refused by ann: seen by a test")
}

// says fails the test unless a section of the page that is open has each text.
func (b *browser) says(t *testing.T, section string, texts ...string) {
	t.Helper()
	said, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](fmt.Sprintf("document.querySelector(%q).textContent.replace(/\\s+/g, ' ')", section)))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(said, text) {
			t.Errorf("%s does not say %q: %s", section, text, said)
		}
	}
}

// order fills in the form of an action on the page that is open, and sends it.
func (b *browser) order(t *testing.T, action, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	form := fmt.Sprintf(`[id="do-%s-%s"]`, action, id)
	// Live updates replace the section until the form is open: one that was found before may be gone when it is clicked.
	err := chromedp.Do(ctx, chromedp.WaitVisible(form+" summary"))
	if err == nil {
		_, err = chromedp.Run(ctx, chromedp.Evaluate[bool](fmt.Sprintf("(document.querySelector(%q).click(), true)", form+" summary")))
	}
	if err == nil {
		err = chromedp.Do(ctx, chromedp.WaitVisible(form+" [name=reason]"), chromedp.SendKeys(form+" [name=reason]", "seen by a test"),
			chromedp.Click(form+" button"), chromedp.WaitVisible("p.notice.good"))
	}
	if err != nil {
		said, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.querySelector("main").innerText.slice(0, 500)`))
		t.Fatalf("%s: %v\n%s", action, err, said)
	}
	b.check(t, action)
}
