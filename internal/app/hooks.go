package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/hooks"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/strictyaml"
	"github.com/gatewright/gatewright/internal/webhook"
)

// HooksChoice says which webhooks are meant. Without a repository and an organisation they are those of each repository
// that the rules, or the connections, name without a pattern.
type HooksChoice struct {
	// Connection is a name; empty: every connection that calls its host.
	Connection string
	// Repository is a full name, Organization that of an organisation or the path of a group; at most one of them.
	Repository, Organization string
	// OldURL is a former http.public_url; empty for none.
	OldURL string
}

// Hooks are webhooks at the git hosts, as a configuration wants them.
type Hooks struct {
	Keeper  *hooks.Keeper
	Targets []hooks.Target
	cfg     *config.Config
}

// HooksError says that a choice of webhooks cannot be.
type HooksError struct{ Message string }

func (e HooksError) Error() string { return e.Message }

// WithHooks calls fn with the webhooks of a choice. The error is that of Load, with a complaint about the server file where
// that says too little; a HooksError about the choice; or that of fn.
func WithHooks(path string, lookup LookupEnv, choice HooksChoice, fn func(*Hooks) error) error {
	cfg, policy, err := Load(path, lookup)
	if err != nil {
		return err
	}
	if cfg.HTTP.PublicURL == "" {
		return strictyaml.Complaints{cfg.Complain("http.public_url", "the address at which the git hosts reach this server is missing", "write http: {public_url: https://…}, to which /webhooks/NAME is added")}
	}
	h, err := newHooks(cfg, policy, choice)
	if err == nil && len(h.Targets) == 0 {
		err = HooksError{"no connection with an API token has a repository that the rules name without a pattern: give --connection with --repository or --organization"}
	}
	if err != nil {
		return err
	}
	return fn(h)
}

func newHooks(cfg *config.Config, policy *rules.Policy, choice HooksChoice) (*Hooks, error) {
	hosts, err := newForge(cfg, forge.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		return nil, err
	}
	h := &Hooks{Keeper: &hooks.Keeper{Hosts: hosts}, cfg: cfg}
	if choice.Repository != "" && choice.Organization != "" {
		return nil, HooksError{"give one of --repository and --organization"}
	}
	if choice.Connection != "" {
		if c, found := cfg.Connection(choice.Connection); !found {
			return nil, HooksError{fmt.Sprintf("--connection %q: the server file has no such connection; it has %s", choice.Connection, strings.Join(connectionNames(cfg), ", "))}
		} else if !c.CallsHost() {
			return nil, HooksError{fmt.Sprintf("--connection %q: it has no API token, so nothing can be asked of its host: write token: {env: NAME} in the server file", choice.Connection)}
		}
	}
	var called []config.Connection
	for _, c := range cfg.Connections {
		if c.CallsHost() && (choice.Connection == "" || c.Name == choice.Connection) {
			called = append(called, c)
		}
	}
	named := choice.Repository != "" || choice.Organization != ""
	if named && len(called) > 1 {
		return nil, HooksError{"say whose it is with --connection: several connections call their hosts"}
	}
	for _, c := range called {
		connection, err := hooksConnection(cfg, c, hosts, choice.OldURL)
		if err != nil {
			return nil, err
		}
		if named {
			h.Targets = append(h.Targets, hooks.Target{Connection: connection, Repository: choice.Repository, Organization: choice.Organization})
			continue
		}
		for _, repository := range namedRepositories(c, policy) {
			h.Targets = append(h.Targets, hooks.Target{Connection: connection, Repository: repository})
		}
	}
	return h, nil
}

func connectionNames(cfg *config.Config) []string {
	var names []string
	for _, c := range cfg.Connections {
		names = append(names, c.Name)
	}
	return names
}

