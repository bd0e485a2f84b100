package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/store"
)

type forgetFlags struct {
	databaseFlags
	memory         store.Memory
	dryRun, asJSON bool
}

// forgotten is one thing that was forgotten, or would be.
type forgotten struct {
	Repository string `json:"repository"`
	Branch     string `json:"branch"`
	// Key names it in the database.
	Key string `json:"key"`
	// TaskID is that of a task; SHA, Ended and Uncertain are those of a head.
	TaskID    string `json:"task_id,omitempty"`
	SHA       string `json:"sha,omitempty"`
	Ended     bool   `json:"ended,omitempty"`
	Uncertain bool   `json:"uncertain,omitempty"`
}

func newForget(env command.Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "forget",
		Short: "Forget what was remembered of a repository: its tasks or its heads",
		Long: `Forgets what earlier deliveries and runs have taught of a repository. What was
released is never forgotten.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return command.UsageError{Err: errors.New("say what to forget: task or head")}
		},
	}
	cmd.AddCommand(newForgetTask(env), newForgetHead(env))
	return cmd
}

func newForgetTask(env command.Environment) *cobra.Command {
	return forgetCommand(env, "task", &cobra.Command{
		Use:   "task",
		Short: "Forget the CodeArts Check tasks of a repository",
		Long: `Forgets which tasks of CodeArts Check belong to a repository, and the ref that worked
for its merge requests. The next run looks for its task in the project's list, and
creates it when there is none. Nothing is changed at CodeArts Check; the incremental
tasks of merge requests are not in its list, so new ones are created.`,
		Example: `  gatewright forget task --connection github-acme --repository acme/api --dry-run
  gatewright forget task --connection github-acme --repository 135493233 --branch main`,
	}, func(ctx context.Context, tx *store.Tx, flags forgetFlags) ([]forgotten, error) {
		tasks, err := tx.RememberedTasks(ctx, flags.memory)
		list := []forgotten{}
		for _, r := range tasks {
			list = append(list, forgotten{Repository: r.Repository, Branch: r.Task.Branch, Key: r.Key, TaskID: r.Task.ID})
		}
		if err != nil || flags.dryRun {
			return list, err
		}
		return list, tx.ForgetTasks(ctx, tasks)
	})
}

func newForgetHead(env command.Environment) *cobra.Command {
	return forgetCommand(env, "head", &cobra.Command{
		Use:   "head",
		Short: "Forget the newest known commits of a repository",
		Long: `Forgets the newest known commit of the branches, tags and merge requests of a
repository. The next delivery of each of them is then the newest, however old it is:
forget a head only when it is wrong, as after a branch was set back and no webhook told
that.`,
		Example: `  gatewright forget head --connection github-acme --repository acme/api --branch main`,
	}, func(ctx context.Context, tx *store.Tx, flags forgetFlags) ([]forgotten, error) {
		heads, err := tx.RememberedHeads(ctx, flags.memory)
		list := []forgotten{}
		for _, r := range heads {
			list = append(list, forgotten{Repository: r.Repository, Branch: r.Head.Branch, Key: r.RefKey, SHA: r.Head.SHA, Ended: r.Head.Ended, Uncertain: r.Head.Uncertain})
		}
		if err != nil || flags.dryRun {
			return list, err
		}
		return list, tx.ForgetHeads(ctx, heads)
	})
}

// forgetCommand completes a command that forgets things of one kind.
func forgetCommand(env command.Environment, kind string, cmd *cobra.Command, forget func(context.Context, *store.Tx, forgetFlags) ([]forgotten, error)) *cobra.Command {
	var flags forgetFlags
	cmd.Args = cobra.NoArgs
	cmd.Long += `

The server may be running. Exit code 1 when nothing of that repository is remembered.`
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if flags.memory.Connection == "" || flags.memory.Repository == "" {
			return command.UsageError{Err: errors.New("give --connection and --repository")}
		}
		options, err := flags.options(env)
		if err != nil {
			return err
		}
		options.WithoutLock, options.ReadOnly = !flags.dryRun, flags.dryRun
		s, err := store.Open(cmd.Context(), options)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.Close()) }()
		within := s.Update
		if flags.dryRun {
			within = s.View
		}
		var list []forgotten
		if err := within(cmd.Context(), func(tx *store.Tx) (err error) {
			list, err = forget(cmd.Context(), tx, flags)
			if err != nil || flags.dryRun || len(list) == 0 {
				return err
			}
			return auditForgotten(cmd.Context(), tx, kind, list, flags)
		}); err != nil {
			return err
		}
		return reportForgotten(env.Stdout, kind, list, flags)
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&flags.memory.Connection, "connection", "", "the connection's name")
	cmd.Flags().StringVar(&flags.memory.Repository, "repository", "", "the repository's full name, or the host's id of it")
	cmd.Flags().StringVar(&flags.memory.Branch, "branch", "", "only this branch or tag; of merge requests the target branch")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "say what would be forgotten, and change nothing")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print one JSON object")
	return cmd
}

// auditForgotten writes into the audit log what was forgotten.
func auditForgotten(ctx context.Context, tx *store.Tx, kind string, list []forgotten, flags forgetFlags) error {
	details, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return tx.Audit(ctx, audit.Entry{
		Kind: audit.Action, Actor: osUser(), Action: "forget_" + kind, RecordKind: "repository", RecordID: flags.memory.Connection + " " + flags.memory.Repository, Details: string(details),
	})
}

// reportForgotten prints what was forgotten. It returns command.ErrNo when that is nothing.
func reportForgotten(w io.Writer, kind string, list []forgotten, flags forgetFlags) error {
	var err error
	if flags.asJSON {
		err = command.WriteJSON(w, map[string]any{"kind": kind, "forgotten": list, "dry_run": flags.dryRun})
	} else {
		err = writeForgotten(w, kind, list, flags.dryRun)
	}
	if err == nil && len(list) == 0 {
		err = command.ErrNo
	}
	return err
}

func writeForgotten(w io.Writer, kind string, list []forgotten, dryRun bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", escape.Line(f.Repository), escape.Line(f.Branch), command.ShortSHA(f.TaskID+f.SHA), escape.Line(f.Key))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	verb := "forgotten"
	if dryRun {
		verb = "would be forgotten"
	}
	_, err := fmt.Fprintf(w, "%ss %s: %d\n", kind, verb, len(list))
	return err
}
