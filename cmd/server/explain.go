package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/webhook"
)

// maxPayload bounds a payload file in bytes; more than any host sends.
const maxPayload = 64 << 20

// recordedFlags are the flags of the commands that read a recorded delivery.
type recordedFlags struct {
	config, connection, kind, headers, payload string
}

func (f *recordedFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "", "the server file, for its connections and secrets")
	cmd.Flags().StringVar(&f.connection, "connection", "", "a connection of --config; without --config any name, with --kind")
	cmd.Flags().StringVar(&f.kind, "kind", "", "without --config, the kind of the connection: "+hostWords()+"; default: its name")
	cmd.Flags().StringVar(&f.headers, "headers", "", "a file of header lines")
	cmd.Flags().StringVar(&f.payload, "payload", "", "a file with the body; - reads standard input")
	for _, flag := range []string{"connection", "headers", "payload"} {
		if err := cmd.MarkFlagRequired(flag); err != nil {
			panic("mark flag: " + err.Error())
		}
	}
}

// recorded is a delivery that was read from files.
type recorded struct {
	connection webhook.Connection
	header     http.Header
	body       []byte
	// cfg is nil when no server file was given.
	cfg *config.Config
}

// read reads the files. Of the server file's secrets it needs those of the connection,
// unless withoutSecrets.
func (f *recordedFlags) read(env command.Environment, withoutSecrets bool) (recorded, error) {
	var r recorded
	var err error
	if f.config != "" {
		needs := config.Needs{Connection: f.connection}
		if withoutSecrets {
			needs.Connection = ""
		}
		if r.cfg, err = app.LoadConfigFor(needs, f.config, env.LookupEnv); err != nil {
			return recorded{}, err
		}
	}
	if r.connection, err = f.findConnection(r.cfg); err != nil {
		return recorded{}, err
	}
	headers, err := readFile(f.headers, env.Stdin, 1<<20)
	if err != nil {
		return recorded{}, fmt.Errorf("read headers: %w", err)
	}
	if r.header, err = webhook.ReadHeaders(bytes.NewReader(headers)); err != nil {
		return recorded{}, fmt.Errorf("read headers %q: %w", f.headers, err)
	}
	if r.body, err = readFile(f.payload, env.Stdin, maxPayload); err != nil {
		return recorded{}, fmt.Errorf("read payload: %w", err)
	}
	return r, nil
}

// hostWords lists the kinds of git hosts, for help and messages.
func hostWords() string {
	var words []string
	for _, host := range webhook.Hosts() {
		words = append(words, string(host))
	}
	return strings.Join(words, ", ")
}

// findConnection finds the connection in the server file; without one it is of the kind
// that is given.
func (f *recordedFlags) findConnection(cfg *config.Config) (webhook.Connection, error) {
	if cfg == nil {
		kind := event.Host(cmp.Or(f.kind, f.connection))
		switch {
		case slices.Contains(webhook.Hosts(), kind):
			return webhook.Connection{Name: f.connection, Host: kind}, nil
		case f.kind != "":
			return webhook.Connection{}, command.UsageError{Err: fmt.Errorf("--kind %q: write one of %s", f.kind, hostWords())}
		}
		return webhook.Connection{}, command.UsageError{Err: fmt.Errorf("connection %q: without --config, give --kind with one of %s", f.connection, hostWords())}
	}
	if f.kind != "" {
		return webhook.Connection{}, command.UsageError{Err: errors.New("--kind goes without --config: the server file says of which kind a connection is")}
	}
	c, known := cfg.Connection(f.connection)
	if !known {
		var names []string
		for _, c := range cfg.Connections {
			names = append(names, c.Name)
		}
		return webhook.Connection{}, command.UsageError{Err: fmt.Errorf("connection %q is not configured; there are %s", f.connection, strings.Join(names, ", "))}
	}
	return app.WebhookConnection(c), nil
}

