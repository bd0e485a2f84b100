package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/webhook"
)

func newSend(env command.Environment) *cobra.Command {
	var flags recordedFlags
	var to, secretEnv string
	var keepID, asJSON bool
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Post a recorded payload, freshly signed, to a running server",
		Long: `Posts a recorded delivery to a running server as its host would: signed again with
the connection's secret and with a new delivery id, so that it is not taken for a
redelivery. For trying rules: a change that the server has seen is a duplicate, and
one that is older than max_event_age starts nothing, and 'gatewright show' prints what the rules say of it now.

The secret comes from --config, or from the environment variable that
--secret-env names. Exit code 0 when the server accepted it, 1 otherwise.`,
		Example: `  gatewright send --config gatewright.yaml --connection acme --headers push.headers --payload push.json
  SECRET=… gatewright send --to http://127.0.0.1:8080 --secret-env SECRET --connection github --headers push.headers --payload push.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			delivery, err := flags.read(env, secretEnv != "")
			if err != nil {
				return err
			}
			if secretEnv != "" {
				secret, _ := env.LookupEnv(secretEnv)
				delivery.connection.Secrets = []string{secret}
			}
			if len(delivery.connection.Secrets)+len(delivery.connection.SigningTokens) == 0 || (len(delivery.connection.Secrets) > 0 && delivery.connection.Secrets[0] == "") {
				return command.UsageError{Err: errors.New("no secret to sign with: give --config, or --secret-env with the name of a variable that is set")}
			}
			target, err := targetURL(to, delivery.cfg, flags.connection)
			if err != nil {
				return command.UsageError{Err: err}
			}
			if !keepID {
				webhook.SetDeliveryID(delivery.connection.Host, delivery.header, uuid.NewString())
			}
			status, answer, err := app.Send(cmd.Context(), target, delivery.connection, delivery.header, delivery.body)
			if err != nil {
				return err
			}
			if err := writeAnswer(env.Stdout, status, answer, asJSON); err != nil {
				return err
			}
			if status >= 300 {
				return command.ErrNo
			}
			return nil
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&to, "to", "", "the server's address; default: http.addr of --config on this machine, else "+localServer)
	cmd.Flags().StringVar(&secretEnv, "secret-env", "", "the environment variable that holds the webhook secret")
	cmd.Flags().BoolVar(&keepID, "keep-id", false, "keep the recorded delivery id: the server then sees a redelivery")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// localServer is where a server of this machine listens when nothing says otherwise.
const localServer = "http://127.0.0.1:8080"

// targetURL is the webhook URL to post to; cfg is nil without a server file.
func targetURL(to string, cfg *config.Config, connection string) (string, error) {
	server := to
	switch {
	case to != "":
	case cfg == nil:
		server = localServer
	default:
		var err error
		if server, err = app.LocalURL(cfg); err != nil {
			return "", fmt.Errorf("%w: give its address with --to", err)
		}
	}
	target, err := app.WebhookURL(server, connection)
	if err != nil {
		return "", fmt.Errorf("--to: %w", err)
	}
	return target, nil
}

func writeAnswer(w io.Writer, status int, answer []byte, asJSON bool) error {
	if asJSON {
		return command.WriteJSON(w, map[string]any{"status": status, "answer": string(answer)})
	}
	_, err := fmt.Fprintf(w, "%d %s\n%s\n", status, http.StatusText(status), answer)
	return err
}
