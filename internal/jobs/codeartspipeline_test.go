package jobs_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
)

// The pipelines of CodeArts Pipeline: one with a manual review, one that fails once, one that
// fails always, and one that takes an hour.
const (
	reviewPipeline = "5d1b8a5e0c6f4b8f9e2d7a3c4b5e6f70"
	failsOnce      = "5d1b8a5e0c6f4b8f9e2d7a3c4b5e6f71"
	failsAlways    = "5d1b8a5e0c6f4b8f9e2d7a3c4b5e6f72"
	takesAnHour    = "5d1b8a5e0c6f4b8f9e2d7a3c4b5e6f73"
)

func codePipelines() []standin.CodePipeline {
	build := func(seconds float64, fails int) standin.CodeStage {
		return standin.CodeStage{Name: "Build", Jobs: []standin.CodeJob{{Name: "Image", Steps: []standin.CodeStep{{Name: "Push", Seconds: &seconds, FailTimes: fails}}}}}
	}
	deploy := standin.CodeStage{Name: "Deploy", Jobs: []standin.CodeJob{{Name: "Rollout", Steps: []standin.CodeStep{{Name: "Confirm", Review: true}, {Name: "Roll out", Seconds: new(0.0)}}}}}
	return []standin.CodePipeline{
		{ID: reviewPipeline, Name: "review", Stages: []standin.CodeStage{build(0, 0), deploy}},
		{ID: failsOnce, Name: "fails-once", Stages: []standin.CodeStage{build(0, 1)}},
		{ID: failsAlways, Name: "fails-always", Stages: []standin.CodeStage{build(0, 1000)}},
		{ID: takesAnHour, Name: "takes-an-hour", Stages: []standin.CodeStage{build(3600, 0)}},
	}
}

// ran are the calls by which the queue changed something at CodeArts Pipeline, in order.
func (p people) ran() []string {
	list := []string{}
	for _, call := range p.services.Calls() {
		if call.Seq > p.services.before && call.Acted && slices.Contains([]string{"run_code_pipeline", "stop_code_run", "retry_code_run", "pass_review", "refuse_review"}, call.Operation) {
			list = append(list, call.Operation)
		}
	}
	return list
}

// addCode adds a release that starts a pipeline of CodeArts Pipeline.
func (l *lost) addCode(id, pipeline string, change func(*release.Release)) release.Release {
	r := l.newRelease(id)
	r.State, r.StartedAt = release.Starting, time.Time{}
	r.Plan.Target, r.Plan.ProjectID, r.Plan.Pipeline = rules.TargetCodeArtsPipeline, projectID, pipeline
	if change != nil {
		change(&r)
	}
	_, err := l.tx.AddRelease(l.ctx, r)
	l.check(err)
	return r
}

// runCode runs a pipeline of CodeArts Pipeline and returns the id of the run.
func (s *services) runCode(l *lost, pipeline string) string {
	var got struct {
		ID string `json:"pipeline_run_id"`
	}
	l.check(s.do(l.ctx, huaweicloud.Call{Operation: "run pipeline", Method: http.MethodPost, Body: struct{}{},
		Path: huaweicloud.Path("/v5/%s/api/pipelines/%s/run", projectID, pipeline)}, &got))
	return got.ID
}

// TestCodeArtsPipeline releases by CodeArts Pipeline, from the start to each of its ends.
func TestCodeArtsPipeline(t *testing.T) {
	retry := []rules.FailureStep{{Action: rules.ReleaseRetry, Times: 2}}
	const done = "release successful (2)"
	for name, c := range map[string]struct {
		pipeline string
		change   func(*release.Release)
		fault    standin.Fault
		state    string
		reason   string
		ran      []string
	}{
		"one job": {reviewPipeline, func(r *release.Release) {
			r.Plan.Select = []rules.Select{{Stage: "Build", Tasks: []string{"Image"}}}
		}, standin.Fault{}, "succeeded", done, []string{"run_code_pipeline"}},
		"one stage": {reviewPipeline, func(r *release.Release) {
			r.Plan.Select = []rules.Select{{Stage: "Build", Tasks: []string{}}}
		}, standin.Fault{}, "succeeded", done, []string{"run_code_pipeline"}},
		"retried by the rule": {failsOnce, func(r *release.Release) { r.Plan.OnFailure = retry }, standin.Fault{},
			"succeeded", done, []string{"run_code_pipeline", "retry_code_run"}},
		"fails always": {failsAlways, func(r *release.Release) { r.Plan.OnFailure = retry }, standin.Fault{},
			"failed", `"Image" says: Push: the step is configured to fail`, []string{"run_code_pipeline", "retry_code_run", "retry_code_run"}},
		"nothing is to be done": {failsOnce, nil, standin.Fault{}, "failed", `release failed (3) at "Image"`, []string{"run_code_pipeline"}},
		"the answer to run is lost": {failsOnce, func(r *release.Release) { r.Plan.OnFailure = retry },
			standin.Fault{Kind: standin.FaultLost, Operations: []string{"run_code_pipeline"}, Next: 1}, "succeeded", done, []string{"run_code_pipeline", "retry_code_run"}},
		"the answer to retry is lost": {failsOnce, func(r *release.Release) { r.Plan.OnFailure = retry },
			standin.Fault{Kind: standin.FaultLost, Operations: []string{"retry_code_run"}, Next: 1}, "succeeded", done, []string{"run_code_pipeline", "retry_code_run"}},
		"nothing ran": {failsOnce, func(r *release.Release) {
			r.Intent = &release.Intent{SentAt: r.CreatedAt, Action: rules.ReleaseStart}
		}, standin.Fault{}, "unknown", "was lost and no execution appeared", []string{}},
		"no such pipeline": {"5d1b8a5e0c6f4b8f9e2d7a3c4b5e6f7f", nil, standin.Fault{}, "failed", "DEVPIPE.00011401: pipeline not found", []string{}},
		"no such project": {reviewPipeline, func(r *release.Release) { r.Plan.ProjectID = strings.Repeat("0", 32) }, standin.Fault{},
			"failed", "DEVPIPE.00011412: project not found", []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			eachPeople(t, func(t *testing.T, p people) {
				p.leave(t, func(l *lost) { l.addCode("release", c.pipeline, c.change) })
				if c.fault.Kind != "" {
					p.services.setFaults(t, c.fault)
				}
				p.start(t, jobs.Options{})
				p.untilState(t, "release", c.state)
				r := p.release(t, "release")
				if diff := cmp.Diff(c.ran, p.ran()); diff != "" || !strings.Contains(r.Reason, c.reason) {
					t.Errorf("%s; ran (-want +got):\n%s", r.Reason, diff)
				}
				if r.Operation != nil || r.State == release.Succeeded && r.ExecutionID == "" {
					t.Errorf("run %q, operation %+v, actions %+v", r.ExecutionID, r.Operation, r.Actions)
				}
			})
		})
	}
}

