package standin

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Pipeline is a ServiceStage release task as the pipelines file describes it:
// stages in order, the groups of a stage at the same time, the tasks of a group
// in order (specs/servicestage-release.md 7).
type Pipeline struct {
	// ID is a UUID with dashes.
	ID string `yaml:"id"`
	// Name has 2 to 64 letters, digits, '_' and '-'.
	Name        string `yaml:"name"`
	Description string `yaml:"description"`
	// FailMode is stop (the default: a failed task ends the release) or continue
	// (the other tasks still run).
	FailMode string `yaml:"fail_mode"`
	// RollbackFails makes every rollback end as failed.
	RollbackFails bool    `yaml:"rollback_fails"`
	Stages        []Stage `yaml:"stages"`
}

// Stage is one phase of a pipeline. It has groups, or tasks, which are then its
// only group.
type Stage struct {
	// Name is the machine name, unique in the pipeline.
	Name string `yaml:"name"`
	// DisplayName defaults to Name.
	DisplayName string           `yaml:"display_name"`
	Groups      [][]PipelineTask `yaml:"groups"`
	Tasks       []PipelineTask   `yaml:"tasks"`
}

// groups returns the stage's groups, however they were written.
func (s Stage) groups() [][]PipelineTask {
	if len(s.Tasks) > 0 {
		return [][]PipelineTask{s.Tasks}
	}
	return s.Groups
}

// PipelineTask is one step.
type PipelineTask struct {
	// Name is the machine name, unique in the pipeline.
	Name string `yaml:"name"`
	// DisplayName defaults to Name.
	DisplayName string `yaml:"display_name"`
	// Kind is command (the default), or one of the two checkpoints: approval and
	// trigger, which wait for a decision.
	Kind string `yaml:"kind"`
	// Command is a program and its arguments, run without a shell; empty: the
	// task just takes its time.
	Command []string `yaml:"command"`
	// Seconds is how long a task without a command takes (default 3), or how
	// long a command may take (default 60).
	Seconds *float64 `yaml:"seconds"`
	// Fail makes a task fail at its end, FailTimes only the first times.
	Fail      bool `yaml:"fail"`
	FailTimes int  `yaml:"fail_times"`
}

const (
	kindCommand  = "command"
	kindApproval = "approval"
	kindTrigger  = "trigger"

	failStop     = "stop"
	failContinue = "continue"
)

// checkpoint reports whether the task waits for a decision.
func (t PipelineTask) checkpoint() bool { return t.Kind == kindApproval || t.Kind == kindTrigger }

// Checkpoints are the names of the tasks that wait for an approval, in order.
func (p Pipeline) Checkpoints() []string {
	var names []string
	for _, stage := range p.Stages {
		for _, group := range stage.groups() {
			for _, task := range group {
				if task.checkpoint() {
					names = append(names, task.Name)
				}
			}
		}
	}
	return names
}

// time is the task's duration, or its command's limit.
func (t PipelineTask) time() time.Duration {
	switch {
	case t.Seconds != nil:
		return time.Duration(*t.Seconds * float64(time.Second))
	case len(t.Command) > 0:
		return time.Minute
	default:
		return 3 * time.Second
	}
}

// pipelinesFile is the form of a pipelines file.
type pipelinesFile struct {
	Pipelines []Pipeline `yaml:"pipelines"`
}

// LoadPipelines reads a pipelines file:
//
//	pipelines:
//	  - id: caf409b1-10df-483a-b14d-7b05f7e12c88
//	    name: release-api
//	    stages:
//	      - name: build
//	        tasks: [{name: image, seconds: 2}]
//	      - name: deploy
//	        groups:
//	          - [{name: confirm, kind: approval}, {name: rollout, command: [./rollout.sh]}]
//
// The error is a strictyaml.Complaints with every complaint, its file and line.
// file is only a name for those. The commands are run as they stand, so the file
// must be the operator's own.
func LoadPipelines(file string, data []byte) ([]Pipeline, error) {
	var content pipelinesFile
	document, complaints := strictyaml.Decode(file, data, &content)
	if len(complaints) > 0 {
		return nil, complaints
	}
	for _, p := range pipelineProblems(content.Pipelines) {
		complaints = append(complaints, document.Complain(p.path, p.text, ""))
	}
	if len(complaints) > 0 {
		return nil, complaints
	}
	return content.Pipelines, nil
}

