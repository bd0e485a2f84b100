package forge_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/standin"
)

// reporting is a stand-in of one host with a repository, and a Forge that reports to it.
type reporting struct {
	*testing.T
	server *standin.Server
	made   standin.Repository
	url    string
	host   event.Host
	app    *forge.App
	*forge.Forge
}

// newReporting makes one; change may change the options of the stand-in. With an App there is no
// token.
func newReporting(t *testing.T, host event.Host, app *forge.App, change func(*standin.Options)) *reporting {
	t.Helper()
	opts, err := standin.Sample(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	style := standin.RefPull
	if host == event.GitLab {
		style = standin.RefMergeRequest
	}
	r := &reporting{T: t, host: host, app: app}
	if r.made, err = standin.MakeRepository(t.TempDir(), standin.RepositorySpec{RefStyle: style}); err != nil {
		t.Fatal(err)
	}
	opts.Repositories["https://git.example.com/acme/store.git"] = r.made.Path
	opts.GitHosts = []standin.GitHost{{Kind: string(host), URL: "https://git.example.com", Token: token}}
	if app != nil {
		opts.GitHosts[0].App = &standin.HostApp{ID: appID, Installation: installationID, PublicKey: &appKey().PublicKey}
	}
	opts.Now = now
	if change != nil {
		change(&opts)
	}
	if r.server, err = standin.New(opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.server.Close)
	listener := httptest.NewServer(r.server.Handler())
	t.Cleanup(listener.Close)
	r.url = listener.URL + map[event.Host]string{event.GitHub: "/api/v3", event.GitLab: "/api/v4", event.Gitee: "/api/v5", event.Gitea: "/api/v1"}[host]
	r.restart()
	return r
}

// restart makes a Forge that remembers nothing.
func (r *reporting) restart() {
	c := forge.Connection{Name: "c", Host: r.host, APIURL: r.url, App: r.app}
	if r.app == nil {
		c.Token = token
	}
	r.Forge = newForge(r.T, forge.Options{Connections: []forge.Connection{c}})
}

func (r *reporting) target(number int) forge.Target {
	return forge.Target{Connection: "c", Repository: event.Repository{FullName: "acme/store"}, SHA: r.made.BadSHA, Ref: r.made.Feature, Number: number}
}

func (r *reporting) switches(values map[string]string) {
	r.Helper()
	if err := r.server.SetSwitches(values); err != nil {
		r.Fatal(err)
	}
}

func (r *reporting) faults(faults ...standin.Fault) {
	r.Helper()
	if err := r.server.SetFaults(standin.Faults{Faults: faults}); err != nil {
		r.Fatal(err)
	}
}

// set writes a status, which must succeed.
func (r *reporting) set(t forge.Target, state forge.StatusState, handle string) string {
	r.Helper()
	handle, err := r.SetStatus(r.Context(), t, status(state), handle)
	if err != nil {
		r.Fatalf("%s: %v", state, err)
	}
	return handle
}

func status(state forge.StatusState) forge.Status {
	return forge.Status{
		Context: "gatewright/check", State: state, Description: "it is\n" + string(state), URL: "https://gatewright.example.com/runs/1",
		Annotations: []forge.Annotation{{Path: "/partner.ini", Line: 2, Severity: "critical", Rule: "secret", Message: "a token"}, {Path: "discount.go", Severity: "minor", Rule: "syntax", Message: "it does not parse"}},
	}
}

// TestStatuses: what each host shows of the way of a run, and of the next one of the same commit.
func TestStatuses(t *testing.T) {
	states := []forge.StatusState{forge.StatePending, forge.StatePending, forge.StateRunning, forge.StatePending, forge.StateFailure, forge.StatePending, forge.StateRunning, forge.StateNeutral, forge.StateError}
	for name, test := range map[string]struct {
		host    event.Host
		app     bool
		neutral bool
		// gitee is the switch of its check runs.
		gitee string
		want  []string
		// annotations are those of the last write.
		annotations []standin.HostAnnotation
	}{
		"github": {host: event.GitHub, want: []string{"pending", "pending", "pending", "pending", "failure", "pending", "pending", "success", "error"}},
		"github app": {host: event.GitHub, app: true, neutral: true, want: []string{"queued", "queued", "in_progress", "queued", "failure", "queued", "in_progress", "neutral", "failure"},
			annotations: []standin.HostAnnotation{{Path: "partner.ini", Line: 2, Level: "failure", Message: "a token"}, {Path: "discount.go", Line: 1, Level: "warning", Message: "it does not parse"}}},
		// What GitLab would refuse is not sent: neither the second pending nor that after running.
		"gitlab": {host: event.GitLab, want: []string{"pending", "running", "failed", "pending", "running", "success", "failed"}},
		"gitea":  {host: event.Gitea, want: []string{"pending", "pending", "pending", "pending", "failure", "pending", "pending", "success", "error"}},
		"gitee": {host: event.Gitee, neutral: true, want: []string{"queued", "queued", "in_progress", "queued", "failure", "queued", "in_progress", "neutral", "failure"},
			annotations: []standin.HostAnnotation{{Path: "partner.ini", Line: 2, Level: "failure", Message: "a token"}, {Path: "discount.go", Line: 1, Level: "warning", Message: "it does not parse"}}},
		"gitee that forbids check runs": {host: event.Gitee, gitee: "forbidden"},
		"gitee without check runs":      {host: event.Gitee, gitee: "absent"},
	} {
		t.Run(name, func(t *testing.T) {
			var app *forge.App
			if test.app {
				app = newApp()
			}
			r := newReporting(t, test.host, app, nil)
			if test.gitee != "" {
				r.switches(map[string]string{"gitee_check_runs": test.gitee})
			}
			handle := ""
			for _, state := range states {
				handle = r.set(r.target(0), state, handle)
			}
			if got := r.Neutral("c"); got != test.neutral {
				t.Errorf("neutral: %v", got)
			}
			reports := r.server.Reports()
			if len(test.want) == 0 {
				if len(reports.Statuses)+len(reports.Labels) > 0 {
					t.Errorf("it shows %+v", reports)
				}
				// That there are no check runs was found out once.
				if asked := r.server.Counts().Calls["gitee_create_check_run"] + r.server.Counts().Calls["gitee_check_runs"]; asked > 2 {
					t.Errorf("it asked %d times for check runs", asked)
				}
				return
			}
			if len(reports.Statuses) != 1 {
				t.Fatalf("%d statuses: %+v", len(reports.Statuses), reports.Statuses)
			}
			shown := reports.Statuses[0]
			if diff := cmp.Diff(test.want, shown.History); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			if shown.Commit != r.made.BadSHA || shown.Context != "gatewright/check" || shown.Description != "it is error" || shown.URL != "https://gatewright.example.com/runs/1" {
				t.Errorf("it shows %+v", shown)
			}
			// After each of the three ends there is a new check run.
			if n := r.server.Counts().Acted["github_create_check_run"] + r.server.Counts().Acted["gitee_create_check_run"]; shown.CheckRun && n != 3 {
				t.Errorf("%d check runs", n)
			}
			if diff := cmp.Diff(test.annotations, shown.Annotations); diff != "" {
				t.Errorf("annotations (-want +got):\n%s", diff)
			}
		})
	}
}

// TestStatusAfterLostAnswers: a write whose answer was lost, and whose handle therefore, is repeated and
// leaves one check run, one pipeline and each annotation once.
func TestStatusAfterLostAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		host   event.Host
		app    bool
		create string
		update string
		want   []string
	}{
		"github app": {event.GitHub, true, "github_create_check_run", "github_update_check_run", []string{"queued", "queued", "failure", "failure"}},
		"gitlab":     {event.GitLab, false, "gitlab_create_status", "gitlab_create_status", []string{"pending", "failed", "failed"}},
		"gitee":      {event.Gitee, false, "gitee_create_check_run", "gitee_update_check_run", []string{"queued", "queued", "failure", "failure"}},
	} {
		t.Run(name, func(t *testing.T) {
			var app *forge.App
			if test.app {
				app = newApp()
			}
			r := newReporting(t, test.host, app, nil)
			handle := ""
			for _, step := range []struct {
				state forge.StatusState
				lost  string
			}{{forge.StatePending, test.create}, {forge.StateFailure, test.update}} {
				r.faults(standin.Fault{Kind: standin.FaultLost, Operations: []string{step.lost}, Next: 1})
				kept, err := r.SetStatus(t.Context(), r.target(0), status(step.state), handle)
				if failure, _ := err.(*forge.Error); failure == nil || !failure.Retryable() || kept != handle {
					t.Fatalf("%s: handle %q, error %v", step.state, kept, err)
				}
				handle = r.set(r.target(0), step.state, handle)
			}
			shown := r.server.Reports().Statuses[0]
			if diff := cmp.Diff(test.want, shown.History); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			if n := r.server.Counts().Acted["github_create_check_run"] + r.server.Counts().Acted["gitee_create_check_run"]; n > 1 {
				t.Errorf("%d check runs", n)
			}
			if test.host == event.GitHub && len(shown.Annotations) != 2 {
				t.Errorf("annotations %+v", shown.Annotations)
			}
		})
	}
}

