package standin

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// checkService is CodeArts Check.
type checkService struct {
	opts  Options
	spawn background
	local localRepositories
	// scanning bounds how many scans work at a time.
	scanning chan struct{}

	mu    sync.Mutex
	tasks []*checkTask // oldest first
	scans map[scanKey]scanned
	// scanOrder are the keys of scans, oldest first.
	scanOrder []scanKey
	// hurry is that of the next execution.
	hurry chan struct{}
}

// scanKey is what a scan depends on: a commit, and for a merge request the
// commit that it is compared with.
type scanKey struct {
	head, target plumbing.Hash
	// full says that all files of a merge request were scanned.
	full bool
}

// checkTask is a full task of a branch or an incremental task of one merge
// request.
type checkTask struct {
	id, name  string
	project   string
	url       string
	branch    string
	repoType  string
	languages []string
	ruleSets  []string // ids
	createdAt time.Time
	// credentials are what V2 creation named for the repository.
	credentials repositoryCredentials
	// gate and mode are those of a full task; its family has the same.
	gate gate
	mode int

	// trunk is the full task of the task of another branch, nil otherwise.
	trunk *checkTask
	// parent is the full task of an incremental one, nil otherwise.
	parent         *checkTask
	mergeID        string
	source, target string

	executions []*execution // oldest first
}

// executionState is progress' task_status (specs/codearts-check.md 1.8).
type executionState int

const (
	checking executionState = iota
	checkFailed
	checkSucceeded
	checkStopped
)

// execution is one run of a task. All fields are guarded by checkService.mu.
type execution struct {
	id         string
	ref        string
	state      executionState
	startedAt  time.Time
	finishedAt time.Time
	// result is there when state is checkSucceeded, failure when checkFailed.
	result  *checkResult
	failure string
	stop    func()
	// delay is the least time that it takes, unless hurry is closed.
	delay time.Duration
	hurry <-chan struct{}
}

// executionsKept bounds what is remembered of one task.
const executionsKept = 100

func newCheckService(opts Options, spawn background) *checkService {
	s := &checkService{
		opts:     opts,
		spawn:    spawn,
		local:    newLocalRepositories(opts.Repositories),
		scanning: make(chan struct{}, 4),
		scans:    map[scanKey]scanned{},
		hurry:    make(chan struct{}),
	}
	for _, seed := range opts.Tasks {
		s.seed(seed)
	}
	return s
}

// seed adds a task that the API did not create.
func (s *checkService) seed(seed TaskSeed) *checkTask {
	setDefault(&seed.ID, newID())
	setDefault(&seed.ProjectID, s.opts.Projects[0].ID)
	task := s.newTask(seed.ProjectID, seed.RepoURL, seed.Branch)
	task.id, task.name, task.languages = seed.ID, seed.Name, seed.Languages
	if full, found := s.find(seed.Parent); found && seed.MergeID == "" {
		task.trunk = full
	} else if found {
		task.parent, task.mergeID, task.source, task.target = full, seed.MergeID, seed.SourceBranch, seed.TargetBranch
	}
	s.tasks = append(s.tasks, task)
	return task
}

// newTask returns a task without a name that is not in the list yet.
func (s *checkService) newTask(project, url, branch string) *checkTask {
	return &checkTask{id: newID(), project: project, url: url, branch: branch, createdAt: s.opts.Now().UTC(), gate: defaultGate(), mode: modeFiles}
}

// The refusals of CodeArts Check (specs/codearts-check.md 5.2); they come with
// status 200, but for the check of parameters.

func errTaskRunning() answer { return serviceError(http.StatusOK, "CC.00050015", "task is running") }

func errNoProject() answer { return serviceError(http.StatusOK, "CC.00050013", "project not exist") }

func errCreateFailed() answer {
	return serviceError(http.StatusOK, "CC.00050016", "create task failed")
}

// badParameter refuses a request; detail goes to the journal only, as the
// service's message does not say what is wrong.
func (s *checkService) badParameter(c *call, detail string) answer {
	c.entry.Detail = detail
	if s.opts.Dialect == Dialect2023 {
		return serviceError(http.StatusOK, "CC.00050000", "parameters not valid")
	}
	return serviceError(http.StatusBadRequest, "CC.00050000.400",
		"Verify request parameter failed. Check whether the request parameters are correct.")
}

// find returns the task with an id. The caller holds mu.
func (s *checkService) find(id string) (*checkTask, bool) {
	i := slices.IndexFunc(s.tasks, func(t *checkTask) bool { return t.id == id })
	if i < 0 {
		return nil, false
	}
	return s.tasks[i], true
}

// latest returns the newest execution, nil when there was none.
func (t *checkTask) latest() *execution {
	if len(t.executions) == 0 {
		return nil
	}
	return t.executions[len(t.executions)-1]
}

// latestSuccess returns the newest execution that succeeded, or nil.
func (t *checkTask) latestSuccess() *execution {
	for _, e := range slices.Backward(t.executions) {
		if e.state == checkSucceeded {
			return e
		}
	}
	return nil
}