// checkPipelines returns everything that is wrong with pipelines, joined.
func checkPipelines(pipelines []Pipeline) error {
	var errs []error
	for _, p := range pipelineProblems(pipelines) {
		errs = append(errs, fmt.Errorf("%s: %s", p.path, p.text))
	}
	return errors.Join(errs...)
}

// pipelineProblem is one thing that is wrong, and where: a path as in
// pipelines[0].stages[1].name.
type pipelineProblem struct{ path, text string }

var (
	pipelineIDForm   = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	pipelineNameForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}[A-Za-z0-9]$`)
)

// stagesLimit is the console's (specs/servicestage-release.md 7).
const stagesLimit = 20

func pipelineProblems(pipelines []Pipeline) []pipelineProblem {
	var found []pipelineProblem
	seen := map[string]bool{}
	for i, p := range pipelines {
		at := fmt.Sprintf("pipelines[%d]", i)
		complain := func(path, format string, args ...any) {
			found = append(found, pipelineProblem{at + path, fmt.Sprintf(format, args...)})
		}
		switch {
		case !pipelineIDForm.MatchString(p.ID):
			complain(".id", "%q is not a UUID with dashes, in lower case", p.ID)
		case seen[p.ID]:
			complain(".id", "another pipeline has this id")
		}
		switch {
		case !pipelineNameForm.MatchString(p.Name):
			complain(".name", "%q is not 2 to 64 letters, digits, '_' and '-', from a letter to a letter or digit", p.Name)
		case seen[p.Name]:
			complain(".name", "another pipeline has this name")
		}
		seen[p.ID], seen[p.Name] = true, true
		if p.FailMode != "" && p.FailMode != failStop && p.FailMode != failContinue {
			complain(".fail_mode", "%q is neither stop nor continue", p.FailMode)
		}
		if len(p.Stages) == 0 || len(p.Stages) > stagesLimit {
			complain(".stages", "there are %d stages; 1 to %d are possible", len(p.Stages), stagesLimit)
		}
		p.checkStages(complain)
	}
	return found
}

// checkStages checks the stages and that all tasks of p have names of their own.
func (p Pipeline) checkStages(complain func(path, format string, args ...any)) {
	stages, tasks := map[string]bool{}, map[string]bool{}
	for i, stage := range p.Stages {
		at := fmt.Sprintf(".stages[%d]", i)
		if stage.Name == "" || stages[stage.Name] {
			complain(at+".name", "a stage needs a name of its own in the pipeline")
		}
		stages[stage.Name] = true
		if len(stage.Tasks) > 0 && len(stage.Groups) > 0 {
			complain(at, "a stage has either tasks or groups")
		}
		if len(stage.Tasks) == 0 && len(stage.Groups) == 0 {
			complain(at, "the stage has no tasks")
		}
		check := func(at string, task PipelineTask) {
			if task.Name == "" || tasks[task.Name] {
				complain(at+".name", "a task needs a name of its own in the whole pipeline")
			}
			tasks[task.Name] = true
			if problem := task.complaint(); problem != "" {
				complain(at, "%s", problem)
			}
		}
		for n, task := range stage.Tasks {
			check(fmt.Sprintf("%s.tasks[%d]", at, n), task)
		}
		for g, group := range stage.Groups {
			if len(group) == 0 {
				complain(fmt.Sprintf("%s.groups[%d]", at, g), "the group has no tasks")
			}
			for n, task := range group {
				check(fmt.Sprintf("%s.groups[%d][%d]", at, g, n), task)
			}
		}
	}
}

// complaint says what is wrong with the task itself; empty when nothing is.
func (t PipelineTask) complaint() string {
	switch {
	case t.Kind != "" && t.Kind != kindCommand && !t.checkpoint():
		return fmt.Sprintf("kind %q is not one of command, approval, trigger", t.Kind)
	case t.checkpoint() && (len(t.Command) > 0 || t.Seconds != nil || t.Fail || t.FailTimes != 0):
		return "a checkpoint has no command, seconds, fail or fail_times"
	case t.FailTimes < 0 || t.Fail && t.FailTimes != 0:
		return "fail_times is a number from 1 on, in place of fail"
	case t.Seconds != nil && !(*t.Seconds >= 0 && *t.Seconds <= 86400):
		return "seconds is 0 to 86400"
	case len(t.Command) > 0 && t.Command[0] == "":
		return "the command has no program"
	}
	return ""
}