// TestGitLabTransition: a status that stands already as it should counts as written; one that does not is
// an error that may pass (specs/githosts.md 2.5).
func TestGitLabTransition(t *testing.T) {
	r := newReporting(t, event.GitLab, nil, nil)
	r.set(r.target(0), forge.StatePending, "")
	running := r.set(r.target(0), forge.StateRunning, "")
	// The handle is lost.
	for _, state := range []forge.StatusState{forge.StateRunning, forge.StatePending} {
		if handle := r.set(r.target(0), state, ""); handle != running {
			t.Errorf("%s: handle %q, want %q", state, handle, running)
		}
	}
	if shown := r.server.Reports().Statuses[0]; shown.State != "running" || shown.Writes != 2 {
		t.Errorf("it shows %+v", shown)
	}
}

// TestLabels: without check runs a merge request of Gitee has the label of its head's state, and no other
// commit's.
func TestLabels(t *testing.T) {
	r := newReporting(t, event.Gitee, nil, func(o *standin.Options) { o.GiteeCheckRuns = standin.GiteeHasNoCheckRuns })
	for _, step := range []struct {
		state forge.StatusState
		sha   string
		want  []string
	}{
		{forge.StatePending, r.made.BadSHA, []string{}},
		{forge.StateFailure, r.made.BadSHA, []string{"gatewright-check-failed"}},
		{forge.StateFailure, r.made.BadSHA, []string{"gatewright-check-failed"}},
		{forge.StateSuccess, r.made.CleanSHA, []string{"gatewright-check-failed"}},
		{forge.StateSuccess, r.made.BadSHA, []string{"gatewright-check-passed"}},
		{forge.StateRunning, r.made.BadSHA, []string{}},
		{forge.StateNeutral, r.made.BadSHA, []string{"gatewright-check-passed"}},
		{forge.StateError, r.made.BadSHA, []string{"gatewright-check-failed"}},
	} {
		target := r.target(7)
		target.SHA = step.sha
		r.set(target, step.state, "")
		if got := r.server.Reports().Labels[0].Labels; !slices.Equal(got, step.want) {
			t.Errorf("after %s of %.8s: %q, want %q", step.state, step.sha, got, step.want)
		}
	}
}