// TestCodeArtsPipelineReviews decides manual reviews, by rule and by a person.
func TestCodeArtsPipelineReviews(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			r := l.addCode("release", reviewPipeline, nil)
			r.ID, r.Index, r.After, r.Plan.Action, r.Plan.Task = "approval", 1, "release", rules.ReleaseApprove, "Rollout"
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		p.start(t, jobs.Options{ReconcileEvery: 100 * time.Millisecond, ReconcileAfter: time.Millisecond})
		p.untilState(t, "release", "succeeded")
		p.untilState(t, "approval", "succeeded")
		if diff := cmp.Diff([]string{"run_code_pipeline", "pass_review"}, p.ran()); diff != "" {
			t.Errorf("by rule (-want +got):\n%s", diff)
		}
		p.leave(t, func(l *lost) { l.addCode("second", reviewPipeline, nil) })
		p.untilState(t, "second", "awaiting_approval")
		if r := p.release(t, "second"); !slices.Equal(r.Waiting, []string{"Confirm"}) {
			t.Errorf("waits at %q (%s)", r.Waiting, r.Reason)
		}
		for _, action := range []rules.ReleaseAction{rules.ReleaseContinue, rules.ReleaseRollback} {
			if _, err := p.Operate(t.Context(), "second", action, ann); err == nil || !strings.Contains(err.Error(), "CodeArts Pipeline has no "+string(action)) {
				t.Errorf("%s: %v", action, err)
			}
		}
		done, err := p.Decide(t.Context(), "second", rules.ReleaseRefuse, "Rollout", ann)
		if err != nil {
			t.Fatal(err)
		}
		p.untilState(t, done.Releases[0].ID, "succeeded")
		p.untilState(t, "second", "refused")
		if diff := cmp.Diff([]string{"run_code_pipeline", "pass_review", "run_code_pipeline", "refuse_review"}, p.ran()); diff != "" {
			t.Errorf("by a person (-want +got):\n%s", diff)
		}
	})
}

// TestCodeArtsPipelineDeadline stops a run that takes longer than it may.
func TestCodeArtsPipelineDeadline(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			run := l.services.runCode(l, takesAnHour)
			l.addCode("release", takesAnHour, func(r *release.Release) {
				r.State, r.ExecutionID, r.StartedAt = release.Running, run, l.at
				r.Plan.OnDeadline, r.Deadline = rules.ReactionStop, l.at.Add(time.Second)
			})
		})
		p.start(t, jobs.Options{})
		p.untilState(t, "release", "stopped")
		r := p.release(t, "release")
		if diff := cmp.Diff([]string{"stop_code_run"}, p.ran()); diff != "" || !strings.Contains(r.Reason, "was stopped and is canceled: on_deadline: ") {
			t.Errorf("%s; ran (-want +got):\n%s", r.Reason, diff)
		}
	})
}

// TestCodeArtsPipelineByAPerson retries and stops runs that a release has left behind, also
// when somebody else has begun a newer one.
func TestCodeArtsPipelineByAPerson(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		p.leave(t, func(l *lost) {
			for id, pipeline := range map[string]string{"failed": failsOnce, "hangs": takesAnHour} {
				run := l.services.runCode(l, pipeline)
				l.services.runCode(l, pipeline)
				l.addCode(id, pipeline, func(r *release.Release) { r.State, r.ExecutionID, r.StartedAt = release.Failed, run, l.at })
			}
		})
		p.serve(t)
		for _, c := range []struct {
			id     string
			action rules.ReleaseAction
			state  string
		}{{"failed", rules.ReleaseRetry, "succeeded"}, {"hangs", rules.ReleaseStop, "stopped"}} {
			done, err := p.Operate(t.Context(), c.id, c.action, ann)
			if err != nil {
				t.Fatal(err)
			}
			p.untilState(t, done.Releases[0].ID, c.state)
		}
		if diff := cmp.Diff([]string{"retry_code_run", "stop_code_run"}, p.ran()); diff != "" {
			t.Errorf("ran (-want +got):\n%s", diff)
		}
	})
}
