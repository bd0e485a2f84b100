// Package demo is the world in which Gatewright is shown and tested end to end: on
// loopback, in one process, the service on a database of its own, a stand-in of Huawei
// Cloud, and one small git repository as three git hosts would serve it.
package demo

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/evidence"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
)

//go:embed files
var files embed.FS

// Options say how a demo differs from the usual one. Folder is mandatory.
type Options struct {
	// Folder takes everything that the demo writes: the repositories, the database,
	// the server file and the rules, the log. It must exist and be empty.
	Folder string
	// Addr and PrivateAddr are the loopback addresses of the service; default
	// 127.0.0.1:0, a free port.
	Addr, PrivateAddr string
	// Version is the program's.
	Version string
	// Store is the server file's store section; default a SQLite file in Folder.
	Store string
	// Secrets are further variables that Store names.
	Secrets map[string]string
	// Rules replaces the rules file.
	Rules string
	// ScanDelay is the least time that a scan takes; default 400 ms.
	ScanDelay time.Duration
	// HTTP is more of the server file's http section, such as "max_body: 1KiB".
	HTTP string
	// Recovery is the server file's recovery section; default "{interval: off}".
	Recovery string
	// People adds to the server file who may approve, that whoever opens the pages is [Opener], and a key that
	// signs evidence, and to the rules one that holds the release of a merge request at Gitea until two of them approve.
	People bool
	// Server changes the server file before its variables are filled in; default: not.
	Server func(text string) string
}

// Demo is everything that runs in a demo. Its methods are not for concurrent use.
type Demo struct {
	World   *World
	Standin *standin.Server
	// Secrets is the environment of the server file.
	Secrets map[string]string
	// EvidenceKey is the public half of the key that signs evidence, in PEM form; empty without one.
	EvidenceKey []byte

	opts     Options
	endpoint string // of the stand-in
	remote   *http.Server
	log      *zap.Logger
	logFile  *os.File

	// The service; stopService is nil while it does not run.
	cfg         *config.Config
	app         *app.App
	listeners   app.Listeners
	stopService context.CancelFunc
	stopped     chan error
	hangup      chan os.Signal
}

// Start starts the stand-in and the service, each on a loopback port of its own.
// After an error nothing is left running.
func Start(ctx context.Context, opts Options) (*Demo, error) {
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.PrivateAddr == "" {
		opts.PrivateAddr = "127.0.0.1:0"
	}
	if opts.Store == "" {
		opts.Store = "{sqlite: {path: gatewright.db}}"
	}
	if opts.Recovery == "" {
		opts.Recovery = "{interval: off}"
	}
	if opts.ScanDelay == 0 {
		opts.ScanDelay = 400 * time.Millisecond
	}
	d := &Demo{opts: opts, Secrets: makeSecrets(opts.Secrets), hangup: make(chan os.Signal, 1)}
	if opts.People {
		private, public, err := evidence.GenerateKey()
		if err != nil {
			return nil, err
		}
		d.Secrets["DEMO_EVIDENCE_KEY"], d.EvidenceKey = string(private), public
	}
	if err := d.start(ctx); err != nil {
		return nil, errors.Join(err, d.Stop())
	}
	return d, nil
}

// makeSecrets makes a random value for each secret of the server file.
func makeSecrets(further map[string]string) map[string]string {
	secrets := map[string]string{}
	for _, name := range []string{"DEMO_GITHUB_SECRET", "DEMO_GITLAB_TOKEN", "DEMO_GITEE_SECRET", "DEMO_GITEA_SECRET",
		"DEMO_GITHUB_API", "DEMO_GITLAB_API", "DEMO_GITEE_API", "DEMO_GITEA_API", "DEMO_ACCESS_KEY", "DEMO_SECRET_KEY"} {
		random := make([]byte, 16)
		// rand.Read never fails.
		_, _ = rand.Read(random)
		secrets[name] = hex.EncodeToString(random)
	}
	for name, value := range further {
		secrets[name] = value
	}
	return secrets
}

func (d *Demo) start(ctx context.Context) (err error) {
	if d.logFile, err = os.Create(filepath.Join(d.opts.Folder, "gatewright.log")); err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	d.log = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(d.logFile), zap.InfoLevel))
	if err := d.startStandin(); err != nil {
		return fmt.Errorf("start stand-in: %w", err)
	}
	return d.StartService(ctx, d.opts.Addr, "")
}

