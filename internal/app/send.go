package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/webhook"
)

// sendTimeout bounds one posted delivery.
const sendTimeout = 30 * time.Second

// LocalURL is the address at which a program on this machine reaches the server of a
// configuration.
func LocalURL(cfg *config.Config) (string, error) {
	host, port, err := net.SplitHostPort(cfg.HTTP.Addr)
	if err != nil || port == "0" {
		return "", fmt.Errorf("http.addr %q does not say where the server listens", cfg.HTTP.Addr)
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port), nil
}

// WebhookURL is the webhook address of a connection on a server.
func WebhookURL(server, connection string) (string, error) {
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("address %q: write the server's address, such as http://127.0.0.1:8080", server)
	}
	return u.JoinPath("webhooks", connection).String(), nil
}

// Send signs a delivery as its git host does and posts it to a server's webhook
// address.
func Send(ctx context.Context, target string, c webhook.Connection, header http.Header, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	header = header.Clone()
	if body, err = webhook.Sign(c, header, body, time.Now()); err != nil {
		return 0, nil, fmt.Errorf("sign delivery: %w", err)
	}
	// These describe the connection on which the delivery was recorded.
	for _, name := range []string{"Host", "Content-Length", "Accept-Encoding", "Connection", "Transfer-Encoding"} {
		header.Del(name)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, fmt.Errorf("send delivery: %w", err)
	}
	request.Header = header
	response, err := http.DefaultClient.Do(request)
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
