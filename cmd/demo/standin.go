package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/standin"
)

type standinFlags struct {
	addr, accessKey, secretKey, user, password, pipelines, dialect string
	scanDelay                                                      time.Duration
	ignoreJobID                                                    bool
	release                                                        []string
}

func newStandin(env command.Environment) *cobra.Command {
	var flags standinFlags
	cmd := &cobra.Command{
		Use:   "standin",
		Short: "Serve the stand-in of Huawei Cloud alone",
		Long: `Serves IAM tokens, CodeArts Check and ServiceStage release pipelines on one
address, as their documents describe them, so that any client can be pointed at
it; and what the APIs of GitHub (/api/v3), GitLab (/api/v4) and Gitee (/api/v5)
say of a branch, a tag or a merge request. Tokens and signatures are really verified. It starts with one project that has
a few tasks on small local repositories, and one pipeline, and prints their ids.

A pipelines file looks as configs/standin/pipelines.yaml does.

GET /standin/calls and /standin/counts tell what it was asked to do; PUT
/standin/faults switches faults on. PATCH /standin/release sets what --release sets.
GET /standin/pipelines tells how the pipelines stand, and PATCH /standin/pipelines/ID
changes them: {"fail": {"ax8hus": 2}} lets a task fail twice (-1: always),
{"rollback_fails": true} lets rollbacks fail, {"action": "stop"} is what somebody does in
the console (start, stop, retry, continue, rollback, or approval with task_name and
approval_type), {"forget": true} lets the newest execution vanish.

--release NAME or NAME=VALUE, several times, sets what ServiceStage's documents leave open.
Switches: text_ids, list_object, declaration_list, hide_task_status, not_found_401,
failures_end_good (with fail_mode continue), new_executions (of retry, continue and
rollback), pause_blocks_start. Times: stop_delay (2s), restart_delay (1s), rollback_delay
(2s), register_delay (0s), approval_delay (0s).`,
		Example: `  gatewright-demo standin --addr 127.0.0.1:9090
  gatewright-demo standin --addr 127.0.0.1:9090 --access-key AK --secret-key SK --user ci --password hush
  gatewright-demo standin --addr 127.0.0.1:9090 --pipelines pipelines.yaml
  gatewright-demo standin --release new_executions --release stop_delay=500ms`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(); err != nil {
				return command.UsageError{Err: err}
			}
			return serveStandin(cmd.Context(), flags, env)
		},
	}
	cmd.Flags().StringVar(&flags.addr, "addr", "127.0.0.1:9090", "the address to listen on; port 0 picks a free one")
	cmd.Flags().StringVar(&flags.accessKey, "access-key", "", "the access key (AK); default: one that is printed, with its secret key")
	cmd.Flags().StringVar(&flags.secretKey, "secret-key", "", "the secret key (SK)")
	cmd.Flags().StringVar(&flags.user, "user", "", "the IAM user, also the name of its account (domain); default: one that is printed, with its password")
	cmd.Flags().StringVar(&flags.password, "password", "", "the user's password")
	cmd.Flags().StringVar(&flags.pipelines, "pipelines", "", "a YAML file of pipelines, in place of the one it starts with")
	cmd.Flags().StringArrayVar(&flags.release, "release", nil, "a setting of ServiceStage, as NAME or NAME=VALUE; may be given several times")
	cmd.Flags().StringVar(&flags.dialect, "dialect", string(standin.Dialect2026), "the edition of CodeArts Check's API: 2026 or 2023")
	cmd.Flags().BoolVar(&flags.ignoreJobID, "ignore-job-id", false, "tell of a task's latest execution whatever job_id says")
	cmd.Flags().DurationVar(&flags.scanDelay, "scan-delay", 2*time.Second, "the least time that a run takes")
	return cmd
}

func (f standinFlags) check() error {
	if err := checkAddr("--addr", f.addr); err != nil {
		return err
	}
	if f.scanDelay < 0 {
		return fmt.Errorf("--scan-delay %v: write a time from 0 on, such as 2s", f.scanDelay)
	}
	if (f.accessKey == "") != (f.secretKey == "") {
		return errors.New("give --access-key and --secret-key together")
	}
	if (f.user == "") != (f.password == "") {
		return errors.New("give --user and --password together")
	}
	if !slices.Contains([]string{string(standin.Dialect2026), string(standin.Dialect2023)}, f.dialect) {
		return fmt.Errorf("--dialect %q: write 2026 or 2023", f.dialect)
	}
	_, err := f.releaseSettings()
	return err
}