// hooksConnection is a connection as its webhooks need it.
func hooksConnection(cfg *config.Config, c config.Connection, hosts *forge.Forge, oldURL string) (hooks.Connection, error) {
	address, err := WebhookURL(cfg.HTTP.PublicURL, c.Name)
	if err != nil {
		return hooks.Connection{}, err
	}
	made := hooks.Connection{
		Name: c.Name, URL: address, Secrets: hookSecrets(c.Secrets), SigningTokens: hookSecrets(c.SigningTokens), Mode: c.Mode, Kind: hosts.HookKind(c.Name),
	}
	if oldURL != "" {
		if made.FormerURL, err = WebhookURL(strings.TrimRight(oldURL, "/"), c.Name); err != nil {
			return hooks.Connection{}, HooksError{"--old-url " + strconv.Quote(oldURL) + ": write the former http.public_url, such as https://old.example.com"}
		}
	}
	return made, nil
}

func hookSecrets(secrets []config.WebhookSecret) []hooks.Secret {
	var made []hooks.Secret
	for _, s := range secrets {
		made = append(made, hooks.Secret{Value: s.Value(), Covers: func(repository string) bool {
			if repository == "" {
				return len(s.Repositories) == 0
			}
			included, _ := inScope(event.Repository{FullName: repository}, s.Repositories)
			return included
		}})
	}
	return made
}

// namedRepositories are those of a connection that its own patterns or the rules name without a wildcard.
func namedRepositories(c config.Connection, policy *rules.Policy) []string {
	var all []string
	add := func(names []string) {
		for _, name := range names {
			included, _ := inScope(event.Repository{FullName: name}, c.Repositories)
			known := slices.ContainsFunc(all, func(other string) bool { return strings.EqualFold(other, name) })
			if included && !known && !strings.ContainsAny(name, "*?[]{}!") {
				all = append(all, name)
			}
		}
	}
	add(c.Repositories)
	for _, t := range policy.Targets() {
		if len(t.Connections) == 0 || slices.Contains(t.Connections, c.Name) {
			add(t.Repositories)
		}
	}
	return all
}

// check compares the webhooks of all targets with what the server needs.
func (h *Hooks) check(ctx context.Context) []hooks.Entry {
	var entries []hooks.Entry
	for _, target := range h.Targets {
		entries = append(entries, h.Keeper.Check(ctx, target)...)
	}
	return entries
}

// SecretUse says how a webhook secret of a connection is used.
type SecretUse struct {
	Connection string `json:"connection"`
	// Secret is its place in the list, from 1; that of a signing token is signing_1 and so on.
	Secret string `json:"secret"`
	// LastUsed is when it last proved a delivery; nil when it has not since Since, when a server first knew it. Since is nil
	// until a server does.
	LastUsed *time.Time `json:"last_used"`
	Since    *time.Time `json:"since"`
	// Removable: it is not the first, and was not used for the time asked for.
	Removable bool `json:"removable"`
}

// SecretUses reads from the database how the secrets of the connections are used that have more than one. unused is how
// long one has not been used before it may go.
func (h *Hooks) SecretUses(ctx context.Context, unused time.Duration) ([]SecretUse, error) {
	options := StoreOptions(h.cfg.Store)
	options.ReadOnly = true
	s, err := store.Open(ctx, options)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errors.New("there is no database yet: start the server")
	} else if err != nil {
		return nil, err
	}
	defer s.Close()
	known, err := s.SecretUses(ctx)
	if err != nil {
		return nil, err
	}
	uses := []SecretUse{}
	for _, c := range h.cfg.Connections {
		secrets := webhook.Secrets(WebhookConnection(c))
		if len(secrets) < 2 {
			continue
		}
		for i, secret := range secrets {
			use := SecretUse{Connection: c.Name, Secret: secret.Label}
			for _, k := range known {
				if k.Connection != c.Name || k.Secret != secret.ID {
					continue
				}
				last := k.Since
				if use.Since = &k.Since; !k.LastUsed.IsZero() {
					use.LastUsed = &k.LastUsed
					last = k.LastUsed
				}
				first := i == 0 || secret.Label == "signing_1"
				use.Removable = !first && time.Since(last) >= unused && time.Since(k.Since) >= unused
			}
			uses = append(uses, use)
		}
	}
	return uses, nil
}
