package app

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/doctor"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
)

// Examine checks what the configuration depends on outside of its files; see
// [doctor.Examine]. The error is that of Load.
func Examine(ctx context.Context, path string, lookup LookupEnv) ([]doctor.Finding, error) {
	in := &inputs{}
	cfg, policy, err := load(path, lookup, in)
	if err != nil {
		return nil, err
	}
	clients, err := newAccounts(cfg, rests{memory: noMemory{}})
	if err != nil {
		return nil, err
	}
	defer clients.close()
	var accounts []doctor.Account
	for _, name := range cfg.AccountNames() {
		account, _ := cfg.Account(name)
		r := clients[name]
		accounts = append(accounts, doctor.Account{Name: name, Config: account, HTTP: r.http, ProjectID: r.credentials.ProjectID, Checker: r.checker, Operator: r.operator})
	}
	hosts, err := newForge(cfg, forge.NewMetrics(prometheus.NewRegistry()))
	if err != nil {
		return nil, err
	}
	sources, err := ruleSources(in.rules)
	if err != nil {
		return nil, err
	}
	files := []string{path}
	for _, source := range sources {
		files = append(files, source.Name)
	}
	o := doctor.Options{
		Config: cfg, Policy: policy, Files: files,
		Accounts: accounts,
		Hosts:    hosts, Repository: repositoryOf,
		Database: StoreOptions(cfg.Store),
	}
	if cfg.HTTP.PublicURL != "" {
		webhooks, err := newHooks(cfg, policy, HooksChoice{})
		if err != nil {
			return nil, err
		}
		o.Webhooks = webhooks.check
	}
	return doctor.Examine(ctx, o), nil
}

// repositoryOf is the repository of a connection by its full name.
func repositoryOf(c config.Connection, fullName string) event.Repository {
	return WebhookConnection(c).Repository(fullName)
}

// noMemory is for a checker that only looks.
type noMemory struct{ codecheck.Memory }

// TaskByID knows no task.
func (noMemory) TaskByID(context.Context, string) (t codecheck.Task, known bool, err error) {
	return codecheck.Task{}, false, nil
}
