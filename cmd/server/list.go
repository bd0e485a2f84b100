package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// listing is one kind of record that can be listed.
type listing struct {
	states  []string
	heading string
	// read returns a page; its rows are those of the table.
	read func(ctx context.Context, tx *store.Tx, f store.Filter) (listed, error)
}

// listed is a page as it is printed: as a table or as JSON.
type listed struct {
	records any
	ids     []string
	rows    []string
	next    string
}

// listingOf makes a listing of one kind of record.
func listingOf[S ~string, V any](states []S, heading string,
	read func(context.Context, *store.Tx, store.Filter) (view.Page[V], error), id func(V) string, row func(V) []string,
) listing {
	return listing{states: texts(states), heading: heading, read: func(ctx context.Context, tx *store.Tx, f store.Filter) (listed, error) {
		page, err := read(ctx, tx, f)
		l := listed{records: page.Records, next: page.Next}
		for _, record := range page.Records {
			l.ids, l.rows = append(l.ids, id(record)), append(l.rows, tableRow(row(record)))
		}
		return l, err
	}}
}

// tableRow joins the cells of a row, none of which can begin another cell or row.
func tableRow(cells []string) string {
	for i, cell := range cells {
		cells[i] = escape.Line(cell)
	}
	return strings.Join(cells, "\t")
}

