package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/strictyaml"
)

// openings is how many of a window are printed.
const openings = 10

// windowFlags are the flags of the commands that read the calendar of the rules.
type windowFlags struct {
	config, rules, from string
	asJSON              bool
}

func newWindows(env command.Environment) *cobra.Command {
	var flags windowFlags
	cmd := &cobra.Command{
		Use:   "windows",
		Short: "Print when held releases may act, and when nothing may",
		Long: `Prints the windows and the freezes of the rules: when a release that is held for a
window may act, and when none may. It works offline, and reads no secret.`,
		Example: `  gatewright windows list --config gatewright.yaml
  gatewright windows next working-hours --rules rules.yaml --json`,
		Args: cobra.NoArgs,
	}
	cmd.PersistentFlags().StringVar(&flags.config, "config", "gatewright.yaml", "the server file, for its rules")
	cmd.PersistentFlags().StringVar(&flags.rules, "rules", "", "a rules file or folder, without a server file")
	cmd.PersistentFlags().StringVar(&flags.from, "from", "", "a time such as 2026-10-01T00:00:00+08:00; default: now")
	cmd.PersistentFlags().BoolVar(&flags.asJSON, "json", false, "print one JSON object")
	cmd.AddCommand(newWindowsList(env, &flags), newWindowsNext(env, &flags))
	return cmd
}

// read reads the rules and the time from which on is told.
func (f *windowFlags) read(cmd *cobra.Command, env command.Environment) (*rules.Policy, time.Time, error) {
	from := time.Now()
	if f.from != "" {
		var err error
		if from, err = time.Parse(time.RFC3339, f.from); err != nil {
			return nil, time.Time{}, command.UsageError{Err: fmt.Errorf("--from %q is not a time: write one with its offset from UTC, such as 2026-10-01T00:00:00+08:00", f.from)}
		}
	}
	if f.rules != "" {
		if cmd.Flags().Changed("config") {
			return nil, time.Time{}, command.UsageError{Err: errors.New("give --config or --rules: the server file names its own rules")}
		}
		policy, err := app.LoadRules(f.rules, nil)
		return policy, from, err
	}
	cfg, err := app.LoadConfigFor(config.Needs{}, f.config, env.LookupEnv)
	if err != nil {
		return nil, time.Time{}, err
	}
	policy, err := app.LoadRules(cfg.Rules, cfg.Pipelines())
	return policy, from, err
}

// The JSON of the commands; docs/json.md.
type (
	windowState struct {
		Name     string     `json:"name"`
		TimeZone string     `json:"time_zone"`
		Open     bool       `json:"open"`
		Until    *time.Time `json:"until"`
	}
	freezeState struct {
		Name         string    `json:"name"`
		Reason       string    `json:"reason"`
		From         time.Time `json:"from"`
		To           time.Time `json:"to"`
		Pipelines    []string  `json:"pipelines"`
		Repositories []string  `json:"repositories"`
	}
	opening struct {
		From time.Time  `json:"from"`
		To   *time.Time `json:"to"`
		// Freezes are those that are in force at some time of it.
		Freezes []freezeState `json:"freezes"`
	}
)

func stateOf(w rules.Window, at time.Time) windowState {
	s := windowState{Name: w.Name, TimeZone: w.Zone().String()}
	var until time.Time
	s.Open, until = w.Open(at)
	s.Until = given(until)
	return s
}

func (s windowState) text() string {
	state := "closed"
	if s.Open {
		state = "open"
	}
	return state + untilText(s.Until)
}

func untilText(until *time.Time) string {
	if until == nil {
		return " for ever"
	}
	return " until " + momentText(*until)
}

func momentText(t time.Time) string { return t.Format("Mon 2006-01-02 15:04 -0700") }

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func stateOfFreeze(f rules.Freeze) freezeState {
	return freezeState{f.Name, f.Reason, f.From, f.To, append([]string{}, f.Pipelines...), append([]string{}, f.Repositories...)}
}

// scope says what the freeze is for, e.g. `everything` or `repositories acme/*`.
func (f freezeState) scope() string {
	var parts []string
	if len(f.Pipelines) > 0 {
		parts = append(parts, "pipelines "+strings.Join(f.Pipelines, ", "))
	}
	if len(f.Repositories) > 0 {
		parts = append(parts, "repositories "+strings.Join(f.Repositories, ", "))
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, " of ")
}

// text says what a freeze means for an opening; o may be nil.
func (f freezeState) text(o *opening) string {
	how := "frozen"
	if o != nil && (f.From.After(o.From) || o.To == nil || f.To.Before(*o.To)) {
		how = "frozen in part"
	}
	return escape.Line(fmt.Sprintf("%s by %s (%s, until %s): %s", how, f.Name, f.scope(), momentText(f.To), f.Reason))
}