// time formats t in the dialect's way; the zero time is nil, sent as null.
func (s *checkService) time(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format(time.RFC3339)
	if s.opts.TimeFormat == "plain" || s.opts.TimeFormat == "auto" && s.opts.Dialect == Dialect2023 {
		if s.opts.PlainTimeZone == "beijing" {
			t = t.Add(8 * time.Hour)
		}
		text = t.UTC().Format(time.DateTime)
	}
	return &text
}

// page cuts one page out of n records, as Options.Paging reads the offset.
func (s *checkService) page(n, offset, limit int) (from, to int) {
	return pageOf(s.opts.Paging, n, offset, limit)
}

// pageOf cuts one page out of n records.
func pageOf(paging Paging, n, offset, limit int) (from, to int) {
	switch paging {
	case PagingFromZero:
		offset *= limit
	case PagingFromOne:
		offset = max(offset-1, 0) * limit
	case PagingRecords:
	}
	return min(offset, n), min(offset+limit, n)
}

// taskItem is a SimpleTaskInfoV2.
type taskItem struct {
	TaskID        string  `json:"task_id"`
	TaskName      string  `json:"task_name"`
	CreatorID     string  `json:"creator_id"`
	GitURL        string  `json:"git_url"`
	GitBranch     string  `json:"git_branch"`
	CreatedAt     *string `json:"created_at"`
	LastCheckTime *string `json:"last_check_time"`
}

type taskList struct {
	Tasks []taskItem `json:"tasks"`
	Total int        `json:"total"`
}

// list is GET /v2/{project_id}/tasks: the project's full tasks, oldest first; where the switch
// says so its incremental ones too, with their source branch as git_branch.
func (s *checkService) list(c *call) answer {
	offset, okOffset := c.number("offset", 0, 0, 999999)
	limit, okLimit := c.number("limit", 10, 1, 100)
	if !okOffset || !okLimit {
		return s.badParameter(c, "offset is 0 to 999999, limit 1 to 100")
	}
	if !s.opts.hasProject(c.project()) {
		return errNoProject()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var shown []*checkTask
	for _, t := range s.tasks {
		if t.project == c.project() && t.trunk == nil && (t.parent == nil || s.opts.ListIncremental.or(s.opts.Dialect == Dialect2023)) {
			shown = append(shown, t)
		}
	}
	from, to := s.page(len(shown), offset, limit)
	page := taskList{Tasks: []taskItem{}, Total: len(shown)}
	for _, t := range shown[from:to] {
		item := taskItem{
			TaskID: t.id, TaskName: t.name, CreatorID: s.creator(), GitURL: t.url, GitBranch: t.branch,
			CreatedAt: s.time(t.createdAt), LastCheckTime: s.time(s.lastCheck(t)),
		}
		if t.parent != nil && t.source != "" {
			item.GitBranch = t.source
		}
		page.Tasks = append(page.Tasks, item)
	}
	return ok(page)
}

// lastCheck is when the newest run of a task, or of one of its branch and incremental tasks,
// began.
func (s *checkService) lastCheck(task *checkTask) time.Time {
	var last time.Time
	for _, t := range s.tasks {
		if t != task && t.parent != task && t.trunk != task {
			continue
		}
		if e := t.latest(); e != nil && e.startedAt.After(last) {
			last = e.startedAt
		}
	}
	return last
}

func (s *checkService) creator() string { return stableID("user", s.opts.User) }

// remove is DELETE /v2/tasks/{task_id}: an empty 200. Runs of the task are
// stopped, its branch and incremental tasks go with it.
func (s *checkService) remove(c *call) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	task, found := s.find(c.task())
	if !found {
		return errNoProject()
	}
	s.tasks = slices.DeleteFunc(s.tasks, func(t *checkTask) bool {
		gone := t == task || t.parent == task || t.trunk == task
		if e := t.latest(); gone && e != nil && e.state == checking {
			e.stop()
		}
		return gone
	})
	c.entry.Acted = true
	return answer{status: http.StatusOK}
}

// repoTypes are the values of repo_type and authType.
func repoTypes() []string {
	return []string{"DevCloud", "Gitee", "GitHub", "GitPub", "gitcode", "gitlab", "self_gitlab", "tfs_git", "bitbucket"}
}

// pulls reports whether the merge requests of a task's repository are fetched
// as pull/… when the run does not say: Gitee's are, all others' not
// (specs/codearts-check.md 7).
func (t *checkTask) pulls() bool {
	if t.repoType != "" {
		return t.repoType == "Gitee"
	}
	return strings.Contains(strings.SplitN(repositoryKey(t.url), "/", 2)[0], "gitee")
}

// taskNameForm is what V3 says of a name: Chinese and Latin letters, digits,
// '.', '-' and '_', 1 to 128 characters.
var taskNameForm = regexp.MustCompile(`^[\p{Han}A-Za-z0-9._-]{1,128}$`)
