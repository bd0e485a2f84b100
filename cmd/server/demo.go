package main

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/standin"
)

//go:embed demo
var demoFiles embed.FS

// storyTimeout bounds the whole story.
const storyTimeout = 55 * time.Second

type demoFlags struct {
	addr         string
	once, asJSON bool
}

func newDemo(env environment) *cobra.Command {
	var flags demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the whole way from a push to a release, on this machine alone",
		Long: `Starts everything in one process on loopback: the server on a fresh database, a
stand-in of Huawei Cloud (IAM, CodeArts Check, ServiceStage), and a small git
repository with real commits. Then it sends signed webhooks as GitHub, GitLab and
Gitee send them, and tells what happens, one line a step.

It then stays up, for you to try things, until it is interrupted. With --once it
ends after the story, with exit code 0 only if every expectation held.`,
		Example: `  gatewright demo
  gatewright demo --once
  gatewright demo --once --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := loopbackOnly(flags.addr); err != nil {
				return usageError{err}
			}
			return demo(cmd.Context(), flags, env)
		},
	}
	cmd.Flags().StringVar(&flags.addr, "addr", "127.0.0.1:8080", "the loopback address of the server; port 0 picks a free one")
	cmd.Flags().BoolVar(&flags.once, "once", false, "end after the story")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print one JSON object and nothing else; implies --once")
	return cmd
}

// loopbackOnly refuses an address that others could reach: the demo's secrets are
// printed.
func loopbackOnly(addr string) error {
	if err := checkAddr(addr); err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--addr %q: the demo listens on loopback only, such as 127.0.0.1:8080", addr)
	}
	return nil
}

// checkAddr refuses what is no address to listen on.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("--addr %q: write host:port with a port from 0 to 65535, such as 127.0.0.1:8080", addr)
	}
	return nil
}

func demo(ctx context.Context, flags demoFlags, env environment) error {
	folder, err := os.MkdirTemp("", "gatewright-demo-")
	if err != nil {
		return fmt.Errorf("make demo folder: %w", err)
	}
	defer os.RemoveAll(folder)
	d := &demonstration{folder: folder, secrets: map[string]string{}, scanDelay: 400 * time.Millisecond}
	if err := d.start(ctx, flags.addr); err != nil {
		return errors.Join(err, d.stop())
	}
	err = d.tell(ctx, flags, env)
	return errors.Join(err, d.stop())
}

// demonstration is everything that runs in a demo.
type demonstration struct {
	folder string
	// secrets are the environment of the demo's server file.
	secrets map[string]string
	// store is the server file's store section; empty means the demo's own.
	store string
	// rules is the rules file; empty means the demo's own.
	rules string
	// scanDelay is the least time that a scan takes.
	scanDelay time.Duration
	standin   *standin.Server
	remote    *http.Server
	world     world
	app       *app
	cfg       *config.Config
	base      string
	log       *zap.Logger
	logFile   *os.File
	// stopApp ends the server; stopped receives what it ended with.
	stopApp context.CancelFunc
	stopped chan error
}

// start brings up the stand-in and the server, each on its own loopback port.
func (d *demonstration) start(ctx context.Context, addr string) error {
	for _, name := range []string{"DEMO_GITHUB_SECRET", "DEMO_GITLAB_TOKEN", "DEMO_GITEE_SECRET", "DEMO_ACCESS_KEY", "DEMO_SECRET_KEY"} {
		random := make([]byte, 16)
		// rand.Read never fails.
		_, _ = rand.Read(random)
		d.secrets[name] = hex.EncodeToString(random)
	}
	var err error
	if d.logFile, err = os.Create(filepath.Join(d.folder, "gatewright.log")); err != nil {
		return fmt.Errorf("make log: %w", err)
	}
	d.log = zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(d.logFile), zap.InfoLevel))
	endpoint, err := d.startStandin()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w: give another --addr, such as 127.0.0.1:0 for a free port", err)
	}
	d.base = "http://" + l.Addr().String()
	if err := d.startApp(ctx, l, endpoint); err != nil {
		return errors.Join(err, l.Close())
	}
	return nil
}

func (d *demonstration) startStandin() (endpoint string, err error) {
	pipelines, err := demoFiles.ReadFile("demo/pipelines.yaml")
	if err != nil {
		return "", err
	}
	if d.world, err = makeWorld(d.folder, pipelines); err != nil {
		return "", err
	}
	options := d.world.options
	options.AccessKey, options.SecretKey = d.secrets["DEMO_ACCESS_KEY"], d.secrets["DEMO_SECRET_KEY"]
	options.ScanDelay = d.scanDelay
	options.Log = d.log.Named("standin")
	if d.standin, err = standin.New(options); err != nil {
		return "", fmt.Errorf("start stand-in: %w", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("start stand-in: %w", err)
	}
	d.remote = &http.Server{Handler: d.standin.Handler(), ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(d.log)}
	go func() { _ = d.remote.Serve(l) }()
	return "http://" + l.Addr().String(), nil
}

// startApp reads the demo's files as serve reads its own, and runs the server.
func (d *demonstration) startApp(ctx context.Context, l net.Listener, endpoint string) error {
	fill := map[string]string{
		"ADDR": l.Addr().String(), "STANDIN": endpoint,
		"REGION_PROJECT": d.world.options.RegionProject.ID, "PROJECT": d.world.options.Projects[0].ID,
		"PIPELINE": d.world.pipeline, "CHECKPOINT": d.world.checkpoint, "STORE": d.store,
	}
	if d.store == "" {
		fill["STORE"] = "{sqlite: {path: gatewright.db}}"
	}
	for _, name := range []string{"gatewright.yaml", "rules.yaml"} {
		text, err := fs.ReadFile(demoFiles, "demo/"+name)
		if err != nil {
			return err
		}
		if name == "rules.yaml" && d.rules != "" {
			text = []byte(d.rules)
		}
		filled := os.Expand(string(text), func(key string) string { return fill[key] })
		if err := os.WriteFile(filepath.Join(d.folder, name), []byte(filled), 0o600); err != nil {
			return fmt.Errorf("write demo file: %w", err)
		}
	}
	cfg, policy, err := load(filepath.Join(d.folder, "gatewright.yaml"), environment{LookupEnv: func(name string) (string, bool) {
		value, ok := d.secrets[name]
		return value, ok
	}})
	if err != nil {
		return fmt.Errorf("load demo files: %w", err)
	}
	d.cfg = cfg
	if d.app, err = newApp(ctx, cfg, policy, d.log); err != nil {
		return err
	}
	appCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.stopApp, d.stopped = cancel, make(chan error, 1)
	go func() { d.stopped <- d.app.run(appCtx, l) }()
	return nil
}

// stop ends what was started, in the opposite order.
func (d *demonstration) stop() error {
	var errs []error
	if d.stopApp != nil {
		d.stopApp()
		errs = append(errs, <-d.stopped)
	}
	if d.remote != nil {
		errs = append(errs, d.remote.Close())
	}
	if d.standin != nil {
		d.standin.Close()
	}
	if d.logFile != nil {
		errs = append(errs, d.logFile.Close())
	}
	return errors.Join(errs...)
}

// tell sends the deliveries, narrates, judges, and then ends or stays up.
func (d *demonstration) tell(ctx context.Context, flags demoFlags, env environment) error {
	n := newNarrator(env.Stdout, flags.asJSON)
	n.say("", "start", "gatewright at %s, stand-in of Huawei Cloud at %s", d.base, d.cfg.HuaweiCloud.Endpoints.CodeCheck)
	n.say("", "start", "git repository acme/shop: commit %s is clean, commit %s has a secret and a syntax error", shortSHA(d.world.clean), shortSHA(d.world.bad))

	storyCtx, cancel := context.WithTimeout(ctx, storyTimeout)
	defer cancel()
	told, err := d.story(storyCtx, n)
	if err != nil {
		return err
	}
	report := d.report(told)
	broken := judge(report)
	if flags.asJSON {
		if err := writeJSON(env.Stdout, report); err != nil {
			return err
		}
	}
	for _, expectation := range broken {
		n.say("", "broken", "%s", expectation)
	}
	if len(broken) > 0 {
		fmt.Fprintf(env.Stderr, "gatewright: the story did not hold: %s\n", strings.Join(broken, "; "))
		return errNo
	}
	n.say("", "done", "every expectation held")
	if flags.once || flags.asJSON {
		return nil
	}
	d.inviteToTry(env, n)
	<-ctx.Done()
	return nil
}

// inviteToTry prints commands that work as they are printed.
func (d *demonstration) inviteToTry(env environment, n *narrator) {
	payload := filepath.Join(d.folder, "gitlab-push.json")
	body, err := d.world.payload("gitlab-push", change{Branch: "main", Before: d.world.clean, SHA: d.world.parent})
	if err == nil {
		err = os.WriteFile(payload, body, 0o600)
	}
	if err != nil {
		n.say("", "note", "no payload to try: %v", err)
		return
	}
	fmt.Fprintf(env.Stdout, `
It stays up; interrupt it to end. Try:

  # what an operator sees
  curl -s %[1]s/metrics | grep '^gatewright_'

  # send a push as GitLab would: main moves back by one commit, and is checked again
  curl -i %[1]s/webhooks/gitlab -H 'Content-Type: application/json' \
    -H 'X-Gitlab-Event: Push Hook' -H 'X-Gitlab-Token: %[2]s' --data-binary @%[3]s

  # the same with a wrong token is refused
  curl -i %[1]s/webhooks/gitlab -H 'Content-Type: application/json' \
    -H 'X-Gitlab-Event: Push Hook' -H 'X-Gitlab-Token: wrong' --data-binary @%[3]s

  # what became of it
  %[5]s list runs --db %[4]s

`, d.base, d.secrets["DEMO_GITLAB_TOKEN"], payload, d.cfg.Store.SQLite.Path, ourName())
}

// ourName is how this program was called.
func ourName() string {
	if filepath.Base(os.Args[0]) == "server" {
		return "go run ./cmd/server"
	}
	return os.Args[0]
}
