package standin

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Dialect is the edition of the CodeArts Check documents that the stand-in
// follows in the calls that both editions have. `POST /v3/task` is served in
// both, although the 2023 edition does not know it.
type Dialect string

const (
	// Dialect2026 knows `ref` when a task is run and `job_id` when its progress
	// is asked; times read 2025-11-28T06:55:41Z. The default.
	Dialect2026 Dialect = "2026"
	// Dialect2023 ignores both, wants a Content-Type, lets a run name another
	// repository, and writes times as 2020-02-20 11:21:11 (always in UTC here;
	// the documents do not say).
	Dialect2023 Dialect = "2023"
)

// Paging is what `offset` means in lists; the editions disagree
// (specs/codearts-check.md 1.1 and 1.11).
type Paging string

const (
	// PagingFromZero counts pages from 0. The default.
	PagingFromZero Paging = "page"
	// PagingFromOne counts pages from 1; 0 and 1 are the same page.
	PagingFromOne Paging = "page_from_one"
	// PagingRecords counts records.
	PagingRecords Paging = "record"
)

// ExpiredAnswer is how a token that is over is refused
// (specs/codearts-check.md 4.2).
type ExpiredAnswer string

const (
	// ExpiredByGateway is 401 APIGW.0307. The default, and always so for
	// ServiceStage.
	ExpiredByGateway ExpiredAnswer = "gateway"
	// ExpiredByService is 401 CC.00000003.
	ExpiredByService ExpiredAnswer = "service"
	// ExpiredInside200 is 200 with CC.00050007.
	ExpiredInside200 ExpiredAnswer = "service_200"
)

// RegionProject is the IAM project of the region. ServiceStage paths carry its
// id; it is not a CodeArts project.
type RegionProject struct {
	// ID has 32 lower-case hex digits.
	ID string
	// Name is the region's, e.g. cn-north-4.
	Name string
}

// Project is a CodeArts project, which owns check tasks.
type Project struct {
	// ID has 32 lower-case hex digits.
	ID   string
	Name string
}

// TaskSeed is a full check task that exists from the start.
type TaskSeed struct {
	// ID has 32 lower-case hex digits; empty: a new one.
	ID string
	// ProjectID is the owner; empty: the first project.
	ProjectID string
	Name      string
	RepoURL   string
	Branch    string
}

// ReleaseSettings are the points of ServiceStage on which its documents are
// silent or contradict themselves (specs/servicestage-release.md 7 and 8).
type ReleaseSettings struct {
	// TextIDs sends execution ids as strings; default: as numbers.
	TextIDs bool
	// ListObject sends the list as {"pipelines": [...]}; default: a bare array.
	ListObject bool
	// DeclarationList sends pipeline_declaration as a list of one object;
	// default: the object.
	DeclarationList bool
	// HideTaskStatus leaves the status out of the stages and tasks in details.
	HideTaskStatus bool
	// NotFoundIs401 refuses an unknown pipeline with 401 SVCSTG.00100401;
	// default: 404 SVCSTG.00100433.
	NotFoundIs401 bool
	// FailuresEndGood ends a release with failed tasks under fail_mode continue
	// as 2; default: 3.
	FailuresEndGood bool
	// NewExecutions lets retry, continue and rollback make a new execution, whose id they
	// answer; default: they go on with the execution and answer its id.
	NewExecutions bool
	// PauseBlocksStart refuses a start while the pipeline is paused; default: it makes a new
	// execution.
	PauseBlocksStart bool
	// StopDelay is spent in 13, RestartDelay in 14, RollbackDelay in 10.
	// Defaults 2 s, 1 s and 2 s; negative: none.
	StopDelay     time.Duration
	RestartDelay  time.Duration
	RollbackDelay time.Duration
	// RegisterDelay is how long after a start the list, the details and the records
	// still show what was before. Default none.
	RegisterDelay time.Duration
	// ApprovalDelay is how long an accepted decision takes until it is carried
	// out; so long the checkpoint waits on and accepts another one. Default none.
	ApprovalDelay time.Duration
}

