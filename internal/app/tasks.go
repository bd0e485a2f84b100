package app

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/tasks"
)

// WithTasks calls fn with the tasks that the configuration speaks of. The server may be
// running; readOnly promises that fn changes nothing. The error is that of Load or of fn.
func WithTasks(ctx context.Context, path string, lookup LookupEnv, readOnly bool, fn func(tasks.Inventory) error) error {
	cfg, policy, err := Load(path, lookup)
	if err != nil {
		return err
	}
	options := StoreOptions(cfg.Store)
	options.ReadOnly, options.WithoutLock = readOnly, !readOnly
	s, err := store.Open(ctx, options)
	if err != nil {
		return err
	}
	r, err := newRemote(cfg, s, nil, s, nil, prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		return errors.Join(err, s.Close())
	}
	defer r.http.CloseIdleConnections()
	var names []string
	for _, c := range cfg.Connections {
		names = append(names, c.Name)
	}
	err = fn(tasks.Inventory{Options: tasks.Options{Policy: policy, Connections: names, Checker: r.checker, Store: s,
		Repository: func(connection, fullName string) event.Repository {
			c, _ := cfg.Connection(connection)
			return repositoryOf(c, fullName)
		}}})
	return errors.Join(err, s.Close())
}
