package standin

import (
	"fmt"
	"path/filepath"
)

// Sample makes what a stand-in can start with on its own: in dir, which must not
// hold them yet, the repositories shop (with a pull request) and depot (with a
// merge request), a project with a task for each branch of theirs, and a
// pipeline of two stages: build, then a checkpoint and a rollout. Each kind of git host
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
		},
		Pipelines: samplePipelines(),
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