const marker = "<!-- gatewright:acme/store!7 -->"

// TestComments: one comment is changed in place, found again when its id was lost, and made again when a
// person deleted it.
func TestComments(t *testing.T) {
	for name, test := range map[string]struct {
		host    event.Host
		app     bool
		author  int64
		deletes string
	}{
		"github":     {event.GitHub, false, 9001, "/repos/acme/store/issues/comments/"},
		"github app": {event.GitHub, true, 9002, "/repos/acme/store/issues/comments/"},
		"gitlab":     {event.GitLab, false, 9001, "/projects/acme%2Fstore/merge_requests/7/notes/"},
		"gitee":      {event.Gitee, false, 9001, "/repos/acme/store/pulls/comments/"},
		"gitea":      {event.Gitea, false, 9001, "/repos/acme/store/issues/comments/"},
	} {
		t.Run(name, func(t *testing.T) {
			var app *forge.App
			if test.app {
				app = newApp()
			}
			r := newReporting(t, test.host, app, nil)
			save := func(body, id string) string {
				t.Helper()
				id, err := r.SaveComment(t.Context(), r.target(7), marker, body, id)
				if err != nil {
					t.Fatal(err)
				}
				return id
			}
			id := save("first", "")
			if again := save(marker+"\nsecond", id); again != id {
				t.Errorf("changing %s made %s", id, again)
			}
			r.restart()
			if again := save("third", ""); again != id {
				t.Errorf("finding %s made %s", id, again)
			}
			if again := save("third", "nonsense"); again != id {
				t.Errorf("an id that is not a number made %s of %s", again, id)
			}
			got := r.server.Reports().Comments
			want := []standin.HostComment{{Host: string(test.host), Repository: "acme/store", Number: 7, ID: got[0].ID, Author: test.author, Edits: 3, Text: marker + "\nthird"}}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(standin.HostComment{})); diff != "" {
				t.Errorf("comments (-want +got):\n%s", diff)
			}
			r.request(http.MethodDelete, test.deletes+id)
			again := save("fourth", id)
			if got := r.server.Reports().Comments; again == id || len(got) != 2 || got[1].Text != marker+"\nfourth" || got[1].Edits != 0 {
				t.Errorf("after it was deleted: %+v", got)
			}
			// Its answer was lost, and the id with it.
			r.request(http.MethodDelete, test.deletes+again)
			r.faults(standin.Fault{Kind: standin.FaultLost, Next: 1, Operations: []string{"github_create_comment", "gitlab_create_note", "gitee_create_comment", "gitea_create_comment"}})
			if _, err := r.SaveComment(t.Context(), r.target(7), marker, "fifth", again); err == nil {
				t.Error("the answer was not lost")
			}
			save("fifth", again)
			if got := r.server.Reports().Comments; len(got) != 3 {
				t.Errorf("after a lost answer: %+v", got)
			}
			long := strings.Repeat("§", 70_000)
			save(long, "")
			if got := r.server.Reports().Comments[2].Text; !strings.HasPrefix(got, marker) || !strings.HasSuffix(got, "§…") {
				t.Errorf("a long comment has %d bytes", len(got))
			}
			if _, err := r.SaveComment(t.Context(), r.target(8), marker, "x", ""); !notFound(err) {
				t.Errorf("on no merge request: %v", err)
			}
		})
	}
}

