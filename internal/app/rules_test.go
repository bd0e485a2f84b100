package app_test

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
)

const rulesHead = `
version: 1
defaults:
  check:
    project: {id: ${PROJECT}, name: demo}
    create: {auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001}
rules:
`

// TestRefuse holds that a failed verdict refuses the checkpoint that waits in an
// execution which somebody else started.
func TestRefuse(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: rulesHead + `
  - name: refuse
    on: [merge_request]
    check: {}
    release: [{pipeline: "${PIPELINE}", action: refuse, task: "${CHECKPOINT}"}, {pipeline: "${PIPELINE}", action: start}]
`}, func(t *testing.T, d apptest.Service) {
		startPipelineByHand(t, d)
		d.Request(t)
		r := d.Until(t, "the release has ended", func(r demo.Records) bool { return len(r.Releases) > 0 && r.Ended() })
		if len(r.Releases) != 1 || r.Releases[0].State != release.Succeeded || r.Releases[0].Action != rules.ReleaseRefuse {
			t.Errorf("releases %+v", r.Releases)
		}
		calls := d.Standin.Calls()
		last := slices.IndexFunc(calls, func(c standin.Call) bool { return c.ApprovalType == "refuse" && c.Acted })
		if last < 0 || calls[last].TaskName != d.World.Checkpoint {
			t.Error("the stand-in saw no refusal of the checkpoint")
		}
	})
}

// startPipelineByHand starts the pipeline as a person would, past our own tables.
func startPipelineByHand(t *testing.T, d apptest.Service) {
	t.Helper()
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: d.Secrets["DEMO_ACCESS_KEY"], SecretKey: d.Secrets["DEMO_SECRET_KEY"]})
	if err != nil {
		t.Fatal(err)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "servicestage", Endpoint: d.Endpoint(), Auth: signer})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	err = client.Do(t.Context(), huaweicloud.Call{
		Operation: "start pipeline", Method: http.MethodPost, Body: struct{}{}, Query: url.Values{"action_id": {"start"}},
		Path: huaweicloud.Path("/v3/%s/pipeline/pipelines/%s/action", d.World.RegionProject(), d.World.Pipeline),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// TestTwoRulesOneScan holds that one commit is scanned once when two rules ask for
// it, and that each rule's own gate judges it.
func TestTwoRulesOneScan(t *testing.T) {
	apptest.Each(t, demo.Options{Rules: rulesHead + `
  - name: strict
    on: [merge_request]
    continue: true
    check: {gate: {critical: 0}}
  - name: lax
    on: [merge_request]
    check: {gate: {critical: 9}}
`}, func(t *testing.T, d apptest.Service) {
		d.Request(t)
		r := d.Until(t, "both runs have ended", func(r demo.Records) bool { return len(r.Runs) == 2 && r.Ended() })
		for _, run := range r.Runs {
			want := codecheck.Passed
			if run.Rule == "strict" {
				want = codecheck.Failed
			}
			if run.State != want || run.Counts.Critical != 1 {
				t.Errorf("rule %s ended %s with %+v: %s", run.Rule, run.State, run.Counts, run.Reason)
			}
		}
		if scans := d.Standin.Counts().Acted["run_task"]; scans != 1 {
			t.Errorf("the commit was scanned %d times", scans)
		}
	})
}
