package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Switch is one point on which the documents contradict themselves or are silent, and on which
// installations may therefore differ. Its value is a field of Options.
type Switch struct {
	// Name is its key at /standin/switches; with `-` for `_` it is a flag of
	// `gatewright-demo standin`.
	Name string `json:"name"`
	// Value is what it is, Default what it is unless somebody sets it.
	Value   string `json:"value"`
	Default string `json:"default"`
	// Values are the legal ones; empty: a time such as 2s, or a number.
	Values []string `json:"values,omitempty"`
	// Meaning says what it does, Document where the point comes from.
	Meaning  string `json:"meaning"`
	Document string `json:"document"`

	get func(*Options) string
	set func(*Options, string) error
}

// Flag is the switch's name on the command line, without dashes in front.
func (s Switch) Flag() string { return strings.ReplaceAll(s.Name, "_", "-") }

// IsBool reports whether the values are true and false.
func (s Switch) IsBool() bool { return slices.Equal(s.Values, []string{"false", "true"}) }

// Set changes the switch's field of o; the error says what to write instead.
func (s Switch) Set(o *Options, value string) error { return s.set(o, value) }

// Switches returns every switch with its default, in the order of docs/standin.md. (Check: and
// Release: below are chapters of specs/codearts-check.md and specs/servicestage-release.md.)
func Switches() []Switch {
	all := slices.Concat(checkSwitches(), iamSwitches(), releaseSwitches(), codePipelineSwitches(), gitHostSwitches())
	defaults := Options{}.withDefaults()
	for i, s := range all {
		all[i].Default = s.get(&defaults)
		all[i].Value = all[i].Default
	}
	return all
}

