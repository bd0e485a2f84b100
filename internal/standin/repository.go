package standin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// RefStyle is where a git host keeps the heads of merge requests.
type RefStyle string

const (
	// RefPull is refs/pull/{number}/head: GitHub and Gitee. The default.
	RefPull RefStyle = "pull"
	// RefMergeRequest is refs/merge-requests/{number}/head: GitLab.
	RefMergeRequest RefStyle = "merge_request"
)

// RepositorySpec says what MakeRepository makes.
type RepositorySpec struct {
	// Name is written into the README, so that repositories of different names have
	// different commits. Default "shop".
	Name string
	// RefStyle and Number make the ref of the merge request of the feature
	// branch. Defaults RefPull and 7.
	RefStyle RefStyle
	Number   int
	// Fork makes a merge request of this number whose commits are in a fork. Default 0, none.
	Fork int
}

// Repository is what MakeRepository made. The hashes are full and depend on the
// spec alone.
type Repository struct {
	Path string
	// Branch is main, whose tip is CleanSHA; ParentSHA is the commit before.
	Branch    string
	CleanSHA  string
	ParentSHA string
	// Feature is feature/discount, whose tip BadSHA plants a secret and a syntax
	// error on top of CleanSHA; it is also the head of merge request Number, at
	// MergeRef.
	Feature string
	BadSHA  string
	// MendedSHA mends both on top of BadSHA; Mend makes it the tip.
	MendedSHA string
	Number    int
	MergeRef  string
	// ForkSHA is the head of the merge request from a fork, at ForkRef, on top of CleanSHA and on no
	// branch; ForkNextSHA comes after it, and PushFork makes that the head. Empty without one.
	ForkSHA, ForkNextSHA string
	ForkRef              string
}

const (
	mainBranch    = "main"
	featureBranch = "feature/discount"
)

// MakeRepository makes a git repository at path, which must not exist or be
// empty: a small Go program on main without a defect, and the branch
// feature/discount with one critical and one major defect. main is checked out.
func MakeRepository(path string, spec RepositorySpec) (Repository, error) {
	setDefault(&spec.Name, "shop")
	setDefault(&spec.RefStyle, RefPull)
	setDefault(&spec.Number, 7)
	made := Repository{Path: path, Branch: mainBranch, Feature: featureBranch, Number: spec.Number}
	form := map[RefStyle]string{RefPull: "refs/pull/%d/head", RefMergeRequest: "refs/merge-requests/%d/head"}[spec.RefStyle]
	if form == "" {
		return Repository{}, fmt.Errorf("make repository: unknown ref style %q", spec.RefStyle)
	}
	made.MergeRef = fmt.Sprintf(form, spec.Number)
	if spec.Fork > 0 {
		made.ForkRef = fmt.Sprintf(form, spec.Fork)
	}
	if entries, err := os.ReadDir(path); err == nil && len(entries) > 0 {
		return Repository{}, fmt.Errorf("make repository: %q is not empty", path)
	} else if err != nil && !errors.Is(err, os.ErrNotExist) {
		return Repository{}, fmt.Errorf("make repository: %w", err)
	}
	if err := made.build(spec.Name); err != nil {
		return Repository{}, fmt.Errorf("make repository %q: %w", path, err)
	}
	return made, nil
}

func (r *Repository) build(name string) error {
	repository, err := git.PlainInitWithOptions(r.Path, &git.PlainInitOptions{
		InitOptions: git.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName(mainBranch)},
	})
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	tree, err := repository.Worktree()
	if err != nil {
		return fmt.Errorf("open worktree: %w", err)
	}
	author := committer{tree: tree, root: r.Path, at: time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)}
	if r.ParentSHA, err = author.commit("Start the shop", firstFiles(name)); err != nil {
		return err
	}
	if r.CleanSHA, err = author.commit("Sum up the cart", cleanFiles()); err != nil {
		return err
	}
	feature := plumbing.NewBranchReferenceName(featureBranch)
	if err := tree.Checkout(&git.CheckoutOptions{Branch: feature, Create: true}); err != nil {
		return fmt.Errorf("check out %s: %w", featureBranch, err)
	}
	if r.BadSHA, err = author.commit("Give a discount", badFiles()); err != nil {
		return err
	}
	if r.MendedSHA, err = author.commit("Mend the discount", mendedFiles()); err != nil {
		return err
	}
	if err := repository.Storer.SetReference(plumbing.NewHashReference("refs/mended", plumbing.NewHash(r.MendedSHA))); err != nil {
		return fmt.Errorf("keep the mended commit: %w", err)
	}
	if err := repository.Storer.SetReference(plumbing.NewHashReference(feature, plumbing.NewHash(r.BadSHA))); err != nil {
		return fmt.Errorf("set %s: %w", featureBranch, err)
	}
	mergeRef := plumbing.NewHashReference(plumbing.ReferenceName(r.MergeRef), plumbing.NewHash(r.BadSHA))
	if err := repository.Storer.SetReference(mergeRef); err != nil {
		return fmt.Errorf("set %s: %w", r.MergeRef, err)
	}
	if r.ForkRef != "" {
		if err := r.fork(repository, tree, &author); err != nil {
			return fmt.Errorf("make merge request from a fork: %w", err)
		}
	}
	if err := tree.Checkout(&git.CheckoutOptions{Branch: plumbing.NewBranchReferenceName(mainBranch)}); err != nil {
		return fmt.Errorf("check out %s: %w", mainBranch, err)
	}
	return nil
}

