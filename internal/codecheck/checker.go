package codecheck

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// Memory is what earlier runs learned, shared by all replicas.
type Memory interface {
	// Task gives the task that was saved under key, which is of TaskKey's form, and
	// whether there is one.
	Task(ctx context.Context, key string) (Task, bool, error)
	// TaskByID gives what was saved last of the task with an id, under whatever key, and
	// whether anything was.
	TaskByID(ctx context.Context, id string) (Task, bool, error)
	// SaveTask saves the task of an event's repository, in place of an older one, and ends
	// the claim of its key. The task belongs to no other repository of the connection
	// from then on.
	SaveTask(ctx context.Context, ev event.Event, key string, t Task) error
	// ClaimTask reports whether the run may create the task of key until ttl from now.
	// It may not while another run holds a claim; its own claim is renewed. A run that
	// has ended loses its claim once its last step is certainly over.
	ClaimTask(ctx context.Context, key, runID string, ttl time.Duration) (claimed bool, err error)
	// ReleaseTask ends the run's claim, if it holds one.
	ReleaseTask(ctx context.Context, key, runID string) error
	// Ref gives the ref that last worked for the merge requests of an event's repository.
	Ref(ctx context.Context, ev event.Event) (Ref, bool, error)
	SaveRef(ctx context.Context, ev event.Event, r Ref) error
	// ScanTimes gives how long the last scans took that ended with a verdict on the task of a
	// run, at most five; none when there were none.
	ScanTimes(ctx context.Context, run Run) ([]time.Duration, error)
}

// The editions of CodeArts Check's API. They set the capabilities that are Auto.
const (
	// Dialect2026 has `ref`, `job_id` and the V3 creation.
	Dialect2026 = "2026"
	// Dialect2023 has none of them; on-premises installations are likely to
	// speak it (specs/codearts-check.md 6).
	Dialect2023 = "2023"
)

// Capability says whether the service has something that not every edition has.
type Capability string

// The capabilities' values. Auto, also when empty, is what the dialect says.
const (
	Auto Capability = "auto"
	On   Capability = "on"
	Off  Capability = "off"
)

// In reports whether a service of a dialect is taken to have the capability.
func (c Capability) In(dialect string) bool {
	return c == On || c != Off && dialect == Dialect2026
}

// Findings keeps what runs found.
type Findings interface {
	// Findings gives what is kept of a run; none when nothing is.
	Findings(ctx context.Context, runID string) ([]Finding, error)
	// SaveFindings keeps the findings of a run, in place of what was kept of it.
	SaveFindings(ctx context.Context, runID string, list []Finding) error
	// Baseline gives the id of the run that a run's findings are compared with: the
	// newest one that was made before it, has the task key that BaselineKey gives,
	// IsBaseline, and checked another commit; empty when there is none.
	Baseline(ctx context.Context, run Run) (runID string, err error)
}

// Interval bounds a wait.
type Interval struct{ Min, Max time.Duration }

