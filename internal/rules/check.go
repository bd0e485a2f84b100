package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/strictyaml"
)

// checkShape checks which keys of a rule are given together.
func (l *loader) checkShape(d *decodedFile, path string, spec *ruleSpec) {
	switch {
	case spec.Ignore && spec.Check != nil:
		l.complain(d, path+".check", "is in a rule that says ignore: true", "keep one of check and ignore")
	case !spec.Ignore && spec.Check == nil:
		l.complain(d, path+".check", "is missing", "write check: {} to check the code, or ignore: true")
	}
	switch {
	case len(spec.Release) == 0:
	case spec.Ignore:
		l.complain(d, path+".release", "is in a rule that says ignore: true", "remove it, or write check: {} instead of ignore")
	case spec.Check == nil:
		l.complain(d, path+".release", "has no check to wait for", "write check: {} above it")
	}
	if spec.Ignore && spec.Continue {
		l.complain(d, path+".continue", "has no meaning in a rule that says ignore: true", "remove one of them")
	}
}

// checkWithoutMergeRequest complains about what only a merge request has.
func (l *loader) checkWithoutMergeRequest(d *decodedFile, path string, spec *ruleSpec) {
	const instead = "add merge_request to on, or remove the key"
	complain := func(key, problem string) { l.complain(d, path+"."+key, problem, instead) }
	if spec.Match.Labels != nil {
		complain("match.labels", "only a merge request has labels")
	}
	if spec.Match.Draft != nil {
		complain("match.draft", "only a merge request can be a draft")
	}
	if spec.Match.Fork != nil {
		complain("match.fork", "only a merge request can come from a fork")
	}
	if len(spec.Match.SourceBranch) > 0 && !slices.Contains(spec.On, string(event.MergeGroup)) {
		complain("match.source_branch", "only a merge request and a merge group have a source branch")
	}
	if spec.Check == nil {
		return
	}
	if spec.Check.Scan == string(ScanIncremental) {
		complain("check.scan", "only a merge request can be scanned incrementally")
	}
	if spec.Check.CheckMode != "" {
		complain("check.check_mode", "only an incremental scan of a merge request has one")
	}
	if ref := RefMode(spec.Check.Ref); ref != "" && ref != RefAuto {
		complain("check.ref", "only a run of a merge request sends a ref")
	}
}

// checkValues checks the values of a check, of a rule or of the defaults.
func (l *loader) checkValues(d *decodedFile, path string, check *checkSpec) {
	l.oneOf(d, path+".scan", check.Scan, string(ScanFull), string(ScanIncremental))
	l.oneOf(d, path+".ref", check.Ref, string(RefAuto), string(RefPull), string(RefMergeRequest), string(RefOmit))
	if project := check.Project; project != nil && !projectID(project.ID) {
		problem := quote(project.ID) + " is not a project id"
		if project.ID == "" {
			problem = "is missing"
		}
		l.complain(d, path+".project.id", problem, "write the 32 lower-case hex digits of the CodeArts project")
	}
	l.oneOf(d, path+".check_mode", check.CheckMode, string(CheckChangedCode), string(CheckChangedFiles), string(CheckFull))
	l.oneOf(d, path+".repository", check.Repository, string(RepositoryOfTask), string(RepositoryTemporary))
	if check.TaskID != "" && !projectID(check.TaskID) {
		l.complain(d, path+".task_id", quote(check.TaskID)+" is not a task id", "write the 32 lower-case hex digits of the CodeArts Check task")
	}
	l.oneOf(d, path+".priority", check.Priority, string(PriorityHigh), string(PriorityNormal), string(PriorityLow))
	l.checkTimeout(d, path+".timeout", check.Timeout)
	l.checkDebounce(d, path+".debounce", check.Debounce)
	l.checkGate(d, path+".gate", check.Gate)
	if check.Languages != nil {
		l.warnOfLanguages(d, path+".languages", *check.Languages)
	}
	if create := check.Create; create != nil {
		l.oneOf(d, path+".create.repo_type", create.RepoType, RepoTypes()...)
		l.oneOf(d, path+".create.auth_type", create.AuthType, RepoTypes()...)
		l.checkRuleSets(d, path, check)
		if _, fault := parseTemplate(create.Name); fault != "" {
			l.complain(d, path+".create.name", fault, "known here: {"+strings.Join(placeholders(), "} {")+"}")
		}
	}
}

