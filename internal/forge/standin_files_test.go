package forge_test

import (
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
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

// manyFiles is more than GitHub compares and Gitee lists, and more than a page.
const manyFiles = 350

// TestStandinFiles reads the changed files of a real repository through the stand-in of each
// host: its pages, its limits, and what it says of a forced push (specs/githosts.md 1.7, 2.7,
// 3.7).
func TestStandinFiles(t *testing.T) {
	for _, host := range []struct {
		kind  event.Host
		path  string
		style standin.RefStyle
		// comparesForced: the two commits of a forced push themselves are compared.
		comparesForced bool
		// pull and compared are how many of manyFiles the host lists; compared is none where it does
		// not compare files.
		pull, compared int
	}{
		{event.Gitea, "/api/v1", standin.RefPull, false, manyFiles, 0},
		{event.GitHub, "/api/v3", standin.RefPull, false, manyFiles, 300},
		{event.GitLab, "/api/v4", standin.RefMergeRequest, true, manyFiles, manyFiles},
		{event.Gitee, "/api/v5", standin.RefPull, false, 300, 300},
	} {
		t.Run(string(host.kind), func(t *testing.T) {
			made, err := standin.MakeRepository(t.TempDir(), standin.RepositorySpec{RefStyle: host.style})
			if err != nil {
				t.Fatal(err)
			}
			many := commitMany(t, made, strings.Replace(made.MergeRef, "7", "9", 1))
			opts, err := standin.Sample(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			opts.Repositories["https://git.example.com/acme/store.git"] = made.Path
			opts.GitHosts = []standin.GitHost{{Kind: string(host.kind), URL: "https://git.example.com", Token: token}}
			server, err := standin.New(opts)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(server.Close)
			listener := httptest.NewServer(server.Handler())
			t.Cleanup(listener.Close)

			f := newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: host.kind, APIURL: listener.URL + host.path, Token: token}}})
			read := func(ev event.Event) string {
				ev.Connection, ev.Repository.FullName = "c", "acme/store"
				text, err := files(f.Files(t.Context(), ev))
				if err != nil {
					return "error: " + err.Error()
				}
				return text
			}
			request := func(number int, sha string) event.Event {
				return event.Event{Kind: event.MergeRequest, Number: number, Branch: "main", HeadSHA: sha}
			}
			push := func(before, after string) event.Event {
				return event.Event{Kind: event.Push, Branch: "main", Before: before, HeadSHA: after}
			}
			check := func(name, got, want string) {
				t.Helper()
				if !strings.Contains(got, want) {
					t.Errorf("%s: %.300s; want %s", name, got, want)
				}
			}
			check("merge request", read(request(7, made.BadSHA)), `all of [`+changedOnFeature+`]`)
			if host.compared == 0 {
				check("push", read(push(made.ParentSHA, made.CleanSHA)), "does not compare files")
			} else {
				check("push", read(push(made.ParentSHA, made.CleanSHA)), `all of [`+changedOnMain+`]`)
			}
			if host.compared == 0 {
				check("forced push", read(push(made.BadSHA, made.CleanSHA)), "does not compare files")
			} else if host.comparesForced {
				check("forced push", read(push(made.BadSHA, made.CleanSHA)), `all of [`+changedOnFeature+`]`)
			} else {
				check("forced push", read(push(made.BadSHA, made.CleanSHA)), "the push was forced")
			}
			for name, tc := range map[string]struct {
				ev     event.Event
				listed int
			}{"large merge request": {request(9, many), host.pull}, "large push": {push(made.CleanSHA, many), host.compared}} {
				if tc.listed == 0 {
					continue
				}
				if got := read(tc.ev); tc.listed == manyFiles {
					check(name, got, `"many/349.txt"`)
					check(name, got, "all of [")
				} else {
					check(name, got, fmt.Sprintf("the host lists %d changed files", tc.listed))
				}
			}
			check("a newer commit", read(request(7, made.CleanSHA)), "error: read changed files: the merge request has commit "+made.BadSHA[:8])
			check("no such merge request", read(request(8, made.BadSHA)), "error: read changed files: the host does not have it")
			if host.compared > 0 {
				check("no such commit", read(push(strings.Repeat("1", 40), made.CleanSHA)), "error: read changed files: the host does not have it")
			}

			if err := server.SetSwitches(map[string]string{"many_changed_files": "true"}); err != nil {
				t.Fatal(err)
			}
			for name, ev := range map[string]event.Event{"merge request of many files": request(7, made.BadSHA), "push of many files": push(made.ParentSHA, made.CleanSHA)} {
				if ev.Number == 0 && host.compared == 0 {
					continue
				}
				got := read(ev)
				check(name, got, `go"`)
				check(name, got, "and there are more, or may be")
			}
		})
	}
}

// What the commits of standin.MakeRepository change.
const (
	changedOnMain    = `"cart.go" "deploy.yaml" "prices.json"`
	changedOnFeature = `"discount.go" "partner.ini"`
)

// commitMany adds a commit of many files to main, as the head of another merge request too.
func commitMany(t *testing.T, made standin.Repository, ref string) string {
	t.Helper()
	repository, err := git.PlainOpen(made.Path)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := repository.Worktree()
	if err == nil {
		err = tree.Checkout(&git.CheckoutOptions{Branch: plumbing.NewBranchReferenceName("many"), Create: true})
	}
	if err == nil {
		err = os.Mkdir(filepath.Join(made.Path, "many"), 0o755)
	}
	for i := range manyFiles {
		if err == nil {
			err = os.WriteFile(filepath.Join(made.Path, "many", fmt.Sprintf("%d.txt", i)), []byte{byte(i), '\n'}, 0o644)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		t.Fatal(err)
	}
	who := &object.Signature{Name: "Ada", Email: "ada@example.com", When: time.Unix(1767225600, 0)}
	hash, err := tree.Commit("Many files", &git.CommitOptions{Author: who, Committer: who})
	if err == nil {
		err = repository.Storer.SetReference(plumbing.NewHashReference(plumbing.ReferenceName(ref), hash))
	}
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}
