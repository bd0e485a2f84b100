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
	"unicode"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// databaseFlags say which database a command opens.
type databaseFlags struct{ config, database string }

func (f *databaseFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "gatewright.yaml", "the server file, for its database")
	cmd.Flags().StringVar(&f.database, "db", "", "the SQLite file; default: the one that --config names")
}

// open opens the database read-only; it may belong to a running server.
func (f *databaseFlags) open(ctx context.Context, env command.Environment) (*store.Store, error) {
	options, err := f.options(env)
	if err != nil {
		return nil, err
	}
	options.ReadOnly = true
	return store.Open(ctx, options)
}

// options say which database is meant.
func (f *databaseFlags) options(env command.Environment) (store.Options, error) {
	if f.database != "" {
		return store.Options{SQLite: f.database}, nil
	}
	cfg, err := app.LoadConfig(f.config, env.WithoutSecrets().LookupEnv)
	if err != nil {
		return store.Options{}, err
	}
	return app.StoreOptions(cfg.Store), nil
}

// listing is one thing that can be listed.
type listing struct {
	states []string
	// read returns the records, newest first.
	read func(ctx context.Context, tx *store.Tx, state string, limit int) (any, error)
	// table prints them with a heading.
	table func(w io.Writer, records any)
}

func listings() map[string]listing {
	return map[string]listing{
		"deliveries": {
			states: texts(event.DeliveryStates()),
			read: func(ctx context.Context, tx *store.Tx, state string, limit int) (any, error) {
				deliveries, err := tx.Deliveries(ctx, event.DeliveryState(state), limit)
				return viewsOf(deliveries), err
			},
			table: func(w io.Writer, records any) {
				fmt.Fprintln(w, "DELIVERY\tRECEIVED\tCONNECTION\tEVENT\tSTATE\tREASON")
				for _, d := range records.([]deliveryView) {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", d.ID, stamp(d.ReceivedAt), d.Connection, plain(d.Event), d.State, plain(d.Reason))
				}
			},
		},
		"runs": {
			states: texts(codecheck.States()),
			read: func(ctx context.Context, tx *store.Tx, state string, limit int) (any, error) {
				return tx.Runs(ctx, codecheck.State(state), limit)
			},
			table: func(w io.Writer, records any) {
				fmt.Fprintln(w, "RUN\tCREATED\tREPOSITORY\tBRANCH\tCOMMIT\tRULE\tSTATE\tREASON")
				for _, r := range records.([]codecheck.Run) {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, stamp(r.CreatedAt), plain(r.Event.Repository.FullName), plain(r.Event.Branch), command.ShortSHA(r.Event.HeadSHA), r.Rule, r.State, plain(r.Reason))
				}
			},
		},
		"releases": {
			states: texts(release.States()),
			read: func(ctx context.Context, tx *store.Tx, state string, limit int) (any, error) {
				return tx.Releases(ctx, release.State(state), limit)
			},
			table: func(w io.Writer, records any) {
				fmt.Fprintln(w, "RELEASE\tCREATED\tREPOSITORY\tCOMMIT\tPIPELINE\tACTION\tEXECUTION\tSTATE\tREASON")
				for _, r := range records.([]release.Release) {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, stamp(r.CreatedAt), plain(r.Event.Repository.FullName), command.ShortSHA(r.Event.HeadSHA), r.Plan.Pipeline, r.Plan.Action, r.ExecutionID, r.State, plain(r.Reason))
				}
			},
		},
	}
}

