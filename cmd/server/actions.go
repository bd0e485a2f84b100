package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/api"
	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// actionCommand is a command with which a person does something to one record.
type actionCommand struct {
	*cobra.Command
	sourceFlags
	kinds         []string
	actor, reason string
	asJSON        bool
}

// besideServer is what the help of these commands says of the server.
const besideServer = `

The server may be running and then does the work at once; otherwise the next one that
starts does. The action is kept with its actor, time and reason, and show prints it. With
--server its API does the work, as what its token may do and in its name. The first digits of an id are enough where no other id begins with them.`

// remoteOrder is an order as the API takes it: the end of its path, and the body.
type remoteOrder struct {
	path string
	body any
}

// newAction makes a command for records of some kinds. do carries the action out on the
// record with the id; remote says how the API is asked for it.
func newAction(env command.Environment, name string, kinds []string, about *cobra.Command, remote func(reason string) remoteOrder, do func(ctx context.Context, in *jobs.Inserter, kind, id string, o jobs.Order) (jobs.Done, error)) *actionCommand {
	a := &actionCommand{Command: about, kinds: kinds}
	a.Use = name + " " + strings.Join(kinds, "|") + " ID"
	a.Long += besideServer
	a.ValidArgs = kinds
	a.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 2 || !slices.Contains(kinds, args[0]) {
			return fmt.Errorf("write %s %s and the id of one record", name, strings.Join(kinds, " or "))
		}
		return nil
	}
	a.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(a.reason) == "" || strings.TrimSpace(a.actor) == "" {
			return command.UsageError{Err: errors.New("--reason: say why, and --actor: who you are; both are kept with the record")}
		}
		server, err := a.remote(cmd, env)
		if err != nil {
			return err
		}
		if server != nil {
			if cmd.Flags().Changed("actor") {
				return command.UsageError{Err: errors.New("--actor goes without --server, which knows whose the token is")}
			}
			order := remote(a.reason)
			done, err := server.order(cmd.Context(), args[0], args[1], order.path, order.body)
			if err != nil {
				return err
			}
			return printDone(env.Stdout, done, a.asJSON)
		}
		return a.run(cmd.Context(), env, args[0], args[1], func(in *jobs.Inserter, id string) (jobs.Done, error) {
			return do(cmd.Context(), in, args[0], id, jobs.Order{Actor: a.actor, Reason: a.reason})
		})
	}
	a.register(a.Command)
	a.Flags().StringVar(&a.reason, "reason", "", "why; mandatory")
	a.Flags().StringVar(&a.actor, "actor", osUser(), "who orders it; with --server it is whose the token is")
	a.Flags().BoolVar(&a.asJSON, "json", false, "print one JSON object")
	return a
}

// osUser is the name of the user whose process this is, or the number where it has no
// name, as in a container.
func osUser() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

