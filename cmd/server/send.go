package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/webhook"
)

// sendTimeout bounds one posted delivery.
const sendTimeout = 30 * time.Second

func newSend(env environment) *cobra.Command {
	var flags recordedFlags
	var to, secretEnv string
	var keepID, asJSON bool
	cmd := &cobra.Command{
		Use:   "send",
		Short: "Post a recorded payload, freshly signed, to a running server",
		Long: `Posts a recorded delivery to a running server as its host would: signed with
the connection's secret and with a new delivery id, so that it is not taken for a
redelivery. For trying rules: a change that the server has seen is a duplicate, for
which nothing is done, and 'gatewright show' prints what the rules say of it now.

The secret comes from --config, or from the environment variable that
--secret-env names. Exit code 0 when the server accepted it, 1 otherwise.`,
		Example: `  gatewright send --config gatewright.yaml --connection acme --headers push.headers --payload push.json
  SECRET=… gatewright send --to http://127.0.0.1:8080 --secret-env SECRET --connection github --headers push.headers --payload push.json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			delivery, err := flags.read(env)
			if err != nil {
				return err
			}
			if secretEnv != "" {
				secret, _ := env.LookupEnv(secretEnv)
				delivery.connection.Secrets = []string{secret}
			}
			if len(delivery.connection.Secrets)+len(delivery.connection.SigningTokens) == 0 || (len(delivery.connection.Secrets) > 0 && delivery.connection.Secrets[0] == "") {
				return usageError{errors.New("no secret to sign with: give --config, or --secret-env with the name of a variable that is set")}
			}
			target, err := target(to, flags.connection)
			if err != nil {
				return usageError{err}
			}
			if !keepID {
				webhook.SetDeliveryID(delivery.connection.Host, delivery.header, uuid.NewString())
			}
			status, answer, err := post(cmd.Context(), http.DefaultClient, target, delivery)
			if err != nil {
				return err
			}
			if err := writeAnswer(env.Stdout, status, answer, asJSON); err != nil {
				return err
			}
			if status >= 300 {
				return errNo
			}
			return nil
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&to, "to", "http://127.0.0.1:8080", "the server's address")
	cmd.Flags().StringVar(&secretEnv, "secret-env", "", "the environment variable that holds the webhook secret")
	cmd.Flags().BoolVar(&keepID, "keep-id", false, "keep the recorded delivery id: the server then sees a redelivery")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// target is the webhook address of a connection on a server.
func target(server, connection string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("--to %q: write the server's address, such as http://127.0.0.1:8080", server)
	}
	return u.JoinPath("webhooks", connection).String(), nil
}

// post signs a delivery and sends it.
func post(ctx context.Context, client *http.Client, target string, delivery recorded) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	header := delivery.header.Clone()
	body, err := webhook.Sign(delivery.connection, header, delivery.body, time.Now())
	if err != nil {
		return 0, nil, fmt.Errorf("sign delivery: %w", err)
	}
	return postSigned(ctx, client, target, header, body)
}

// postSigned sends a delivery as it is.
func postSigned(ctx context.Context, client *http.Client, target string, header http.Header, body []byte) (status int, answer []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("send delivery: %w", err)
	}
	request.Header = header
	for _, name := range []string{"Host", "Content-Length", "Accept-Encoding", "Connection", "Transfer-Encoding"} {
		request.Header.Del(name)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, fmt.Errorf("send delivery: %w", err)
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("read answer: %w", err)
	}
	return response.StatusCode, bytes.TrimSpace(answer), nil
}

func writeAnswer(w io.Writer, status int, answer []byte, asJSON bool) error {
	if asJSON {
		return writeJSON(w, map[string]any{"status": status, "answer": string(answer)})
	}
	_, err := fmt.Fprintf(w, "%d %s\n%s\n", status, http.StatusText(status), answer)
	return err
}
