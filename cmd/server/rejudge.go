package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// rejudged is what rejudge prints as JSON.
type rejudged struct {
	Run view.Run `json:"run"`
	// Old is the verdict that counts, New what the gate as it is now says. Gone and Added
	// are the reasons that only one of them has.
	Old   codecheck.Verdict `json:"old"`
	New   codecheck.Verdict `json:"new"`
	Gone  []string          `json:"gone"`
	Added []string          `json:"added"`
	// Action is the remark beside the run.
	Action view.Action `json:"action"`
}

func newRejudge(env command.Environment) *cobra.Command {
	var database databaseFlags
	var rulesPath, actor string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "rejudge RUN",
		Short: "Judge a run by its rule as it is now",
		Long: `Judges a run that has a verdict by the gate of its rule as it is now, from the counts that
are stored with it, and prints the old and the new verdict and what differs. Nothing is
scanned or released, and the run stays as it is: the new verdict is kept as a remark,
which show prints. The server may be running. The first digits of an id are
enough where no other id begins with them.

Exit codes: 0 when the rule as it is now passes the run; 1 when it does not, or the run
cannot be judged.`,
		Example: `  gatewright rejudge 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69
  gatewright rejudge 019aab6e-7d0c --rules new-rules.yaml --json`,
		Args: oneArg("write rejudge and the id of one run"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(actor) == "" {
				return command.UsageError{Err: errors.New("--actor: say who you are; it is kept with the remark")}
			}
			// With --rules the server file may be missing; it gives the names of pipelines.
			var pipelines map[string]string
			cfg, err := app.LoadConfigFor(config.Needs{}, database.config, env.LookupEnv)
			if err == nil {
				pipelines, rulesPath = cfg.Pipelines(), cmp.Or(rulesPath, cfg.Rules)
			} else if rulesPath == "" {
				return fmt.Errorf("find the rules (or give --rules): %w", err)
			}
			policy, err := app.LoadRules(rulesPath, pipelines)
			if err != nil {
				return err
			}
			done, err := rejudge(cmd.Context(), env, database, policy, args[0], actor)
			if err != nil {
				return err
			}
			if asJSON {
				err = command.WriteJSON(env.Stdout, done)
			} else {
				err = done.write(env.Stdout)
			}
			if err == nil && !done.New.Passed {
				err = command.ErrNo
			}
			return err
		},
	}
	database.register(cmd)
	cmd.Flags().StringVar(&rulesPath, "rules", "", "a rules file or folder; default: the one that --config names")
	cmd.Flags().StringVar(&actor, "actor", osUser(), "who asks for it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func rejudge(ctx context.Context, env command.Environment, database databaseFlags, policy *rules.Policy, id, actor string) (printed rejudged, err error) {
	options, err := database.options(env)
	if err != nil {
		return printed, err
	}
	options.WithoutLock = true
	s, err := store.Open(ctx, options)
	if err != nil {
		return printed, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var run codecheck.Run
	if err := s.View(ctx, func(tx *store.Tx) (err error) {
		run, err = view.FindRun(ctx, tx, id)
		return err
	}); err != nil {
		return printed, err
	}
	gate, known := policy.Gate(run.Rule)
	if !known {
		return printed, fmt.Errorf("the rules have no rule %q that checks, which made run %s", run.Rule, run.ID)
	}
	inserter, err := jobs.NewInserter(s, zap.NewNop())
	if err != nil {
		return printed, err
	}
	done, err := inserter.Rejudge(ctx, run.ID, gate, actor)
	if err != nil {
		return printed, err
	}
	before := done.Run.Verdict.Reasons
	return rejudged{
		Run: view.NewRun(done.Run), Old: *done.Run.Verdict, New: done.New,
		Gone: without(before, done.New.Reasons), Added: without(done.New.Reasons, before),
		Action: view.NewAction(done.Remark),
	}, nil
}

// without are the reasons that others does not have.
func without(reasons, others []string) []string {
	return slices.DeleteFunc(append([]string{}, reasons...), func(reason string) bool { return slices.Contains(others, reason) })
}

func (r rejudged) write(w io.Writer) error {
	heading(w, "run", r.Run.ID)
	fields(w, "rule", r.Run.Rule, "state", string(r.Run.State),
		"old", verdictLine(r.Old), "new", verdictLine(r.New), "gone", strings.Join(r.Gone, ", "), "added", strings.Join(r.Added, ", "))
	result := "the outcome would be the same"
	if r.Old.Passed != r.New.Passed {
		result = "the outcome would be another one"
	}
	_, err := fmt.Fprintf(w, "%s; the run stays %s, and this is kept as a remark\n", result, r.Run.State)
	return err
}

func verdictLine(v codecheck.Verdict) string {
	word := "failed"
	if v.Passed {
		word = "passed"
	}
	return word + ": " + strings.Join(v.Reasons, ", ")
}