func checkSwitches() []Switch {
	return []Switch{
		word("dialect", "the edition of CodeArts Check's API", "the editions of 2023-11-28 and 2026-02-03",
			func(o *Options) *Dialect { return &o.Dialect }, Dialect2026, Dialect2023),
		word("paging", "what offset counts in lists: pages from 0, pages from 1 (0 and 1 are the same page), or records", "Check 1.1, 8.3: three editions, three readings",
			func(o *Options) *Paging { return &o.Paging }, PagingFromZero, PagingFromOne, PagingRecords),
		word("defects_paging", "the same for defects-detail", "Check 1.11, 8.4: four editions, three readings",
			func(o *Options) *Paging { return &o.Defects.Paging }, pagingSame, PagingFromZero, PagingFromOne, PagingRecords),
		boolean("defects_over_limit", "a page of defects has its first one twice", "Check 1.11: may return more than limit",
			func(o *Options) *bool { return &o.Defects.Duplicates }),
		word("list_incremental", "whether the V2 list has incremental tasks, with their source branch as git_branch; auto: with dialect 2023", "Check 1.1: the list of 2023 speaks of the MR mode, BP1009 hides them",
			func(o *Options) *Auto { return &o.ListIncremental }, autoValue, autoTrue, autoFalse),
		boolean("refuse_ref", "refuse a run with ref as a bad parameter", "Check 1.5: ref came in 2025-08; what an edition without it says to it is not documented",
			func(o *Options) *bool { return &o.RefuseRef }),
		boolean("ignore_job_id", "tell of a task's latest execution whatever job_id says", "Check 1.8: job_id came in 2025-11",
			func(o *Options) *bool { return &o.IgnoreJobID }),
		word("unknown_job_id", "what progress says of an execution that it does not know: all null, or an error", "Check 10.8: not documented",
			func(o *Options) *string { return &o.UnknownJobID }, "null", "error"),
		word("never_checked", "progress before the first check: null, or an object of nulls", "Check 1.8, 1.16",
			func(o *Options) *string { return &o.NeverChecked }, "null", "object"),
		word("time_format", "2025-11-28T06:55:41Z (zulu) or 2020-02-20 11:21:11 (plain); auto: plain with dialect 2023", "Check 8.5",
			func(o *Options) *string { return &o.TimeFormat }, "auto", "zulu", "plain"),
		word("plain_time_zone", "the zone of plain times: UTC or UTC+8", "Check 8.5, 10.5: not documented",
			func(o *Options) *string { return &o.PlainTimeZone }, "utc", "beijing"),
		word("summary_shape", "defects-summary flat, with taskId for task_id, or in the old envelope", "Check 1.9, 8.8: three editions",
			func(o *Options) *string { return &o.SummaryShape }, "flat", "camel_task_id", "old_envelope"),
		boolean("quality_as_text", "code_quality is a string", "Check 8.7: a number in the table, a string in the old example",
			func(o *Options) *bool { return &o.QualityAsText }),
		word("is_access", "the words of is_access for failed and passed; empty: an empty string", "Check 2, 10.1: not documented",
			func(o *Options) *string { return &o.IsAccess }, "0_1", "false_true", "error_success", "fail_pass", "empty"),
		span("summary_delay", "how long after the end of a run defects-summary still shows the run before", "Check 2, inferred",
			func(o *Options) *time.Duration { return &o.Results.SummaryDelay }),
		boolean("omit_new_counts", "the four new_…_count are null", "Check 1.9: not in every edition",
			func(o *Options) *bool { return &o.Results.OmitNewCounts }),
		boolean("allow_duplicate_names", "two tasks of a project may have one name", "Check 10.14: not documented",
			func(o *Options) *bool { return &o.AllowDuplicateNames }),
		word("project_names", "what V3 creation wants of project_name: one, the project's own, or none", "Check 10.14: not documented",
			func(o *Options) *string { return &o.ProjectNames }, "given", "right", "optional"),
		word("languages", "which languages V2 creation takes: any, or only the ten of the 2023 edition, in its spelling", "Check 1.3, 8.17, 10.12: the case rule is not documented",
			func(o *Options) *string { return &o.Languages }, "any", "edition"),
		boolean("check_list_needs_type", "check-list wants check_type", "Check 1.12: since 2026-08",
			func(o *Options) *bool { return &o.CheckListNeedsType }),
		word("content_type", "where application/json is demanded: as documented, on every call with a body, or nowhere", "Check 1, 1.13; Release 1: mandatory in some editions",
			func(o *Options) *string { return &o.ContentType }, "documented", "always", "never"),
		word("error_status", "the status of CC.0005xxxx errors", "Check 5.2: the table says 200, its page 400 or 505",
			func(o *Options) *string { return &o.ErrorStatus }, "200", "400", "505"),
		word("error_suffix", "whether error codes carry a status as in CC.00050015.400; auto: refused parameters do, with dialect 2026", "Check 5.1: both forms are printed",
			func(o *Options) *Auto { return &o.ErrorSuffix }, autoValue, autoTrue, autoFalse),
		boolean("envelope_errors", "a bad request of a V1, V3 or V4 call is 200 with the error inside the envelope", "Check 1.4, 1.13",
			func(o *Options) *bool { return &o.EnvelopeErrors }),
		word("envelope_status", "httpStatus of a success", "Check 1.4, 1.13, 8.11: a word, lower case, or a number",
			func(o *Options) *string { return &o.EnvelopeStatus }, "OK", "ACCEPTED", "ok", "200"),
		span("scan_delay", "the least time that a run takes", "ours",
			func(o *Options) *time.Duration { return &o.ScanDelay }),
		span("register_delay", "how long after its start a run is not shown yet; default a tenth of scan_delay", "Check 2: the race after run, inferred",
			func(o *Options) *time.Duration { return &o.RegisterDelay }),
	}
}

