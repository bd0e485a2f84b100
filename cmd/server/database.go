package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/store"
)

// databaseFlags say which database a command uses.
type databaseFlags struct{ config, database string }

func (f *databaseFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.config, "config", "gatewright.yaml", "the server file, for its database")
	cmd.Flags().StringVar(&f.database, "db", "", "the SQLite file; default: the one that --config names")
}

// open opens the database for reading; a running server may use it at the same time.
func (f *databaseFlags) open(ctx context.Context, env command.Environment) (*store.Store, error) {
	options, err := f.options(env)
	if err != nil {
		return nil, err
	}
	options.ReadOnly = true
	return store.Open(ctx, options)
}

// missingAfter is recovery.missing_after, or its default where a database is named in place of a server file.
func (f *databaseFlags) missingAfter(env command.Environment) (time.Duration, error) {
	if f.database != "" {
		return time.Hour, nil
	}
	cfg, err := app.LoadConfigFor(config.Needs{Database: true}, f.config, env.LookupEnv)
	if err != nil {
		return 0, err
	}
	return cfg.Recovery.MissingAfter, nil
}

// options say which database is meant.
func (f *databaseFlags) options(env command.Environment) (store.Options, error) {
	if f.database != "" {
		return store.Options{SQLite: f.database}, nil
	}
	cfg, err := app.LoadConfigFor(config.Needs{Database: true}, f.config, env.LookupEnv)
	if err != nil {
		return store.Options{}, err
	}
	return app.StoreOptions(cfg.Store), nil
}