// Options configure a stand-in. One of the pairs AccessKey and SecretKey, User
// and Password is mandatory; all else has a default.
type Options struct {
	// AccessKey and SecretKey are the one key pair that signs requests.
	AccessKey string
	SecretKey string
	// SecurityToken makes the pair a temporary one: then each signed request
	// must carry it in X-Security-Token.
	SecurityToken string
	// KeepKeyUnlocked switches off that five bad signatures in a row lock the
	// access key for five minutes.
	KeepKeyUnlocked bool

	// User, Password and Domain get tokens from IAM. Domain defaults to User.
	User     string
	Password string
	Domain   string
	// TokenLifetime defaults to 24 h.
	TokenLifetime time.Duration
	// ExpiredAnswer defaults to ExpiredByGateway.
	ExpiredAnswer ExpiredAnswer

	RegionProject RegionProject
	Projects      []Project
	Tasks         []TaskSeed
	// Repositories maps a repository's URL, in any spelling, to the local path
	// of a git repository, like git's url.<base>.insteadOf. What is not listed
	// is cloned only from http(s) URLs of the loopback; the run of any other
	// URL fails as "repository not reachable".
	Repositories map[string]string
	// GitHosts are the git hosts whose APIs are served, from Repositories. Default none.
	GitHosts  []GitHost
	Pipelines []Pipeline

	Dialect Dialect
	Paging  Paging
	// ScanDelay is the least time that a run takes. Default 2 s; negative: none.
	ScanDelay time.Duration
	// RegisterDelay is how long after a run was started its progress still shows
	// what was before: the last execution, or null (specs/codearts-check.md 2).
	// Default a tenth of ScanDelay; negative: none.
	RegisterDelay time.Duration
	// IgnoreJobID tells of the task's latest execution whatever job_id says, as a service
	// of before 2025-11 does; default: job_id is honoured with Dialect2026.
	IgnoreJobID bool
	// AllowDuplicateNames lets two tasks of a project have one name; default:
	// the second is refused with CC.00050016.
	AllowDuplicateNames bool
	// EnvelopeErrors answers a bad request for `POST /v3/task` with status 200
	// and the error inside the envelope; default: 400 and an error_code.
	EnvelopeErrors bool
	// ListIncremental shows incremental tasks in the V2 list; default: hidden.
	ListIncremental bool

	// ExecutionIDFirst is the first release's execution id. Default 286541, the
	// number in the documents' example.
	ExecutionIDFirst int64
	Release          ReleaseSettings

	// JournalSize is how many calls are remembered. Default 20000.
	JournalSize int
	// Log defaults to none.
	Log *zap.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

const (
	defaultScanDelay     = 2 * time.Second
	defaultTokenLifetime = 24 * time.Hour
	defaultJournalSize   = 20000
	defaultExecutionID   = 286541
	defaultStopDelay     = 2 * time.Second
	defaultRestartDelay  = time.Second
	defaultRollbackDelay = 2 * time.Second
)

// withDefaults returns o with every default filled in and no negative delay.
func (o Options) withDefaults() Options {
	setDefault(&o.Domain, o.User)
	setDefault(&o.TokenLifetime, defaultTokenLifetime)
	setDefault(&o.ExpiredAnswer, ExpiredByGateway)
	setDefault(&o.Dialect, Dialect2026)
	setDefault(&o.Paging, PagingFromZero)
	setDefault(&o.ScanDelay, defaultScanDelay)
	o.ScanDelay = max(o.ScanDelay, 0)
	setDefault(&o.RegisterDelay, o.ScanDelay/10)
	o.RegisterDelay = max(o.RegisterDelay, 0)
	setDefault(&o.ExecutionIDFirst, defaultExecutionID)
	setDefault(&o.Release.StopDelay, defaultStopDelay)
	setDefault(&o.Release.RestartDelay, defaultRestartDelay)
	setDefault(&o.Release.RollbackDelay, defaultRollbackDelay)
	setDefault(&o.JournalSize, defaultJournalSize)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// check returns everything that is wrong with o, joined.
func (o Options) check() error {
	var errs []error
	complain := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if o.AccessKey == "" && o.User == "" {
		complain("set AccessKey and SecretKey, or User and Password")
	}
	if (o.AccessKey == "") != (o.SecretKey == "") {
		complain("AccessKey and SecretKey must be set together")
	}
	if (o.User == "") != (o.Password == "") {
		complain("User and Password must be set together")
	}
	if !hexID(o.RegionProject.ID) || o.RegionProject.Name == "" {
		complain("RegionProject needs a name and an id of 32 hex digits, got %q", o.RegionProject.ID)
	}
	if len(o.Projects) == 0 {
		complain("Projects must name at least one project")
	}
	seen := map[string]bool{}
	for _, p := range o.Projects {
		if !hexID(p.ID) || p.Name == "" || seen[p.ID] {
			complain("project %q needs a name and an id of its own of 32 hex digits, got %q", p.Name, p.ID)
		}
		seen[p.ID] = true
	}
	for _, t := range o.Tasks {
		if t.Name == "" || t.RepoURL == "" || t.Branch == "" {
			complain("task %q needs a name, a repository and a branch", t.Name)
		}
		if t.ID != "" && (!hexID(t.ID) || seen[t.ID]) {
			complain("task %q needs an id of its own of 32 hex digits, got %q", t.Name, t.ID)
		}
		seen[t.ID] = true
		if t.ProjectID != "" && !o.hasProject(t.ProjectID) {
			complain("task %q is of the unknown project %q", t.Name, t.ProjectID)
		}
	}
	switch o.Dialect {
	case Dialect2026, Dialect2023:
	default:
		complain("unknown Dialect %q", o.Dialect)
	}
	switch o.Paging {
	case PagingFromZero, PagingFromOne, PagingRecords:
	default:
		complain("unknown Paging %q", o.Paging)
	}
	switch o.ExpiredAnswer {
	case ExpiredByGateway, ExpiredByService, ExpiredInside200:
	default:
		complain("unknown ExpiredAnswer %q", o.ExpiredAnswer)
	}
	kinds := map[string]bool{}
	for _, h := range o.GitHosts {
		if !slices.Contains([]string{"github", "gitlab", "gitee"}, h.Kind) || h.URL == "" || h.Token == "" || kinds[h.Kind] {
			complain("git host %q needs a kind of its own (github, gitlab, gitee), a URL and a token", h.Kind)
		}
		kinds[h.Kind] = true
	}
	if o.JournalSize < 0 || o.ExecutionIDFirst < 0 || o.TokenLifetime < 0 {
		complain("JournalSize, ExecutionIDFirst and TokenLifetime must not be negative")
	}
	if err := checkPipelines(o.Pipelines); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (o Options) hasProject(id string) bool {
	for _, p := range o.Projects {
		if p.ID == id {
			return true
		}
	}
	return false
}

// hexID reports whether id has the form of CodeArts' and IAM's ids.
func hexID(id string) bool { return hexIDForm.MatchString(id) }

var hexIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)
