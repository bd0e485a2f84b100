package app

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/notify"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/webhook"
)

// quietTime is how long the files must not change before they are read: editors and
// configuration tools change several, or one in several steps.
const quietTime = 250 * time.Millisecond

// recordAgain is how long after a failure the audit log is told again which configuration is in force.
const recordAgain = 5 * time.Second

// reloader keeps the configuration in force, and replaces it when SIGHUP asks for that
// or the files change: the rules, and the secrets that come from files. Either all that
// was read is taken over or nothing.
type reloader struct {
	file     string
	lookup   LookupEnv
	hangup   <-chan os.Signal
	log      *zap.Logger
	metrics  configMetrics
	endpoint *webhook.Handler
	accounts accounts
	hosts    *hosts

	policy atomic.Pointer[rules.Policy]
	// targets get notices.
	targets atomic.Pointer[[]notify.Target]
	// evidenceKey signs evidence bundles; nil for none.
	evidenceKey atomic.Pointer[ed25519.PrivateKey]

	// record writes the hashes of what is in force into the audit log; recorded are those that it
	// wrote last. They belong to run.
	record   func(ctx context.Context, hash, rules string) error
	recorded string

	// cfg is in force; good is what it was read from. Both belong to run.
	cfg  *config.Config
	good *inputs

	mu     sync.Mutex
	status configStatus
}

// configStatus is what /readyz tells of the configuration.
type configStatus struct {
	// hash is of what is in force, since loaded.
	hash   string
	loaded time.Time
	// rejected is what is wrong with the files as they are now, since failed; empty
	// when they are in force.
	rejected string
	failed   time.Time
	// restart are the settings of the server file that take effect with a restart.
	restart []string
}

// newReloader puts the configuration of opts in force.
func newReloader(opts Options, registry prometheus.Registerer) (*reloader, error) {
	r := &reloader{file: opts.File, lookup: opts.LookupEnv, hangup: opts.Hangup, log: opts.Log,
		metrics: newConfigMetrics(registry), cfg: opts.Config,
		good: &inputs{files: append(opts.Config.SecretFiles(), opts.File), rules: opts.Config.Rules}}
	for _, name := range opts.Config.AccountNames() {
		account, _ := opts.Config.Account(name)
		r.good.files = append(r.good.files, account.CAFile)
	}
	hash, err := opts.Config.Hash(opts.Policy.Hash())
	if err != nil {
		return nil, err
	}
	r.enforce(opts.Config, opts.Policy, configStatus{hash: hash, loaded: time.Now()})
	return r, nil
}

// current returns the rules in force.
func (r *reloader) current() *rules.Policy { return r.policy.Load() }

// state returns what is known of the configuration.
func (r *reloader) state() configStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.status
}

// run reloads until ctx is done. Where files cannot be watched it waits for SIGHUP
// alone.
func (r *reloader) run(ctx context.Context) {
	w := newWatcher(r.log)
	defer w.close()
	quiet := time.NewTimer(quietTime)
	quiet.Stop()
	// A file may change after it was read and before it is watched: what is new among
	// the watched is read again.
	reload := func(asked bool) {
		switch again := r.reload(w, asked); {
		case again:
			quiet.Reset(quietTime)
		case !r.recordInForce(ctx):
			quiet.Reset(recordAgain)
		}
	}
	w.watch(r.good)
	reload(false)
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangup:
			reload(true)
		case e := <-w.events:
			if w.matters(e) {
				quiet.Reset(quietTime)
			}
		case err := <-w.errors:
			r.log.Warn("watching configuration files failed, they are read again", zap.Error(err))
			quiet.Reset(quietTime)
		case <-quiet.C:
			reload(false)
		}
	}
}

// recordInForce writes into the audit log what is in force, and reports whether it is written.
func (r *reloader) recordInForce(ctx context.Context) bool {
	hash, rules := r.state().hash, r.current().Hash()
	if r.recorded == hash+rules {
		return true
	}
	if err := r.record(ctx, hash, rules); err != nil {
		if ctx.Err() == nil {
			r.log.Warn("the change of the configuration is not in the audit log yet, will be retried", zap.Error(err))
		}
		return false
	}
	r.recorded = hash + rules
	return true
}

// reload reads the files and puts them in force, or says what is wrong with them.
// asked: a person asked for it, who wants an answer also when nothing changed, and
// refused credentials tried again. It reports whether the files should be read again.
func (r *reloader) reload(w *watcher, asked bool) (again bool) {
	in := &inputs{}
	cfg, policy, err := load(r.file, r.lookup, in)
	if err == nil {
		err = r.take(cfg, policy, in, asked)
	}
	if err != nil {
		r.reject(err, asked)
		// What could not be read this time is watched too.
		in.files = append(in.files, r.good.files...)
		if in.rules == "" {
			in.rules = r.good.rules
		}
	}
	return w.watch(in)
}

