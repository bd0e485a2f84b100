package standin_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
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
