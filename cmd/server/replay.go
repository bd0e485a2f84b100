package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/store"
)

// replayBatch is how many deliveries are replayed in one transaction: few enough
// that a server on the same SQLite file does not wait for long.
const replayBatch = 100

type replayFlags struct {
	databaseFlags
	failed, dryRun, asJSON bool
	state, since, until    string
}

func newReplay(env command.Environment) *cobra.Command {
	var flags replayFlags
	cmd := &cobra.Command{
		Use:   "replay [DELIVERY …]",
		Short: "Evaluate stored deliveries again",
		Long: `Evaluates stored deliveries again, as if they had just been received: those that are
named, or all of a state or a period. A server that is running does the work at once;
otherwise the next one that starts does.

What was done is not done twice: a commit that a rule has checked on a task is not
checked again by it (unless that run ended without a verdict), a change that another
delivery announced stays a duplicate, and a push that newer ones have overtaken
starts nothing. A replay is useful for deliveries that failed, and after the
rules have changed.

A delivery can be replayed as long as its payload is kept, for
store.payload_retention. One that is waiting for its decision is not replayed.

Times are 2006-01-02T15:04:05Z, 2006-01-02 15:04:05 or 2006-01-02 (both in UTC), or
an age such as 90m.`,
		Example: `  gatewright replay 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69
  gatewright replay --failed --dry-run
  gatewright replay --since 2h --until 30m --state ignored --json`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			stretch, err := flags.stretch(ids, time.Now())
			if err != nil {
				return command.UsageError{Err: err}
			}
			return replay(cmd.Context(), flags, ids, stretch, env)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&flags.failed, "failed", false, "those that failed; short for --state failed")
	cmd.Flags().StringVar(&flags.state, "state", "", "those in this state")
	cmd.Flags().StringVar(&flags.since, "since", "", "those received at this time or later")
	cmd.Flags().StringVar(&flags.until, "until", "", "those received before this time")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "print what would be replayed, and change nothing")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print one JSON object")
	return cmd
}

// stretch reads which deliveries are meant, when they are not named.
func (f replayFlags) stretch(ids []string, now time.Time) (s store.Stretch, err error) {
	switch {
	case f.failed && f.state != "":
		return s, errors.New("give --failed or --state")
	case f.failed:
		f.state = string(event.DeliveryFailed)
	}
	some := f.state != "" || f.since != "" || f.until != ""
	switch {
	case len(ids) > 0 && some:
		return s, errors.New("name deliveries, or describe them by --failed, --state, --since and --until")
	case len(ids) == 0 && !some:
		return s, errors.New("name a delivery, or give --failed, --state, --since or --until")
	}
	if states := texts(event.DeliveryStates()); f.state != "" && !slices.Contains(states, f.state) {
		return s, fmt.Errorf("--state %q: write one of %s", f.state, strings.Join(states, ", "))
	}
	s.State = event.DeliveryState(f.state)
	if s.Since, err = readTime("since", f.since, now); err != nil {
		return s, err
	}
	s.Until, err = readTime("until", f.until, now)
	return s, err
}

// readTime reads a time, or how long ago it was; empty gives the zero time.
func readTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--%s %q: write a time such as 2026-03-01T12:00:00Z, or an age such as 2h", flag, text)
}

// replayView is one delivery and what became of its replay.
type replayView struct {
	deliveryView
	Replayed bool `json:"replayed"`
	// Problem says why it was not replayed; empty when it was, or would be.
	Problem string `json:"problem,omitempty"`
}

func replay(ctx context.Context, flags replayFlags, ids []string, stretch store.Stretch, env command.Environment) (err error) {
	options, err := flags.options(env)
	if err != nil {
		return err
	}
	options.Beside = !flags.dryRun
	options.ReadOnly = flags.dryRun
	s, err := store.Open(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	views, err := wanted(ctx, s, ids, stretch)
	if err != nil {
		return err
	}
	if !flags.dryRun {
		if err := replayAll(ctx, s, views); err != nil {
			return err
		}
	}
	return reportReplay(env.Stdout, views, len(ids) > 0, flags)
}

// wanted reads the deliveries that are named, or those of the stretch.
func wanted(ctx context.Context, s *store.Store, ids []string, stretch store.Stretch) (views []replayView, err error) {
	add := func(d store.Delivery) {
		view := replayView{deliveryView: viewOf(d)}
		view.Decision = nil
		switch {
		case d.State == event.DeliveryReceived:
			view.Problem = store.ErrWaiting.Error()
		case d.Gone:
			view.Problem = store.ErrGone.Error()
		}
		views = append(views, view)
	}
	for _, id := range ids {
		err := s.View(ctx, func(tx *store.Tx) error {
			d, err := tx.Delivery(ctx, id)
			if errors.Is(err, store.ErrNotFound) {
				return fmt.Errorf("no delivery has the id %q", id)
			}
			add(d)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	if len(ids) > 0 {
		return views, nil
	}
	for after := ""; ; {
		var list []store.Delivery
		err := s.View(ctx, func(tx *store.Tx) (err error) {
			list, err = tx.Stretch(ctx, stretch, after, replayBatch)
			return err
		})
		if err != nil || len(list) == 0 {
			return views, err
		}
		for _, d := range list {
			add(d)
		}
		after = list[len(list)-1].ID
	}
}

// replayAll replays those that have no problem, oldest first.
func replayAll(ctx context.Context, s *store.Store, views []replayView) error {
	inserter, err := jobs.NewInserter(s, zap.NewNop())
	if err != nil {
		return err
	}
	places := map[string]*replayView{}
	var ids []string
	for i := range views {
		if _, named := places[views[i].ID]; !named && views[i].Problem == "" {
			ids = append(ids, views[i].ID)
		}
		places[views[i].ID] = &views[i]
	}
	for batch := range slices.Chunk(ids, replayBatch) {
		answers, err := inserter.Replay(ctx, batch)
		if err != nil {
			return err
		}
		for _, answer := range answers {
			place := places[answer.ID]
			place.Replayed = answer.Err == nil
			if answer.Err != nil {
				// Another process has replayed it since it was read.
				place.Problem = answer.Err.Error()
			}
		}
	}
	return nil
}

// reportReplay prints what became of the deliveries. The answer is no when one that
// was named could not be replayed.
func reportReplay(w io.Writer, views []replayView, named bool, flags replayFlags) error {
	done, left := 0, 0
	for _, view := range views {
		if view.Problem == "" {
			done++
		} else {
			left++
		}
	}
	var err error
	if flags.asJSON {
		if views == nil {
			views = []replayView{}
		}
		err = command.WriteJSON(w, map[string]any{"deliveries": views, "replayed": done, "left": left, "dry_run": flags.dryRun})
	} else {
		err = writeReplay(w, views, done, left, flags.dryRun)
	}
	if err == nil && named && left > 0 {
		err = command.ErrNo
	}
	return err
}

func writeReplay(w io.Writer, views []replayView, done, left int, dryRun bool) error {
	if len(views) > 0 {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "DELIVERY\tRECEIVED\tCONNECTION\tEVENT\tSTATE\tREPLAY")
		for _, view := range views {
			outcome := "waits for its decision again"
			switch {
			case view.Problem != "":
				outcome = "no: " + view.Problem
			case dryRun:
				outcome = "would be replayed"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", view.ID, stamp(view.ReceivedAt), view.Connection, view.Event, view.State, outcome)
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	verb := "replayed"
	if dryRun {
		verb = "would be replayed"
	}
	_, err := fmt.Fprintf(w, "%d %s, %d left alone\n", done, verb, left)
	return err
}
