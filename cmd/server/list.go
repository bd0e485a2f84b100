package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/api"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// listing is one kind of record that can be listed.
type listing struct {
	name, heading string
	// read returns a page; its rows are those of the table.
	read func(ctx context.Context, from *source, values url.Values) (listed, error)
}

// listed is a page as it is printed: as a table or as JSON.
type listed struct {
	records any
	ids     []string
	rows    []string
	next    string
}

// mostListed is how many records a list prints at most.
const mostListed = 10_000

// listingOf makes a listing of one kind of record.
func listingOf[V any](name, heading string, read func(context.Context, *store.Tx, store.Filter) (view.Page[V], error), id func(V) string, row func(V) []string) listing {
	return listing{name: name, heading: heading, read: func(ctx context.Context, from *source, values url.Values) (listed, error) {
		records, next, err := readList(ctx, from, name, values, read)
		l := listed{records: records, next: next}
		for _, record := range records {
			l.ids, l.rows = append(l.ids, id(record)), append(l.rows, tableRow(row(record)))
		}
		return l, err
	}}
}

// readList reads pages until there are as many records as are wanted, or no more.
func readList[V any](ctx context.Context, from *source, name string, values url.Values, read func(context.Context, *store.Tx, store.Filter) (view.Page[V], error)) (records []V, next string, err error) {
	records = []V{}
	own := values
	if from.remote != nil {
		own = withoutCursor(values) // The server reads it.
	}
	filter, err := view.ParseFilter(name, own, mostListed, time.Now())
	var wrong view.ParameterError
	if errors.As(err, &wrong) {
		return nil, "", command.UsageError{Err: fmt.Errorf("--%s: %s", wrong.Name, wrong.Problem)}
	}
	values = maps.Clone(values)
	for {
		var page view.Page[V]
		if from.remote != nil {
			values.Set("limit", strconv.Itoa(min(filter.Limit-len(records), api.MaxPage)))
			err = from.remote.get(ctx, name+"?"+values.Encode(), &page)
		} else {
			rest := filter
			rest.Limit -= len(records)
			err = from.store.View(ctx, func(tx *store.Tx) error {
				page, err = read(ctx, tx, rest)
				return err
			})
		}
		if err != nil {
			return nil, "", err
		}
		records = append(records, page.Items...)
		if page.Next == "" || len(records) >= filter.Limit {
			return records, page.Next, nil
		}
		values.Set("cursor", page.Next)
		if from.remote == nil {
			if filter.After, err = view.ParseCursor(name, filter, page.Next); err != nil {
				return nil, "", err
			}
		}
	}
}

// tableRow joins the cells of a row, none of which can begin another cell or row.
func tableRow(cells []string) string {
	for i, cell := range cells {
		cells[i] = escape.Line(cell)
	}
	return strings.Join(cells, "\t")
}

func listings(missingAfter time.Duration) map[string]listing {
	return map[string]listing{
		"deliveries": listingOf(view.ListDeliveries, "DELIVERY\tRECEIVED\tCONNECTION\tEVENT\tREPOSITORY\tBRANCH\tCOMMIT\tRULES\tSTATE\tREASON", view.Deliveries,
			func(d view.Delivery) string { return d.ID },
			func(d view.Delivery) []string {
				name := d.HostEvent
				if d.Event != "" {
					name = what(d.Subject)
				}
				return []string{d.ID, stamp(d.ReceivedAt), d.Connection, name, d.Repository, d.Branch, command.ShortSHA(d.Commit),
					strings.Join(d.Rules, ","), string(d.State), d.Reason}
			}),
		"runs": listingOf(view.ListRuns, "RUN\tCREATED\tCONNECTION\tREPOSITORY\tEVENT\tBRANCH\tCOMMIT\tRULE\tSTATE\tREASON", view.Runs,
			func(r view.Run) string { return r.ID },
			func(r view.Run) []string {
				return []string{r.ID, stamp(r.CreatedAt), r.Connection, r.Repository, what(r.Subject), r.Branch, command.ShortSHA(r.Commit),
					r.Rule, string(r.State), r.Reason}
			}),
		"releases": listingOf(view.ListReleases, "RELEASE\tCREATED\tCONNECTION\tREPOSITORY\tEVENT\tCOMMIT\tRULE\tPIPELINE\tACTION\tEXECUTION\tSTATE\tREASON", view.Releases,
			func(r view.Release) string { return r.ID },
			func(r view.Release) []string {
				return []string{r.ID, stamp(r.CreatedAt), r.Connection, r.Repository, what(r.Subject), command.ShortSHA(r.Commit), r.Rule, r.PipelineLabel(),
					strings.TrimSpace(string(r.Action) + " " + r.Checkpoint), r.ExecutionID, string(r.State), r.Reason}
			}),
		"actions": listingOf(view.ListActions, "ACTION\tAT\tNAME\tRECORD\tACTOR\tDETAILS\tREASON", view.Actions,
			func(a view.Action) string { return a.ID },
			func(a view.Action) []string {
				return []string{a.ID, stamp(a.At), string(a.Name), string(a.RecordKind) + " " + a.RecordID, a.Actor, a.Details, a.Reason}
			}),
		"missing": listingOf(view.ListMissing, "SINCE\tCONNECTION\tREPOSITORY\tEVENT\tBRANCH\tCOMMIT\tRUN\tREASON",
			func(ctx context.Context, tx *store.Tx, f store.Filter) (view.Page[view.Missing], error) {
				if f.Until.IsZero() {
					f.Until = time.Now().Add(-missingAfter)
				}
				return view.MissingVerdicts(ctx, tx, f.Until, f)
			},
			func(m view.Missing) string { return m.Connection + m.Repository + m.Branch + strconv.Itoa(m.Number) },
			func(m view.Missing) []string {
				return []string{stamp(m.Since), m.Connection, m.Repository, what(view.Subject{Event: m.Event, Number: m.Number}), m.Branch, command.ShortSHA(m.Commit), m.RunID, m.Reason}
			}),
		"approvals": listingOf(view.ListApprovals, "APPROVAL\tAT\tRELEASE\tREPOSITORY\tCOMMIT\tRULE\tPERSON\tIDENTITY\tVIA\tSTATE\tREASON", view.Approvals,
			func(a view.Approval) string { return a.ID },
			func(a view.Approval) []string {
				return []string{a.ID, stamp(a.At), a.ReleaseID, a.Repository, command.ShortSHA(a.Commit), a.Rule, a.Person, a.Identity, a.Via, string(a.State), cmp.Or(a.Voided, a.Reason)}
			}),
	}
}