// checkDebounce checks the times of a debounce, of a rule or of the defaults.
func (l *loader) checkDebounce(d *decodedFile, path string, debounce *debounceSpec) {
	const instead = "write a time such as 5s, or 0s to wait for nothing"
	switch {
	case debounce == nil:
	case debounce.Quiet == nil:
		l.complain(d, path+".quiet", "is missing", instead)
	case *debounce.Quiet < 0:
		l.complain(d, path+".quiet", debounce.Quiet.String()+" is less than nothing", instead)
	case debounce.Max == nil:
	case *debounce.Quiet == 0:
		l.complain(d, path+".max", "has no effect with quiet: 0s", "remove it")
	case *debounce.Max < *debounce.Quiet:
		l.complain(d, path+".max", fmt.Sprintf("%s is shorter than quiet, %s", debounce.Max, debounce.Quiet), "write a longer time, such as 60s")
	}
}

// checkSeries checks how the check of a rule, with every key given, treats a series of commits.
func (l *loader) checkSeries(d *decodedFile, path string, check *checkSpec) {
	debounce := check.Debounce
	if debounce == nil {
		return
	}
	if *check.Supersede == supersedeNone {
		l.complain(d, path+".debounce", "waits for a newer commit, and with supersede: false that ends no run", "write supersede: waiting or true, or debounce: {quiet: 0s}")
	}
	if debounce.Max != nil && *debounce.Max >= *check.Timeout {
		l.complain(d, path+".debounce", fmt.Sprintf("waits up to %s, and the check may take %s in all", debounce.Max, check.Timeout), "write a shorter max, or a longer timeout")
	}
}

// RepoTypes is the enum of V3's repo_type and authType: specs/codearts-check.md 1.4.
func RepoTypes() []string {
	return []string{"DevCloud", "Gitee", "GitHub", "GitPub", "gitcode", "gitlab", "self_gitlab", "tfs_git", "bitbucket"}
}

// checkRuleSets checks what goes with a creation by V2, and the rule sets themselves.
func (l *loader) checkRuleSets(d *decodedFile, path string, check *checkSpec) {
	if len(check.Create.RuleSets) == 0 {
		return
	}
	if check.Languages != nil {
		l.complain(d, path+".languages", "is given beside create.rule_sets, which name the languages", "keep one of them")
	}
	if check.Create.Name != "" {
		l.complain(d, path+".create.name", "has no effect with rule_sets: the service names such a task itself", "remove one of them")
	}
	seen := map[string]bool{}
	for i, set := range check.Create.RuleSets {
		place := fmt.Sprintf("%s.create.rule_sets[%d].language", path, i)
		switch {
		case set.Language == "":
			l.complain(d, place, "is missing", "write the language of the rule set, such as GO")
		case seen[set.Language]:
			l.complain(d, place, quote(set.Language)+" has a rule set already", "keep one rule set for each language")
		}
		seen[set.Language] = true
	}
}

// checkTask checks what says which task is run, and whose code it scans: a task has one
// repository and one branch, and a rule must not pass the code of others by it.
func (l *loader) checkTask(d *decodedFile, path string, r *rule, spec *ruleSpec) {
	check, merges := spec.Check, slices.Contains(r.on, event.MergeRequest)
	temporary := check.Repository == string(RepositoryTemporary)
	if temporary && merges && check.Scan != string(ScanFull) {
		l.complain(d, path+".check.repository", "a temporary repository is scanned whole, and merge requests are scanned incrementally here", "write scan: full, or leave repository out")
	}
	if check.CheckMode != "" && check.Scan == string(ScanFull) && merges {
		l.complain(d, path+".check.check_mode", "only an incremental scan has one", "write scan: incremental, or leave check_mode out")
	}
	if merges && check.Scan != string(ScanFull) && check.Languages != nil && slices.Contains(*check.Languages, "C#") {
		l.warn(d, path+".check.languages", "C# cannot be scanned incrementally, and is left out for merge requests", "write scan: full, or leave C# out")
	}
	if check.TaskID == "" || temporary {
		return
	}
	const instead = "write one repository and one branch under match, without wildcards"
	for _, match := range []struct {
		key      string
		patterns []string
	}{{"repository", spec.Match.Repository}, {"branch", spec.Match.Branch}} {
		if literal, open := names(match.patterns); len(literal) != 1 || open {
			l.complain(d, path+".check.task_id", "a task scans one repository and one branch, and the rule does not name one "+match.key, instead)
		}
	}
	if merges && check.Scan == string(ScanFull) {
		l.complain(d, path+".check.task_id", "a task scans one branch, and a full scan of a merge request is of its source branch", "write scan: incremental, or leave task_id out")
	}
}

