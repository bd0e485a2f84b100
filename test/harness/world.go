package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/webhook"
)

// The environment variables of the server's secrets.
const (
	variableKey       = "PROOF_ACCESS_KEY"
	variableSecretKey = "PROOF_SECRET_KEY"
	variableDSN       = "PROOF_DSN"
)

const (
	regionProject = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
	checkProject  = "41b8df4bf53f4d51b8e6c5b32e8d2a07"
	// checkpoint is the task that waits for approval in every pipeline.
	checkpoint = "golive"
	// mergeRequest is the number of the merge request of every repository.
	mergeRequest = 7
	// released is the branch whose passed checks are released.
	released = "main"
)

// connection is a git host as the server file has it, and the address under which
// its repositories stand.
type connection struct {
	name string
	host event.Host
	base string
}

func connections() []connection {
	return []connection{
		{"github", event.GitHub, "https://github.com"},
		{"github-two", event.GitHub, "https://git.example.com"},
		{"gitlab", event.GitLab, "https://gitlab.com"},
		{"gitee", event.Gitee, "https://gitee.com"},
		{"gitea", event.Gitea, "https://gitea.com"},
	}
}

// variable is the environment variable of the connection's secret.
func (c connection) variable() string {
	return "PROOF_WEBHOOK_" + strings.ToUpper(strings.ReplaceAll(c.name, "-", "_"))
}

// webhook is the connection as the webhook endpoint knows it, for signing.
func (c connection) webhook(secret string) webhook.Connection {
	return webhook.Connection{Name: c.name, Host: c.host, Secrets: []string{secret}}
}

// repository is one repository of a connection.
type repository struct {
	connection connection
	// id is the host's number of it.
	id       int
	name     string
	pipeline string
}

func (r repository) fullName() string { return "acme/" + r.name }
func (r repository) url() string      { return r.connection.base + "/acme/" + r.name + ".git" }

// world is what the proof is about: repositories on several hosts, which are all
// the same two on disk, and a pipeline for each.
type world struct {
	repositories []repository
	pipelines    []standin.Pipeline
	// local is where the stand-in finds the code of a repository's URL.
	local map[string]string
}

// checkedBranches are the branches that rules check; any other matches no rule.
func checkedBranches() []string { return []string{released, "dev", "topic-1", "topic-2"} }

// makeWorld makes the code on disk and names everything.
func makeWorld(folder string, each int) (world, error) {
	w := world{local: map[string]string{}}
	paths := map[standin.RefStyle]string{}
	for _, style := range []standin.RefStyle{standin.RefPull, standin.RefMergeRequest} {
		made, err := standin.MakeRepository(filepath.Join(folder, string(style)), standin.RepositorySpec{Number: mergeRequest, RefStyle: style})
		if err != nil {
			return world{}, err
		}
		for _, branch := range checkedBranches()[1:] {
			// A ref of git's is a file that holds the commit.
			ref := filepath.Join(made.Path, ".git", "refs", "heads", branch)
			if err := os.WriteFile(ref, []byte(made.CleanSHA+"\n"), 0o600); err != nil {
				return world{}, fmt.Errorf("make branch: %w", err)
			}
		}
		paths[style] = made.Path
	}
	brief := 0.03
	for i, c := range connections() {
		style := standin.RefPull
		if c.host == event.GitLab {
			style = standin.RefMergeRequest
		}
		for n := range each {
			r := repository{connection: c, id: 1000*(i+1) + n, name: fmt.Sprintf("r%02d", n), pipeline: fmt.Sprintf("caf409b1-10df-483a-b14d-%06d%06d", i, n)}
			w.repositories = append(w.repositories, r)
			w.local[r.url()] = paths[style]
			w.pipelines = append(w.pipelines, standin.Pipeline{
				ID: r.pipeline, Name: "release-" + c.name + "-" + r.name,
				Stages: []standin.Stage{
					{Name: "build", Tasks: []standin.PipelineTask{{Name: "package", Seconds: &brief}}},
					{Name: "deploy", Tasks: []standin.PipelineTask{{Name: checkpoint, Kind: "approval"}, {Name: "rollout", Seconds: &brief}}},
				},
			})
		}
	}
	return w, nil
}

// serverFile is the server's configuration. It polls quickly, so that much
// happens between two kills.
func serverFile(addr, privateAddr, storeSection, endpoint string, opts Options, host *GitHost) string {
	if opts.Retention > 0 {
		storeSection = strings.TrimSuffix(storeSection, "}") + fmt.Sprintf(", retention: %s}", opts.Retention)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "http: {addr: %q, private_addr: %q, max_connections: 8192, pprof_addr: %q, shutdown_grace: 20s}\nstore: %s\nconnections:\n", addr, privateAddr, opts.Profiles, storeSection)
	for _, c := range connections() {
		api := ""
		if host != nil && c.host == event.GitHub {
			api = fmt.Sprintf(", token: {env: %s}, api_url: %q, confirm: never", variableToken, host.apiURL(c.name))
		}
		fmt.Fprintf(&b, "  - {name: %s, kind: %s, url: %q, secrets: [{env: %s}]%s}\n", c.name, c.host, c.base, c.variable(), api)
	}
	fmt.Fprintf(&b, `huaweicloud:
  auth: {access_key: {id: {env: %s}, secret: {env: %s}}}
  endpoints: {codecheck: %q, servicestage: %q}
  project_id: %s
  timeout: 10s
  poll: {min: 20ms, max: 200ms}
  release_poll: {min: 20ms, max: 200ms}
rules: rules.yaml
log: {level: %s}
`, variableKey, variableSecretKey, endpoint, endpoint, regionProject, opts.LogLevel)
	return b.String()
}

// rulesFile checks the merge requests and the branches, and releases one branch of
// each repository by its own pipeline. A merge request's ref is fixed, so that
// every execution beyond the first of a run is one that was asked for again.
func rulesFile(w world) string {
	var b strings.Builder
	fmt.Fprintf(&b, `version: 1
defaults:
  check:
    project: {id: %s, name: proof}
    languages: [GO, JSON, SHELL]
    create: {name: "{owner}-{repository}-{branch}-{connection}", auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
    timeout: 15m
  gate: {critical: 0, major: 0}
rules:
  - name: merge-requests-gitlab
    on: [merge_request]
    match: {connection: gitlab}
    check: {scan: incremental, ref: merge_request}
  - name: merge-requests
    on: [merge_request]
    check: {scan: incremental, ref: pull}
  - name: branches
    on: [push]
    match: {branch: [%s]}
    check: {}
`, checkProject, strings.Join(checkedBranches()[1:], ", "))
	for _, r := range w.repositories {
		fmt.Fprintf(&b, `  - name: release-%s-%s
    on: [push]
    match: {connection: %s, repository: %s, branch: %s}
    check: {}
    release:
      - {pipeline: %s, action: start, timeout: 15m}
      - {pipeline: %s, action: approve, task: %s, timeout: 15m}
`, r.connection.name, r.name, r.connection.name, r.fullName(), released, r.pipeline, r.pipeline, checkpoint)
	}
	return b.String()
}