// Options configures a Checker. Client and Memory are mandatory.
type Options struct {
	Client *huaweicloud.Client
	Memory Memory
	// Dialect is the edition that the service speaks. Default Dialect2026.
	Dialect string
	// Ref: runs of merge requests send `ref` (2025-08). Where it is Auto, a start whose
	// parameters are refused is sent again without, unless a rule says which, and once that
	// was accepted no ref is sent until the end of the process.
	Ref Capability
	// JobID: the progress is asked for one execution (2025-11). Where it is Auto, it is not
	// relied on: an end counts only when it is certainly that of our execution, because a
	// service that does not know `job_id` may tell of the execution before. On relies on it.
	JobID Capability
	// CreateV3: missing tasks are created by V3 (2025-11), else by V2.
	CreateV3 Capability
	// BranchTasks: the branch tasks and the details of a task can be read (2025-09). They
	// tell the task of a branch from that of a merge request, and find the branches that
	// the list does not show. Where the service refuses to tell, it is done without.
	BranchTasks Capability
	// CheckTimes: the times of the last check, in the summary of a task, change with every
	// check. Then a summary with the times of before the start is old, and is not judged
	// by. Auto is On in every dialect. With Off the times say nothing.
	CheckTimes Capability
	// AccessPassed are the literals of `is_access` that mean passed, without regard to
	// case; they are not documented. Default: 1, true, success and pass
	// (specs/codearts-check.md 2).
	AccessPassed []string
	// RepoType gives the V3 `repo_type` of a connection's repositories; empty, or a
	// nil function, means GitPub. A rule's own repo_type goes first.
	RepoType func(connection string) string
	// DefaultRef gives the `ref` that is tried first for the merge requests of a
	// connection; empty, or a nil function, means MergeRequest. A rule's own ref, and
	// one that worked before, go first.
	DefaultRef func(connection string) Ref
	// Login gives the account with which CodeArts Check itself reads the repositories of a
	// connection, for checks of a temporary repository; a nil function, or no token: none.
	// It is asked for each use, so that it may change.
	Login func(connection string) Login
	// DefaultLanguages are the languages of a task that is created for a rule
	// which names none. Default: the ten that every edition of the API names.
	// Names are those of the V3 API (specs/codearts-check.md 1.4).
	DefaultLanguages []string
	// Poll bounds the wait between two questions about an execution or a busy task. Max is
	// waited until an execution is about to end by the task's earlier ones, and Min from
	// then on until it should have ended; otherwise a quarter of the time that has passed.
	// Default 3 to 15 seconds.
	Poll Interval
	// Grace is how long an execution may be unknown to the progress after it
	// was started. Default 2 minutes.
	Grace time.Duration
	// ResultReads is how often results that are not complete yet, are old, or do not agree
	// are read again, and how often the reading of findings may fail. Default 5.
	ResultReads int
	// Findings keeps what runs found. Default: nothing is kept, and no findings are read.
	Findings Findings
	// MaxFindings is how many findings of a run are kept, the most severe first. Default
	// 5000; negative: none.
	MaxFindings int
	// ReadFindingsFor is how long one call of Poll reads findings; the next call
	// continues. Default 15 seconds.
	ReadFindingsFor time.Duration
	// MaxPages bounds the listing of a project's tasks, 100 a page. Default 2000.
	MaxPages int
	// KeepTaskListFor is how long a project's task list is kept, after it was read, to
	// find tasks in; at most 200,000 tasks (some 80 MB), besides the list that was read
	// last. A task that is not in it is looked up in a new list before it is created,
	// and so is one that turns out to be deleted. Default 5 minutes.
	KeepTaskListFor time.Duration
	// ReadTaskListFor is how long one call of Prepare reads a project's task list, less
	// when its context ends sooner; the next call continues. Default 15 seconds.
	ReadTaskListFor time.Duration
	// PullFailurePatterns are regular expressions that find, in the last lines of the step
	// that failed, that the code of the merge request could not be pulled. The service's
	// texts are not documented; an execution whose log is empty or cannot be read counts as
	// such a failure too. Default: git's own
	// words for a missing ref, and "failed to pull the code" and the like in English and
	// Chinese.
	PullFailurePatterns []string
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log gets warnings of what is shown nowhere else. Default: none.
	Log *zap.Logger
	// Metrics counts where tasks came from. Default: nothing is counted.
	Metrics *Metrics
}

// Checker finds tasks, runs them and judges what they found. Between two calls it
// keeps the task lists of projects, for a while. It is safe for concurrent use.
type Checker struct {
	options     Options
	api         api
	pullFailure []*regexp.Regexp
	lists       *taskLists
	// refRefused: the service refused a `ref` and accepted a start without it.
	refRefused atomic.Bool
}