// checkGate checks the values of a gate, of a rule or of the defaults.
func (l *loader) checkGate(d *decodedFile, path string, gate *gateSpec) {
	if gate == nil {
		return
	}
	l.oneOf(d, path+".codearts_gate", gate.CodeArtsGate, string(AccessShow), string(AccessRequire))
	if gate.New != nil && *gate.New == (limitsSpec{}) {
		l.complain(d, path+".new", "limits nothing", "write limits such as {critical: 0, major: 0}, or remove the key")
	}
}

// oneOf complains about a word that is given and not among the words.
func (l *loader) oneOf(d *decodedFile, path, word string, words ...string) {
	if word != "" && !slices.Contains(words, word) {
		last := len(words) - 1
		l.complain(d, path, quote(word)+" is not known", "write "+strings.Join(words[:last], ", ")+" or "+words[last])
	}
}

// checkTimeout checks a time that is waited for the services. People may take longer than
// a day.
func (l *loader) checkTimeout(d *decodedFile, path string, timeout *time.Duration) {
	l.checkPositive(d, path, timeout)
	if timeout != nil && *timeout > longestTimeout {
		l.warn(d, path, timeout.String()+" is longer than 24h, and until then nobody hears of what hangs", "write a shorter time, such as 45m")
	}
}

func (l *loader) checkPositive(d *decodedFile, path string, timeout *time.Duration) {
	if timeout != nil && *timeout <= 0 {
		l.complain(d, path, timeout.String()+" leaves no time", "write a duration above 0, such as 45m")
	}
}

// checkRelease checks one release of a rule; before are those above it.
func (l *loader) checkRelease(d *decodedFile, path string, release *releaseSpec, before []releaseSpec) {
	complain := func(key, problem, instead string) { l.complain(d, path+key, problem, instead) }
	l.oneOf(d, path+".target", release.Target, string(TargetServiceStage), string(TargetCodeArtsPipeline))
	l.checkPipeline(d, path+".pipeline", release.Pipeline, ReleaseTarget(release.Target))
	l.checkForTarget(d, path, release)
	l.checkReactions(d, path, release)
	l.checkHold(d, path+".hold", release)
	l.checkTimeout(d, path+".timeout", release.Timeout)
	l.checkPositive(d, path+".approval_timeout", release.ApprovalTimeout)

	switch ReleaseAction(release.Action) {
	case ReleaseStart:
		if release.Task != "" {
			complain(".task", "goes with approve and refuse only", "write select: [{stage: …, tasks: […]}] to start some tasks")
		}
		if release.Message != "" {
			complain(".message", "goes with approve and refuse only", "remove it")
		}
	case ReleaseApprove, ReleaseRefuse:
		if release.Task == "" {
			complain(".task", "is missing", "write the machine name of the checkpoint, such as ujgdh4")
		}
		if len(release.Select) > 0 {
			complain(".select", "goes with start only", "remove it; task names the checkpoint")
		}
	case "":
		complain(".action", "is missing", "write start, approve or refuse")
	default:
		l.oneOf(d, path+".action", release.Action, string(ReleaseStart), string(ReleaseApprove), string(ReleaseRefuse))
	}
	wholeStages := ReleaseTarget(release.Target).facts().wholeStages
	for i, s := range release.Select {
		if s.Stage == "" {
			complain(fmt.Sprintf(".select[%d].stage", i), "is missing", "write the name of a stage")
		}
		switch whole := wholeStages && s.Tasks == nil; {
		case !whole && len(s.Tasks) == 0 || slices.Contains(s.Tasks, ""):
			complain(fmt.Sprintf(".select[%d].tasks", i), "names no task", "write the tasks of the stage: [api, web]")
		case whole != (wholeStages && release.Select[0].Tasks == nil):
			complain(fmt.Sprintf(".select[%d]", i), "whole stages and single jobs are selected, and the service would take the stages alone",
				"write tasks at every entry, or at none")
		}
	}
	for _, other := range before {
		if release.Pipeline == "" || release.Action != other.Action || l.pipelineID(release.Pipeline) != l.pipelineID(other.Pipeline) || release.Task != other.Task {
			continue
		}
		if release.Action == string(ReleaseStart) {
			complain("", "starts a pipeline that this rule starts already", "keep one start; select takes several stages")
		} else {
			complain("", "decides a checkpoint that this rule decides already", "keep one of them")
		}
		return
	}
}

