package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/tasks"
)

type tasksFlags struct {
	config, project string
	yes, asJSON     bool
}

func newTasks(env command.Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tasks",
		Short: "Show the CodeArts Check tasks that exist and those that the rules need",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return command.UsageError{Err: errors.New("say what to do with the tasks: list, plan or prune")}
		},
	}
	cmd.AddCommand(newTasksList(env), newTasksPlan(env), newTasksPrune(env))
	return cmd
}

func newTasksList(env command.Environment) *cobra.Command {
	var flags tasksFlags
	cmd := tasksCommand(env, &flags, true, &cobra.Command{
		Use:   "list",
		Short: "List the tasks of the CodeArts projects, and what each is to Gatewright",
		Long: `Reads the whole task list of each CodeArts project that the rules name, or of one, and
prints every column of it, the times as the service sends them. The last column says what
the task is to Gatewright.`,
		Example: `  gatewright tasks list --config gatewright.yaml
  gatewright tasks list --project 41b8df4bf53f4d51b8e6c5b32e8d2a07 --json`,
	}, func(cmd *cobra.Command, i tasks.Inventory) error {
		list, err := i.List(cmd.Context(), flags.project)
		if err != nil {
			return err
		}
		if flags.asJSON {
			return command.WriteJSON(env.Stdout, map[string]any{"tasks": list})
		}
		rows := [][]string{{"TASK", "NAME", "BRANCH", "REPOSITORY", "CREATED", "LAST CHECK", "CREATOR", "READING"}}
		for _, t := range list {
			rows = append(rows, []string{t.ID, t.Name, t.Branch, t.URL, t.CreatedAt, t.LastCheckTime, t.CreatorID, t.Reading})
		}
		return writeRows(env.Stdout, rows)
	})
	cmd.Flags().StringVar(&flags.project, "project", "", "the id of one CodeArts project; default: those that the rules name")
	return cmd
}

func newTasksPlan(env command.Environment) *cobra.Command {
	var flags tasksFlags
	return tasksCommand(env, &flags, true, &cobra.Command{
		Use:   "plan",
		Short: "Compare the tasks that the rules need with those that exist",
		Long: `Says for each repository and branch that the rules name, and for each branch and merge
request that deliveries were received of, which task its check uses: exists; missing, and
created by the first run; blocked, when it cannot be created; wrong_branch, when the task
that the rule names is another branch's; languages, when it checks others than the rule
names; ambiguous, when several fit. It changes nothing.

Exits 1 when a task is blocked, of a wrong branch, or ambiguous, or checks other languages.`,
		Example: `  gatewright tasks plan --config gatewright.yaml`,
	}, func(cmd *cobra.Command, i tasks.Inventory) error {
		plan, err := i.Plan(cmd.Context())
		if err != nil {
			return err
		}
		var answer error
		if slices.ContainsFunc(plan, func(p tasks.Planned) bool { return p.State != tasks.Exists && p.State != tasks.Missing }) {
			answer = command.ErrNo
		}
		if flags.asJSON {
			return errors.Join(command.WriteJSON(env.Stdout, map[string]any{"ok": answer == nil, "plan": plan}), answer)
		}
		rows := [][]string{{"STATE", "CONNECTION", "REPOSITORY", "BRANCH", "RULE", "TASK", "NAME", "DETAIL"}}
		for _, p := range plan {
			rows = append(rows, []string{string(p.State), p.Connection, p.Repository, p.Branch, p.Rule, p.TaskID, p.TaskName, p.Detail})
		}
		return errors.Join(writeRows(env.Stdout, rows), answer)
	})
}

func newTasksPrune(env command.Environment) *cobra.Command {
	var flags tasksFlags
	cmd := tasksCommand(env, &flags, false, &cobra.Command{
		Use:   "prune",
		Short: "Delete the tasks that were made for merge requests which are closed now",
		Long: `Lists the tasks that Gatewright made for merge requests and that are left over: the merge
request was closed or merged, or nothing was heard of it for 400 days. With --yes they are
deleted at CodeArts Check, with their results, and forgotten. The server deletes such tasks itself when
a merge request is closed, unless huaweicloud.keep_merge_request_tasks says otherwise;
this is for what is left over nevertheless.

Exits 1 when one could not be deleted.`,
		Example: `  gatewright tasks prune --config gatewright.yaml
  gatewright tasks prune --config gatewright.yaml --yes`,
	}, func(cmd *cobra.Command, i tasks.Inventory) error {
		leftover, err := i.Prune(cmd.Context(), flags.yes)
		if err != nil {
			return err
		}
		var answer error
		if slices.ContainsFunc(leftover, func(l tasks.Leftover) bool { return l.Error != "" }) {
			answer = command.ErrNo
		}
		if flags.asJSON {
			return errors.Join(command.WriteJSON(env.Stdout, map[string]any{"ok": answer == nil, "leftover": leftover}), answer)
		}
		rows := [][]string{{"CONNECTION", "REPOSITORY", "MERGE REQUEST", "TASK", "RESULT"}}
		for _, l := range leftover {
			rows = append(rows, []string{l.Connection, l.Repository, fmt.Sprint(l.Number), l.TaskID, pruned(l)})
		}
		return errors.Join(writeRows(env.Stdout, rows), answer)
	})
	cmd.Flags().BoolVar(&flags.yes, "yes", false, "delete them; without it they are only shown")
	return cmd
}

func pruned(l tasks.Leftover) string {
	switch {
	case l.Deleted:
		return "deleted"
	case l.Error != "":
		return "not deleted: " + l.Error
	}
	return "would be deleted"
}

// tasksCommand completes a command that works on the tasks of a configuration.
func tasksCommand(env command.Environment, flags *tasksFlags, readOnly bool, cmd *cobra.Command, work func(*cobra.Command, tasks.Inventory) error) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.Long += "\n\nThe server may be running."
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := app.WithTasks(cmd.Context(), flags.config, env.LookupEnv, readOnly, func(i tasks.Inventory) error { return work(cmd, i) })
		if complaints, _ := app.Complaints(err); len(complaints) > 0 {
			return reportComplaints(env.Stdout, err, flags.asJSON)
		}
		return err
	}
	cmd.Flags().StringVar(&flags.config, "config", "gatewright.yaml", "the server file")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print one JSON object")
	return cmd
}

// writeRows prints a table whose first row is its head.
func writeRows(w io.Writer, rows [][]string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, tableRow(row))
	}
	return table.Flush()
}
