package forge_test

import (
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/standin"
)

// TestStandin reads a real repository through the stand-in of each host, which is written from
// the hosts' documents and shares nothing with this package.
func TestStandin(t *testing.T) {
	for _, host := range []struct {
		kind  event.Host
		path  string
		style standin.RefStyle
	}{{event.GitHub, "/api/v3", standin.RefPull}, {event.GitLab, "/api/v4", standin.RefMergeRequest}, {event.Gitee, "/api/v5", standin.RefPull}, {event.Gitea, "/api/v1", standin.RefPull}} {
		t.Run(string(host.kind), func(t *testing.T) { testStandin(t, host.kind, host.path, host.style) })
	}
}

func testStandin(t *testing.T, kind event.Host, path string, style standin.RefStyle) {
	opts, err := standin.Sample(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	made, err := standin.MakeRepository(t.TempDir(), standin.RepositorySpec{RefStyle: style})
	if err != nil {
		t.Fatal(err)
	}
	tagRepository(t, made)
	opts.Repositories["https://git.example.com/Acme/store.git"] = made.Path
	opts.GitHosts = []standin.GitHost{{Kind: string(kind), URL: "https://git.example.com", Token: token}}
	server, err := standin.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	listener := httptest.NewServer(server.Handler())
	t.Cleanup(listener.Close)

	read := func(token, repository string, ev event.Event) (string, error) {
		ev.Connection, ev.Repository.FullName = "c", repository
		f := newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: kind, APIURL: listener.URL + path, Token: token}}})
		return f.Head(t.Context(), ev)
	}
	branch := func(name string) event.Event { return event.Event{Kind: event.Push, Branch: name} }
	tag := func(name string) event.Event { return event.Event{Kind: event.Tag, Branch: name} }
	request := func(number int) event.Event {
		return event.Event{Kind: event.MergeRequest, Number: number, Branch: "main"}
	}
	for name, test := range map[string]struct {
		ev   event.Event
		want string
	}{
		"branch":                 {branch("main"), made.CleanSHA},
		"branch with a slash":    {branch("feature/discount"), made.BadSHA},
		"tag":                    {tag("v1.0"), made.ParentSHA},
		"annotated tag":          {tag("v2.0"), made.CleanSHA},
		"annotated tag of a tag": {tag("stable"), made.CleanSHA},
		"merge request":          {request(7), made.BadSHA},
	} {
		if sha, err := read(token, "acme/Store", test.ev); err != nil || sha != test.want {
			t.Errorf("%s: %q, error %v; want %q", name, sha, err, test.want)
		}
	}
	of := branch("main")
	of.Connection, of.Repository.FullName, of.HeadSHA = "c", "acme/store", made.CleanSHA
	languages := func(token string) ([]string, error) {
		return newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: kind, APIURL: listener.URL + path, Token: token}}}).Languages(t.Context(), of)
	}
	if names, err := languages(token); err != nil || !slices.Contains(names, "Go") || !slices.Contains(names, "Shell") {
		t.Errorf("languages %q, error %v", names, err)
	}
	if _, err := languages("wrong"); err == nil || !strings.Contains(err.Error(), "read languages: ") || !strings.Contains(err.Error(), "refuses the token") {
		t.Errorf("languages with a wrong token: %v", err)
	}
	for name, test := range map[string]struct {
		token, repository string
		ev                event.Event
		want              string
		retryable         bool
	}{
		"no such branch":        {token, "acme/store", branch("gone"), "does not have it", false},
		"no such tag":           {token, "acme/store", tag("main"), "does not have it", false},
		"no such merge request": {token, "acme/store", request(8), "does not have it", false},
		"no such repository":    {token, "acme/nothing", branch("main"), "does not have it", false},
		"a wrong token":         {"wrong", "acme/store", branch("main"), "refuses the token", true},
	} {
		_, err := read(test.token, test.repository, test.ev)
		failure, _ := err.(*forge.Error)
		if failure == nil || !strings.Contains(err.Error(), test.want) || failure.Retryable() != test.retryable {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, test := range map[string]struct {
		fault standin.Fault
		want  string
	}{
		"down":      {standin.Fault{Kind: standin.FaultDropped}, "no answer"},
		"an error":  {standin.Fault{Kind: standin.FaultStatus, Status: 502}, "cannot answer"},
		"throttled": {standin.Fault{Kind: standin.FaultThrottle}, "asks to wait"},
		"not found": {standin.Fault{Kind: standin.FaultNotFound}, "does not have it"},
	} {
		if err := server.SetFaults(standin.Faults{Faults: []standin.Fault{test.fault}}); err != nil {
			t.Fatal(err)
		}
		if _, err := read(token, "acme/store", branch("main")); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := server.SetFaults(standin.Faults{}); err != nil {
		t.Fatal(err)
	}
	members(t, newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: kind, APIURL: listener.URL + path, Token: token}}}), made)
	mergedRequests(t, server, newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: kind, APIURL: listener.URL + path, Token: token}}}), kind, made)
	if err := server.SetFaults(standin.Faults{Faults: []standin.Fault{{Kind: standin.FaultMoved}}}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		ev   event.Event
		want string
	}{"branch": {branch("main"), made.ParentSHA}, "merge request": {request(7), made.CleanSHA}, "annotated tag": {tag("v2.0"), made.ParentSHA}} {
		if sha, err := read(token, "acme/store", test.ev); err != nil || sha != test.want {
			t.Errorf("moved %s: %q, error %v; want %q", name, sha, err, test.want)
		}
	}
}

