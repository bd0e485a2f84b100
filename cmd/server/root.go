package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// The exit codes, the same for every command.
const (
	exitOK = 0
	// exitNo is "no" (another rule wins, the story did not hold) or a failure.
	exitNo = 1
	// exitUsage is a command line that cannot be understood.
	exitUsage = 2
)

// environment is what a command touches outside its arguments.
type environment struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	LookupEnv      func(string) (string, bool)
}

// withoutSecrets is env for a command that only looks: a secret that it has not is
// no reason to refuse the server file, because it is not used.
func (env environment) withoutSecrets() environment {
	lookup := env.LookupEnv
	env.LookupEnv = func(name string) (string, bool) {
		if value, ok := lookup(name); ok {
			return value, true
		}
		return "not set", true
	}
	return env
}

// run runs one command line and returns its exit code. It is the whole program,
// for main and for tests alike.
func run(ctx context.Context, args []string, env environment) int {
	root := newRoot(env)
	root.SetArgs(args)
	understood := false
	onRun(root, func() { understood = true })
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage) || !understood:
		fmt.Fprintf(env.Stderr, "gatewright: %v\nSee 'gatewright --help', or '--help' behind a command.\n", err)
		return exitUsage
	case errors.Is(err, errNo):
		return exitNo
	default:
		fmt.Fprintf(env.Stderr, "gatewright: %v\n", err)
		return exitNo
	}
}

// onRun calls fn when a command begins to work: its command line was understood.
func onRun(cmd *cobra.Command, fn func()) {
	for _, below := range cmd.Commands() {
		onRun(below, fn)
	}
	if work := cmd.RunE; work != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			fn()
			return work(cmd, args)
		}
	}
}

// errNo ends a command whose answer is no and stands on the output already.
var errNo = errors.New("no")

// usageError is a wrong command line that only the command itself could see.
type usageError struct{ error }

func newRoot(env environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "gatewright",
		Short: "From a push to a code check, from a passed check to a release",
		Long: `Gatewright receives webhooks of GitHub, GitLab and Gitee, runs the CodeArts
Check task that your rules name, judges the defects by a gate, and on success
starts or approves ServiceStage release pipelines.

Exit codes: 0 success, 1 "no" or failure, 2 wrong usage.`,
		Example: `  gatewright demo
  gatewright check-config --config gatewright.yaml
  gatewright serve --config gatewright.yaml`,
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.AddCommand(
		newServe(env), newDemo(env), newStandin(env), newCheckConfig(env),
		newExplain(env), newSend(env), newList(env), newShow(env),
		newReplay(env), newMigrate(env), newStore(env),
	)
	return root
}