// verify says what can be said of the signature of a recorded delivery: it is
// verified as of the time that the delivery was signed.
func (r recorded) verify() (string, error) {
	if len(r.connection.Secrets)+len(r.connection.SigningTokens) == 0 {
		return "not verified: no secret given", nil
	}
	now := time.Now()
	if signed, ok := webhook.SentAt(r.connection, r.header); ok {
		now = signed
	}
	if err := webhook.Verify(r.connection, r.header, r.body, now); err != nil {
		return "", err
	}
	return "valid", nil
}

// event reads the delivery as the service does. Without a server file nothing says
// which repositories it may speak of.
func (r recorded) event() (event.Event, error) {
	if r.cfg == nil {
		return webhook.Parse(r.connection, r.header, r.body)
	}
	configured, _ := r.cfg.Connection(r.connection.Name)
	return app.Read(configured, event.Delivery{
		Connection: configured.Name, Header: r.header, Body: r.body, Scope: webhook.Scope(r.connection, r.header, r.body, time.Now()),
	})
}

// explained is the JSON answer of explain.
type explained struct {
	Signature string      `json:"signature"`
	Event     event.Event `json:"event"`
	// Decision is nil for an event that is not evaluated.
	Decision *rules.Decision `json:"decision"`
	// Languages says which languages a task that must be created gets, where a rule that
	// matched names none; empty otherwise.
	Languages string `json:"languages"`
	// Files says that the decision depends on changed files that the payload does not list,
	// and what the service does about that; empty when it does not.
	Files string `json:"files"`
	// Origin says that the decision depends on where a merge request comes from or who vouches for
	// it, and what the service does about that; empty when it does not.
	Origin string `json:"origin"`
}

func newExplain(env command.Environment) *cobra.Command {
	var flags recordedFlags
	var rulesPath, expect string
	var asJSON, allRules bool
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Print what the rules say of a recorded delivery, and why",
		Long: `Reads a recorded delivery (a file of header lines, a file with the body) and
prints the decision with the rules and clauses that were tried. It works offline,
with the engine that serve uses. The signature is verified when --config gives the
connection's secret. The git host is not asked: where rules compare changed files that
the payload does not list, or want to know who is behind a fork, it says so.

Of more than 20 rules it prints every rule that matches and, up to 20 in all, others
that may be for the repository, and counts the rest; --all-rules prints them too.

Exit codes: 0; 1 when the delivery cannot be read, its signature is wrong, or
another rule than --expect wins.`,
		Example: `  gatewright explain --rules rules.yaml --connection github --headers push.headers --payload push.json
  gatewright explain --config gatewright.yaml --connection acme --headers push.headers --payload push.json --expect release-main
  gatewright explain --rules rules.yaml --connection acme --kind gitlab --headers mr.headers --payload mr.json --json --all-rules`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rulesPath == "" && flags.config == "" {
				return command.UsageError{Err: errors.New("give --rules, or --config, whose rules are then used")}
			}
			delivery, err := flags.read(env, false)
			if err != nil {
				return err
			}
			if rulesPath == "" {
				rulesPath = delivery.cfg.Rules
			}
			var pipelines map[string]string
			if delivery.cfg != nil {
				pipelines = delivery.cfg.Pipelines()
			}
			policy, err := app.LoadRules(rulesPath, pipelines)
			if err != nil {
				return err
			}
			answer, err := explain(delivery, policy, allRules)
			if err != nil {
				return err
			}
			if err := answer.write(env, asJSON); err != nil {
				return err
			}
			return answer.checkWinner(env, expect)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&rulesPath, "rules", "", "a rules file or folder; default: the one that --config names")
	cmd.Flags().StringVar(&expect, "expect", "", "exit 1 when another rule than this one wins")
	cmd.Flags().BoolVar(&allRules, "all-rules", false, "print every rule, however many there are")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

