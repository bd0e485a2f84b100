package app

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
)

// accounts are the clients of Huawei Cloud by the names of the accounts; the empty name is
// that of the server file's huaweicloud. It is what the jobs call, each for the account of
// its run, task or release.
type accounts map[string]*remote

// newAccounts makes the clients of each account, and the metrics and what the replicas tell
// each other, which they share.
func newAccounts(cfg *config.Config, on rests) (accounts, error) {
	if on.registry == nil {
		on.registry = prometheus.NewRegistry()
	}
	if on.log == nil {
		on.log = zap.NewNop()
	}
	shared := common{rests: on, cfg: cfg, replicas: huaweicloud.NewReplicas(on.shared, on.log, nil),
		metrics: huaweicloud.NewMetrics(on.registry), checks: codecheck.NewMetrics(on.registry)}
	all := accounts{}
	for _, name := range cfg.AccountNames() {
		h, _ := cfg.Account(name)
		r, err := newRemote(*h, shared)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", config.AccountPath(name), err)
		}
		all[name] = r
	}
	return all, nil
}

func (a accounts) close() {
	for _, r := range a {
		r.http.CloseIdleConnections()
	}
}

// of returns the clients of an account.
func (a accounts) of(name string) (*remote, error) {
	if r, found := a[name]; found {
		return r, nil
	}
	return nil, noAccountError(name)
}

// noAccountError is of a record whose account the server file had and has no longer.
type noAccountError string

func (e noAccountError) Error() string {
	return fmt.Sprintf("the server file has no account %q any more", string(e))
}

// Retryable says that waiting cannot help: accounts change with a restart.
func (noAccountError) Retryable() bool { return false }

// RetryAfter is never asked.
func (noAccountError) RetryAfter() time.Duration { return 0 }

// checkers is [jobs.Checker] over all accounts.
type checkers struct{ accounts }

func (c checkers) Prepare(ctx context.Context, run codecheck.Run) (codecheck.Run, bool, time.Duration, error) {
	r, err := c.of(run.Check.Account)
	if err != nil {
		return run, false, 0, err
	}
	return r.checker.Prepare(ctx, run)
}

func (c checkers) Send(ctx context.Context, run codecheck.Run) (codecheck.Run, time.Duration, error) {
	r, err := c.of(run.Check.Account)
	if err != nil {
		return run, 0, err
	}
	return r.checker.Send(ctx, run)
}

func (c checkers) Poll(ctx context.Context, run codecheck.Run) (codecheck.Run, time.Duration, error) {
	r, err := c.of(run.Check.Account)
	if err != nil {
		return run, 0, err
	}
	return r.checker.Poll(ctx, run)
}

func (c checkers) Stop(ctx context.Context, run codecheck.Run) error {
	r, err := c.of(run.Check.Account)
	if err != nil {
		return err
	}
	return r.checker.Stop(ctx, run)
}

func (c checkers) Delete(ctx context.Context, task codecheck.Task) error {
	r, err := c.of(task.Account)
	if err != nil {
		return err
	}
	return r.checker.Delete(ctx, task)
}

func (c checkers) WithLanguages(run codecheck.Run, host []string) codecheck.Run {
	r, err := c.of(run.Check.Account)
	if err != nil {
		return run // Prepare ends it
	}
	return r.checker.WithLanguages(run, host)
}

// operators is [jobs.Releaser] over all accounts.
type operators struct{ accounts }

func (o operators) Prepare(ctx context.Context, r release.Release) (release.Release, bool, time.Duration, error) {
	of, err := o.of(r.Plan.Account)
	if err != nil {
		return r, false, 0, err
	}
	return of.operator.Prepare(ctx, r)
}

func (o operators) Send(ctx context.Context, r release.Release) (release.Release, time.Duration, error) {
	of, err := o.of(r.Plan.Account)
	if err != nil {
		return r, 0, err
	}
	return of.operator.Send(ctx, r)
}

func (o operators) Follow(ctx context.Context, r release.Release) (release.Release, bool, time.Duration, error) {
	of, err := o.of(r.Plan.Account)
	if err != nil {
		return r, false, 0, err
	}
	return of.operator.Follow(ctx, r)
}