func listings() map[string]listing {
	return map[string]listing{
		"deliveries": listingOf(event.DeliveryStates(), "DELIVERY\tRECEIVED\tCONNECTION\tEVENT\tREPOSITORY\tBRANCH\tCOMMIT\tRULES\tSTATE\tREASON", view.Deliveries,
			func(d view.Delivery) string { return d.ID },
			func(d view.Delivery) []string {
				name := d.HostEvent
				if d.Event != "" {
					name = what(d.Subject)
				}
				return []string{d.ID, stamp(d.ReceivedAt), d.Connection, name, d.Repository, d.Branch, command.ShortSHA(d.Commit),
					strings.Join(d.Rules, ","), string(d.State), d.Reason}
			}),
		"runs": listingOf(codecheck.States(), "RUN\tCREATED\tCONNECTION\tREPOSITORY\tEVENT\tBRANCH\tCOMMIT\tRULE\tSTATE\tREASON", view.Runs,
			func(r view.Run) string { return r.ID },
			func(r view.Run) []string {
				return []string{r.ID, stamp(r.CreatedAt), r.Connection, r.Repository, what(r.Subject), r.Branch, command.ShortSHA(r.Commit),
					r.Rule, string(r.State), r.Reason}
			}),
		"releases": listingOf(release.States(), "RELEASE\tCREATED\tCONNECTION\tREPOSITORY\tEVENT\tCOMMIT\tRULE\tPIPELINE\tACTION\tEXECUTION\tSTATE\tREASON", view.Releases,
			func(r view.Release) string { return r.ID },
			func(r view.Release) []string {
				return []string{r.ID, stamp(r.CreatedAt), r.Connection, r.Repository, what(r.Subject), command.ShortSHA(r.Commit), r.Rule, r.PipelineLabel(),
					strings.TrimSpace(string(r.Action) + " " + r.Checkpoint), r.ExecutionID, string(r.State), r.Reason}
			}),
		"approvals": listingOf(store.ApprovalStates(), "APPROVAL\tAT\tRELEASE\tREPOSITORY\tCOMMIT\tRULE\tPERSON\tIDENTITY\tVIA\tSTATE\tREASON", view.Approvals,
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

// listFlags select the records of a list.
type listFlags struct {
	filter       store.Filter
	since, until string
	cursor       string
}

func (f *listFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringSliceVar(&f.filter.States, "state", nil, "only these states, separated by commas")
	flags.StringVar(&f.filter.Connection, "connection", "", "only this connection")
	flags.StringVar(&f.filter.Repository, "repository", "", "only this repository, by its full name")
	flags.StringVar(&f.filter.Branch, "branch", "", "only this branch or tag, or merge requests into it")
	flags.IntVar(&f.filter.Number, "number", 0, "only the merge request with this number")
	flags.StringVar(&f.filter.Rule, "rule", "", "only what this rule matched")
	flags.StringVar(&f.filter.Commit, "commit", "", "only this commit; its first digits are enough")
	flags.StringVar(&f.since, "since", "", "only from this time on: a duration back from now, such as 2h, or 2026-03-01T12:00:00Z")
	flags.StringVar(&f.until, "until", "", "only before this time, in the same forms")
	flags.StringVar(&f.cursor, "cursor", "", "go on after a page, with the cursor that it ended with")
	flags.IntVar(&f.filter.Limit, "limit", 50, "at most this many")
}

// hexadecimal is what a commit's first digits look like.
var hexadecimal = regexp.MustCompile(`^[0-9a-f]{4,64}$`)

// read checks the flags and returns the filter.
func (f *listFlags) read(states []string, now time.Time) (filter store.Filter, err error) {
	filter = f.filter
	for _, state := range filter.States {
		if !slices.Contains(states, state) {
			return filter, fmt.Errorf("--state %q: write one or more of %s", state, strings.Join(states, ", "))
		}
	}
	if filter.Limit < 1 || filter.Limit > 10_000 {
		return filter, errors.New("--limit: write a number from 1 to 10000")
	}
	if filter.Number < 0 {
		return filter, errors.New("--number: write the number of a merge request")
	}
	if filter.Commit = strings.ToLower(filter.Commit); filter.Commit != "" && !hexadecimal.MatchString(filter.Commit) {
		return filter, fmt.Errorf("--commit %q: write 4 or more of a commit's hexadecimal digits", f.filter.Commit)
	}
	if filter.Since, err = pointInTime(f.since, now); err != nil {
		return filter, fmt.Errorf("--since: %w", err)
	}
	if filter.Until, err = pointInTime(f.until, now); err != nil {
		return filter, fmt.Errorf("--until: %w", err)
	}
	if filter.After, err = view.ParseCursor(f.cursor); err != nil {
		return filter, fmt.Errorf("--cursor: %w", err)
	}
	return filter, nil
}

// watchEvery is how often --watch reads the database.
const watchEvery = time.Second

func newList(env command.Environment) *cobra.Command {
	var database databaseFlags
	var flags listFlags
	var asJSON, watch bool
	var after time.Duration
	things := listings()
	cmd := &cobra.Command{
		Use:   "list deliveries|runs|releases|approvals|missing",
		Short: "List what was received, checked, approved and released, and what has no verdict",
		Long: `Lists deliveries, runs, releases or approvals, newest first, from the server's database; the
server may be running. All flags that are given must hold. A page that is not the
last one ends with the cursor of the next. With --watch, what is new or has changed is
printed as it happens, until you press Ctrl-C.

"list missing" lists the branches and open merge requests that a rule covers and whose
newest commit has had no verdict for a time, longest first. It needs recovery, which asks
the git hosts for them, and takes --connection, --repository, --branch, --number, --commit
and --limit.`,
		Example: `  gatewright list deliveries --state failed,ignored --since 2h
  gatewright list runs --repository acme/api --number 7
  gatewright list releases --db gatewright.db --limit 5 --json
  gatewright list runs --watch
  gatewright list releases --state held
  gatewright list approvals --state approved --commit 1f2e3d4c
  gatewright list missing --after 30m`,
		ValidArgs: []string{"deliveries", "runs", "releases", "approvals", "missing"},
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[0] == "missing" {
				return listMissing(cmd, env, database, flags, after, asJSON)
			}
			if cmd.Flags().Changed("after") {
				return command.UsageError{Err: errors.New("--after is for list missing: write --since")}
			}
			thing := things[args[0]]
			filter, err := flags.read(thing.states, time.Now())
			if err != nil {
				return command.UsageError{Err: err}
			}
			if watch && (asJSON || flags.cursor != "") {
				return command.UsageError{Err: errors.New("--watch prints a table of what is new: leave out --json and --cursor")}
			}
			s, err := database.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			defer s.Close()
			if watch {
				return watchList(cmd.Context(), env.Stdout, s, thing, filter)
			}
			page, err := thing.page(cmd.Context(), s, filter)
			if err != nil {
				return err
			}
			if asJSON {
				return command.WriteJSON(env.Stdout, map[string]any{args[0]: page.records, "next_cursor": page.next})
			}
			return printPage(env, thing.heading, page)
		},
	}
	database.register(cmd)
	flags.register(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "go on, and print what is new or has changed")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	cmd.Flags().DurationVar(&after, "after", 0, "of missing: only what has had no verdict for so long; default: recovery.missing_after, with --db 1h")
	return cmd
}

// listMissing prints what has had no verdict for a time.
func listMissing(cmd *cobra.Command, env command.Environment, database databaseFlags, flags listFlags, after time.Duration, asJSON bool) error {
	for _, name := range []string{"state", "rule", "since", "until", "cursor", "watch"} {
		if cmd.Flags().Changed(name) {
			return command.UsageError{Err: fmt.Errorf("--%s is not for list missing", name)}
		}
	}
	if after < 0 {
		return command.UsageError{Err: errors.New("--after: write a duration such as 30m")}
	}
	filter, err := flags.read(nil, time.Now())
	if err != nil {
		return command.UsageError{Err: err}
	}
	if !cmd.Flags().Changed("after") {
		if after, err = database.missingAfter(env); err != nil {
			return err
		}
	}
	s, err := database.open(cmd.Context(), env)
	if err != nil {
		return err
	}
	defer s.Close()
	var list []view.Missing
	err = s.View(cmd.Context(), func(tx *store.Tx) error {
		list, err = view.MissingVerdicts(cmd.Context(), tx, time.Now().Add(-after), filter)
		return err
	})
	if err != nil {
		return err
	}
	if asJSON {
		return command.WriteJSON(env.Stdout, map[string]any{"missing": list})
	}
	rows := []string{"SINCE\tCONNECTION\tREPOSITORY\tEVENT\tBRANCH\tCOMMIT\tRUN\tREASON"}
	for _, m := range list {
		rows = append(rows, tableRow([]string{
			stamp(m.Since), m.Connection, m.Repository, what(view.Subject{Event: m.Event, Number: m.Number}), m.Branch, command.ShortSHA(m.Commit), m.RunID, m.Reason,
		}))
	}
	return printTable(env.Stdout, rows)
}

func (l listing) page(ctx context.Context, s *store.Store, filter store.Filter) (page listed, err error) {
	err = s.View(ctx, func(tx *store.Tx) error {
		page, err = l.read(ctx, tx, filter)
		return err
	})
	return page, err
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
func watchList(ctx context.Context, w io.Writer, s *store.Store, thing listing, filter store.Filter) error {
	seen := map[string]string{}
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	rows := []string{thing.heading}
	for {
		page, err := thing.page(ctx, s, filter)
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