func (a *actionCommand) run(ctx context.Context, env command.Environment, kind, id string, do func(*jobs.Inserter, string) (jobs.Done, error)) (err error) {
	options, err := a.options(env)
	if err != nil {
		return err
	}
	options.WithoutLock = true
	s, err := store.Open(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if id, err = fullID(ctx, s, kind, id); err != nil {
		return err
	}
	inserter, err := jobs.NewInserter(s, zap.NewNop())
	if err != nil {
		return err
	}
	done, err := do(inserter, id)
	if err != nil {
		return err
	}
	return printDone(env.Stdout, newDone(done), a.asJSON)
}

// fullID is the id of the record of a kind whose id begins with some digits.
func fullID(ctx context.Context, s *store.Store, kind, digits string) (id string, err error) {
	err = s.View(ctx, func(tx *store.Tx) error {
		found, err := view.Find(ctx, tx, digits)
		is := ""
		switch record := found.(type) {
		case view.RunDetail:
			is, id = "run", record.ID
		case view.ReleaseDetail:
			is, id = "release", record.ID
		case view.DeliveryDetail:
			is, id = "delivery", record.ID
		}
		if err == nil && is != kind {
			err = fmt.Errorf("%s is a %s and not a %s", id, is, kind)
		}
		return err
	})
	return id, err
}

// newDone is what came of an order in the database.
func newDone(done jobs.Done) view.Done {
	action := view.NewAction(done.Action)
	printed := view.Done{Action: &action, Runs: []view.Run{}, Releases: []view.Release{}, Deliveries: append([]string{}, done.Deliveries...)}
	for _, run := range done.Runs {
		printed.Runs = append(printed.Runs, view.NewRun(run))
	}
	for _, r := range done.Releases {
		printed.Releases = append(printed.Releases, view.NewRelease(r))
	}
	return printed
}

func printDone(w io.Writer, done view.Done, asJSON bool) error {
	if asJSON {
		return command.WriteJSON(w, done)
	}
	text := ""
	if a := done.Action; a != nil {
		text = fmt.Sprintf("%s %s: noted %s by %s\n", a.RecordKind, a.RecordID, a.Name, escape.Line(a.Actor))
	}
	for _, run := range done.Runs {
		text += fmt.Sprintf("run %s is %s\n", run.ID, run.State)
	}
	for _, r := range done.Releases {
		text += fmt.Sprintf("release %s (%s) is %s\n", r.ID, strings.TrimSpace(string(r.Action)+" "+escape.Line(r.Checkpoint)), r.State)
	}
	for _, id := range done.Deliveries {
		text += fmt.Sprintf("delivery %s is decided again\n", id)
	}
	_, err := io.WriteString(w, text)
	return err
}

// simpleOrder is one that needs a reason and nothing else.
func simpleOrder(path string) func(string) remoteOrder {
	return func(reason string) remoteOrder { return remoteOrder{path, api.Order{Reason: reason}} }
}

func newRerun(env command.Environment) *cobra.Command {
	return newAction(env, "rerun", []string{"run", "release"}, &cobra.Command{
		Short: "Check or release a commit once more",
		Long: `Makes a new run or release that repeats one that has ended and names it; the old one
stays as it is. Everything is checked again: the gate, and that the commit is the newest
of its branch. This is the only way in which something is released twice.

A run is checked again with all that its rule asked for, and on success releases again.
A release acts again on the verdict of its run, and the rule's decisions of the
checkpoints of its execution are repeated with it.`,
		Example: `  gatewright rerun run 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69 --reason "the scanner is mended"
  gatewright rerun release 019aab6e-7d0c --reason "the node was full" --actor ann`,
	}, simpleOrder("rerun"), func(ctx context.Context, in *jobs.Inserter, kind, id string, o jobs.Order) (jobs.Done, error) {
		if kind == "run" {
			return in.RerunRun(ctx, id, o)
		}
		return in.RerunRelease(ctx, id, o)
	}).Command
}

func newApprove(env command.Environment) *cobra.Command {
	return newDecide(env, "approve", rules.ReleaseApprove, &cobra.Command{
		Short: "Approve a release that is held, or a checkpoint that waits",
		Long: `Approves a release that is held (hold.approvals of its rule): with --commit, the full
commit, and --as, your entry of people in the server file. It counts as one of the
approvals that the rule wants, for that commit, its verdict and the rule as they are now.

Of a release whose execution waits at a checkpoint it approves that. The verdict must have
passed, and the commit must be the newest of its branch. Where a rule is about to decide
the checkpoint, your decision takes the place of the rule's. It is sent once. A checkpoint
that a rule holds is approved by approving the release that is held.`,
		Example: `  gatewright approve release 019aab6e-7d0c --commit 1f2e3d4c5b6a79881726354453627180a1b2c3d4 --as ann --reason "read it"
  gatewright approve release 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69 --reason "agreed with the team"
  gatewright approve release 019aab6e-7d0c --task k2m8qa --reason "seen in staging" --json`,
	}, (*jobs.Inserter).ApproveHeld)
}

func newRefuse(env command.Environment) *cobra.Command {
	return newDecide(env, "refuse", rules.ReleaseRefuse, &cobra.Command{
		Short: "Refuse a release that is held, or a checkpoint that waits",
		Long: `Refuses a release that is held: with --commit, the full commit, and --as, your entry of
people in the server file. One person who may approve is enough, and it ends as refused.

Of a release whose execution waits at a checkpoint it refuses that, which ends the
execution. Where a rule is about to decide the checkpoint, your decision takes the place
of the rule's. It is sent once.`,
		Example: `  gatewright refuse release 019aab6e-7d0c --commit 1f2e3d4c5b6a79881726354453627180a1b2c3d4 --as ann --reason "not on a Friday"
  gatewright refuse release 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69 --reason "not on a Friday"`,
	}, (*jobs.Inserter).RefuseHeld)
}

func newDecide(env command.Environment, name string, decision rules.ReleaseAction, about *cobra.Command, ofHeld decideHeld) *cobra.Command {
	var task, as, commit string
	a := newAction(env, name, []string{"release"}, about, func(reason string) remoteOrder {
		return remoteOrder{name, api.Decision{Reason: reason, Task: task, Commit: commit}}
	}, func(ctx context.Context, in *jobs.Inserter, _, id string, o jobs.Order) (jobs.Done, error) {
		return in.Decide(ctx, id, decision, task, o)
	})
	a.Flags().StringVar(&task, "task", "", "the checkpoint, where several wait")
	a.heldFlags(&as, &commit)
	work := a.RunE
	a.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case a.server != "":
			return a.remotely(work, cmd, args, as)
		case as == "" && commit == "":
			return work(cmd, args)
		case task != "":
			return command.UsageError{Err: errors.New("--task is of a checkpoint, --commit and --as of a release that is held")}
		}
		return a.decideHeld(cmd, env, args[1], as, commit, ofHeld)
	}
	return a.Command
}