// releaseSettings are those that --release gives.
func (f standinFlags) releaseSettings() (settings standin.ReleaseSettings, err error) {
	for _, setting := range f.release {
		name, value, _ := strings.Cut(setting, "=")
		if err := settings.Set(name, value); err != nil {
			return settings, fmt.Errorf("--release: %w", err)
		}
	}
	return settings, nil
}

func serveStandin(ctx context.Context, flags standinFlags, env command.Environment) error {
	log, err := app.NewLog(config.Log{Level: "info", Format: "console"}, env.Stderr)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "gatewright-standin-")
	if err != nil {
		return fmt.Errorf("make folder for repositories: %w", err)
	}
	defer os.RemoveAll(folder)
	options, err := standin.Sample(folder)
	if err != nil {
		return err
	}
	if flags.accessKey != "" {
		options.AccessKey, options.SecretKey = flags.accessKey, flags.secretKey
	}
	if flags.user != "" {
		options.User, options.Password, options.Domain = flags.user, flags.password, flags.user
	}
	options.Dialect, options.ScanDelay, options.Log = standin.Dialect(flags.dialect), flags.scanDelay, log
	options.IgnoreJobID = flags.ignoreJobID
	if options.Release, err = flags.releaseSettings(); err != nil {
		return err
	}
	if flags.scanDelay == 0 {
		options.ScanDelay = -1 // none; 0 would be the default
	}
	if flags.pipelines != "" {
		data, err := os.ReadFile(flags.pipelines)
		if err != nil {
			return fmt.Errorf("read pipelines: %w", err)
		}
		if options.Pipelines, err = standin.LoadPipelines(flags.pipelines, data); err != nil {
			return err
		}
	}
	server, err := standin.New(options)
	if err != nil {
		return err
	}
	defer server.Close()
	l, err := net.Listen("tcp", flags.addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	printStandin(env, l.Addr().String(), flags, options)
	return serveUntilDone(ctx, l, server.Handler(), log)
}

// printStandin prints what a client has to know. Of the credentials it prints
// only the secrets that nobody chose, which open nothing else.
func printStandin(env command.Environment, addr string, flags standinFlags, options standin.Options) {
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "endpoint\thttp://%s\t(IAM, CodeArts Check and ServiceStage)\n", addr)
	fmt.Fprintf(w, "access key\t%s\n", options.AccessKey)
	if flags.secretKey == "" {
		fmt.Fprintf(w, "secret key\t%s\n", options.SecretKey)
	}
	fmt.Fprintf(w, "user\t%s\tof domain %s\n", options.User, options.Domain)
	if flags.password == "" {
		fmt.Fprintf(w, "password\t%s\n", options.Password)
	}
	for _, host := range options.GitHosts {
		fmt.Fprintf(w, "%s API\ttoken %s\t%s\n", host.Kind, host.Token, host.URL)
	}
	fmt.Fprintf(w, "IAM project\t%s\t%s\n", options.RegionProject.ID, options.RegionProject.Name)
	for _, p := range options.Projects {
		fmt.Fprintf(w, "CodeArts project\t%s\t%s\n", p.ID, p.Name)
	}
	for _, t := range options.Tasks {
		fmt.Fprintf(w, "task\t%s\t%s\t%s\t%s\n", t.ID, t.Name, t.RepoURL, t.Branch)
	}
	for _, p := range options.Pipelines {
		fmt.Fprintf(w, "pipeline\t%s\t%s\tcheckpoints: %s\n", p.ID, p.Name, strings.Join(p.Checkpoints(), ", "))
	}
}

// serveUntilDone serves on l until ctx is done.
func serveUntilDone(ctx context.Context, l net.Listener, handler http.Handler, log *zap.Logger) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, ErrorLog: zap.NewStdLog(log)}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	log.Info("stand-in started", zap.String(event.LogAddr, l.Addr().String()))
	select {
	case err := <-served:
		return fmt.Errorf("serve stand-in: %w", err)
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err := server.Shutdown(grace)
	<-served
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}
