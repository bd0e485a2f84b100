package standin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5"
)

// Sample makes what a stand-in can start with on its own: in dir, which must not
// hold them yet, the repositories shop (with a pull request) and depot (with a
// merge request), a project with a task for each branch of theirs, and a
// pipeline of two stages, each for ServiceStage and CodeArts Pipeline: build, then a checkpoint and a rollout. Each kind of git host
// serves both repositories. The access key, the password and the token are for this machine only; set others before New as wanted.
func Sample(dir string) (Options, error) {
	opts := Options{
		AccessKey: "STANDINACCESSKEY0001",
		SecretKey: "standin-secret-key",
		User:      "standin",
		Password:  "standin-password",
		Domain:    "standin",
		RegionProject: RegionProject{
			ID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "cn-north-4",
		},
		Projects:     []Project{{ID: "41b8df4bf53f4d51b8e6c5b32e8d2a07", Name: "payments"}},
		Repositories: map[string]string{},
		GitHosts: []GitHost{
			{Kind: "github", URL: "https://git.example.com", Token: "standin-api-token"},
			{Kind: "gitlab", URL: "https://git.example.com", Token: "standin-api-token"},
			{Kind: "gitee", URL: "https://git.example.com", Token: "standin-api-token"},
			{Kind: "gitea", URL: "https://git.example.com", Token: "standin-api-token"},
		},
		RuleSets:      []RuleSet{{ID: stableID("ruleset", "team"), Name: "team rules", Language: "GO"}},
		Pipelines:     samplePipelines(),
		CodePipelines: sampleCodePipelines(),
	}
	for _, spec := range []RepositorySpec{{Name: "shop", RefStyle: RefPull}, {Name: "depot", RefStyle: RefMergeRequest}} {
		made, err := MakeRepository(filepath.Join(dir, spec.Name), spec)
		if err != nil {
			return Options{}, fmt.Errorf("make sample: %w", err)
		}
		url := "https://git.example.com/acme/" + spec.Name + ".git"
		opts.Repositories[url] = made.Path
		opts.Tasks = append(opts.Tasks,
			TaskSeed{ID: stableID("task", spec.Name, "main"), Name: spec.Name + "-main", RepoURL: url, Branch: made.Branch},
			TaskSeed{ID: stableID("task", spec.Name, "feature"), Name: spec.Name + "-feature-discount", RepoURL: url, Branch: made.Feature},
		)
	}
	return opts, nil
}

func samplePipelines() []Pipeline {
	second := 1.0
	return []Pipeline{{
		ID: "caf409b1-10df-483a-b14d-7b05f7e12c88", Name: "release-shop", FailMode: failStop,
		Stages: []Stage{
			{Name: "899tih", DisplayName: "Build", Tasks: []PipelineTask{
				{Name: "ujgdh4", DisplayName: "Build the image", Seconds: &second},
			}},
			{Name: "uipfzw", DisplayName: "Deploy", Tasks: []PipelineTask{
				{Name: "k2m8qa", DisplayName: "Confirm", Kind: kindApproval},
				{Name: "ax8hus", DisplayName: "Roll out", Seconds: &second},
			}},
		},
	}}
}

func sampleCodePipelines() []CodePipeline {
	return []CodePipeline{{
		ID: "5d1b8a5e0c6f4b8f9e2d7a3c4b5e6f70", Name: "shop",
		Stages: []CodeStage{
			{Name: "Build", Jobs: []CodeJob{{Name: "Image", Steps: []CodeStep{{Name: "Build the image"}}}}},
			{Name: "Deploy", Jobs: []CodeJob{{Name: "Rollout", Steps: []CodeStep{{Name: "Confirm", Review: true}, {Name: "Roll out"}}}}},
		},
	}}
}

// LocalRepository is a git repository on this machine and what it is called.
type LocalRepository struct {
	// Name is a full name such as acme/shop, for any host, or an URL.
	Name string
	// Path is the repository's folder, bare or with a working tree.
	Path string
}

// ParseRepository reads NAME=PATH.
func ParseRepository(text string) (LocalRepository, error) {
	name, path, found := strings.Cut(text, "=")
	if !found || path == "" || !fullNameForm.MatchString(name) && !strings.Contains(name, "://") && !scpForm.MatchString(name) {
		return LocalRepository{}, fmt.Errorf("%q: write acme/shop=PATH, or an URL such as https://github.com/acme/shop.git=PATH", text)
	}
	return LocalRepository{Name: name, Path: path}, nil
}

// publicHosts are the addresses at which the kinds of git hosts are where nobody runs them.
func publicHosts() map[string]string {
	return map[string]string{"github": "https://github.com", "gitlab": "https://gitlab.com", "gitee": "https://gitee.com", "gitea": "https://gitea.com"}
}

// UseRepositories puts repositories in the place of those of o, with a task for each: of the
// branch that is checked out. A git host of o whose public address a URL names is at that address from now on.
func (o *Options) UseRepositories(repositories []LocalRepository) error {
	o.Repositories, o.Tasks, o.GitHosts = map[string]string{}, nil, slices.Clone(o.GitHosts)
	for _, r := range repositories {
		branch, err := r.branch()
		if err != nil {
			return fmt.Errorf("use repository %q: %w", r.Path, err)
		}
		if _, twice := newLocalRepositories(o.Repositories).path(r.Name); twice {
			return fmt.Errorf("use repository %q: there is another one for %s", r.Path, r.Name)
		}
		o.Repositories[r.Name] = r.Path
		address := r.Name
		if fullNameForm.MatchString(r.Name) {
			address = "https://git.example.com/" + r.Name + ".git"
		}
		for i, host := range o.GitHosts {
			if public, known := publicHosts()[host.Kind]; known && strings.HasPrefix(localKey(r.Name), localKey(public)) {
				o.GitHosts[i].URL = public
			}
		}
		o.Tasks = append(o.Tasks, TaskSeed{
			ID: stableID("task", r.Name, branch), Name: filepath.Base(strings.TrimSuffix(address, ".git")) + "-" + strings.ReplaceAll(branch, "/", "-"),
			RepoURL: address, Branch: branch,
		})
	}
	return nil
}

// branch returns the branch that is checked out.
func (r LocalRepository) branch() (string, error) {
	if info, err := os.Stat(filepath.Join(r.Path, ".git")); err == nil && !info.IsDir() {
		return "", errors.New("it is a linked worktree or a submodule: name the repository that it belongs to")
	}
	repository, err := git.PlainOpen(r.Path)
	if err != nil {
		return "", err
	}
	if shallow, err := repository.Storer.Shallow(); err == nil && len(shallow) > 0 {
		return "", errors.New("it is a shallow clone: run git fetch --unshallow in it")
	}
	head, err := repository.Head()
	if err != nil {
		return "", fmt.Errorf("read HEAD: %w", err)
	}
	if !head.Name().IsBranch() {
		return "", errors.New("no branch is checked out: run git switch in it")
	}
	return head.Name().Short(), nil
}