// fork makes the commits of the merge request from a fork. refs/fork keeps the second one.
func (r *Repository) fork(repository *git.Repository, tree *git.Worktree, author *committer) error {
	err := tree.Checkout(&git.CheckoutOptions{Hash: plumbing.NewHash(r.CleanSHA)})
	if err == nil {
		r.ForkSHA, err = author.commit("Greet by name", map[string]string{"main.go": greetingFile("welcome, friend")})
	}
	if err == nil {
		r.ForkNextSHA, err = author.commit("Greet once more", map[string]string{"main.go": greetingFile("welcome, dear friend")})
	}
	for name, sha := range map[string]string{r.ForkRef: r.ForkSHA, "refs/fork": r.ForkNextSHA} {
		if err == nil {
			err = repository.Storer.SetReference(plumbing.NewHashReference(plumbing.ReferenceName(name), plumbing.NewHash(sha)))
		}
	}
	return err
}

// PushFork moves the merge request from a fork to its second commit, as a push to the fork does.
func (r Repository) PushFork() error {
	repository, err := git.PlainOpen(r.Path)
	if err == nil {
		err = repository.Storer.SetReference(plumbing.NewHashReference(plumbing.ReferenceName(r.ForkRef), plumbing.NewHash(r.ForkNextSHA)))
	}
	if err != nil {
		return fmt.Errorf("push to the fork of %q: %w", r.Path, err)
	}
	return nil
}

// Mend moves the feature branch and the merge request to the commit that mends the defects,
// as a push to it does.
func (r Repository) Mend() error {
	repository, err := git.PlainOpen(r.Path)
	for _, name := range []plumbing.ReferenceName{plumbing.NewBranchReferenceName(featureBranch), plumbing.ReferenceName(r.MergeRef)} {
		if err == nil {
			err = repository.Storer.SetReference(plumbing.NewHashReference(name, plumbing.NewHash(r.MendedSHA)))
		}
	}
	if err != nil {
		return fmt.Errorf("mend %q: %w", r.Path, err)
	}
	return nil
}

// Move sets a branch to a commit, or removes it where that is empty, as a push does of which no
// webhook tells.
func (r Repository) Move(branch, sha string) error {
	repository, err := git.PlainOpen(r.Path)
	name := plumbing.NewBranchReferenceName(branch)
	switch {
	case err != nil:
	case sha == "":
		err = repository.Storer.RemoveReference(name)
	default:
		err = repository.Storer.SetReference(plumbing.NewHashReference(name, plumbing.NewHash(sha)))
	}
	if err != nil {
		return fmt.Errorf("move %q of %q: %w", branch, r.Path, err)
	}
	return nil
}

// Close removes the ref of the merge request: the stand-in then lists it no more.
func (r Repository) Close() error {
	repository, err := git.PlainOpen(r.Path)
	if err == nil {
		err = repository.Storer.RemoveReference(plumbing.ReferenceName(r.MergeRef))
	}
	if err != nil {
		return fmt.Errorf("close merge request of %q: %w", r.Path, err)
	}
	return nil
}

// committer makes commits an hour apart.
type committer struct {
	tree *git.Worktree
	root string
	at   time.Time
}

// commit writes the files and commits them; it returns the full hash.
func (c *committer) commit(message string, files map[string]string) (string, error) {
	for name, text := range files {
		path := filepath.Join(c.root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return "", fmt.Errorf("write %s: %w", name, err)
		}
		if err := c.tree.AddWithOptions(&git.AddOptions{Path: name, SkipStatus: true}); err != nil {
			return "", fmt.Errorf("add %s: %w", name, err)
		}
	}
	c.at = c.at.Add(time.Hour)
	who := &object.Signature{Name: "Ada Example", Email: "ada@example.com", When: c.at}
	hash, err := c.tree.Commit(message+"\n", &git.CommitOptions{Author: who, Committer: who})
	if err != nil {
		return "", fmt.Errorf("commit %q: %w", message, err)
	}
	return hash.String(), nil
}

func firstFiles(name string) map[string]string {
	return map[string]string{
		"README.md": "# " + name + "\n\nA small shop.\n",
		"go.mod":    "module example.com/" + name + "\n\ngo 1.26\n",
		"main.go":   greetingFile("welcome"),
		"build.sh":  "#!/bin/sh\nset -eu\n\ngo build -o shop .\n",
	}
}

func greetingFile(greeting string) string {
	return "// Command shop prints a greeting.\npackage main\n\nimport \"fmt\"\n\nfunc main() {\n\tfmt.Println(\"" + greeting + "\")\n}\n"
}

func cleanFiles() map[string]string {
	return map[string]string{
		"cart.go":     "package main\n\n// total sums up prices in cents.\nfunc total(prices []int) int {\n\tsum := 0\n\tfor _, p := range prices {\n\t\tsum += p\n\t}\n\treturn sum\n}\n",
		"prices.json": "{\n  \"apple\": 40,\n  \"pear\": 55\n}\n",
		"deploy.yaml": "replicas: 2\nimage: registry.example.com/shop\n",
	}
}

// badFiles plants two defects. The secret is put together here, so that nothing
// that looks like one is in this program's source.
func badFiles() map[string]string {
	planted := "ghp_" + strings.Join([]string{"x7Qm2Lr9", "Vt4Kd8Zw", "1Yb6Nc3H", "f5Js0PgT", "uEaR"}, "")
	return map[string]string{
		"discount.go": "package main\n\n// discount takes a tenth off.\nfunc discount(total int int {\n\treturn total * 9 / 10\n}\n",
		"partner.ini": "# access to the partner's shop\ntoken = " + planted + "\n",
	}
}

// mendedFiles are the same files without the defects.
func mendedFiles() map[string]string {
	return map[string]string{
		"discount.go": "package main\n\n// discount takes a tenth off.\nfunc discount(total int) int {\n\treturn total * 9 / 10\n}\n",
		"partner.ini": "# access to the partner's shop: the token comes from the environment\n",
	}
}