func (d *Demo) startStandin() (err error) {
	if d.World, err = makeWorld(d.opts.Folder); err != nil {
		return err
	}
	options := d.World.options
	options.AccessKey, options.SecretKey = d.Secrets["DEMO_ACCESS_KEY"], d.Secrets["DEMO_SECRET_KEY"]
	for i, host := range options.GitHosts {
		options.GitHosts[i].Token = d.Secrets["DEMO_"+strings.ToUpper(host.Kind)+"_API"]
	}
	options.ScanDelay = d.opts.ScanDelay
	options.Log = d.log.Named("standin")
	if d.Standin, err = standin.New(options); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	d.endpoint = "http://" + l.Addr().String()
	d.remote = &http.Server{Handler: d.Standin.Handler(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(d.log)}
	go func() { _ = d.remote.Serve(l) }()
	return nil
}

// StartService starts the service on an address, with a store section in its server
// file; empty means the one that it had before. It must not be running.
func (d *Demo) StartService(ctx context.Context, addr, storeSection string) error {
	if storeSection != "" {
		d.opts.Store = storeSection
	}
	l, err := app.Listen(config.HTTP{Addr: addr, PrivateAddr: d.opts.PrivateAddr})
	if err != nil {
		return fmt.Errorf("%w: --addr and --private-addr, such as 127.0.0.1:0 for a free port", err)
	}
	d.listeners = l
	if err := d.startService(ctx, l); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

// startService reads the demo's files as serve reads its own, and runs the service.
func (d *Demo) startService(ctx context.Context, l app.Listeners) error {
	if err := d.writeFiles(l); err != nil {
		return fmt.Errorf("write demo files: %w", err)
	}
	secrets := maps.Clone(d.Secrets)
	lookup := func(name string) (string, bool) {
		value, ok := secrets[name]
		return value, ok
	}
	cfg, policy, err := app.Load(d.ServerFile(), lookup)
	if err != nil {
		return fmt.Errorf("load demo files: %w", err)
	}
	a, err := app.New(ctx, app.Options{
		Config: cfg, Policy: policy, File: d.ServerFile(), LookupEnv: lookup, Hangup: d.hangup, Log: d.log, Version: d.opts.Version,
	})
	if err != nil {
		return err
	}
	d.cfg, d.app = cfg, a
	ctx, d.stopService = context.WithCancel(context.WithoutCancel(ctx))
	d.stopped = make(chan error, 1)
	go func() { d.stopped <- a.Run(ctx, l) }()
	return nil
}

// writeFiles writes the server file and the rules.
func (d *Demo) writeFiles(l app.Listeners) error {
	fill := map[string]string{
		"ADDR": l.Public.Addr().String(), "PRIVATE_ADDR": l.Private.Addr().String(), "HTTP": d.opts.HTTP, "STANDIN": d.endpoint, "STORE": d.opts.Store, "RECOVERY": d.opts.Recovery,
		"REGION_PROJECT": d.World.RegionProject(), "PROJECT": d.World.options.Projects[0].ID,
		"PIPELINE": d.World.Pipeline, "FAILING_PIPELINE": d.World.FailingPipeline, "CHECKPOINT": d.World.Checkpoint, "AUTH": "none",
	}
	if d.opts.People {
		fill["AUTH"] = "{none: {person: " + Opener().Login + "}}"
		fill["HELD_PIPELINE"] = fmt.Sprintf(", staging: %q", d.World.HeldPipeline)
		for key, name := range map[string]string{"PEOPLE": "people.yaml", "HELD_RULE": "held-rule.yaml"} {
			text, err := fs.ReadFile(files, "files/"+name)
			if err != nil {
				return err
			}
			fill[key] = string(text)
		}
	}
	for _, name := range []string{"gatewright.yaml", "rules.yaml"} {
		text, err := fs.ReadFile(files, "files/"+name)
		if err != nil {
			return err
		}
		if name == "rules.yaml" && d.opts.Rules != "" {
			text = []byte(d.opts.Rules)
		}
		if name == "gatewright.yaml" && d.opts.Server != nil {
			text = []byte(d.opts.Server(string(text)))
		}
		filled := os.Expand(string(text), func(key string) string { return fill[key] })
		if err := os.WriteFile(filepath.Join(d.opts.Folder, name), []byte(filled), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// StopService stops the service as SIGTERM does, and leaves the stand-in running. It
// does nothing when the service does not run.
func (d *Demo) StopService() error {
	if d.stopService == nil {
		return nil
	}
	d.stopService()
	d.stopService = nil
	return <-d.stopped
}

// Stop stops the service and the stand-in. The folder stays.
func (d *Demo) Stop() error {
	errs := []error{d.StopService()}
	if d.remote != nil {
		errs = append(errs, d.remote.Close())
	}
	if d.Standin != nil {
		d.Standin.Close()
	}
	if d.logFile != nil {
		errs = append(errs, d.logFile.Close())
	}
	return errors.Join(errs...)
}

// Hangup does what SIGHUP does to the service.
func (d *Demo) Hangup() { d.hangup <- syscall.SIGHUP }

// Base is the address of webhooks, such as http://127.0.0.1:8080. It changes with
// StartService.
func (d *Demo) Base() string { return "http://" + d.listeners.Public.Addr().String() }

// Private is the address of health and metrics, such as http://127.0.0.1:8081. It
// changes with StartService.
func (d *Demo) Private() string { return "http://" + d.listeners.Private.Addr().String() }

// Endpoint is the address of the stand-in.
func (d *Demo) Endpoint() string { return d.endpoint }

// ServerFile is the path of the server file.
func (d *Demo) ServerFile() string { return filepath.Join(d.opts.Folder, "gatewright.yaml") }

// SQLite is the path of the database; it is empty when the database is PostgreSQL.
func (d *Demo) SQLite() string { return app.StoreOptions(d.cfg.Store).SQLite }

// Store is the database of the service that runs, or ran last.
func (d *Demo) Store() *store.Store { return d.app.Store() }