func iamSwitches() []Switch {
	return []Switch{
		word("expired_answer", "how CodeArts Check refuses a token that is over: by the gateway, the service, or inside a 200", "Check 4.2: two answers, and a code with status 200",
			func(o *Options) *ExpiredAnswer { return &o.ExpiredAnswer }, ExpiredByGateway, ExpiredByService, ExpiredInside200),
		span("token_lifetime", "how long a token lives", "Check 4.1: 24 hours",
			func(o *Options) *time.Duration { return &o.TokenLifetime }),
		number("token_length", "how many characters a token has", "Check 1: 1 to 100000", 36, tokenMost,
			func(o *Options) *int { return &o.TokenLength }),
		boolean("keep_key_unlocked", "five bad signatures in a row do not lock the access key", "Check 4.3: locked for 5 minutes",
			func(o *Options) *bool { return &o.KeepKeyUnlocked }),
		boolean("require_project_id", "refuse signed calls without the IAM project in X-Project-Id", "Check 4.3: reported to work without",
			func(o *Options) *bool { return &o.RequireProjectID }),
		span("clock_tolerance", "how far the time of a signature may be from the clock", "Check 4.3, 10.9: not documented",
			func(o *Options) *time.Duration { return &o.ClockTolerance }),
		word("gateway_prefix", "the prefix of the gateway's error codes", "Check 5.1, 8.16: both are printed",
			func(o *Options) *string { return &o.GatewayPrefix }, "APIGW", "APIG"),
	}
}

func releaseSwitches() []Switch {
	return []Switch{
		boolean("release_text_ids", "execution ids are strings", "Release 8.1: String in the table, a number in the example",
			func(o *Options) *bool { return &o.Release.TextIDs }),
		boolean("release_list_object", "the list is {\"pipelines\": […]}", "Release 8.2: an object in the table, an array in the example",
			func(o *Options) *bool { return &o.Release.ListObject }),
		boolean("release_declaration_list", "pipeline_declaration is a list of one", "Release 8.5",
			func(o *Options) *bool { return &o.Release.DeclarationList }),
		boolean("release_hide_task_status", "details have no status of stages and tasks", "Release 1.3: not documented",
			func(o *Options) *bool { return &o.Release.HideTaskStatus }),
		boolean("release_declared_records", "records have the declared types: trigger a number, version a list", "Release 8.4",
			func(o *Options) *bool { return &o.Release.DeclaredRecords }),
		boolean("release_not_found_401", "an unknown pipeline is 401 SVCSTG.00100401", "Release 5: 404 SVCSTG.00100433 in the table, 401 in Terraform",
			func(o *Options) *bool { return &o.Release.NotFoundIs401 }),
		word("release_error_key", "the key of an error's text", "Check 5.1, 5.5",
			func(o *Options) *string { return &o.Release.ErrorKey }, "error_msg", "error_message"),
		boolean("release_failures_end_good", "a release with failed tasks under fail_mode continue ends as 2", "Release 7: not documented",
			func(o *Options) *bool { return &o.Release.FailuresEndGood }),
		boolean("release_new_executions", "retry, continue and rollback make an execution with an id of its own", "Release 2: whether the id is the old one or a new one is not documented",
			func(o *Options) *bool { return &o.Release.NewExecutions }),
		boolean("release_pause_blocks_start", "a paused pipeline refuses to be started", "Release 2, 7: documented of status 4 only",
			func(o *Options) *bool { return &o.Release.PauseBlocksStart }),
		span("release_stop_delay", "the time spent in 13, stopping", "Release 7, inferred",
			func(o *Options) *time.Duration { return &o.Release.StopDelay }),
		span("release_restart_delay", "the time spent in 14, restarting", "Release 7, inferred",
			func(o *Options) *time.Duration { return &o.Release.RestartDelay }),
		span("release_rollback_delay", "the time spent in 10, rolling back", "Release 7, inferred",
			func(o *Options) *time.Duration { return &o.Release.RollbackDelay }),
		span("release_register_delay", "how long after a start the calls still show what was before", "Release 4.2, inferred",
			func(o *Options) *time.Duration { return &o.Release.RegisterDelay }),
		span("release_approval_delay", "how long an accepted decision takes until it is carried out", "ours",
			func(o *Options) *time.Duration { return &o.Release.ApprovalDelay }),
	}
}

func codePipelineSwitches() []Switch {
	return []Switch{
		word("review_state", "what a waiting manual review shows: job, stage and run SUSPEND and the step RUNNING; all four SUSPEND; or all RUNNING", "Release 10.2: not stated; SUSPEND is not a documented state of a step",
			func(o *Options) *string { return &o.ReviewState }, "suspend", "suspend_step", "running"),
		word("code_pipeline_errors", "how CodeArts Pipeline refuses: 400, inside a 200, or nested in a 200", "Check 3.6: also inside 2xx",
			func(o *Options) *string { return &o.CodePipelineErrors }, "400", "200", "nested_200"),
	}
}

func gitHostSwitches() []Switch {
	return []Switch{
		boolean("git_token_reads_only", "the tokens of the git hosts may not write: 403", "Hosts 1.5, 2.5, 3.5",
			func(o *Options) *bool { return &o.GitTokenReadsOnly }),
		word("gitee_check_runs", "whether Gitee takes check runs: yes, 403, or 404", "Hosts 3.5: who may write them is not documented",
			func(o *Options) *GiteeCheckRuns { return &o.GiteeCheckRuns }, GiteeTakesCheckRuns, GiteeForbidsCheckRuns, GiteeHasNoCheckRuns),
		boolean("github_secondary_limit", "GitHub refuses writes with its secondary limit: 403 without Retry-After", "Hosts 1.5: its figures are not documented",
			func(o *Options) *bool { return &o.GitHubSecondaryLimit }),
		word("hook_rights", "whether the tokens may read and change webhooks: yes, 403, or 404", "Hosts 1.6, 2.6, 3.6: the hosts answer in both ways",
			func(o *Options) *HookRights { return &o.HookRights }, HookRightsGranted, HookRightsForbidden, HookRightsHidden),
		word("hook_deliveries", "what becomes of webhooks: they are sent, fail without an answer, or are dropped, of which the host knows nothing", "Hosts 2.1, 5: dropped by limits and outages",
			func(o *Options) *HookDeliveries { return &o.HookDeliveries }, HookDeliveriesSent, HookDeliveriesFail, HookDeliveriesDropped),
		word("gitlab_disables_hooks", "whether GitLab disables a webhook after failures: for a while after 4, for good after 40; or never", "Hosts 2.1: off by default on self-managed installations",
			func(o *Options) *string { return &o.GitLabDisablesHooks }, "after_failures", "never"),
		boolean("many_changed_files", "each comparison and merge request at a git host changes 5000 files more, so that the list is cut", "githosts.md 1.7, 3.7: lists end after 300 to 3,000 files",
			func(o *Options) *bool { return &o.ManyChangedFiles }),
	}
}

// word is a switch of a few values, the first of which is the default.
func word[T ~string](name, meaning, document string, field func(*Options) *T, values ...T) Switch {
	legal := make([]string, len(values))
	for i, v := range values {
		legal[i] = string(v)
	}
	return Switch{
		Name: name, Meaning: meaning, Document: document, Values: legal,
		get: func(o *Options) string { return string(*field(o)) },
		set: func(o *Options, value string) error {
			if !slices.Contains(legal, value) {
				return fmt.Errorf("%q: write %s", value, alternatives(legal))
			}
			*field(o) = T(value)
			return nil
		},
	}
}

func boolean(name, meaning, document string, field func(*Options) *bool) Switch {
	return Switch{
		Name: name, Meaning: meaning, Document: document, Values: []string{"false", "true"},
		get: func(o *Options) string { return strconv.FormatBool(*field(o)) },
		set: func(o *Options, value string) error {
			if value != "true" && value != "false" {
				return fmt.Errorf("%q: write true or false", value)
			}
			*field(o) = value == "true"
			return nil
		},
	}
}

// span is a switch of a time. None is kept as a negative one, because zero is the default.
func span(name, meaning, document string, field func(*Options) *time.Duration) Switch {
	return Switch{
		Name: name, Meaning: meaning, Document: document,
		get: func(o *Options) string { return max(*field(o), 0).String() },
		set: func(o *Options, value string) error {
			d, err := time.ParseDuration(value)
			if err != nil || d < 0 {
				return fmt.Errorf("%q: write a time from 0 on, such as 2s", value)
			}
			if d == 0 {
				d = -1
			}
			*field(o) = d
			return nil
		},
	}
}

func number(name, meaning, document string, low, high int, field func(*Options) *int) Switch {
	return Switch{
		Name: name, Meaning: meaning, Document: document,
		get: func(o *Options) string { return strconv.Itoa(*field(o)) },
		set: func(o *Options, value string) error {
			n, err := strconv.Atoi(value)
			if err != nil || n < low || n > high {
				return fmt.Errorf("%q: write a number from %d to %d", value, low, high)
			}
			*field(o) = n
			return nil
		},
	}
}

func alternatives(words []string) string {
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// SetSwitches changes the switches that are named, by name; the others stay. It fails, and
// changes nothing, when one is not understood. What is running keeps the delays with which it
// was started.
func (s *Server) SetSwitches(values map[string]string) error {
	known := Switches()
	var changes []func(*Options)
	for name, value := range values {
		i := slices.IndexFunc(known, func(k Switch) bool { return k.Name == name })
		if i < 0 {
			names := make([]string, len(known))
			for n, k := range known {
				names[n] = k.Name
			}
			return fmt.Errorf("unknown switch %q; the switches are %s", name, strings.Join(names, ", "))
		}
		if err := known[i].set(&Options{}, value); err != nil {
			return fmt.Errorf("switch %s: %w", name, err)
		}
		changes = append(changes, func(o *Options) { _ = known[i].set(o, value) }) // it was tried above
	}
	s.change(func(o *Options) {
		for _, change := range changes {
			change(o)
		}
	})
	return nil
}

// change makes the same change in every service's options, while no request is being answered.
func (s *Server) change(change func(*Options)) {
	s.settings.Lock()
	defer s.settings.Unlock()
	// What works in the background reads them under its service's lock.
	s.check.mu.Lock()
	defer s.check.mu.Unlock()
	s.release.mu.Lock()
	defer s.release.mu.Unlock()
	for _, o := range []*Options{&s.opts, &s.tokens.opts, &s.keys.opts, &s.check.opts, &s.release.opts, &s.codePipelines.opts, &s.gitHosts.opts} {
		change(o)
	}
}

// serveSwitches is GET /standin/switches: every switch with its value.
func (s *Server) serveSwitches(w http.ResponseWriter, _ *http.Request) {
	all := Switches()
	s.settings.RLock()
	for i := range all {
		all[i].Value = all[i].get(&s.opts)
	}
	s.settings.RUnlock()
	writeHelper(w, all)
}

// patchSwitches is PATCH /standin/switches with an object of names and values: 204, or 400 with
// the reason as text.
func (s *Server) patchSwitches(w http.ResponseWriter, r *http.Request) {
	var sent map[string]any
	if !readHelper(w, r, "switches", &sent) {
		return
	}
	values := map[string]string{}
	for name, value := range sent {
		values[name] = fmt.Sprint(value)
	}
	if err := s.SetSwitches(values); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// readHelper decodes the body of a request on the stand-in's own paths, in which every field
// must be known. It answers 400 itself, and reports false then.
func readHelper(w http.ResponseWriter, r *http.Request, what string, into any) bool {
	err := decodeStrict(http.MaxBytesReader(w, r.Body, 1<<20), into)
	if err != nil {
		http.Error(w, "read "+what+": "+err.Error(), http.StatusBadRequest)
	}
	return err == nil
}

// decodeStrict reads exactly one JSON value, in which every field must be known.
func decodeStrict(from io.Reader, into any) error {
	decoder := json.NewDecoder(from)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if decoder.Decode(new(json.RawMessage)) != io.EOF {
		return errors.New("there is more than one JSON value")
	}
	return nil
}
