package standin_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/gatewright/gatewright/internal/standin"
)

// commitFile commits one file to the branch that is checked out at path.
func commitFile(t *testing.T, path, name, text string) {
	t.Helper()
	repository, err := git.PlainOpen(path)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := repository.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(path, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Add(name); err != nil {
		t.Fatal(err)
	}
	who := &object.Signature{Name: "Test", Email: "test@example.com", When: time.Unix(1767600000, 0)}
	if _, err := tree.Commit("Change "+name, &git.CommitOptions{Author: who}); err != nil {
		t.Fatal(err)
	}
}

// checkOut checks a branch out, which it makes when create says so.
func checkOut(t *testing.T, path, branch string, create bool) {
	t.Helper()
	repository, err := git.PlainOpen(path)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := repository.Worktree()
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Checkout(&git.CheckoutOptions{Branch: plumbing.NewBranchReferenceName(branch), Create: create}); err != nil {
		t.Fatal(err)
	}
}

// TestUseRepositories: a full name stands for the repository on any host, and what cannot be used
// is refused with what to do.
func TestUseRepositories(t *testing.T) {
	opts := sample(t)
	path := opts.Repositories["https://git.example.com/acme/shop.git"]
	use := func(repositories ...standin.LocalRepository) error { o := opts; return o.UseRepositories(repositories) }
	if err := use(standin.LocalRepository{Name: "acme/shop", Path: path}, standin.LocalRepository{Name: "Acme/Shop", Path: path}); err == nil || !strings.Contains(err.Error(), "another one") {
		t.Errorf("twice: %v", err)
	}
	worktree := t.TempDir()
	if err := os.WriteFile(filepath.Join(worktree, ".git"), []byte("gitdir: "+path), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := use(standin.LocalRepository{Name: "acme/shop", Path: worktree}); err == nil || !strings.Contains(err.Error(), "linked worktree") {
		t.Errorf("linked worktree: %v", err)
	}
	public := opts
	if err := public.UseRepositories([]standin.LocalRepository{{Name: "acme/shop", Path: path}, {Name: "git@gitlab.com:acme/api.git", Path: path}}); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"https://git.example.com", "https://gitlab.com", "https://git.example.com", "https://git.example.com"} {
		if public.GitHosts[i].URL != want || opts.GitHosts[i].URL != "https://git.example.com" {
			t.Errorf("%s is at %s, want %s", public.GitHosts[i].Kind, public.GitHosts[i].URL, want)
		}
	}
	if err := opts.UseRepositories([]standin.LocalRepository{{Name: "acme/shop", Path: path}}); err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"https://github.com/acme/shop.git", "git@gitlab.com:Acme/shop.git", "https://github.com/acme/other.git"} {
		opts.Tasks = append(opts.Tasks, standin.TaskSeed{ID: fmt.Sprintf("%032d", len(opts.Tasks)), Name: url, RepoURL: url, Branch: "main"})
	}
	c := serve(t, opts)
	for i, want := range []int{2, 2, 2, 1} {
		if status, _ := c.check(opts.Tasks[i].ID, "{}"); status != want {
			t.Errorf("%s: task_status %d, want %d", opts.Tasks[i].RepoURL, status, want)
		}
	}

	checkOut(t, path, "feature/discount", false)
	head := filepath.Join(path, ".git", "HEAD")
	if err := os.WriteFile(head, []byte("0123456789012345678901234567890123456789\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := use(standin.LocalRepository{Name: "acme/shop", Path: path}); err == nil || !strings.Contains(err.Error(), "git switch") {
		t.Errorf("no branch: %v", err)
	}
}
