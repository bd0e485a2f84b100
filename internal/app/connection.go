package app

import (
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/webhook"
)

func webhookConnections(cfg *config.Config) []webhook.Connection {
	var connections []webhook.Connection
	for _, c := range cfg.Connections {
		connections = append(connections, WebhookConnection(c))
	}
	return connections
}

// WebhookConnection is a configured connection as the webhook endpoint knows it.
func WebhookConnection(c config.Connection) webhook.Connection {
	return webhook.Connection{
		Name: c.Name, Host: event.Host(c.Kind), URL: c.URL, Hosts: c.Hosts, CloneURL: c.CloneURL, SSHURL: c.SSHURL,
		Secrets: values(c.Secrets), SigningTokens: values(c.SigningTokens), Scopes: scopes(slices.Concat(c.Secrets, c.SigningTokens)),
		Mode: c.Mode, MaxAge: c.MaxAge, Allow: config.Prefixes(c.Allow),
	}
}

func values(secrets []config.WebhookSecret) []string {
	var texts []string
	for _, secret := range secrets {
		texts = append(texts, secret.Value())
	}
	return texts
}

// scopes are the repositories that secrets may speak of, by the secrets' values.
func scopes(secrets []config.WebhookSecret) map[string][]string {
	scopes := map[string][]string{}
	for _, secret := range secrets {
		if len(secret.Repositories) > 0 {
			scopes[secret.Value()] = secret.Repositories
		}
	}
	return scopes
}

// parser reads a stored delivery with the settings of the connection that received it.
func parser(connections []config.Connection) func(event.Delivery) (event.Event, error) {
	byName := map[string]config.Connection{}
	for _, c := range connections {
		byName[c.Name] = c
	}
	return func(d event.Delivery) (event.Event, error) {
		connection, known := byName[d.Connection]
		if !known {
			// It was removed since the delivery was received, and with it the host
			// that the event must be bound to.
			return event.Event{}, fmt.Errorf("read delivery of %q: this connection is not configured any more: configure it again and replay the delivery", d.Connection)
		}
		return Read(connection, d)
	}
}

// Read reads a delivery of a connection into an event that is bound to it. One about a
// repository that the connection, or the secret that verified it, may not speak of is
// ignored, and nothing else of it is kept. The numbers of accounts are left out of a push or merge
// request whose body nothing proves.
func Read(c config.Connection, d event.Delivery) (event.Event, error) {
	var ev event.Event
	var err error
	if d.Recovered == event.Compared {
		ev, err = webhook.ParseRecovered(WebhookConnection(c), d.Body)
	} else {
		ev, err = webhook.Parse(WebhookConnection(c), d.Header, d.Body)
	}
	if err != nil {
		return event.Event{}, err
	}
	if !c.SignsBody() && d.Recovered != event.Compared && ev.Kind != event.Comment {
		// They say who may not approve, and whoever knows the secret can write here what they like.
		// A comment is read back from its host.
		ev.AuthorID, ev.SenderID = "", ""
	}
	for _, scope := range []struct {
		of       string
		patterns []string
	}{{"the connection", c.Repositories}, {"the secret that verified it", d.Scope}} {
		if included, why := inScope(ev.Repository, scope.patterns); !included {
			ignored := event.Ignored(fmt.Sprintf("%s is for other repositories: %s", scope.of, why))
			ignored.Connection, ignored.Labels = ev.Connection, ev.Labels
			return ignored, nil
		}
	}
	return ev, nil
}

// inScope reports whether patterns include a repository, and why. No patterns include
// every repository, and every event that names none.
func inScope(r event.Repository, patterns []string) (included bool, why string) {
	if len(patterns) == 0 || r.FullName == "" {
		return true, ""
	}
	valid := true
	list := rules.NewRepositories(patterns, func(_ int, problem, _ string) { valid, why = false, problem })
	if !valid {
		return false, why
	}
	return list.Include(r.FullName)
}

// defaultRef says which ref is tried first for the merge requests of a connection.
func defaultRef(cfg *config.Config) func(string) codecheck.Ref {
	return func(connection string) codecheck.Ref {
		c, _ := cfg.Connection(connection)
		return codecheck.Ref(webhook.DefaultRef(event.Host(c.Kind)))
	}
}

// connectionKinds are the kinds of git hosts that the server file can name.
func connectionKinds() []config.Kind {
	var kinds []config.Kind
	for _, kind := range webhook.Kinds() {
		kinds = append(kinds, config.Kind(kind))
	}
	return kinds
}