func notFound(err error) bool {
	failure, _ := err.(*forge.Error)
	return failure != nil && failure.NotFound() && !failure.Retryable()
}

// request is one that a person makes, with the token.
func (r *reporting) request(method, path string) {
	r.Helper()
	req, err := http.NewRequestWithContext(r.Context(), method, r.url+path, nil)
	if err != nil {
		r.Fatal(err)
	}
	req.Header.Set("Authorization", map[bool]string{false: "Bearer ", true: "token "}[r.host == event.Gitea]+token)
	req.Header.Set("PRIVATE-TOKEN", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	if err := res.Body.Close(); err != nil || res.StatusCode >= 300 {
		r.Fatalf("%s %s: %d, error %v", method, path, res.StatusCode, err)
	}
}

// TestReportRefusals: what a host refuses says what to do and whether trying again may help, and shows no
// secret.
func TestReportRefusals(t *testing.T) {
	for _, host := range []event.Host{event.GitHub, event.GitLab, event.Gitee, event.Gitea} {
		t.Run(string(host), func(t *testing.T) {
			r := newReporting(t, host, nil, nil)
			set := func(change func(*forge.Target)) error {
				target := r.target(0)
				change(&target)
				_, err := r.SetStatus(t.Context(), target, status(forge.StateFailure), "")
				return err
			}
			refused := func(name string, err error, text string, retryable, forbidden, notFound bool) {
				t.Helper()
				failure, _ := err.(*forge.Error)
				if failure == nil || !strings.Contains(err.Error(), text) || failure.Retryable() != retryable || failure.Forbidden() != forbidden || failure.NotFound() != notFound {
					t.Errorf("%s: %v", name, err)
				}
				if err != nil && strings.Contains(err.Error(), token) {
					t.Errorf("%s: it shows the token", name)
				}
			}
			gone := set(func(x *forge.Target) { x.SHA = strings.Repeat("ab", 20) })
			if host == event.GitHub {
				refused("a commit that is gone", gone, "set status: the host refuses (status 422)", false, false, false)
			} else {
				refused("a commit that is gone", gone, "does not have it", false, false, true)
			}
			if host == event.GitHub {
				refused("a repository that is gone", set(func(x *forge.Target) { x.Repository.FullName = "acme/gone" }), "does not have it", false, false, true)
			}
			refused("a name that is not a repository's", set(func(x *forge.Target) { x.Repository.FullName = "acme/../shop" }), "cannot be a commit", false, false, false)
			refused("a commit that is not a hash", set(func(x *forge.Target) { x.SHA = "main" }), "cannot be a commit", false, false, false)
			refused("another connection", set(func(x *forge.Target) { x.Connection = "other" }), "no API token", false, false, false)
			if told, err := r.CanReport(t.Context(), event.Event{Connection: "c", Repository: event.Repository{FullName: "acme/store"}}); err != nil || told != (host == event.GitHub || host == event.GitLab) {
				t.Errorf("rights: told %v, error %v", told, err)
			}
			r.restart()
			r.switches(map[string]string{"git_token_reads_only": "true"})
			refused("a token that reads only", set(func(*forge.Target) {}), "give the connection a", true, true, false)
			_, err := r.SaveComment(t.Context(), r.target(7), marker, "x", "")
			refused("a comment with a token that reads only", err, "save comment: the host refuses the token", true, true, false)
			told, err := r.CanReport(t.Context(), event.Event{Connection: "c", Repository: event.Repository{FullName: "acme/store"}})
			refused("rights of a token that reads only", err, r.RightToReport("c"), true, true, false)
			if !told {
				t.Error("rights of a token that reads only are not told")
			}
			_, err = r.CanReport(t.Context(), event.Event{Connection: "c", Repository: event.Repository{FullName: "acme/gone"}})
			refused("rights at no repository", err, "does not have it", false, false, true)
			r.switches(map[string]string{"git_token_reads_only": "false"})
			wait := 17
			r.faults(standin.Fault{Kind: standin.FaultThrottle, RetryAfter: &wait, Next: 1})
			err = set(func(*forge.Target) {})
			refused("throttled", err, "asks to wait", true, false, false)
			// Until then nothing is sent, whatever it is.
			before := len(r.server.Calls())
			_, err = r.Head(t.Context(), event.Event{Connection: "c", Kind: event.Push, Branch: "main", Repository: event.Repository{FullName: "acme/store"}})
			refused("a read before the end of the pause", err, "read branch: not sent: the host asked to wait", true, false, false)
			if failure, _ := err.(*forge.Error); failure == nil || failure.RetryAfter() != 17*time.Second || len(r.server.Calls()) != before {
				t.Errorf("after the pause: %v", err)
			}
		})
	}
}

// TestGitHubSecondaryLimit: it is a wait of a minute, for a 403 without any header (specs/githosts.md 1.5).
func TestGitHubSecondaryLimit(t *testing.T) {
	r := newReporting(t, event.GitHub, nil, func(o *standin.Options) { o.GitHubSecondaryLimit = true })
	_, err := r.SetStatus(t.Context(), r.target(0), status(forge.StatePending), "")
	if failure, _ := err.(*forge.Error); failure == nil || failure.Forbidden() || failure.RetryAfter() != time.Minute {
		t.Errorf("error %v", err)
	}
}

// TestGitHubStatusWall: a commit and context take 1,000 statuses; what comes after is refused for good.
func TestGitHubStatusWall(t *testing.T) {
	r := newReporting(t, event.GitHub, nil, nil)
	for range 1000 {
		r.set(r.target(0), forge.StatePending, "")
	}
	_, err := r.SetStatus(t.Context(), r.target(0), status(forge.StateSuccess), "")
	if failure, _ := err.(*forge.Error); failure == nil || failure.Retryable() || failure.Status != http.StatusUnprocessableEntity {
		t.Errorf("error %v", err)
	}
}

// TestAnnotationRefused: one annotation that GitHub does not take does not keep the verdict from being shown.
func TestAnnotationRefused(t *testing.T) {
	for name, handle := range map[string]bool{"a new check run": false, "one that stands": true} {
		r := newReporting(t, event.GitHub, newApp(), nil)
		before := ""
		if handle {
			before = r.set(r.target(0), forge.StateRunning, "")
		}
		s := status(forge.StateFailure)
		s.Annotations[0].Path, s.Description = "../outside", ""
		if _, err := r.SetStatus(t.Context(), r.target(0), s, before); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if shown := r.server.Reports().Statuses[0]; shown.State != "failure" || len(shown.Annotations) != 0 || shown.Description != "gatewright/check" {
			t.Errorf("%s: it shows %+v", name, shown)
		}
	}
}

// TestRemaining: what a host says of its limit is known until that is reset.
func TestRemaining(t *testing.T) {
	clock := now()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("RateLimit-Remaining", "41")
		w.Header().Set("RateLimit-Reset", "1767225600")
	}))
	defer server.Close()
	f, err := forge.New(forge.Options{Now: func() time.Time { return clock }, Connections: []forge.Connection{{Name: "c", Host: event.GitLab, APIURL: server.URL, Token: token}}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.CloseIdle()
	if _, _, known := f.Remaining("c"); known {
		t.Error("known before an answer")
	}
	_, _ = f.Head(t.Context(), pushToMain()) // its body is not a branch
	if n, reset, known := f.Remaining("c"); n != 41 || reset.Unix() != 1767225600 || !known {
		t.Errorf("%d until %s, known %v", n, reset, known)
	}
	clock = clock.Add(time.Hour)
	if _, _, known := f.Remaining("c"); known {
		t.Error("known after the reset")
	}
	if _, _, known := f.Remaining("other"); known {
		t.Error("known of no connection")
	}
}
