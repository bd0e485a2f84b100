package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/webhook"
)

// The branches of each repository: main and stable are released, and the merge
// request of the source branch into main fails its gate.
const (
	mainBranch   = "main"
	stableBranch = "stable"
	sourceBranch = "feature/discount"
)

// checkpoint is the task of each pipeline that waits for an approval.
const checkpoint = "go-live"

// journalSize is more than all the calls of a proof: it must see each of them.
const journalSize = 500_000

const (
	regionProject = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
	checkProject  = "41b8df4bf53f4d51b8e6c5b32e8d2a07"
	accessKey     = "PROOFACCESSKEY000001"
	userName      = "proof"
	region        = "cn-north-4"
)

// standinOptions are a stand-in with a project and a pipeline for each repository.
// All repositories of a host are the same one on disk, in folder.
func standinOptions(folder string, repositories []*repository, secret string) (standin.Options, error) {
	opts := standin.Options{
		AccessKey: accessKey, SecretKey: secret, KeepKeyUnlocked: true,
		User: userName, Password: secret, Domain: userName,
		RegionProject: standin.RegionProject{ID: regionProject, Name: region},
		Projects:      []standin.Project{{ID: checkProject, Name: "proof"}},
		Repositories:  map[string]string{},
		ScanDelay:     50 * time.Millisecond,
		JournalSize:   journalSize,
	}
	for _, host := range webhook.Hosts() {
		style := standin.RefPull
		if host == event.GitLab {
			style = standin.RefMergeRequest
		}
		path := filepath.Join(folder, string(host))
		made, err := standin.MakeRepository(path, standin.RepositorySpec{Number: mergeNumber, RefStyle: style})
		if err != nil {
			return standin.Options{}, err
		}
		// One more branch, at the clean commit.
		ref := filepath.Join(path, ".git", "refs", "heads", stableBranch)
		if err := os.WriteFile(ref, []byte(made.CleanSHA+"\n"), 0o600); err != nil {
			return standin.Options{}, fmt.Errorf("make branch %q: %w", stableBranch, err)
		}
		for _, r := range repositories {
			if r.host == host {
				opts.Repositories[r.url()] = path
			}
		}
	}
	short := 0.05
	for _, r := range repositories {
		opts.Pipelines = append(opts.Pipelines, standin.Pipeline{
			ID: r.pipeline, Name: strings.ReplaceAll(r.name, "/", "-"),
			Stages: []standin.Stage{
				{Name: "build", Tasks: []standin.PipelineTask{{Name: "package", Seconds: &short}}},
				{Name: "deploy", Tasks: []standin.PipelineTask{{Name: checkpoint, Kind: "approval"}, {Name: "rollout", Seconds: &short}}},
			},
		})
	}
	return opts, nil
}

// rulesFile checks merge requests, and releases what is pushed to main and stable
// by the pipeline of the repository.
func rulesFile(repositories []*repository) string {
	var b strings.Builder
	b.WriteString(`version: 1
defaults:
  check:
    project: {id: ` + checkProject + `, name: proof}
    languages: [GO, JSON, SHELL]
    create: {name: "{owner}-{repository}-{branch}-{connection}", auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
    timeout: 60s
  gate: {critical: 0, major: 0}
rules:
  - {name: merge-requests, on: [merge_request], check: {scan: incremental}}
`)
	for _, r := range repositories {
		fmt.Fprintf(&b, `  - name: release-%d
    on: [push]
    match: {repository: %s, branch: [%s, %s]}
    check: {}
    release:
      - {pipeline: %[5]s, action: start, timeout: 60s}
      - {pipeline: %[5]s, action: approve, task: %[6]s, timeout: 60s}
`, r.number, r.name, mainBranch, stableBranch, r.pipeline, checkpoint)
	}
	return b.String()
}

// webhookSecret is the secret of a host's connection.
func webhookSecret(secret string, host event.Host) string { return secret + "-" + string(host) }

// serverFile is the server's configuration; every secret is in the environment.
func serverFile(addr, private, huawei, database string, password bool) string {
	auth := `access_key: {id: {env: PROOF_ACCESS_KEY}, secret: {env: PROOF_SECRET}}`
	if password {
		auth = `password: {user: ` + userName + `, password: {env: PROOF_SECRET}, domain: ` + userName + `, project: ` + region + `}`
	}
	store := `sqlite: {path: gatewright.db}`
	if database == postgres {
		store = `postgres: {dsn: {env: PROOF_DSN}}`
	}
	return `http: {addr: "` + addr + `", private_addr: "` + private + `", shutdown_grace: 10s}
store: {` + store + `}
connections:
  - {name: github, kind: github, secrets: [{env: PROOF_SECRET_GITHUB}]}
  - {name: gitlab, kind: gitlab, secrets: [{env: PROOF_SECRET_GITLAB}]}
  - {name: gitee, kind: gitee, mode: sign, secrets: [{env: PROOF_SECRET_GITEE}]}
  - {name: gitea, kind: gitea, secrets: [{env: PROOF_SECRET_GITEA}]}
huaweicloud:
  auth: {` + auth + `}
  endpoints: {iam: "` + huawei + `", codecheck: "` + huawei + `", servicestage: "` + huawei + `"}
  project_id: ` + regionProject + `
  timeout: 2s
  poll: {min: 100ms, max: 1s}
  release_poll: {min: 100ms, max: 1s}
rules: rules.yaml
`
}
