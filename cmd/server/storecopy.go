package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/store"
)

func newStore(env command.Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Move the database",
		RunE: func(*cobra.Command, []string) error {
			return command.UsageError{Err: errors.New("say what to do with the store: store copy")}
		},
	}
	cmd.AddCommand(newStoreCopy(env))
	return cmd
}

type copyFlags struct{ from, to, sqlite, postgresEnv string }

func newStoreCopy(env command.Environment) *cobra.Command {
	var flags copyFlags
	cmd := &cobra.Command{
		Use:   "copy --from sqlite --to postgres",
		Short: "Move an installation to the other kind of database",
		Long: `Copies everything from one database to an empty one of the other kind: deliveries
with their payloads, decisions, runs, releases, and what was learned of tasks. What
has not ended goes on there as soon as a server starts on it: it gets new jobs.

Stop every server first; a database on which one works is refused, and so is a target
that is not empty. All is written in one transaction: it is there whole or not at all.
Afterwards name the new database in the server file, start the server, and keep the
old one away from any server: what went on there would be done twice.`,
		Example: `  GATEWRIGHT_DSN=postgres://gatewright:…@db.example.com/gatewright \
    gatewright store copy --from sqlite --to postgres --sqlite gatewright.db`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			from, to, err := flags.options(env)
			if err != nil {
				return command.UsageError{Err: err}
			}
			return copyStore(cmd.Context(), from, to, env.Stdout)
		},
	}
	cmd.Flags().StringVar(&flags.from, "from", "sqlite", "where the installation is: sqlite or postgres")
	cmd.Flags().StringVar(&flags.to, "to", "postgres", "where it goes: sqlite or postgres")
	cmd.Flags().StringVar(&flags.sqlite, "sqlite", "gatewright.db", "the SQLite file")
	cmd.Flags().StringVar(&flags.postgresEnv, "postgres-env", "GATEWRIGHT_DSN", "the environment variable that holds the connection string of PostgreSQL")
	return cmd
}

// options say which databases are meant.
func (f copyFlags) options(env command.Environment) (from, to store.Options, err error) {
	ends := map[string]store.Options{"sqlite": {SQLite: f.sqlite}, "postgres": {Exclusive: true}}
	from, known := ends[f.from]
	_, alsoKnown := ends[f.to]
	if !known || !alsoKnown || f.from == f.to {
		return from, to, errors.New("--from and --to: write sqlite for one of them and postgres for the other")
	}
	dsn, _ := env.LookupEnv(f.postgresEnv)
	if dsn == "" {
		return from, to, fmt.Errorf("the environment variable %s is empty: put the connection string of PostgreSQL there, or name another one by --postgres-env", f.postgresEnv)
	}
	postgres := ends["postgres"]
	postgres.Postgres = dsn
	ends["postgres"] = postgres
	return ends[f.from], ends[f.to], nil
}

// copyStore copies one database to the other and prints what it copied.
func copyStore(ctx context.Context, fromOptions, toOptions store.Options, w io.Writer) (err error) {
	if fromOptions.SQLite != "" {
		// A missing file would be made, and copied as an empty installation.
		looking, err := store.Open(ctx, store.Options{SQLite: fromOptions.SQLite, ReadOnly: true})
		if err != nil {
			return err
		}
		if err := looking.Close(); err != nil {
			return err
		}
	}
	from, err := store.Open(ctx, fromOptions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := store.Open(ctx, toOptions)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	if err := jobs.Migrate(ctx, to, zap.NewNop()); err != nil {
		return err
	}
	inserter, err := jobs.NewInserter(to, zap.NewNop())
	if err != nil {
		return err
	}
	resumed := 0
	counts, err := to.Copy(ctx, from, func(tx *store.Tx) (err error) {
		resumed, err = inserter.Resume(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "TABLE\tROWS")
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(table, "%s\t%d\n", name, counts[name])
	}
	fmt.Fprintf(table, "to go on with\t%d\n", resumed)
	return table.Flush()
}
