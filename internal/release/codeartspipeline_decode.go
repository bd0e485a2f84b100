package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// reviewTask is the task of a step that is a manual review.
const reviewTask = "official_devcloud_checkpoint"

// answer is a JSON answer that is not decoded yet.
type answer = json.RawMessage

// words are CodeArts Pipeline's words for where a run, a stage, a job or a step stands
// (specs/codearts-check.md 3.6), as the status that means the same. SUSPEND and PAUSED of a
// run at whose manual review somebody must decide become StatusToBeApproved (codeRun.status).
var words = map[string]Status{
	"COMPLETED": StatusSucceeded,
	"RUNNING":   StatusReleasing,
	"FAILED":    StatusFailed,
	"CANCELED":  StatusCanceled,
	"PAUSED":    StatusSuspended,
	"SUSPEND":   StatusSuspended,
	"IGNORED":   StatusSkipped,

	// Documented for stages and jobs only.
	"INIT":          StatusReleasing,
	"QUEUED":        StatusReleasing,
	"SKIPPED":       StatusSkipped,
	"UNSELECTED":    StatusSkipped,
	"ASYNC_RUNNING": StatusReleasing,
	"ASYNC_FAILED":  StatusFailed,
	"REDISPATCH":    StatusReleasing,
}

// reviewWords are the words for a step that is a manual review. Which of them a review has
// that waits is not documented: it is one that began and did not end.
var reviewWords = map[string]Status{
	"RUNNING":    StatusToBeApproved,
	"SUSPEND":    StatusToBeApproved,
	"PAUSED":     StatusToBeApproved,
	"COMPLETED":  StatusSucceeded,
	"FAILED":     StatusFailed,
	"CANCELED":   StatusCanceled,
	"IGNORED":    StatusSkipped,
	"SKIPPED":    StatusSkipped,
	"UNSELECTED": StatusSkipped,
	"INIT":       StatusInitial,
	"QUEUED":     StatusInitial,
	"REDISPATCH": StatusInitial,
}

// statusIn looks a word up; an unknown one has not ended and does not count as a success.
func statusIn(table map[string]Status, w word) Status {
	if w == "" {
		return StatusNone
	}
	if s, known := table[strings.ToUpper(string(w))]; known {
		return s
	}
	return statusUnreadable
}

// word is a text that the service sends, as one line of bounded length; empty when it sends
// anything but a string or a number.
type word string

// UnmarshalJSON never fails.
func (w *word) UnmarshalJSON(data []byte) error {
	*w = ""
	var value any
	switch _ = json.Unmarshal(data, &value); v := value.(type) {
	case string:
		*w = word(shorten(v))
	case float64:
		*w = word(shorten(string(data)))
	}
	return nil
}

// many is a list whose items are read one by one: what is not a list of objects is an empty
// one, and an item that cannot be read is left out.
type many[T any] []T

// UnmarshalJSON never fails.
func (m *many[T]) UnmarshalJSON(data []byte) error {
	*m = nil
	var items []json.RawMessage
	_ = json.Unmarshal(data, &items)
	for _, item := range items {
		var value T
		if len(item) > 0 && item[0] == '{' && json.Unmarshal(item, &value) == nil {
			*m = append(*m, value)
		}
	}
	return nil
}

// codeRunItem is an entry of the list of runs.
type codeRunItem struct {
	ID        text   `json:"pipeline_run_id"`
	Status    word   `json:"status"`
	RunNumber millis `json:"run_number"`
	StartTime millis `json:"start_time"`
}

// decodeRuns reads the list of runs. One without an id is left out: it cannot be identified.
func decodeRuns(data []byte) ([]record, error) {
	items, err := decodeList[codeRunItem](data, "pipeline_runs")
	if err != nil {
		return nil, err
	}
	records := make([]record, 0, len(items))
	for _, item := range items {
		if item.ID != "" {
			records = append(records, recordOf(item.ID, item.Status, item.RunNumber, item.StartTime))
		}
	}
	return records, nil
}

func recordOf(id text, status word, number, start millis) record {
	e := record{ID: id, Status: statusIn(words, status), Number: max(int64(number), 0), TriggerAt: max(start, 0)}
	if e.Status == statusUnreadable {
		e.Word = string(status)
	}
	return e
}

// codeRun is the detail of a run.
type codeRun struct {
	ID          text            `json:"id"`
	Description json.RawMessage `json:"description"`
	Status      word            `json:"status"`
	RunNumber   millis          `json:"run_number"`
	StartTime   millis          `json:"start_time"`
	Stages      many[codeStage] `json:"stages"`
}

type codeStage struct {
	Name       word          `json:"name"`
	Identifier word          `json:"identifier"`
	Jobs       many[codeJob] `json:"jobs"`
}