func newBreakGlass(env command.Environment) *cobra.Command {
	var as, commit string
	a := newAction(env, "break-glass", []string{"release"}, &cobra.Command{
		Short: "Let a held release act outside of its window or during a freeze",
		Long: `Lets a release that is held act although its window is closed or a freeze covers it, in an
emergency. You must be in a group of break_glass in the rules. It takes the place of no
approval. Who did it and why stays with the release.`,
		Example: `  gatewright break-glass release 019aab6e-7d0c --commit 1f2e3d4c5b6a79881726354453627180a1b2c3d4 --as ann --reason "incident 4711"`,
	}, func(reason string) remoteOrder {
		return remoteOrder{"break-glass", api.HeldDecision{Reason: reason, Commit: commit}}
	}, nil)
	a.heldFlags(&as, &commit)
	work := a.RunE
	a.RunE = func(cmd *cobra.Command, args []string) error {
		if a.server != "" {
			return a.remotely(work, cmd, args, as)
		}
		return a.decideHeld(cmd, env, args[1], as, commit, (*jobs.Inserter).BreakGlass)
	}
	return a.Command
}

// decideHeld is what a person decides about a release that is held.
type decideHeld func(in *jobs.Inserter, ctx context.Context, releaseID, commit string, by jobs.Approver, reason string) (jobs.Done, error)

// remotely has the API decide, which knows whose the token is.
func (a *actionCommand) remotely(work func(*cobra.Command, []string) error, cmd *cobra.Command, args []string, as string) error {
	if as != "" {
		return command.UsageError{Err: errors.New("--as goes without --server, which knows whose the token is")}
	}
	return work(cmd, args)
}

func (a *actionCommand) heldFlags(as, commit *string) {
	a.Flags().StringVar(as, "as", "", "of a release that is held: who you are, by the name of your entry of people in the server file")
	a.Flags().StringVar(commit, "commit", "", "of a release that is held: its commit, in full")
}