func newWindowsNext(env command.Environment, flags *windowFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "next NAME",
		Short: "Print the next ten openings of a window, with the freezes that cover them",
		Example: `  gatewright windows next working-hours
  gatewright windows next working-hours --rules rules.yaml --from 2026-10-01T00:00:00+08:00`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, from, err := flags.read(cmd, env)
			if err != nil {
				return err
			}
			w, known := policy.Window(args[0])
			if !known {
				return command.UsageError{Err: unknownWindow(args[0], policy)}
			}
			state, next := stateOf(w, from), nextOpenings(w, policy.Freezes(), from)
			if flags.asJSON {
				return command.WriteJSON(env.Stdout, struct {
					windowState
					Openings []opening `json:"openings"`
				}{state, next})
			}
			return writeOpenings(env.Stdout, state, next)
		},
	}
}

func unknownWindow(name string, policy *rules.Policy) error {
	var names []string
	for _, w := range policy.Windows() {
		names = append(names, w.Name)
	}
	if len(names) == 0 {
		return fmt.Errorf("there is no window %q: the rules have no windows; write some under windows of the rules file (docs/approvals.md)", name)
	}
	return fmt.Errorf("there is no window %q: %s", name, strictyaml.Suggest(name, names))
}

// nextOpenings are the next ones from a time on, with the freezes of each.
func nextOpenings(w rules.Window, freezes []rules.Freeze, at time.Time) []opening {
	next := []opening{}
	for len(next) < openings {
		from, to, found := w.Next(at)
		if !found {
			break
		}
		o := opening{From: from, To: given(to), Freezes: []freezeState{}}
		for _, f := range freezes {
			if f.To.After(from) && (to.IsZero() || f.From.Before(to)) {
				o.Freezes = append(o.Freezes, stateOfFreeze(f))
			}
		}
		next = append(next, o)
		if to.IsZero() {
			break
		}
		at = to
	}
	return next
}

func writeOpenings(w io.Writer, state windowState, next []opening) error {
	fmt.Fprintf(w, "%s (%s): %s\n", state.Name, state.TimeZone, state.text())
	if len(next) == 0 {
		fmt.Fprintln(w, "It does not open any more.")
	}
	table := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	for _, o := range next {
		if o.To == nil {
			fmt.Fprintf(table, "  %s\tfor ever\t\n", momentText(o.From))
		} else {
			fmt.Fprintf(table, "  %s\tto %s\t%s\n", momentText(o.From), momentText(*o.To), o.To.Sub(o.From).Truncate(time.Second))
		}
		for _, f := range o.Freezes {
			fmt.Fprintf(table, "    %s\n", f.text(&o))
		}
	}
	return table.Flush()
}

func newWindowsList(env command.Environment, flags *windowFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Print all windows and whether they are open, and the freezes that have not ended",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			policy, from, err := flags.read(cmd, env)
			if err != nil {
				return err
			}
			windows, freezes := []windowState{}, []freezeState{}
			for _, w := range policy.Windows() {
				windows = append(windows, stateOf(w, from))
			}
			for _, f := range policy.Freezes() {
				if f.To.After(from) {
					freezes = append(freezes, stateOfFreeze(f))
				}
			}
			if flags.asJSON {
				return command.WriteJSON(env.Stdout, map[string]any{"windows": windows, "freezes": freezes, "break_glass": append([]string{}, policy.BreakGlass()...)})
			}
			return writeWindows(env.Stdout, windows, freezes, policy.BreakGlass(), from)
		},
	}
}

func writeWindows(w io.Writer, windows []windowState, freezes []freezeState, breakGlass []string, from time.Time) error {
	table := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	if len(windows) == 0 {
		fmt.Fprintln(table, "no windows")
	} else {
		fmt.Fprintln(table, "WINDOW\tTIME ZONE\tSTATE")
	}
	for _, s := range windows {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, s.TimeZone, s.text())
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if len(freezes) > 0 {
		fmt.Fprintln(table, "\nFREEZE\tFROM\tTO\tOF\tREASON")
	}
	for _, f := range freezes {
		name := f.Name
		if !f.From.After(from) {
			name += " (now)"
		}
		fmt.Fprintln(table, tableRow([]string{name, momentText(f.From), momentText(f.To), f.scope(), f.Reason}))
	}
	if len(breakGlass) > 0 {
		fmt.Fprintf(table, "\nBreak-glass: %s\n", strings.Join(breakGlass, ", "))
	}
	return table.Flush()
}