func explain(delivery recorded, policy *rules.Policy, allRules bool) (explained, error) {
	signature, err := delivery.verify()
	if err != nil {
		return explained{}, err
	}
	ev, err := delivery.event()
	if err != nil {
		return explained{}, fmt.Errorf("read event: %w", err)
	}
	answer := explained{Signature: signature, Event: ev}
	if ev.IgnoredReason == "" {
		decision, needs := policy.Try(ev, allRules)
		if needs.Fork || needs.Trust {
			answer.Origin = delivery.origin(needs.Trust)
		}
		answer.Decision, answer.Languages = &decision, delivery.languages(decision)
		if needs.Files {
			answer.Files = delivery.files()
		}
	}
	return answer, nil
}

// languages says which languages the task of a check that names none gets.
func (r recorded) languages(decision rules.Decision) string {
	auto := func(m rules.Match) bool {
		return len(m.Check.Languages)+len(m.Check.RuleSets) == 0 && m.Check.TaskID == ""
	}
	if !slices.ContainsFunc(decision.Matches, auto) {
		return ""
	}
	if r.cfg == nil {
		return "auto: a task that must be created gets those that the host names, where the connection has an API token, else the default ones"
	}
	if c, _ := r.cfg.Connection(r.connection.Name); !c.CallsHost() {
		return "auto: a task that must be created gets the default ones, because connection " + c.Name + " has no API token with which its host could be asked"
	}
	return "auto: a task that must be created gets those that the host names"
}

// files says what the service does about changed files that the payload does not list.
func (r recorded) files() string {
	if r.cfg == nil {
		return "not all are in the payload: the service asks the git host for them before it decides, where the connection has an API token"
	}
	if c, _ := r.cfg.Connection(r.connection.Name); !c.CallsHost() {
		return "not all are in the payload, and connection " + c.Name + " has no API token with which its host could be asked: the decision stays as it is"
	}
	return "not all are in the payload: the service asks the git host for them before it decides"
}

// origin says what the service does to find out where a merge request comes from, and who vouches for it.
func (r recorded) origin(trust bool) string {
	text := "taken from the payload here: the service asks the git host, where the connection has an API token"
	if r.cfg != nil {
		text = "taken from the payload here: the service asks the git host"
		if c, _ := r.cfg.Connection(r.connection.Name); !c.CallsHost() {
			text = "taken from the payload: connection " + c.Name + " has no API token with which its host could be asked"
			if trust {
				text += ", so that the merge request waits until somebody vouches for its commit"
			}
			return text
		}
	}
	if trust {
		text += ", and for a fork whether its author may write to the repository"
	}
	return text
}

func (a explained) write(env command.Environment, asJSON bool) error {
	if asJSON {
		return command.WriteJSON(env.Stdout, a)
	}
	if a.Decision == nil {
		fmt.Fprintf(env.Stdout, "ignored: %s\n", escape.Line(a.Event.IgnoredReason))
	} else {
		a.Decision.Write(env.Stdout)
	}
	if a.Languages != "" {
		fmt.Fprintf(env.Stdout, "languages %s\n", escape.Line(a.Languages))
	}
	if a.Files != "" {
		fmt.Fprintf(env.Stdout, "files     %s\n", escape.Line(a.Files))
	}
	if a.Origin != "" {
		fmt.Fprintf(env.Stdout, "origin    %s\n", escape.Line(a.Origin))
	}
	fmt.Fprintf(env.Stdout, "signature %s\n", a.Signature)
	return nil
}

// checkWinner answers --expect: the winning rule is the first that matched.
func (a explained) checkWinner(env command.Environment, expect string) error {
	if expect == "" {
		return nil
	}
	winner := a.winner()
	if winner == expect {
		return nil
	}
	if winner == "" {
		winner = "none"
	}
	fmt.Fprintf(env.Stderr, "gatewright: expected rule %q, but the winning rule is %s\n", expect, winner)
	return command.ErrNo
}

func (a explained) winner() string {
	if a.Decision == nil {
		return ""
	}
	for _, trace := range a.Decision.Trace {
		if trace.Result == rules.RuleMatched {
			return trace.Rule
		}
	}
	return ""
}