func newList(env command.Environment) *cobra.Command {
	var flags databaseFlags
	var state string
	var limit int
	var asJSON bool
	things := listings()
	cmd := &cobra.Command{
		Use:   "list deliveries|runs|releases",
		Short: "List what was received, checked and released",
		Long: `Lists deliveries, runs or releases, newest first, from the server's database; the
server may be running. An ignored or failed delivery says why.`,
		Example: `  gatewright list deliveries --state failed
  gatewright list runs --config gatewright.yaml --json
  gatewright list releases --db gatewright.db --limit 5`,
		ValidArgs: []string{"deliveries", "runs", "releases"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			thing := things[args[0]]
			if state != "" && !slices.Contains(thing.states, state) {
				return command.UsageError{Err: fmt.Errorf("--state %q: write one of %s", state, strings.Join(thing.states, ", "))}
			}
			if limit < 1 || limit > 10_000 {
				return command.UsageError{Err: errors.New("--limit: write a number from 1 to 10000")}
			}
			s, err := flags.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer s.Close()
			var records any
			err = s.View(cmd.Context(), func(tx *store.Tx) (err error) {
				records, err = thing.read(cmd.Context(), tx, state, limit)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return command.WriteJSON(env.Stdout, map[string]any{args[0]: records})
			}
			w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
			thing.table(w, records)
			return w.Flush()
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&state, "state", "", "only those in this state")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most this many")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// deliveryView is a delivery as it is shown: without its body, which may be
// confidential.
type deliveryView struct {
	ID         string              `json:"id"`
	Connection string              `json:"connection"`
	Host       event.Host          `json:"host"`
	HostID     string              `json:"host_id"`
	Event      string              `json:"event"`
	ReceivedAt time.Time           `json:"received_at"`
	State      event.DeliveryState `json:"state"`
	Reason     string              `json:"reason"`
	Decision   *rules.Decision     `json:"decision,omitempty"`
	Runs       []codecheck.Run     `json:"runs,omitempty"`
}

func viewOf(d store.Delivery) deliveryView {
	return deliveryView{
		ID: d.ID, Connection: d.Connection, Host: d.Host, HostID: d.HostID, Event: d.Event,
		ReceivedAt: d.ReceivedAt, State: d.State, Reason: d.Reason, Decision: d.Decision,
	}
}

func viewsOf(deliveries []store.Delivery) []deliveryView {
	views := []deliveryView{}
	for _, d := range deliveries {
		views = append(views, viewOf(d))
	}
	return views
}

// runView is a run with the releases that it allowed.
type runView struct {
	codecheck.Run
	Started []release.Release `json:"started_releases"`
}

func newShow(env command.Environment) *cobra.Command {
	var flags databaseFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one delivery, run or release in full",
		Long: `Shows one delivery with its decision and runs, one run with its verdict, defects
and releases, or one release with its actions, from the server's database.`,
		Example: `  gatewright show 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69
  gatewright show 019aab6e-7d0c-7c3e-9b1e-3f1d2c4b5a69 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := flags.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer s.Close()
			var record any
			err = s.View(cmd.Context(), func(tx *store.Tx) (err error) {
				record, err = find(cmd.Context(), tx, args[0])
				return err
			})
			if err != nil {
				return err
			}
			if d, isDelivery := record.(deliveryView); isDelivery && !asJSON {
				return writeDelivery(env.Stdout, d)
			}
			return command.WriteJSON(env.Stdout, record)
		},
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object; runs and releases are always shown so")
	return cmd
}

// find looks an id up among deliveries, runs and releases.
func find(ctx context.Context, tx *store.Tx, id string) (any, error) {
	d, err := tx.Delivery(ctx, id)
	if err == nil {
		view := viewOf(d)
		view.Runs, err = tx.RunsOf(ctx, id)
		return view, err
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	run, err := tx.Run(ctx, id)
	if err == nil {
		started, err := tx.ReleasesOf(ctx, id)
		return runView{Run: run, Started: started}, err
	}
	if !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	r, err := tx.Release(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("no delivery, run or release has the id %q", id)
	}
	return r, err
}

func writeDelivery(w io.Writer, d deliveryView) error {
	fmt.Fprintf(w, "delivery %s\n  received  %s by %s (%s), event %q\n  state     %s\n", d.ID, stamp(d.ReceivedAt), d.Connection, d.Host, d.Event, d.State)
	if d.Reason != "" {
		fmt.Fprintf(w, "  reason    %s\n", d.Reason)
	}
	if d.Decision != nil {
		d.Decision.Write(w)
	}
	for _, run := range d.Runs {
		fmt.Fprintf(w, "run %s\n  state     %s\n", run.ID, run.State)
		if run.Reason != "" {
			fmt.Fprintf(w, "  reason    %s\n", run.Reason)
		}
		if run.Verdict != nil {
			fmt.Fprintf(w, "  verdict   %s\n", strings.Join(run.Verdict.Reasons, ", "))
		}
	}
	return nil
}

// plain is text in which a newline or another control character cannot break a
// table.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func texts[S ~string](states []S) []string {
	var list []string
	for _, state := range states {
		list = append(list, string(state))
	}
	return list
}