// New returns a checker, or an error that names the first wrong option.
func New(o Options) (*Checker, error) {
	if o.Client == nil || o.Memory == nil {
		return nil, errors.New("create checker: client or memory is missing")
	}
	if o.Dialect == "" {
		o.Dialect = Dialect2026
	}
	if o.Dialect != Dialect2026 && o.Dialect != Dialect2023 {
		return nil, fmt.Errorf("create checker: dialect %q is neither %q nor %q", o.Dialect, Dialect2023, Dialect2026)
	}
	for _, capability := range []Capability{o.Ref, o.JobID, o.CreateV3, o.BranchTasks, o.CheckTimes} {
		if capability != "" && capability != Auto && capability != On && capability != Off {
			return nil, fmt.Errorf("create checker: capability %q is neither auto, on nor off", capability)
		}
	}
	if o.RepoType == nil {
		o.RepoType = func(string) string { return "" }
	}
	if o.DefaultRef == nil {
		o.DefaultRef = func(string) Ref { return "" }
	}
	if o.Login == nil {
		o.Login = func(string) Login { return Login{} }
	}
	if len(o.DefaultLanguages) == 0 {
		o.DefaultLanguages = defaultLanguages()
	}
	if o.Poll.Min <= 0 {
		o.Poll.Min = 3 * time.Second
	}
	if o.Poll.Max <= 0 {
		o.Poll.Max = 15 * time.Second
	}
	o.Poll.Max = max(o.Poll.Min, o.Poll.Max)
	if o.Grace <= 0 {
		o.Grace = 2 * time.Minute
	}
	if o.ResultReads <= 0 {
		o.ResultReads = 5
	}
	if len(o.AccessPassed) == 0 {
		o.AccessPassed = defaultAccessPassed()
	}
	if o.MaxFindings == 0 {
		o.MaxFindings = 5000
	}
	if o.ReadFindingsFor <= 0 {
		o.ReadFindingsFor = 15 * time.Second
	}
	if o.MaxPages <= 0 {
		o.MaxPages = 2000
	}
	if o.KeepTaskListFor <= 0 {
		o.KeepTaskListFor = 5 * time.Minute
	}
	if o.ReadTaskListFor <= 0 {
		o.ReadTaskListFor = 15 * time.Second
	}
	if o.PullFailurePatterns == nil {
		o.PullFailurePatterns = defaultPullFailurePatterns()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	c := &Checker{options: o, api: api{client: o.Client}}
	c.lists = newTaskLists(c.api, o)
	for _, pattern := range o.PullFailurePatterns {
		r, err := regexp.Compile(pattern)
		if err != nil {
			return nil, fmt.Errorf("create checker: pull failure pattern: %w", err)
		}
		c.pullFailure = append(c.pullFailure, r)
	}
	return c, nil
}

// defaultPullFailurePatterns are git's own words for a ref that is missing, and what may be
// said in English and Chinese of code that could not be pulled. A log that only names
// the ref, or something else that could not be fetched, does not match.
func defaultPullFailurePatterns() []string {
	const (
		pull = `(pull|fetch|clon|check(ing)? ?out|download)\w*`
		code = `\b(code|ref|merge request|pull request|repository|branch|source)\b`
	)
	return []string{
		`(?i)couldn'?t find remote ref`,
		`(?i)remote ref .*(not found|does not exist)`,
		`(?i)reference not found`,
		`(?i)\b(fail|unable|could not|cannot)\w*\b.{0,10}\b` + pull + `.{0,20}` + code,
		`(?i)\b` + pull + `\b.{0,20}` + code + `.{0,20}\bfail`,
		`(?i)` + code + `.{0,10}\b` + pull + `\b.{0,10}\bfail`,
		`(拉取|下载|获取|检出).{0,10}(代码|分支|合并请求).{0,20}(失败|不存在)`,
		`(代码|分支|合并请求).{0,10}(拉取|下载|获取|检出).{0,10}(失败|不存在)`,
	}
}

func (c *Checker) deadlinePassed(run Run) bool { return !c.options.Now().Before(run.Deadline) }

// end puts run into an end state.
func (c *Checker) end(run Run, state State, reason string) Run {
	run.State, run.Reason, run.FinishedAt = state, reason, c.options.Now()
	return run
}

// waitOrEnd returns run as it is after err kept a step from its end: it waits for the
// next step, it has ended because trying again would not help, or, when it would, err
// is returned. In each case the run's reason says why.
func (c *Checker) waitOrEnd(run Run, err error) (Run, time.Duration, error) {
	var later notYet
	switch {
	case errors.As(err, &later):
		run.Reason = later.reason
		return run, later.wait, nil
	case Permanent(err):
		return c.end(run, Errored, err.Error()), 0, nil
	}
	run.Reason = "waits to try again: " + err.Error()
	return run, 0, err
}