// members asks for the rights of the stand-in's accounts, and for what it says of a merge request.
func members(t *testing.T, f *forge.Forge, made standin.Repository) {
	t.Helper()
	store := event.Repository{FullName: "acme/store"}
	for user, want := range map[forge.User]bool{
		{ID: "11", Login: "mona"}: true, {ID: "12", Login: "ada"}: true, {ID: "13", Login: "ravi"}: false, {ID: "14", Login: "tova"}: false,
		{ID: "99", Login: "nobody"}: false, {Login: "mona"}: false,
	} {
		if may, err := f.CanWrite(t.Context(), "c", store, user); err != nil || may != want {
			t.Errorf("%v may write: %t, error %v", user, may, err)
		}
	}
	ev := event.Event{Connection: "c", Repository: store, Kind: event.MergeRequest, Number: 7}
	want := forge.MergeRequest{HeadSHA: made.BadSHA, Author: forge.User{ID: "11", Login: "mona"}, Open: true, SourceBranch: "feature/discount", TargetBranch: "main"}
	request, err := f.MergeRequest(t.Context(), ev)
	want.RepositoryID = request.RepositoryID
	if err != nil || request != want || request.RepositoryID == "" {
		t.Errorf("merge request %+v, error %v", request, err)
	}
	if may, err := f.CanWrite(t.Context(), "other", store, want.Author); err == nil || may {
		t.Errorf("without a token: %t, error %v", may, err)
	}
}

// mergedRequests asks which merge requests commits came from, before and after the merge of one.
func mergedRequests(t *testing.T, server *standin.Server, f *forge.Forge, kind event.Host, made standin.Repository) {
	t.Helper()
	asked := func(sha string) string {
		list, err := f.MergeRequestsOf(t.Context(), "c", "acme/store", sha)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(list)
	}
	open := "[7 into main by 11 mona, open]"
	if kind == event.Gitee || kind == event.Gitea {
		open = "[]" // they tell merged ones only
	}
	for sha, want := range map[string]string{made.CleanSHA: "[]", made.BadSHA: open} {
		if got := asked(sha); got != want {
			t.Errorf("before the merge, of %s: %s, want %s", sha, got, want)
		}
	}
	server.SetMergeRequest(string(kind), 7, standin.HostMergeRequest{Author: 12, MergedSHA: made.CleanSHA})
	for sha, want := range map[string]string{made.CleanSHA: "[7 into main by 12 ada, merged as " + made.CleanSHA + "]", made.BadSHA: "[]"} {
		if got := asked(sha); got != want {
			t.Errorf("after the merge, of %s: %s, want %s", sha, got, want)
		}
	}
	if list, err := f.MergeRequests(t.Context(), "c", "acme/store"); err != nil || len(list.List) != 0 {
		t.Errorf("open after the merge: %+v, error %v", list, err)
	}
	if _, err := f.MergeRequestsOf(t.Context(), "c", "acme/nothing", made.CleanSHA); err == nil || !strings.Contains(err.Error(), "does not have it") {
		t.Errorf("of a repository that is not there: %v", err)
	}
	server.SetMergeRequest(string(kind), 7, standin.HostMergeRequest{Author: 11})
}

// tagRepository makes a plain tag of the first commit, an annotated one of the second, and one
// of that.
func tagRepository(t *testing.T, made standin.Repository) {
	t.Helper()
	repository, err := git.PlainOpen(made.Path)
	if err != nil {
		t.Fatal(err)
	}
	of := plumbing.NewHash(made.ParentSHA)
	annotated := &git.CreateTagOptions{Message: "release", Tagger: &object.Signature{Name: "Ada", Email: "ada@example.com", When: time.Unix(1767225540, 0)}}
	if _, err := repository.CreateTag("v1.0", of, nil); err != nil {
		t.Fatal(err)
	}
	ref, err := repository.CreateTag("v2.0", plumbing.NewHash(made.CleanSHA), annotated)
	if err == nil {
		_, err = repository.CreateTag("stable", ref.Hash(), annotated)
	}
	if err != nil {
		t.Fatal(err)
	}
}