type codeJob struct {
	ID         word           `json:"id"`
	Name       word           `json:"name"`
	Identifier word           `json:"identifier"`
	Status     word           `json:"status"`
	Message    word           `json:"message"`
	Steps      many[codeStep] `json:"steps"`
}

type codeStep struct {
	ID         word `json:"id"`
	Name       word `json:"name"`
	Identifier word `json:"identifier"`
	Task       word `json:"task"`
	Status     word `json:"status"`
	Message    word `json:"message"`
}

// decodeRun reads the detail of a run.
func decodeRun(data []byte) (codeRun, error) {
	var run codeRun
	if data = trimSpace(data); len(data) == 0 || data[0] != '{' {
		return run, errors.New("read answer: not an object")
	}
	err := json.Unmarshal(data, &run)
	return run, err
}

// purpose is the description; nil where the service does not tell one.
func (r codeRun) purpose() *string {
	var told *string
	_ = json.Unmarshal(r.Description, &told)
	return told
}

// record is the run as one of the pipeline's. While a manual review waits that has not ended
// it is to be approved, whatever the service calls that.
func (r codeRun) record() record {
	e := recordOf(r.ID, r.Status, r.RunNumber, r.StartTime)
	if e.Status != StatusReleasing && e.Status != StatusSuspended {
		return e
	}
	for _, s := range r.stages() {
		if slices.ContainsFunc(s.tasks, func(t task) bool { return t.Status == StatusToBeApproved }) {
			e.Status = StatusToBeApproved
		}
	}
	return e
}

// stages are the stages with their jobs and, in place of a job that has any, its manual
// reviews. A review is called by its own name, or by that of its job before it where several
// have one name.
func (r codeRun) stages() []stage {
	reviews := map[word]int{}
	for _, s := range r.Stages {
		for _, j := range s.Jobs {
			for _, step := range j.reviews() {
				reviews[step.Name]++
			}
		}
	}
	var stages []stage
	for _, s := range r.Stages {
		shown := stage{name: string(s.Name), also: string(s.Identifier)}
		for _, j := range s.Jobs {
			shown.tasks = append(shown.tasks, j.tasks(reviews)...)
		}
		stages = append(stages, shown)
	}
	return stages
}

func (j codeJob) reviews() []codeStep {
	return slices.DeleteFunc(slices.Clone([]codeStep(j.Steps)), func(s codeStep) bool { return s.Task != reviewTask })
}

// tasks are the manual reviews of the job, and the job itself where it has none or failed at
// none of them. reviews counts the reviews of each name.
func (j codeJob) tasks(reviews map[word]int) []task {
	var tasks []task
	status := statusIn(words, j.Status)
	for _, step := range j.reviews() {
		path := string(j.Name) + "/" + string(step.Name)
		t := task{Name: string(step.Name), Also: []string{string(step.Name), string(step.Identifier), string(j.Name), string(j.Identifier), path},
			Status: statusIn(reviewWords, step.Status), Error: string(step.Message)}
		if t.Status == StatusNone {
			t.Status = statusUnreadable // it is not known, and not to be guessed from the run
		}
		if status == StatusSkipped && t.Status != StatusSucceeded && t.Status != StatusFailed {
			t.Status = StatusSkipped
		}
		if reviews[step.Name] > 1 || t.Name == "" {
			t.Name = path
		}
		// Without both ids it cannot be decided.
		if j.ID != "" && step.ID != "" && !strings.Contains(string(j.ID), "/") {
			t.ID = string(j.ID) + "/" + string(step.ID)
		} else if t.Status == StatusToBeApproved {
			t.Status = statusUnreadable
		}
		tasks = append(tasks, t)
	}
	failedAtReview := slices.ContainsFunc(tasks, func(t task) bool { return t.Status == StatusFailed })
	if len(tasks) == 0 || status == StatusFailed && !failedAtReview {
		tasks = append(tasks, task{Name: string(j.Name), Also: []string{string(j.Identifier)}, Status: status, Error: j.failure()})
	}
	return tasks
}

// failure is the text about what failed in the job; may be empty.
func (j codeJob) failure() string {
	for _, step := range j.Steps {
		if statusIn(words, step.Status) == StatusFailed && step.Message != "" {
			return fmt.Sprintf("%s: %s", step.Name, step.Message)
		}
	}
	return string(j.Message)
}

// decodeSuccess reports whether an answer says that what was asked was done.
func decodeSuccess(data []byte) bool {
	var object struct {
		Success json.RawMessage `json:"success"`
	}
	if json.Unmarshal(data, &object) != nil {
		return false
	}
	done, err := strconv.ParseBool(strings.Trim(string(object.Success), `"`))
	return err == nil && done
}