// decideHeld carries out what a person decides, whom the server file knows and whose rights it and the rules give.
func (a *actionCommand) decideHeld(cmd *cobra.Command, env command.Environment, id, as, commit string, do decideHeld) error {
	switch {
	case strings.TrimSpace(a.reason) == "" || strings.TrimSpace(a.actor) == "":
		return command.UsageError{Err: errors.New("--reason: say why; it is kept with the record")}
	case as == "" || commit == "":
		return command.UsageError{Err: errors.New("--commit: write the full commit that you speak of, and --as: your name in people of the server file")}
	}
	cfg, err := app.LoadConfigFor(config.Needs{Database: true}, a.config, env.LookupEnv)
	if err != nil {
		return fmt.Errorf("read who may do that: %w", err)
	}
	if _, known := cfg.PersonByName(as); !known {
		return fmt.Errorf("--as %q: people in the server file has no such entry", as)
	}
	policy, err := app.LoadRules(cfg.Rules, cfg.HuaweiCloud.Pipelines)
	if err != nil {
		return fmt.Errorf("read who may do that: %w", err)
	}
	by := jobs.Approver{Person: as, Identity: "shell:" + a.actor, Via: "command"}
	return a.run(cmd.Context(), env, "release", id, func(in *jobs.Inserter, id string) (jobs.Done, error) {
		return do(in.WithPeople(app.People(cfg), func() *rules.Policy { return policy }), cmd.Context(), id, commit, by, a.reason)
	})
}

func newOK(env command.Environment) *cobra.Command {
	a := newAction(env, "ok", []string{"delivery"}, &cobra.Command{
		Short: "Vouch for the commit of a merge request from a fork",
		Long: `Vouches for the commit of a delivery that waits because its merge request comes from a
fork: a rule says fork: trusted, and its author may not write to the repository and is in
no group of the server file. The delivery is decided again then. It holds for that commit
alone: the next push to the merge request waits again. Read the code first: it will be
checked with your accounts, and it is never released.

The commit must be the newest of its merge request.`,
		Example: `  gatewright ok 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69 --reason "read it, fixes a typo"
  gatewright list deliveries --state ignored`,
	}, simpleOrder("ok"), func(ctx context.Context, in *jobs.Inserter, _, id string, o jobs.Order) (jobs.Done, error) {
		return in.TrustDelivery(ctx, id, o)
	})
	return a.ofOne("DELIVERY")
}

func newStop(env command.Environment) *cobra.Command {
	return newAction(env, "stop", []string{"run"}, &cobra.Command{
		Short: "Stop a run",
		Long: `Ends a run as stopped and has its execution at CodeArts Check stopped. A run of another
rule that shares the execution takes it over instead. In the 2023 dialect, which cannot
tell executions apart, the execution ends by itself.`,
		Example: `  gatewright stop run 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69 --reason "scans the wrong branch"`,
	}, simpleOrder("stop"), func(ctx context.Context, in *jobs.Inserter, _, id string, o jobs.Order) (jobs.Done, error) {
		return in.StopRun(ctx, id, o)
	}).Command
}