// checkForTarget checks what only some targets take.
func (l *loader) checkForTarget(d *decodedFile, path string, release *releaseSpec) {
	target := ReleaseTarget(release.Target)
	facts := target.facts()
	complain := func(key, problem, instead string) { l.complain(d, path+key, facts.name+" "+problem, instead) }
	switch {
	case release.Project == nil:
	case !facts.hasProject:
		complain(".project", "takes none: its pipelines belong to the IAM project of the region", "remove it, or write target: codearts_pipeline if it is a pipeline of that")
	case !projectID(release.Project.ID):
		l.complain(d, path+".project.id", quote(release.Project.ID)+" is not a project id", "write the 32 lower-case hex digits of the CodeArts project, or remove project for that of the check")
	}
	if release.Message != "" && !facts.takesMessage {
		complain(".message", "takes no message with a decision", "remove it")
	}
	for _, step := range release.OnFailure {
		if !target.Offers(step.Action) {
			complain(".on_failure", "has no "+string(step.Action), "write retry or {retry: 2} alone, and undo by a pipeline that does so")
			return
		}
	}
}

// checkPipeline checks the id of a pipeline, or the name that the server file gives it.
func (l *loader) checkPipeline(d *decodedFile, path, pipeline string, target ReleaseTarget) {
	facts := target.facts()
	other, isID := PipelineTarget(l.pipelineID(pipeline))
	switch {
	case pipeline == "":
		l.complain(d, path, "is missing", "write the id of the release pipeline, or its name in huaweicloud.pipelines of the server file")
	case facts.isID(l.pipelineID(pipeline)):
	case isID:
		l.complain(d, path, quote(pipeline)+" is not a pipeline of "+facts.name+", by the form of its id",
			fmt.Sprintf("if it is one of %[2]s, write target: %[1]s with it; else write %[3]s", other, other.Name(), facts.idForm))
	case !legalName(pipeline):
		l.complain(d, path, quote(pipeline)+" is not a pipeline id", "write "+facts.idForm)
	case l.pipelines == nil:
		l.warn(d, path, quote(pipeline)+" is a name, which only the server file can resolve", "check the rules together with the server file: --config")
	case len(l.pipelines) == 0:
		l.complain(d, path, quote(pipeline)+" is not a pipeline id, and the server file names no pipelines", "write huaweicloud.pipelines: {"+pipeline+": ID} there, or the id here")
	case l.pipelines[pipeline] == "":
		l.complain(d, path, quote(pipeline)+" is not a name in huaweicloud.pipelines of the server file",
			strictyaml.Suggest(pipeline, slices.Sorted(maps.Keys(l.pipelines))))
	}
}

// pipelineID is the id of a pipeline that is named by its id or by its name; the name where
// that cannot be resolved.
func (l *loader) pipelineID(pipeline string) string {
	if id := l.pipelines[pipeline]; id != "" {
		return id
	}
	return pipeline
}