// what names an event in a table; a merge request by its number.
func what(s view.Subject) string {
	if s.Number != 0 {
		return fmt.Sprintf("%s %d", s.Event, s.Number)
	}
	return string(s.Event)
}

// listFlags select the records of a list; their names are those of the parameters of the API.
type listFlags map[string]*string

func (f listFlags) register(cmd *cobra.Command) {
	for _, p := range view.Parameters("") {
		f[p.Name] = cmd.Flags().String(p.Name, "", p.About)
	}
}

// values are the flags that were given.
func (f listFlags) values() url.Values {
	values := url.Values{}
	for name, value := range f {
		if *value != "" {
			values.Set(name, *value)
		}
	}
	return values
}

// watchEvery is how often --watch reads the database.
const watchEvery = time.Second

func newList(env command.Environment) *cobra.Command {
	var from sourceFlags
	flags := listFlags{}
	var asJSON, watch bool
	cmd := &cobra.Command{
		Use:   "list deliveries|runs|releases|approvals|actions|missing",
		Short: "List what was received, checked, approved, released and done by people, and what has no verdict",
		Long: `Lists deliveries, runs, releases, approvals or the actions of people, newest first, from the
server's database, which the server may be using, or with --server by its API. All flags
that are given must hold. A page that is not the last one ends with the cursor of the next.
With --watch, what is new or has changed is printed as it happens, until you press Ctrl-C.

"list missing" lists the branches and open merge requests that a rule covers and whose
newest commit has had no verdict for a time, longest first. It needs recovery, which asks
the git hosts for them.`,
		Example: `  gatewright list deliveries --state failed,ignored --since 2h
  gatewright list runs --repository acme/api --number 7
  gatewright list releases --db gatewright.db --limit 5 --json
  gatewright list runs --watch
  gatewright list releases --state held
  gatewright list approvals --state approved --commit 1f2e3d4c
  gatewright list actions --actor ann --since 24h
  gatewright list missing --after 30m
  gatewright list runs --state failed --server https://gatewright.example.com:8081 --token-file token`,
		ValidArgs: []string{"deliveries", "runs", "releases", "approvals", "actions", "missing"},
		Args:      cobra.MatchAll(oneArg("say what to list: deliveries, runs, releases, approvals, actions or missing"), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			values := flags.values()
			if watch && (asJSON || values.Has("cursor") || args[0] == view.ListMissing) {
				return command.UsageError{Err: errors.New("--watch prints a table of what is new: leave out --json and --cursor; list missing does not have it")}
			}
			if _, err := view.ParseFilter(args[0], withoutCursor(values), mostListed, time.Now()); err != nil {
				var wrong view.ParameterError
				errors.As(err, &wrong)
				return command.UsageError{Err: fmt.Errorf("--%s: %s", wrong.Name, wrong.Problem)}
			}
			src, err := from.open(cmd, env)
			if err != nil {
				return err
			}
			defer src.close()
			var missingAfter time.Duration
			if args[0] == view.ListMissing && src.remote == nil && !values.Has("after") {
				if missingAfter, err = from.missingAfter(env); err != nil {
					return err
				}
			}
			thing := listings(missingAfter)[args[0]]
			if watch {
				return watchList(cmd.Context(), env.Stdout, src, thing, values)
			}
			page, err := thing.read(cmd.Context(), src, values)
			if err != nil {
				return err
			}
			if asJSON {
				return command.WriteJSON(env.Stdout, map[string]any{args[0]: page.records, "next_cursor": page.next})
			}
			return printPage(env, thing.heading, page)
		},
	}
	from.register(cmd)
	flags.register(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "go on, and print what is new or has changed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// withoutCursor are values but for the cursor.
func withoutCursor(values url.Values) url.Values {
	rest := maps.Clone(values)
	rest.Del("cursor")
	return rest
}

func printPage(env command.Environment, heading string, page listed) error {
	if err := printTable(env.Stdout, append([]string{heading}, page.rows...)); err != nil || page.next == "" {
		return err
	}
	_, err := fmt.Fprintf(env.Stderr, "more: --cursor %s\n", page.next)
	return err
}

func printTable(w io.Writer, rows []string) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(table, row)
	}
	return table.Flush()
}

// watchList prints the newest records, oldest first, and then each that is new or has
// changed, until ctx is done.
func watchList(ctx context.Context, w io.Writer, from *source, thing listing, values url.Values) error {
	seen := map[string]string{}
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	rows := []string{thing.heading}
	for {
		page, err := thing.read(ctx, from, values)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		current := map[string]string{}
		for i, id := range slices.Backward(page.ids) {
			if current[id] = page.rows[i]; current[id] != seen[id] {
				rows = append(rows, page.rows[i])
			}
		}
		seen = current
		if err := printTable(w, rows); err != nil {
			return err
		}
		rows = nil
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
