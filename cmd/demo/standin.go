package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
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
	addr, accessKey, secretKey, securityToken, user, password string
	agency, gitUser, gitToken                                 string
	pipelines, codePipelines, faults, appKey                  string
	repositories                                              []string
	// switches are the values of the switches that were given, by name.
	switches map[string]string
}

func newStandin(env command.Environment) *cobra.Command {
	flags := standinFlags{switches: map[string]string{}}
	cmd := &cobra.Command{
		Use:   "standin",
		Short: "Serve the stand-in of Huawei Cloud alone",
		Long: `Serves IAM tokens, CodeArts Check, ServiceStage release pipelines and CodeArts
Pipeline on one address, as their documents describe them, so that any client
can be pointed at it; and what the APIs of GitHub (/api/v3), GitLab (/api/v4),
Gitee (/api/v5) and Gitea (/api/v1) say of a branch, a tag or a merge request,
and take as statuses and comments, which GET /standin/reports shows. Tokens and
signatures are really verified. It starts with one project that has a few tasks
on small local repositories, and one pipeline of each kind, and prints their ids.

--repository acme/shop=PATH puts a repository of yours in the place of those.
The pipelines files look as configs/standin/pipelines.yaml and
configs/standin/code-pipelines.yaml do.

Where the documents contradict themselves or are silent there is a switch; each
is a flag, and GET and PATCH /standin/switches read and change them while it
runs. GET /standin/pipelines tells how the ServiceStage pipelines stand, and PATCH
/standin/pipelines/ID changes them: {"fail": {"ax8hus": 2}} lets a task fail twice (-1:
always), {"rollback_fails": true} lets rollbacks fail, {"action": "stop"} is what somebody
does in the console, {"forget": true} lets the newest execution vanish. GET /standin/calls and /standin/counts tell what it was asked to do; PUT
/standin/faults switches faults on. docs/standin.md describes all of it.`,
		Example: `  gatewright-demo standin --addr 127.0.0.1:9090
  gatewright-demo standin --access-key AK --secret-key SK --user ci --password hush
  gatewright-demo standin --repository acme/shop=../shop --repository acme/api=../api
  gatewright-demo standin --dialect 2023 --list-incremental true --error-status 400`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := flags.check(cmd); err != nil {
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
	cmd.Flags().StringVar(&flags.securityToken, "security-token", "", "makes the access key a temporary one, which needs this X-Security-Token")
	cmd.Flags().StringVar(&flags.agency, "agency", "", "ACCOUNT/NAME of an agency by which the user and the key may act")
	cmd.Flags().StringVar(&flags.gitUser, "git-user", "", "the username that the repositories want when a task names one; default: any")
	cmd.Flags().StringVar(&flags.gitToken, "git-token", "", "the access_token that goes with it")
	cmd.Flags().StringArrayVar(&flags.repositories, "repository", nil, "acme/shop=PATH, a git repository of yours, in place of those it starts with; can be given several times")
	cmd.Flags().StringVar(&flags.pipelines, "pipelines", "", "a YAML file of ServiceStage pipelines, in place of the one it starts with")
	cmd.Flags().StringVar(&flags.codePipelines, "code-pipelines", "", "a YAML file of CodeArts Pipeline's, in place of the one it starts with")
	cmd.Flags().StringVar(&flags.faults, "faults", "", "a JSON file of faults, as for PUT /standin/faults")
	cmd.Flags().StringVar(&flags.appKey, "app-key", "", "a PEM file with an RSA key, private or public: GitHub has an App 1 with this key and the installation 2")
	for _, s := range standin.Switches() {
		switch {
		case s.IsBool():
			cmd.Flags().Bool(s.Flag(), false, s.Meaning)
		case len(s.Values) > 0:
			cmd.Flags().String(s.Flag(), s.Default, s.Meaning+" ("+strings.Join(s.Values, ", ")+")")
		default:
			cmd.Flags().String(s.Flag(), s.Default, s.Meaning)
		}
	}
	return cmd
}

// check complains of the first flag that is wrong, and takes over the switches that were given.
func (f standinFlags) check(cmd *cobra.Command) error {
	if err := checkAddr("--addr", f.addr); err != nil {
		return err
	}
	for _, s := range standin.Switches() {
		flag := cmd.Flags().Lookup(s.Flag())
		if !flag.Changed {
			continue
		}
		if err := s.Set(&standin.Options{}, flag.Value.String()); err != nil {
			return fmt.Errorf("--%s %w", s.Flag(), err)
		}
		f.switches[s.Name] = flag.Value.String()
	}
	for _, text := range f.repositories {
		if _, err := standin.ParseRepository(text); err != nil {
			return fmt.Errorf("--repository %w", err)
		}
	}
	if (f.accessKey == "") != (f.secretKey == "") {
		return errors.New("give --access-key and --secret-key together")
	}
	if (f.user == "") != (f.password == "") {
		return errors.New("give --user and --password together")
	}
	if account, name, _ := strings.Cut(f.agency, "/"); f.agency != "" && (account == "" || name == "") {
		return fmt.Errorf("--agency %q: write ACCOUNT/NAME", f.agency)
	}
	if (f.gitUser == "") != (f.gitToken == "") {
		return errors.New("give --git-user and --git-token together")
	}
	return nil
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
	options, err := flags.options(folder)
	if err != nil {
		return err
	}
	options.Log = log
	server, err := standin.New(options)
	if err != nil {
		return err
	}
	defer server.Close()
	if err := flags.setFaults(server); err != nil {
		return err
	}
	l, err := net.Listen("tcp", flags.addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	printStandin(env, l.Addr().String(), flags, options)
	return serveUntilDone(ctx, l, server.Handler(), log)
}

// options are what the stand-in starts with; folder takes its repositories.
func (f standinFlags) options(folder string) (standin.Options, error) {
	options, err := standin.Sample(folder)
	if err != nil {
		return standin.Options{}, err
	}
	if f.accessKey != "" {
		options.AccessKey, options.SecretKey = f.accessKey, f.secretKey
	}
	if f.user != "" {
		options.User, options.Password, options.Domain = f.user, f.password, f.user
	}
	options.SecurityToken = f.securityToken
	options.AgencyDomain, options.Agency, _ = strings.Cut(f.agency, "/")
	options.RepositoryUser, options.RepositoryToken = f.gitUser, f.gitToken
	for _, s := range standin.Switches() {
		if value, given := f.switches[s.Name]; given {
			if err := s.Set(&options, value); err != nil {
				return standin.Options{}, err
			}
		}
	}
	if len(f.repositories) > 0 {
		if err := options.UseRepositories(f.localRepositories()); err != nil {
			return standin.Options{}, err
		}
	}
	if f.pipelines != "" {
		data, err := os.ReadFile(f.pipelines)
		if err != nil {
			return standin.Options{}, fmt.Errorf("read pipelines: %w", err)
		}
		if options.Pipelines, err = standin.LoadPipelines(f.pipelines, data); err != nil {
			return standin.Options{}, err
		}
	}
	if f.codePipelines != "" {
		data, err := os.ReadFile(f.codePipelines)
		if err != nil {
			return standin.Options{}, fmt.Errorf("read code pipelines: %w", err)
		}
		if options.CodePipelines, err = standin.LoadCodePipelines(f.codePipelines, data); err != nil {
			return standin.Options{}, err
		}
	}
	if f.appKey != "" {
		data, err := os.ReadFile(f.appKey)
		if err != nil {
			return standin.Options{}, fmt.Errorf("read app key: %w", err)
		}
		app, err := standin.ReadApp(data)
		if err != nil {
			return standin.Options{}, fmt.Errorf("read app key %s: %w", f.appKey, err)
		}
		for i := range options.GitHosts {
			options.GitHosts[i].App = app // only GitHub has Apps
		}
	}
	return options, nil
}

// localRepositories are those of --repository, which check has read before.
func (f standinFlags) localRepositories() []standin.LocalRepository {
	var repositories []standin.LocalRepository
	for _, text := range f.repositories {
		if r, err := standin.ParseRepository(text); err == nil {
			repositories = append(repositories, r)
		}
	}
	return repositories
}

// setFaults switches the faults of --faults on.
func (f standinFlags) setFaults(server *standin.Server) error {
	if f.faults == "" {
		return nil
	}
	data, err := os.ReadFile(f.faults)
	if err != nil {
		return fmt.Errorf("read faults: %w", err)
	}
	faults, err := standin.ReadFaults(data)
	if err == nil {
		err = server.SetFaults(faults)
	}
	if err != nil {
		return fmt.Errorf("read faults %s: %w", f.faults, err)
	}
	return nil
}

// printStandin prints what a client has to know. Of the credentials it prints
// only the secrets that nobody chose, which open nothing else.
func printStandin(env command.Environment, addr string, flags standinFlags, options standin.Options) {
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintf(w, "endpoint\thttp://%s\t(IAM, CodeArts Check, ServiceStage, CodeArts Pipeline)\n", addr)
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
	for _, p := range options.CodePipelines {
		fmt.Fprintf(w, "CodeArts pipeline\t%s\t%s\treviews: %s\n", p.ID, p.Name, strings.Join(p.Reviews(), ", "))
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
