package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/notify"
)

func newNotify(env command.Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Try the targets of notices",
		RunE: func(*cobra.Command, []string) error {
			return command.UsageError{Err: errors.New("say what to do: notify test NAME")}
		},
	}
	cmd.AddCommand(newNotifyTest(env))
	return cmd
}

func newNotifyTest(env command.Environment) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Send a test notice to a target of the server file",
		Long: `Sends one notice to a target of notify in the server file, at once and once, and
says whether it was taken. The server need not be running. Exit code 1 when it was not.`,
		Example: `  gatewright notify test on-call`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := app.LoadConfigFor(config.Needs{Notify: args[0]}, file, env.LookupEnv)
			if err != nil {
				return err
			}
			return notifyTest(cmd.Context(), cfg, args[0], env.Stdout)
		},
	}
	cmd.Flags().StringVar(&file, "config", "gatewright.yaml", "the server file")
	return cmd
}

func notifyTest(ctx context.Context, cfg *config.Config, name string, w io.Writer) error {
	var names []string
	for _, target := range app.NoticeTargets(cfg) {
		if target.Name != name {
			names = append(names, target.Name)
			continue
		}
		sender := notify.NewSender()
		defer sender.Close()
		now := time.Now().UTC()
		err := sender.Send(ctx, target, notify.Message{ID: "msg_" + uuid.NewString(), At: now, Notices: []notify.Notice{{
			Event: notify.ApprovalWanted, RecordKind: "release", RecordID: "test", Connection: "test", Repository: "acme/test", Branch: "main",
			Commit: strings.Repeat("0", 40), Pipeline: "test", Reason: "this is a test by gatewright notify test", At: now,
		}}})
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "ok  %s took the notice\n", name)
		return err
	}
	if len(names) == 0 {
		return errors.New("the server file has no targets of notices: write notify: there")
	}
	return command.UsageError{Err: fmt.Errorf("there is no target %q: write one of %s", name, strings.Join(names, ", "))}
}
