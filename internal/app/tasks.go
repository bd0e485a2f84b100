package app

import (
	"context"
	"errors"
	"io/fs"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/tasks"
)

// WithTasks calls fn with the tasks that the configuration speaks of. The server may be
// running; readOnly promises that fn changes nothing. The error is that of Load or of fn.
func WithTasks(ctx context.Context, path string, lookup LookupEnv, readOnly bool, fn func(tasks.Inventory) error) (err error) {
	cfg, policy, err := Load(path, lookup)
	if err != nil {
		return err
	}
	options := StoreOptions(cfg.Store)
	options.ReadOnly, options.WithoutLock = readOnly, !readOnly
	s, err := store.Open(ctx, options)
	if err != nil && !(readOnly && errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	// Before the first start there is no database, and nothing is remembered.
	var memory codecheck.Memory = noMemory{}
	var shared huaweicloud.Shared
	if s != nil {
		defer func() { err = errors.Join(err, s.Close()) }()
		memory, shared = s, s
	}
	clients, err := newAccounts(cfg, rests{memory: memory, shared: shared})
	if err != nil {
		return err
	}
	defer clients.close()
	checkers := map[string]*codecheck.Checker{}
	for name, r := range clients {
		checkers[name] = r.checker
	}
	var names []string
	for _, c := range cfg.Connections {
		names = append(names, c.Name)
	}
	return fn(tasks.Inventory{Options: tasks.Options{Policy: policy, Connections: names, Checkers: checkers, Store: s,
		Repository: func(connection, fullName string) event.Repository {
			c, _ := cfg.Connection(connection)
			return repositoryOf(c, fullName)
		}}})
}
