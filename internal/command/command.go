// Package command is what the command lines of both programs have in common: what
// they touch outside their arguments, their exit codes, and how a failure is printed.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/escape"
)

// The exit codes, the same for every command.
const (
	OK = 0
	// No is "no" (another rule wins, the story did not hold) or a failure.
	No = 1
	// Usage is a command line that cannot be understood.
	Usage = 2
)

// ErrNo ends a command whose answer is "no" and has been printed.
var ErrNo = errors.New("no")

// UsageError is a wrong command line that only the command itself could detect.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Environment is what a command touches outside its arguments. In a process, what is
// written to Stdout and Stderr is escaped (escape.Writer), because it holds text from
// outside.
type Environment struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	LookupEnv      func(string) (string, bool)
}

// Process runs the command line of this process until it ends or SIGINT or SIGTERM
// cancels it, and returns its exit code.
func Process(newRoot func(Environment) *cobra.Command) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	env := Environment{Stdin: os.Stdin, Stdout: escape.NewWriter(os.Stdout), Stderr: escape.NewWriter(os.Stderr), LookupEnv: os.LookupEnv}
	return Run(ctx, newRoot(env), os.Args[1:], env)
}

// Run runs one command line of root and returns its exit code.
func Run(ctx context.Context, root *cobra.Command, args []string, env Environment) int {
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SilenceUsage, root.SilenceErrors = true, true
	root.SetArgs(args)
	understood := false
	onRun(root, func() { understood = true })
	cmd, err := root.ExecuteContextC(ctx)
	var usage UsageError
	switch {
	case err == nil:
		return OK
	case errors.As(err, &usage) || !understood:
		fmt.Fprintf(env.Stderr, "%s: %v\nRun '%s --help' for usage.\n", root.Name(), err, cmd.CommandPath())
		return Usage
	case errors.Is(err, ErrNo):
		return No
	default:
		fmt.Fprintf(env.Stderr, "%s: %v\n", root.Name(), err)
		return No
	}
}

// onRun calls fn when a command starts its work, which means that its command line
// was understood.
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
