package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/store"
)

func newMigrate(env command.Environment) *cobra.Command {
	var flags databaseFlags
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date, and nothing else",
		Long: `Brings the schema of the database up to date, ours and the job queue's, and ends.
serve does the same when it starts; run migrate as a job before a rollout to see that
it works before a replica is replaced.

Migrations go forward only. Of several processes that start together one migrates and
the others wait. On PostgreSQL replicas of the version before may be at work and go
on; a replica of that version that starts afterwards is refused. A SQLite file must
not belong to a running server.`,
		Example: `  gatewright migrate --config gatewright.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			ctx := cmd.Context()
			options, err := flags.options(env)
			if err != nil {
				return err
			}
			s, err := store.Open(ctx, options)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.Close()) }()
			if err := jobs.Migrate(ctx, s, zap.NewNop()); err != nil {
				return err
			}
			version, err := s.Schema(ctx)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "the schema is up to date: version %d\n", version)
			return err
		},
	}
	flags.register(cmd)
	return cmd
}