// take puts what was read in force.
func (r *reloader) take(cfg *config.Config, policy *rules.Policy, in *inputs, asked bool) error {
	inForce, restart, err := r.cfg.Reloaded(cfg)
	if err != nil {
		return err
	}
	hash, err := inForce.Hash(policy.Hash())
	if err != nil {
		return err
	}
	for _, name := range policy.Accounts() {
		if _, found := inForce.Account(name); !found {
			return fmt.Errorf("the rules need account %q, which takes effect with a restart", name)
		}
	}
	authenticators := map[string]huaweicloud.Authenticator{}
	for name, remote := range r.accounts {
		account, _ := inForce.Account(name)
		if authenticators[name], err = remote.authenticator(account.Auth); err != nil {
			return err
		}
	}
	forges, err := newForge(inForce, r.hosts.metrics)
	if err != nil {
		return err
	}
	if err := r.endpoint.Replace(webhookConnections(inForce)); err != nil {
		return err
	}
	r.hosts.replace(forges, inForce)
	for name, authenticator := range authenticators {
		before, _ := r.cfg.Account(name)
		after, _ := inForce.Account(name)
		renewed := !reflect.DeepEqual(before.Auth, after.Auth)
		if asked || renewed {
			r.accounts[name].credentials.Replace(context.Background(), authenticator)
		}
		if renewed {
			r.log.Info("credentials of Huawei Cloud replaced", zap.String(event.LogAccount, cmp.Or(name, rules.MainAccount)))
		}
	}
	before := r.state()
	r.good = in
	r.enforce(inForce, policy, configStatus{hash: hash, loaded: time.Now(), restart: restart})
	r.report(before, asked)
	return nil
}

// enforce makes a configuration the one in force.
func (r *reloader) enforce(cfg *config.Config, policy *rules.Policy, status configStatus) {
	r.cfg = cfg
	r.policy.Store(policy)
	targets := NoticeTargets(cfg)
	r.targets.Store(&targets)
	key := cfg.Evidence.SigningKey()
	r.evidenceKey.Store(&key)
	r.mu.Lock()
	defer r.mu.Unlock()
	if status.hash == r.status.hash {
		status.loaded = r.status.loaded
	}
	r.status = status
	r.metrics.succeeded(status.hash, policy.Hash())
}

// report logs what a reload changed; before is the state before it.
func (r *reloader) report(before configStatus, asked bool) {
	now := r.state()
	if asked || now.hash != before.hash || before.rejected != "" {
		LogWarnings(r.log, Warnings(r.cfg, r.current()))
		r.log.Info("configuration reloaded", zap.String(event.LogConfigHash, now.hash), zap.String(event.LogRulesHash, r.current().Hash()))
	}
	if len(now.restart) > 0 && (asked || !slices.Equal(now.restart, before.restart)) {
		r.log.Warn("settings changed that take effect with a restart", zap.Strings(event.LogSettings, now.restart))
	}
	if asked && len(r.good.variables) > 0 {
		r.log.Info("secrets from environment variables change only with a restart", zap.Strings(event.LogVariables, r.good.variables))
	}
}

// reject keeps what is in force.
func (r *reloader) reject(err error, asked bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.metrics.successful.Set(0)
	if r.status.rejected == err.Error() && !asked {
		return
	}
	r.log.Error("configuration rejected, the last good one stays in force", zap.String(event.LogConfigHash, r.status.hash), zap.Error(err))
	if r.status.rejected == "" {
		r.status.failed = time.Now()
	}
	r.status.rejected = err.Error()
}

// configMetrics say which configuration is in force.
type configMetrics struct {
	successful, succeededAt, hash prometheus.Gauge
	rules                         *prometheus.GaugeVec
}

func newConfigMetrics(registry prometheus.Registerer) configMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	m := configMetrics{
		successful:  gauge("gatewright_config_last_reload_successful", "1 when the configuration files were good when they were last read, else 0."),
		succeededAt: gauge("gatewright_config_last_reload_success_timestamp_seconds", "When the configuration files were last read and good."),
		hash:        gauge("gatewright_config_hash", "Hash, as a number, of the settings, secrets and rules in force: replicas that differ have another configuration."),
		rules: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatewright_rules_info", Help: "1, with the hash of the rules in force.",
		}, []string{"hash"}),
	}
	registry.MustRegister(m.successful, m.succeededAt, m.hash, m.rules)
	return m
}

func (m configMetrics) succeeded(hash, rules string) {
	m.successful.Set(1)
	m.succeededAt.SetToCurrentTime()
	// Twelve hex digits are exact in a float64.
	number, _ := strconv.ParseUint(hash, 16, 64)
	m.hash.Set(float64(number))
	m.rules.Reset()
	m.rules.WithLabelValues(rules).Set(1)
}
