package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/api"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// replayBatch is how many deliveries are replayed in one transaction: few enough
// that a server on the same SQLite file does not wait for long.
const replayBatch = 100

type replayFlags struct {
	sourceFlags
	failed, dryRun, asJSON bool
	state, since, until    string
	reason                 string
}

func newReplay(env command.Environment) *cobra.Command {
	var flags replayFlags
	cmd := &cobra.Command{
		Use:   "replay [DELIVERY …]",
		Short: "Decide stored deliveries again",
		Long: `Evaluates stored deliveries by the rules again, as if they had just been received:
those that are named, or all of a state or of a period of time. The server may be
running and then does the work at once; otherwise the next one that starts does.

Nothing is done twice: a commit that a rule has checked on a task is not checked
again by it (unless that run ended without a verdict), a change that another
delivery announced stays a duplicate, and a push that is older than the branch's
head starts nothing. So a replay is of use for deliveries that failed, and after a
change of the rules.

A delivery can be replayed as long as its payload is kept, for
store.payload_retention. One that is not decided yet is skipped.

Times are 2006-01-02T15:04:05Z, 2006-01-02 15:04:05 or 2006-01-02 (both in UTC), or
an age such as 90m.`,
		Example: `  gatewright replay 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69
  gatewright replay --failed --dry-run
  gatewright replay --since 2h --until 30m --state ignored --json`,
		RunE: func(cmd *cobra.Command, ids []string) error {
			filter, err := flags.filter(ids, time.Now())
			if err != nil {
				return command.UsageError{Err: err}
			}
			server, err := flags.remote(cmd, env)
			switch {
			case err != nil:
				return err
			case server == nil && flags.reason != "":
				return command.UsageError{Err: errors.New("--reason goes with --server")}
			case server == nil:
				return replay(cmd.Context(), flags, ids, filter, env)
			case strings.TrimSpace(flags.reason) == "" && !flags.dryRun:
				return command.UsageError{Err: errors.New("--reason: say why; the server wants it")}
			}
			return replayRemotely(cmd.Context(), server, flags, ids, env)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&flags.failed, "failed", false, "those that failed; short for --state failed")
	cmd.Flags().StringVar(&flags.state, "state", "", "those in this state")
	cmd.Flags().StringVar(&flags.since, "since", "", "those received at this time or later")
	cmd.Flags().StringVar(&flags.until, "until", "", "those received before this time")
	cmd.Flags().StringVar(&flags.reason, "reason", "", "with --server: why; mandatory")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "say what would be replayed, and change nothing")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print one JSON object")
	return cmd
}

// filter says which deliveries are meant, when they are not named.
func (f replayFlags) filter(ids []string, now time.Time) (filter store.Filter, err error) {
	switch {
	case f.failed && f.state != "":
		return filter, errors.New("give --failed or --state")
	case f.failed:
		f.state = string(event.DeliveryFailed)
	}
	some := f.state != "" || f.since != "" || f.until != ""
	switch {
	case len(ids) > 0 && some:
		return filter, errors.New("name deliveries, or describe them by --failed, --state, --since and --until")
	case len(ids) == 0 && !some:
		return filter, errors.New("name a delivery, or give --failed, --state, --since or --until")
	}
	if states := texts(event.DeliveryStates()); f.state != "" && !slices.Contains(states, f.state) {
		return filter, fmt.Errorf("--state %q: write one of %s", f.state, strings.Join(states, ", "))
	}
	if f.state != "" {
		filter.States = []string{f.state}
	}
	if filter.Since, err = view.PointInTime(f.since, now); err != nil {
		return filter, fmt.Errorf("--since: %w", err)
	}
	if filter.Until, err = view.PointInTime(f.until, now); err != nil {
		return filter, fmt.Errorf("--until: %w", err)
	}
	return filter, nil
}

// replayView is one delivery and what became of its replay.
type replayView struct {
	view.Delivery
	Replayed bool `json:"replayed"`
	// Problem says why it was not replayed; empty when it was, or would be.
	Problem string `json:"problem,omitempty"`
}

// newReplayView says of a delivery what keeps it from being replayed.
func newReplayView(d view.Delivery) replayView {
	v := replayView{Delivery: d}
	switch {
	case d.State == event.DeliveryReceived:
		v.Problem = store.ErrUndecided.Error()
	case d.PayloadRemoved:
		v.Problem = store.ErrPayloadRemoved.Error()
	}
	return v
}

