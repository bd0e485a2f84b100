package standin

import (
	"slices"
	"time"
)

// codeState is CodeArts Pipeline's word for where a run, a stage, a job or a step stands
// (specs/codearts-check.md 3.6).
type codeState string

const (
	codeInit       codeState = "INIT"
	codeRunning    codeState = "RUNNING"
	codeSuspended  codeState = "SUSPEND"
	codeCompleted  codeState = "COMPLETED"
	codeFailed     codeState = "FAILED"
	codeCanceled   codeState = "CANCELED"
	codeUnselected codeState = "UNSELECTED"
)

// codePart is what a run, a stage, a job and a step have in common.
type codePart struct {
	id     string
	state  codeState
	from   time.Time
	to     time.Time
	reason string
}

// open reports whether the part has begun and not ended. A review that waits is open.
func (p *codePart) open() bool { return p.state == codeRunning }

func (p *codePart) end(state codeState, at time.Time) { p.state, p.to = state, at }

// codeRun is one run. No goroutine drives it: advance brings it up to a time whenever somebody
// looks, so that its times depend on nothing but the clock.
type codeRun struct {
	codePart
	pipeline    *codePipelineState
	number      int
	executor    string
	description string
	source      codeSource
	// resumed is when it was retried; no step begins before that.
	resumed time.Time
	stages  []*codeStageRun
}

type codeStageRun struct {
	codePart
	spec CodeStage
	jobs []*codeJobRun
}

type codeJobRun struct {
	codePart
	spec  CodeJob
	steps []*codeStepRun
}

type codeStepRun struct {
	codePart
	spec CodeStep
	// attempts counts how often it was begun.
	attempts int
}

// newCodeRun makes a run that begins now; selected says of a stage's or a job's name whether it
// is run.
func newCodeRun(p *codePipelineState, now time.Time, selected func(stage, job string) bool) *codeRun {
	r := &codeRun{codePart: codePart{id: newID(), state: codeRunning, from: now}, pipeline: p, resumed: now}
	for _, stage := range p.spec.Stages {
		s := &codeStageRun{codePart: codePart{id: newID(), state: codeUnselected}, spec: stage}
		for _, job := range stage.Jobs {
			j := &codeJobRun{codePart: codePart{id: newID(), state: codeUnselected}, spec: job}
			if selected(stage.Name, job.Name) {
				s.state, j.state = codeInit, codeInit
			}
			for _, step := range job.Steps {
				j.steps = append(j.steps, &codeStepRun{codePart: codePart{id: newID(), state: codeInit}, spec: step})
			}
			s.jobs = append(s.jobs, j)
		}
		r.stages = append(r.stages, s)
	}
	return r
}

// advance brings the run up to now.
func (r *codeRun) advance(now time.Time) {
	if !r.open() {
		return
	}
	at := r.from
	for _, stage := range r.stages {
		if stage.state == codeUnselected {
			continue
		}
		stage.advance(later(at, r.resumed), r.resumed, now)
		switch stage.state {
		case codeCompleted:
			at = stage.to
		case codeFailed:
			r.end(codeFailed, stage.to)
			return
		default:
			return
		}
	}
	r.end(codeCompleted, at)
}

// advance brings the stage up to now; it begins at at, unless it has begun.
func (s *codeStageRun) advance(at, resumed, now time.Time) {
	if s.state != codeInit && !s.open() {
		return
	}
	if s.state == codeInit {
		s.state, s.from = codeRunning, at
	}
	end, ended := s.from, codeCompleted
	for _, job := range s.jobs {
		if job.state == codeUnselected {
			continue
		}
		job.advance(later(s.from, resumed), resumed, now)
		switch {
		case job.open():
			ended = codeRunning
		case job.state == codeFailed && ended == codeCompleted:
			ended = codeFailed
		}
		end = later(end, job.to)
	}
	if ended != codeRunning {
		s.end(ended, end)
	}
}

// advance brings the job up to now.
func (j *codeJobRun) advance(at, resumed, now time.Time) {
	if j.state != codeInit && !j.open() {
		return
	}
	if j.state == codeInit {
		j.state, j.from = codeRunning, at
	}
	at = j.from
	for _, step := range j.steps {
		step.advance(later(at, resumed), now)
		switch step.state {
		case codeCompleted:
			at = step.to
		case codeFailed:
			j.end(codeFailed, step.to)
			j.reason = step.reason
			return
		default:
			return
		}
	}
	j.end(codeCompleted, at)
}

// advance brings the step up to now. A review that has begun waits for a decision.
func (s *codeStepRun) advance(at, now time.Time) {
	if s.state == codeInit && !now.Before(at) {
		s.state, s.from, s.reason = codeRunning, at, ""
		s.attempts++
	}
	if end := s.from.Add(s.spec.time()); s.open() && !s.spec.Review && !now.Before(end) {
		s.end(codeCompleted, end)
		if s.attempts <= s.spec.FailTimes {
			s.end(codeFailed, end)
			s.reason = "the step is configured to fail"
		}
	}
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// parts calls visit for the run's stages, jobs and steps.
func (r *codeRun) parts(visit func(*codePart)) {
	for _, stage := range r.stages {
		visit(&stage.codePart)
		for _, job := range stage.jobs {
			visit(&job.codePart)
			for _, step := range job.steps {
				visit(&step.codePart)
			}
		}
	}
}

// stop cancels what is open; it reports false when the run has ended.
func (r *codeRun) stop(now time.Time) bool {
	if !r.open() {
		return false
	}
	r.parts(func(p *codePart) {
		if p.open() {
			p.end(codeCanceled, now)
		}
	})
	r.end(codeCanceled, now)
	return true
}

// retry runs what has failed or was canceled again, and what comes after it; it reports false
// when there is no such thing.
func (r *codeRun) retry(now time.Time) bool {
	if r.state != codeFailed && r.state != codeCanceled {
		return false
	}
	r.parts(func(p *codePart) {
		if p.state == codeFailed || p.state == codeCanceled {
			*p = codePart{id: p.id, state: codeInit}
		}
	})
	r.state, r.to, r.resumed = codeRunning, time.Time{}, now
	return true
}

// decide passes or refuses the review with that job's and step's id; it reports false when none
// waits there.
func (r *codeRun) decide(jobID, stepID string, passed bool, now time.Time) bool {
	for _, stage := range r.stages {
		for _, job := range stage.jobs {
			for _, step := range job.steps {
				if job.id != jobID || step.id != stepID || !step.spec.Review || !step.open() {
					continue
				}
				step.end(codeCompleted, now)
				if !passed {
					step.end(codeFailed, now)
					step.reason = "refused"
				}
				return true
			}
		}
	}
	return false
}

// waits reports whether the job waits for a review.
func (j *codeJobRun) waits() bool {
	return slices.ContainsFunc(j.steps, func(s *codeStepRun) bool { return s.spec.Review && s.open() })
}

func (s *codeStageRun) waits() bool { return slices.ContainsFunc(s.jobs, (*codeJobRun).waits) }

func (r *codeRun) waits() bool {
	return r.open() && slices.ContainsFunc(r.stages, (*codeStageRun).waits)
}