// clauses compiles the conditions of a rule, in the order in which they are
// tried; the first is `on`.
func (l *loader) clauses(d *decodedFile, path string, on []event.Kind, match *matchSpec) []clause {
	clauses := []clause{onClause(on)}
	compile := func(field string, patterns []string, fold bool) globs {
		place := path + ".match." + field
		if len(patterns) == 0 {
			l.complain(d, place, "is an empty list", "write at least one pattern, or remove the key")
		}
		compiled := compileGlobs(patterns, fold, func(i int, problem, instead string) {
			l.complain(d, fmt.Sprintf("%s[%d]", place, i), problem, instead)
		})
		for _, g := range compiled.include {
			if exclusion := first(compiled.exclude, g.pattern); g.literal && exclusion != nil {
				l.warn(d, fmt.Sprintf("%s[%d]", place, slices.Index(patterns, g.text)),
					quote(g.text)+" matches nothing: "+quote(exclusion.text)+" excludes it", "remove one of them")
			}
		}
		return compiled
	}
	add := func(field string, patterns []string, fold bool, value func(*subject) (shown, compared string)) {
		if patterns != nil {
			clauses = append(clauses, &globClause{name: field, globs: compile(field, patterns, fold), value: value})
		}
	}
	add("connection", match.Connection, false, connectionOf)
	add("repository", match.Repository, true, repositoryOf)
	add("branch", match.Branch, false, branchOf)
	add("source_branch", match.SourceBranch, false, sourceBranchOf)
	l.checkShortNames(d, path+".match.branch", match.Branch)
	l.checkShortNames(d, path+".match.source_branch", match.SourceBranch)
	if match.Labels != nil {
		l.checkLabels(d, path+".match.labels", match.Labels)
		clauses = append(clauses, newLabelsClause(match.Labels))
	}
	if match.Draft != nil {
		clauses = append(clauses, &flagClause{name: "draft", want: *match.Draft, value: draftOf})
	}
	if match.Fork != nil {
		clauses = append(clauses, newForkClause(*match.Fork))
	}
	if match.Paths != nil {
		// The last, so that files are needed only where everything else holds.
		clauses = append(clauses, &pathsClause{compile("paths", match.Paths, false)})
	}
	return clauses
}

// checkShortNames complains about refs/heads/main, which would match no branch.
func (l *loader) checkShortNames(d *decodedFile, path string, patterns []string) {
	for i, pattern := range patterns {
		name := strings.TrimPrefix(pattern, "!")
		for _, prefix := range []string{"refs/heads/", "refs/tags/"} {
			if short, long := strings.CutPrefix(name, prefix); long {
				l.complain(d, fmt.Sprintf("%s[%d]", path, i), quote(pattern)+" would match nothing", "write the short name: "+short)
			}
		}
	}
}

func (l *loader) checkLabels(d *decodedFile, path string, labels *labelsSpec) {
	if len(labels.Any)+len(labels.All)+len(labels.None) == 0 {
		l.complain(d, path, "names no label", "write any: […], all: […] or none: […]")
	}
	for _, list := range [][]string{labels.Any, labels.All, labels.None} {
		if slices.Contains(list, "") {
			l.complain(d, path, "has an empty label", "write the label's name")
		}
	}
	for i, label := range labels.None {
		same := func(other string) bool { return strings.EqualFold(other, label) }
		wanted := slices.ContainsFunc(labels.All, same) || len(labels.Any) == 1 && same(labels.Any[0])
		if wanted {
			l.complain(d, fmt.Sprintf("%s.none[%d]", path, i), quote(label)+" is wanted and forbidden", "remove it from one of the lists")
		}
	}
}

// projectID says that id is 32 lower-case hex digits.
func projectID(id string) bool { return len(id) == 32 && hexDigits(id) }

// dashedUUID says that id is a UUID as 8-4-4-4-12 hex digits, of either case.
func dashedUUID(id string) bool {
	parts := strings.Split(strings.ToLower(id), "-")
	if len(parts) != 5 {
		return false
	}
	for i, length := range []int{8, 4, 4, 4, 12} {
		if len(parts[i]) != length || !hexDigits(parts[i]) {
			return false
		}
	}
	return true
}

func hexDigits(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }
