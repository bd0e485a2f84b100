// Package standin is a local server that speaks like Huawei Cloud's IAM,
// CodeArts Check, ServiceStage and CodeArts Pipeline do, on one address: the calls that a check
// and a release need, with their exact types, their refusals and their delays; and
// like the APIs of the git hosts, where they say what a branch points to and take statuses and
// comments.
// Signatures and tokens are verified, a run clones its repository with git and
// scans it, and a release walks through its pipeline's stages.
//
// It is written from the services' documents (specs/codearts-check.md,
// specs/servicestage-release.md, specs/githosts.md) and shares nothing with Gatewright's clients,
// so that a mistake in a client's field name shows. Where the documents are
// silent or contradict themselves there is a switch (docs/standin.md). Everything is kept in memory and gone with Close.
package standin

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
)

// Server is a stand-in. It is safe for concurrent use.
type Server struct {
	// settings is held while a request is answered, so that switches change between requests.
	settings sync.RWMutex

	opts          Options
	mux           *http.ServeMux
	journal       *journal
	faults        *faults
	tokens        *tokens
	keys          *keys
	check         *checkService
	release       *releaseService
	codePipelines *codePipelineService
	gitHosts      *gitHosts
	operations    []string

	// stop ends the context of all background work, which working counts.
	stop    context.CancelFunc
	stopped <-chan struct{}
	working *sync.WaitGroup
}

// background runs work in a goroutine of the server's. The context ends when
// the server is closed. After that nothing is started any more.
type background func(work func(ctx context.Context))

// start runs work and returns what ends its context sooner.
func (b background) start(work func(ctx context.Context)) context.CancelFunc {
	own, stop := context.WithCancel(context.Background())
	b(func(ctx context.Context) {
		defer stop()
		defer context.AfterFunc(ctx, stop)()
		work(own)
	})
	return stop
}

// after does work when d has passed, unless the server is closed first.
func (b background) after(d time.Duration, work func()) {
	b.start(func(ctx context.Context) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			work()
		case <-ctx.Done():
		}
	})
}

// New makes a stand-in. It fails when the options contradict themselves, with
// everything that is wrong. Close must be called in the end.
func New(opts Options) (*Server, error) {
	opts = opts.withDefaults()
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("check stand-in options: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var (
		mu      sync.Mutex
		working sync.WaitGroup
	)
	spawn := func(work func(ctx context.Context)) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() == nil {
			working.Go(func() { work(ctx) })
		}
	}
	keys := newKeys(opts)
	s := &Server{
		opts:          opts,
		mux:           http.NewServeMux(),
		journal:       newJournal(opts.JournalSize),
		faults:        &faults{},
		tokens:        newTokens(opts, keys),
		keys:          keys,
		check:         newCheckService(opts, spawn),
		release:       newReleaseService(opts, spawn),
		codePipelines: newCodePipelineService(opts),
		gitHosts:      newGitHosts(opts, spawn),
		stop:          func() { mu.Lock(); stop(); mu.Unlock() },
		stopped:       ctx.Done(),
		working:       &working,
	}
	s.routes()
	return s, nil
}

// Close stops every run and release, kills their commands, and waits until all
// has ended. Requests that come later are still answered from memory.
func (s *Server) Close() {
	s.stop()
	s.working.Wait()
}

// Handler serves the services and the helper paths under /standin/. The
// host name of a request does not matter.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path.Clean(r.URL.Path) != r.URL.Path {
			s.handler(unknownRoute)(w, r)
			return
		}
		s.mux.ServeHTTP(w, r)
	})
}

// service is who answers a call, which decides how it refuses.
type service int

const (
	serviceNone service = iota
	serviceIAM
	serviceCheck
	serviceRelease
	serviceCodePipeline
	serviceGitHost
)

// route is one call that the stand-in knows.
type route struct {
	pattern   string
	operation string
	service   service
	handle    func(*call) answer
}

// unknownRoute answers all that no other route matches, a known path with
// another method included (specs/codearts-check.md 5.3).
var unknownRoute = route{
	pattern:   "/",
	operation: "unknown",
	handle: func(*call) answer {
		return gatewayError(http.StatusNotFound, "APIGW.0101", "The API does not exist or has not been published in the environment")
	},
}

func (s *Server) routes() {
	const (
		tasks     = "/v2/tasks/{task_id}"
		pipelines = "/v3/{project_id}/pipeline/pipelines"
		code      = "/v5/{project_id}/api/pipelines"
		codeRun   = code + "/{pipeline_id}/pipeline-runs/{run_id}"
		review    = codeRun + "/jobs/{job_id}/steps/{step_id}"
	)
	routes := []route{
		{"POST /v3/auth/tokens", createToken, serviceIAM, s.tokens.create},

		{"GET /v2/{project_id}/tasks", "list_tasks", serviceCheck, s.check.list},
		{"POST /v2/{project_id}/task", "create_task_v2", serviceCheck, s.check.createV2},
		{"POST /v3/task", "create_task_v3", serviceCheck, s.check.createV3},
		{"POST " + tasks + "/run", "run_task", serviceCheck, s.check.run},
		{"POST " + tasks + "/stop", "stop_task", serviceCheck, s.check.stop},
		{"DELETE " + tasks, "delete_task", serviceCheck, s.check.remove},
		{"GET " + tasks + "/progress", "show_progress", serviceCheck, s.check.progress},
		{"GET /v4/tasks/{task_id}/last-jobs", "show_last_jobs", serviceCheck, s.check.lastJobs},
		{"GET " + tasks + "/defects-summary", "show_summary", serviceCheck, s.check.reshaped(s.check.summary)},
		{"GET " + tasks + "/defects-statistic", "show_statistic", serviceCheck, s.check.statistic},
		{"GET " + tasks + "/defects-detail", "list_defects", serviceCheck, s.check.defects},
		{"GET /v2/{project_id}/tasks/{task_id}/checkrecord", "list_check_records", serviceCheck, s.check.records},
		{"GET /v2/{project_id}/tasks/{task_id}/log-detail", "show_log", serviceCheck, s.check.logDetail},
		{"GET /v2/{project_id}/rulesets", "list_rule_sets", serviceCheck, s.check.listRuleSets},
		{"GET /v2/{project_id}/tasks/{task_id}/rulesets", "list_task_rule_sets", serviceCheck, s.check.taskRuleSets},
		{"GET /v3/{project_id}/tasks/{task_id}/branches", "list_branch_tasks", serviceCheck, s.check.branches},
		{"GET /v3/task/{task_id}", "show_task", serviceCheck, s.check.info},
		{"GET /v4/tasks/{task_id}/jobs", "list_jobs", serviceCheck, s.check.jobs},
		{"GET /v4/task/{task_id}/check-list", "list_checks", serviceCheck, s.check.checkList},
		{"GET /v1/tasks", "list_tasks_v1", serviceCheck, s.check.listV1},
		{"PUT /v1/task/check-mode", "update_check_mode", serviceCheck, s.check.updateMode},
		{"PUT /v1/task/code-gate", "update_code_gate", serviceCheck, s.check.updateGate},

		{"GET " + pipelines, "list_pipelines", serviceRelease, s.release.list},
		{"GET " + pipelines + "/{pipeline_id}", "show_pipeline", serviceRelease, s.release.details},
		{"GET " + pipelines + "/{pipeline_id}/records", "list_release_records", serviceRelease, s.release.records},
		{"POST " + pipelines + "/{pipeline_id}/action", "operate_pipeline", serviceRelease, s.release.operate},

		{"POST " + code + "/list", "list_code_pipelines", serviceCodePipeline, s.codePipelines.listPipelines},
		{"POST " + code + "/{pipeline_id}/run", "run_code_pipeline", serviceCodePipeline, s.codePipelines.run},
		{"GET " + code + "/{pipeline_id}/pipeline-runs/detail", "show_code_run", serviceCodePipeline, s.codePipelines.detail},
		{"POST " + code + "/{pipeline_id}/pipeline-runs/list", "list_code_runs", serviceCodePipeline, s.codePipelines.listRuns},
		{"POST " + codeRun + "/stop", "stop_code_run", serviceCodePipeline, s.codePipelines.stop()},
		{"PUT " + codeRun + "/retry", "retry_code_run", serviceCodePipeline, s.codePipelines.retry()},
		{"POST " + review + "/pass", "pass_review", serviceCodePipeline, s.codePipelines.decide(true)},
		{"POST " + review + "/refuse", "refuse_review", serviceCodePipeline, s.codePipelines.decide(false)},
		unknownRoute,
	}
	routes = append(routes, s.gitHosts.routes()...)
	for _, rt := range routes {
		s.mux.HandleFunc(rt.pattern, s.handler(rt))
		if !slices.Contains(s.operations, rt.operation) { // hooks of an organisation are as those of a repository
			s.operations = append(s.operations, rt.operation)
		}
	}
	s.mux.HandleFunc("GET /standin/calls", helper(s.serveCalls))
	s.mux.HandleFunc("POST /standin/comments", helper(s.postComment))
	s.mux.HandleFunc("PATCH /standin/comments/{id}", helper(s.patchComment))
	s.mux.HandleFunc("GET /standin/counts", helper(s.serveCounts))
	s.mux.HandleFunc("GET /standin/faults", helper(s.serveFaults))
	s.mux.HandleFunc("PUT /standin/faults", helper(s.putFaults))
	s.mux.HandleFunc("PUT /standin/merge-requests", helper(s.putMergeRequest))
	s.mux.HandleFunc("GET /standin/operations", helper(s.serveOperations))
	s.mux.HandleFunc("GET /standin/reports", helper(s.serveReports))
	s.mux.HandleFunc("GET /standin/hooks", helper(s.serveHooks))
	s.mux.HandleFunc("POST /standin/events", helper(s.serveDeliver))
	s.mux.HandleFunc("GET /standin/switches", helper(s.serveSwitches))
	s.mux.HandleFunc("PATCH /standin/switches", helper(s.patchSwitches))
	s.mux.HandleFunc("POST /standin/tasks", helper(s.addTask))
	s.mux.HandleFunc("GET /standin/pipelines", helper(s.servePipelines))
	s.mux.HandleFunc("PATCH /standin/pipelines/{pipeline_id}", helper(s.patchPipeline))
}

// handler serves one route: it reads the request, applies the faults, checks
// who asks, acts, writes the journal, and answers, in this order.
func (s *Server) handler(rt route) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		now := s.opts.Now()
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		c := newCall(r, rt, now)
		ans, ok := c.readBody(w)
		fault := s.faults.take(rt.operation)
		if !s.pause(r.Context(), fault.delay) {
			panic(http.ErrAbortHandler)
		}
		s.settings.RLock()
		if ok && !fault.skip {
			ans = s.answer(c, rt, fault)
		}
		if ok && fault.instead != nil {
			ans = *fault.instead
			if body, is := ans.body.(errorBody); is && rt.service == serviceGitHost {
				ans.body = map[string]string{"message": body.Message}
			}
		}
		ans = s.shape(rt.service, ans)
		s.settings.RUnlock()
		c.entry.Status, c.entry.Code, c.entry.Lost = ans.status, ans.code, fault.drop
		s.journal.add(c.entry)
		if fault.drop {
			panic(http.ErrAbortHandler)
		}
		ans.write(w)
	}
}

// answer checks who asks and lets the route act.
func (s *Server) answer(c *call, rt route, fault effect) answer {
	if fault.expireToken {
		s.tokens.expire(c.http.Header.Get("X-Auth-Token"))
		s.gitHosts.tokens.expire(strings.TrimPrefix(c.http.Header.Get("Authorization"), "Bearer "))
	}
	c.missing, c.moved = fault.missing, fault.moved
	if rt.service == serviceCheck || rt.service == serviceRelease || rt.service == serviceCodePipeline {
		if refusal, ok := s.authenticate(c, rt.service); !ok {
			return refusal
		}
	}
	if refusal, ok := s.demandsType(c, rt); !ok {
		return refusal
	}
	return rt.handle(c)
}

// pause waits for d; it reports false when the caller or the server went away.
func (s *Server) pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-s.stopped:
	}
	return false
}
