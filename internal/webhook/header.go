package webhook

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

// maxHeaderLine bounds a line that ReadHeaders reads, in bytes.
const maxHeaderLine = 64 << 10

// ReadHeaders reads header lines ("Name: value"), as somebody recorded them. A
// request line ("POST /path HTTP/1.1") before the first header and blank lines
// anywhere are skipped. Any other line without a colon, or with a name that is
// none, is an error that gives the line's number and not its text.
func ReadHeaders(r io.Reader) (http.Header, error) {
	header := make(http.Header)
	requestLine := regexp.MustCompile(`^[A-Z]+ +\S+( +HTTP/[0-9.]+)?$`)
	token := regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxHeaderLine)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || len(header) == 0 && requestLine.MatchString(line) {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || !token.MatchString(name) {
			return nil, fmt.Errorf(`read headers: line %d is not "Name: value"`, number)
		}
		header.Add(name, strings.TrimSpace(value))
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return nil, fmt.Errorf("read headers: a line is longer than %d bytes", maxHeaderLine)
	} else if err != nil {
		return nil, fmt.Errorf("read headers: %w", err)
	}
	return header, nil
}

// keptHeaders returns the headers that are worth storing with a delivery. It
// names what to keep, so that a token or a signature is never stored, whatever
// its header is called.
func keptHeaders(header http.Header) map[string][]string {
	kept := make(map[string][]string)
	for _, name := range []string{
		"Content-Type", "User-Agent", "X-Request-Id",
		"X-Github-Event", "X-Github-Delivery", "X-Github-Hook-Id",
		"X-Github-Hook-Installation-Target-Id", "X-Github-Hook-Installation-Target-Type",
		"X-Github-Enterprise-Host", "X-Github-Enterprise-Version",
		"X-Gitlab-Event", "X-Gitlab-Instance", "X-Gitlab-Event-Uuid", "X-Gitlab-Webhook-Uuid",
		"Idempotency-Key", "Webhook-Id", "Webhook-Timestamp",
		"X-Gitee-Event", "X-Gitee-Ping", "X-Gitee-Timestamp", "X-Git-Oschina-Event",
	} {
		if values := header.Values(name); len(values) > 0 {
			kept[name] = append([]string(nil), values...)
		}
	}
	return kept
}

// eventName is the host's own name of the event.
func eventName(host event.Host, header http.Header) string {
	switch host {
	case event.GitHub:
		return header.Get("X-GitHub-Event")
	case event.GitLab:
		return header.Get("X-Gitlab-Event")
	case event.Gitee:
		return header.Get("X-Gitee-Event")
	}
	return ""
}

// isPing reports whether the delivery only asks whether somebody is there.
func isPing(host event.Host, header http.Header) bool {
	switch host {
	case event.GitHub:
		return header.Get("X-GitHub-Event") == "ping"
	case event.Gitee:
		return strings.EqualFold(header.Get("X-Gitee-Ping"), "true")
	}
	return false
}

// hostID is the host's id of the delivery; empty where it gives none, or one
// that cannot be an id. GitLab repeats its Idempotency-Key as webhook-id, and
// where the signing token is used only that one is covered by the signature.
func hostID(c Connection, header http.Header) string {
	var id string
	switch c.Host {
	case event.GitHub:
		id = header.Get("X-GitHub-Delivery")
	case event.GitLab:
		id = firstOf(header.Get("Idempotency-Key"), header.Get("Webhook-Id"))
		if len(c.SigningTokens) > 0 && header.Get("Webhook-Signature") != "" {
			id = header.Get("Webhook-Id")
		}
	}
	if len(id) > 128 {
		return ""
	}
	return id
}
