package standin

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
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
	// pagingSame is, for DefectsPaging, what Paging says.
	pagingSame Paging = "as_paging"
)

// Auto is a choice that the dialect makes unless it is made here.
type Auto string

const (
	autoValue Auto = "auto"
	autoTrue  Auto = "true"
	autoFalse Auto = "false"
)

// or returns what a choices, which is byDialect for auto.
func (a Auto) or(byDialect bool) bool { return a == autoTrue || a == autoValue && byDialect }

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

// RuleSet is a rule set of the projects' own. Each language has one of the system's too.
type RuleSet struct {
	// ID has 32 lower-case hex digits.
	ID       string
	Name     string
	Language string
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
	// DeclaredRecords sends a record's trigger as a number and its version as a list; default: as
	// the text and the number that they must be.
	DeclaredRecords bool
	// ErrorKey is the key of an error's text: error_msg, the default, or error_message.
	ErrorKey string
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
	// ClockTolerance is how far the time of a signature may be from the clock. Default 15
	// minutes, which is not documented (specs/codearts-check.md 10).
	ClockTolerance time.Duration
	// RequireProjectID refuses a signed call that does not name RegionProject in
	// X-Project-Id; default: the header may be left out.
	RequireProjectID bool
	// KeepKeyUnlocked switches off that five bad signatures in a row lock the
	// access key for five minutes.
	KeepKeyUnlocked bool

	// User, Password and Domain get tokens from IAM. Domain defaults to User.
	User     string
	Password string
	Domain   string
	// Agency is the name of an agency of the account AgencyDomain, by which User and the
	// owner of AccessKey may act. Default: there is none.
	Agency       string
	AgencyDomain string
	// TokenLifetime defaults to 24 h.
	TokenLifetime time.Duration
	// TokenLength is how many characters a token has. Default 260.
	TokenLength int
	// ExpiredAnswer defaults to ExpiredByGateway.
	ExpiredAnswer ExpiredAnswer

	RegionProject RegionProject
	Projects      []Project
	Tasks         []TaskSeed
	// Repositories maps a repository's URL, in any spelling, to the local path
	// of a git repository, like git's url.<base>.insteadOf. A full name such as acme/shop, in
	// place of a URL, stands for that repository on any host. What is not listed
	// is cloned only from http(s) URLs of the loopback; the run of any other
	// URL fails as "repository not reachable".
	Repositories map[string]string
	// RepositoryUser and RepositoryToken are what the repositories want of the username and
	// access_token with which a task is created by V2 or run with a temporary repository.
	// Default: none; then any are taken.
	RepositoryUser  string
	RepositoryToken string
	RuleSets        []RuleSet
	// GitHosts are the git hosts whose APIs are served, from Repositories. Default none.
	GitHosts []GitHost
	// GitTokenReadsOnly, GiteeCheckRuns and GitHubSecondaryLimit are switches of the same names.
	GitTokenReadsOnly    bool
	GiteeCheckRuns       GiteeCheckRuns
	GitHubSecondaryLimit bool
	Pipelines            []Pipeline
	// CodePipelines are the pipelines of CodeArts Pipeline.
	CodePipelines []CodePipeline

	// What follows up to ManyChangedFiles are switches: see Switches for their values.

	Dialect Dialect
	Paging  Paging
	// ScanDelay is the least time that a run takes. Default 2 s; negative: none.
	ScanDelay time.Duration
	// RegisterDelay is how long after a run was started its progress still shows
	// what was before: the last execution, or null (specs/codearts-check.md 2).
	// Default a tenth of ScanDelay; negative: none.
	RegisterDelay time.Duration
	// RefuseRef refuses a run with `ref`, as a service of before 2025-08 may; default: it is
	// known with Dialect2026 and ignored with Dialect2023.
	RefuseRef bool
	// IgnoreJobID tells of the task's latest execution whatever job_id says, as a service
	// of before 2025-11 does; default: job_id is honoured with Dialect2026.
	IgnoreJobID bool
	// Results and Defects are the points on which the documents of results are silent or
	// contradict themselves.
	Results ResultSettings
	Defects DefectSettings
	// AllowDuplicateNames lets two tasks of a project have one name; default:
	// the second is refused with CC.00050016.
	AllowDuplicateNames bool
	// EnvelopeErrors answers a bad request for a V1, V3 or V4 call with status 200
	// and the error inside the envelope; default: 400 and an error_code.
	EnvelopeErrors bool
	// ListIncremental shows incremental tasks in the V2 list.
	ListIncremental    Auto
	UnknownJobID       string
	NeverChecked       string
	ProjectNames       string
	TimeFormat         string
	PlainTimeZone      string
	SummaryShape       string
	QualityAsText      bool
	IsAccess           string
	Languages          string
	CheckListNeedsType bool
	ContentType        string
	ErrorStatus        string
	ErrorSuffix        Auto
	EnvelopeStatus     string
	GatewayPrefix      string
	ReviewState        string
	CodePipelineErrors string
	// ManyChangedFiles lets each comparison and merge request change 5,000 files more, so that
	// the git hosts cut their lists.
	ManyChangedFiles bool

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
	defaultTokenLength   = 260
	tokenMost            = 100000
	defaultTolerance     = 15 * time.Minute
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
	setDefault(&o.TokenLength, defaultTokenLength)
	for _, s := range slices.Concat(checkSwitches(), iamSwitches(), releaseSwitches(), codePipelineSwitches(), gitHostSwitches()) {
		if s.get(&o) == "" {
			_ = s.set(&o, s.Values[0]) // the first is legal
		}
	}
	setDefault(&o.ClockTolerance, defaultTolerance)
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
	if (o.Agency == "") != (o.AgencyDomain == "") {
		complain("Agency and AgencyDomain must be set together")
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
	for i, t := range o.Tasks {
		isFull := func(id string) bool {
			return slices.ContainsFunc(o.Tasks[:i], func(p TaskSeed) bool { return p.ID == id && p.Parent == "" })
		}
		for _, problem := range t.problems(o, isFull) {
			complain("task %q %s", t.Name, problem)
		}
		if t.ID != "" && seen[t.ID] {
			complain("task %q needs an id of its own, got %q", t.Name, t.ID)
		}
		seen[t.ID] = true
	}
	for _, s := range Switches() {
		if err := s.set(&Options{}, s.get(&o)); err != nil {
			complain("switch %s: %v", s.Name, err)
		}
	}
	if (o.RepositoryUser == "") != (o.RepositoryToken == "") {
		complain("RepositoryUser and RepositoryToken must be set together")
	}
	sets := map[string]bool{}
	for _, r := range o.RuleSets {
		if !hexID(r.ID) || r.Name == "" || r.Language == "" || sets[r.ID] {
			complain("rule set %q needs a name, a language and an id of its own of 32 hex digits, got %q", r.Name, r.ID)
		}
		sets[r.ID] = true
	}
	kinds := map[string]bool{}
	for _, h := range o.GitHosts {
		if !slices.Contains([]string{"github", "gitlab", "gitee", "gitea"}, h.Kind) || h.URL == "" || h.Token == "" || kinds[h.Kind] {
			complain("git host %q needs a kind of its own (github, gitlab, gitee, gitea), a URL and a token", h.Kind)
		}
		if h.App != nil && (h.App.ID <= 0 || h.App.Installation <= 0 || h.App.PublicKey == nil) {
			complain("the App of git host %q needs its number, that of its installation, and a public key", h.Kind)
		}
		for _, u := range h.Users {
			if u.ID <= 0 || u.Login == "" || !slices.Contains(hostRoles(), u.Role) {
				complain("the account %q of git host %q needs a number, a name and a role (%s)", u.Login, h.Kind, strings.Join(hostRoles(), ", "))
			}
		}
		kinds[h.Kind] = true
	}
	if o.JournalSize < 0 || o.ExecutionIDFirst < 0 || o.TokenLifetime < 0 {
		complain("JournalSize, ExecutionIDFirst and TokenLifetime must not be negative")
	}
	if err := checkPipelines(o.Pipelines); err != nil {
		errs = append(errs, err)
	}
	if err := checkCodePipelines(o.CodePipelines, o.hasProject); err != nil {
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

// projectName is the name of a project, empty when there is none with that id.
func (o Options) projectName(id string) string {
	for _, p := range o.Projects {
		if p.ID == id {
			return p.Name
		}
	}
	return ""
}

// hexID reports whether id has the form of CodeArts' and IAM's ids.
func hexID(id string) bool { return hexIDForm.MatchString(id) }

var hexIDForm = regexp.MustCompile(`^[0-9a-f]{32}$`)