// replayRemotely has a server replay deliveries, one after the other, oldest first.
func replayRemotely(ctx context.Context, server *remote, flags replayFlags, ids []string, env command.Environment) error {
	var views []replayView
	for _, id := range ids {
		var d view.DeliveryDetail
		if err := server.get(ctx, "deliveries/"+url.PathEscape(id), &d); err != nil {
			return err
		}
		views = append(views, newReplayView(d.Delivery))
	}
	if len(ids) == 0 {
		values := url.Values{"limit": {strconv.Itoa(mostListed)}}
		state := flags.state
		if flags.failed {
			state = string(event.DeliveryFailed)
		}
		for name, value := range map[string]string{"state": state, "since": flags.since, "until": flags.until} {
			if value != "" {
				values.Set(name, value)
			}
		}
		list, next, err := readList(ctx, &source{remote: server}, view.ListDeliveries, values, view.Deliveries)
		if err != nil {
			return err
		}
		if next != "" {
			return fmt.Errorf("more than %d deliveries are meant: name a shorter time by --since and --until", mostListed)
		}
		for _, d := range slices.Backward(list) {
			views = append(views, newReplayView(d))
		}
	}
	for i := range views {
		v := &views[i]
		if v.Problem != "" || flags.dryRun {
			continue
		}
		if _, err := server.order(ctx, "delivery", v.ID, "replay", api.Order{Reason: flags.reason}); err != nil {
			v.Problem = err.Error()
		}
		v.Replayed = v.Problem == ""
	}
	return reportReplay(env.Stdout, views, len(ids) > 0, flags)
}

func replay(ctx context.Context, flags replayFlags, ids []string, filter store.Filter, env command.Environment) (err error) {
	options, err := flags.options(env)
	if err != nil {
		return err
	}
	options.WithoutLock = !flags.dryRun
	options.ReadOnly = flags.dryRun
	s, err := store.Open(ctx, options)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()

	views, err := wanted(ctx, s, ids, filter)
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

// wanted reads the deliveries that are named, or those that the filter selects, oldest
// first.
func wanted(ctx context.Context, s *store.Store, ids []string, filter store.Filter) (views []replayView, err error) {
	add := func(d store.Delivery) {
		views = append(views, newReplayView(view.NewDelivery(d)))
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
	filter.OldestFirst, filter.Limit = true, replayBatch
	for {
		var list []store.Delivery
		err := s.View(ctx, func(tx *store.Tx) (err error) {
			list, err = tx.Deliveries(ctx, filter)
			return err
		})
		if err != nil || len(list) == 0 {
			return views, err
		}
		for _, d := range list {
			add(d)
		}
		last := list[len(list)-1]
		filter.After = store.Cursor{At: last.ReceivedAt, ID: last.ID}
	}
}

// replayAll replays those that have no problem, oldest first.
func replayAll(ctx context.Context, s *store.Store, views []replayView) error {
	inserter, err := jobs.NewInserter(s, zap.NewNop())
	if err != nil {
		return err
	}
	byID := map[string]*replayView{}
	var ids []string
	for i := range views {
		if _, named := byID[views[i].ID]; !named && views[i].Problem == "" {
			ids = append(ids, views[i].ID)
		}
		byID[views[i].ID] = &views[i]
	}
	for batch := range slices.Chunk(ids, replayBatch) {
		results, err := inserter.As(osUser()).Replay(ctx, batch)
		if err != nil {
			return err
		}
		for _, result := range results {
			replayed := byID[result.ID]
			replayed.Replayed = result.Err == nil
			if result.Err != nil {
				// It changed in the meantime.
				replayed.Problem = result.Err.Error()
			}
		}
	}
	return nil
}

// reportReplay prints what became of the deliveries. It returns command.ErrNo when one
// that was named could not be replayed.
func reportReplay(w io.Writer, views []replayView, named bool, flags replayFlags) error {
	done, skipped := 0, 0
	for _, v := range views {
		if v.Problem == "" {
			done++
		} else {
			skipped++
		}
	}
	var err error
	if flags.asJSON {
		if views == nil {
			views = []replayView{}
		}
		err = command.WriteJSON(w, map[string]any{"deliveries": views, "replayed": done, "skipped": skipped, "dry_run": flags.dryRun})
	} else {
		err = writeReplay(w, views, done, skipped, flags.dryRun)
	}
	if err == nil && named && skipped > 0 {
		err = command.ErrNo
	}
	return err
}

func writeReplay(w io.Writer, views []replayView, done, skipped int, dryRun bool) error {
	if len(views) > 0 {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "DELIVERY\tRECEIVED\tCONNECTION\tEVENT\tSTATE\tREPLAY")
		for _, v := range views {
			outcome := "waits for its decision again"
			switch {
			case v.Problem != "":
				outcome = "no: " + v.Problem
			case dryRun:
				outcome = "would be replayed"
			}
			fmt.Fprintln(table, tableRow([]string{v.ID, stamp(v.ReceivedAt), v.Connection, v.HostEvent, string(v.State), outcome}))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	verb := "replayed"
	if dryRun {
		verb = "would be replayed"
	}
	_, err := fmt.Fprintf(w, "%d %s, %d skipped\n", done, verb, skipped)
	return err
}
