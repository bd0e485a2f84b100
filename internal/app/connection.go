package app

import (
	"fmt"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
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
		Secrets: values(c.Secrets), SigningTokens: values(c.SigningTokens), Mode: c.Mode, MaxAge: c.MaxAge,
	}
}

func values(secrets []config.Secret) []string {
	var texts []string
	for _, secret := range secrets {
		texts = append(texts, secret.Value())
	}
	return texts
}

// parser reads a stored delivery with the settings of the connection that received it.
func parser(connections []webhook.Connection) func(event.Delivery) (event.Event, error) {
	byName := map[string]webhook.Connection{}
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
		return webhook.Parse(connection, d.Header, d.Body)
	}
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