func newPipeline(env command.Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pipeline",
		Short: "Retry, continue, roll back or stop the execution of a release",
		Long: `Acts on the execution of a pipeline that a release started. ServiceStage takes these
actions for a pipeline and not for an execution, so each is sent only while the newest
execution of the pipeline is that of the release, and otherwise not at all; show says why.
CodeArts Pipeline has retry and stop only. Each is sent once: after a lost answer its
effect is looked for.

A release that has not ended carries the action out itself. One that has ended stays as it
is, and a new release that names it does.`,
		Args: func(_ *cobra.Command, args []string) error {
			return fmt.Errorf("write pipeline retry, continue, rollback or stop, and not %q", strings.Join(args, " "))
		},
		// Without it the flags of a misspelt action would be complained about.
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE:               func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newOperation(env, rules.ReleaseRetry, &cobra.Command{
			Short: "Let a failed execution go on from the task that failed",
			Long: `Lets the execution of a release that failed go on from the task that failed. The verdict
must have passed, and the commit must be the newest of its branch. Checkpoints after that
task wait again, and the rule's decisions of them are repeated.`,
			Example: `  gatewright pipeline retry 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69 --reason "the registry is back"`,
		}),
		newOperation(env, rules.ReleaseContinue, &cobra.Command{
			Short: "Let a paused execution go on",
			Long: `Lets the execution of a release go on that is paused, by somebody in the console or by a
stop. The verdict must have passed, and the commit must be the newest of its branch.`,
			Example: `  gatewright pipeline continue 019aab6e-7d0c --reason "the node is drained" --actor ann`,
		}),
		newOperation(env, rules.ReleaseRollback, &cobra.Command{
			Short:   "Undo an execution that failed or succeeded",
			Long:    `Undoes the execution of a release that failed or succeeded.`,
			Example: `  gatewright pipeline rollback 019aab6e-7d0c --reason "errors in production"`,
		}),
		newOperation(env, rules.ReleaseStop, &cobra.Command{
			Short: "Stop an execution",
			Long: `Stops the execution of a release. ServiceStage shows it as paused then, and continue lets
it go on; CodeArts Pipeline cancels it. A release whose execution is paused already ends as stopped, and nothing is sent.`,
			Example: `  gatewright pipeline stop 019aab6e-7d0c --reason "wrong configuration" --json`,
		}),
	)
	return cmd
}

// newOperation makes the command for one action on the execution of a release.
func newOperation(env command.Environment, action rules.ReleaseAction, about *cobra.Command) *cobra.Command {
	a := newAction(env, string(action), []string{"release"}, about, simpleOrder("pipeline/"+string(action)), func(ctx context.Context, in *jobs.Inserter, _, id string, o jobs.Order) (jobs.Done, error) {
		return in.Operate(ctx, id, action, o)
	})
	return a.ofOne("RELEASE")
}

// ofOne makes the command one that names its record by the id alone: it has one kind.
func (a *actionCommand) ofOne(word string) *cobra.Command {
	a.Use = strings.Fields(a.Use)[0] + " " + word
	a.ValidArgs = nil
	a.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("write %s and the id of one %s", strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" "), a.kinds[0])
		}
		return nil
	}
	work := a.RunE
	a.RunE = func(cmd *cobra.Command, args []string) error { return work(cmd, []string{a.kinds[0], args[0]}) }
	return a.Command
}

func newResolve(env command.Environment) *cobra.Command {
	var as string
	a := newAction(env, "resolve", []string{"release"}, &cobra.Command{
		Short: "Note what really became of a release",
		Long: `Notes what really became of a release that ended as unknown, failed or expired, after
somebody looked at the pipeline. The release stays as it is; it no longer counts in
gatewright_unresolved_releases. A later resolution takes the place of an earlier one.`,
		Example: `  gatewright resolve release 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69 --as succeeded --reason "the console shows execution 286541"`,
	}, func(reason string) remoteOrder {
		return remoteOrder{"resolve", api.Resolution{Reason: reason, As: as}}
	}, func(ctx context.Context, in *jobs.Inserter, _, id string, o jobs.Order) (jobs.Done, error) {
		return in.Resolve(ctx, id, release.State(as), o)
	})
	a.Flags().StringVar(&as, "as", "", "succeeded or failed; mandatory")
	work := a.RunE
	a.RunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(jobs.Outcomes(), release.State(as)) {
			return command.UsageError{Err: errors.New("--as: write succeeded or failed")}
		}
		return work(cmd, args)
	}
	return a.Command
}
