package standin

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// CodePipeline is a pipeline of CodeArts Pipeline as the code pipelines file describes it: stages
// in order, the jobs of a stage at the same time, the steps of a job in order
// (specs/codearts-check.md 3.6).
type CodePipeline struct {
	// ID has 32 letters and digits.
	ID   string `yaml:"id"`
	Name string `yaml:"name"`
	// ProjectID is the CodeArts project that owns it; empty: the first one.
	ProjectID   string      `yaml:"project_id"`
	Description string      `yaml:"description"`
	Stages      []CodeStage `yaml:"stages"`
}

// CodeStage is one stage; its jobs run at the same time.
type CodeStage struct {
	Name string    `yaml:"name"`
	Jobs []CodeJob `yaml:"jobs"`
}

// CodeJob is one job; its steps run in order.
type CodeJob struct {
	// Name is unique in the pipeline.
	Name  string     `yaml:"name"`
	Steps []CodeStep `yaml:"steps"`
}

// CodeStep is one step.
type CodeStep struct {
	Name string `yaml:"name"`
	// Review makes it a manual review, which waits for a decision.
	Review bool `yaml:"review"`
	// Seconds is how long it takes. Default 1.
	Seconds *float64 `yaml:"seconds"`
	// FailTimes is how often it fails in one run before it succeeds: once for each retry.
	FailTimes int `yaml:"fail_times"`
}

// time is how long the step takes.
func (s CodeStep) time() time.Duration {
	if s.Seconds == nil {
		return time.Second
	}
	return time.Duration(*s.Seconds * float64(time.Second))
}

// LoadCodePipelines reads a code pipelines file:
//
//	code_pipelines:
//	  - id: 5d1b8a5e0c6f4b8f9e2d7a3c4b5e6f70
//	    name: shop
//	    stages:
//	      - name: Build
//	        jobs:
//	          - {name: Image, steps: [{name: Build the image, seconds: 2, fail_times: 1}]}
//	      - name: Deploy
//	        jobs:
//	          - {name: Confirm, steps: [{name: Manual review, review: true}]}
//
// The error is a strictyaml.Complaints with every complaint, its file and line. file is only a
// name for those.
func LoadCodePipelines(file string, data []byte) ([]CodePipeline, error) {
	var content struct {
		CodePipelines []CodePipeline `yaml:"code_pipelines"`
	}
	document, complaints := strictyaml.Decode(file, data, &content)
	if len(complaints) > 0 {
		return nil, complaints
	}
	for _, p := range codePipelineProblems(content.CodePipelines) {
		complaints = append(complaints, document.Complain(p.path, p.text, ""))
	}
	if len(complaints) > 0 {
		return nil, complaints
	}
	return content.CodePipelines, nil
}

// checkCodePipelines returns everything that is wrong with pipelines, joined.
func checkCodePipelines(pipelines []CodePipeline, hasProject func(string) bool) error {
	var errs []error
	for _, p := range codePipelineProblems(pipelines) {
		errs = append(errs, fmt.Errorf("%s: %s", p.path, p.text))
	}
	for i, p := range pipelines {
		if p.ProjectID != "" && !hasProject(p.ProjectID) {
			errs = append(errs, fmt.Errorf("code_pipelines[%d].project_id: the project %q is unknown", i, p.ProjectID))
		}
	}
	return errors.Join(errs...)
}

var codePipelineIDForm = regexp.MustCompile(`^[0-9A-Za-z]{32}$`)

func codePipelineProblems(pipelines []CodePipeline) []pipelineProblem {
	var found []pipelineProblem
	seen := map[string]bool{}
	for i, p := range pipelines {
		complain := func(path, format string, args ...any) {
			found = append(found, pipelineProblem{fmt.Sprintf("code_pipelines[%d]%s", i, path), fmt.Sprintf(format, args...)})
		}
		if !codePipelineIDForm.MatchString(p.ID) {
			complain(".id", "%q is not 32 letters and digits", p.ID)
		} else if seen[p.ID] {
			complain(".id", "another pipeline has this id")
		}
		seen[p.ID] = true
		if p.Name == "" {
			complain(".name", "a pipeline needs a name")
		}
		if len(p.Stages) == 0 {
			complain(".stages", "the pipeline has no stages")
		}
		p.checkStages(complain)
	}
	return found
}

// checkStages checks the stages and that the stages and the jobs of p have names of their own.
func (p CodePipeline) checkStages(complain func(path, format string, args ...any)) {
	stages, jobs := map[string]bool{}, map[string]bool{}
	for i, stage := range p.Stages {
		at := fmt.Sprintf(".stages[%d]", i)
		if stage.Name == "" || stages[stage.Name] {
			complain(at+".name", "a stage needs a name of its own in the pipeline")
		}
		stages[stage.Name] = true
		if len(stage.Jobs) == 0 {
			complain(at, "the stage has no jobs")
		}
		for n, job := range stage.Jobs {
			at := fmt.Sprintf("%s.jobs[%d]", at, n)
			if job.Name == "" || jobs[job.Name] {
				complain(at+".name", "a job needs a name of its own in the pipeline")
			}
			jobs[job.Name] = true
			if len(job.Steps) == 0 {
				complain(at, "the job has no steps")
			}
			for m, step := range job.Steps {
				if problem := step.complaint(); problem != "" {
					complain(fmt.Sprintf("%s.steps[%d]", at, m), "%s", problem)
				}
			}
		}
	}
}

func (s CodeStep) complaint() string {
	switch {
	case s.Name == "":
		return "a step needs a name"
	case s.Review && (s.Seconds != nil || s.FailTimes != 0):
		return "a review has no seconds or fail_times"
	case s.Seconds != nil && !(*s.Seconds >= 0 && *s.Seconds <= 86400):
		return "seconds is 0 to 86400"
	case s.FailTimes < 0:
		return "fail_times is not negative"
	}
	return ""
}
