package webhook

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
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
// not a header name, is an error that gives the line's number and not its text.
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
func keptHeaders(h host, header http.Header) map[string][]string {
	kept := make(map[string][]string)
	for _, name := range append([]string{"Content-Type", "User-Agent", "X-Request-Id"}, h.keptHeaders...) {
		if values := header.Values(name); len(values) > 0 {
			kept[name] = append([]string(nil), values...)
		}
	}
	return kept
}

// maxDeliveryID bounds a delivery id, in bytes. The hosts' ids are UUIDs.
const maxDeliveryID = 128

// deliveryID is the host's id of the delivery; empty when it gives none, or one
// that cannot be an id.
func deliveryID(h host, c Connection, header http.Header) string {
	id := h.deliveryID(c, header)
	if len(id) > maxDeliveryID {
		return ""
	}
	return id
}

// deliveryKey recognises the same delivery sent twice. Where the host gives an id the
// event and body are part of the key too, because no host but GitLab with a signing
// token signs the id: an old body under the id of another delivery must not pass for
// that one, nor the same body as another event.
func deliveryKey(h host, d event.Delivery) string {
	if d.HostID == "" {
		return h.key(d.Event, d.Body)
	}
	return d.HostID + " " + bodyKey(d.Event, d.Body)
}

// bodyKey recognises a delivery without an id by its event and its body.
func bodyKey(eventName string, body []byte) string {
	sum := sha256.New()
	sum.Write([]byte(eventName))
	sum.Write(body)
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// The content types that a body can have.
const (
	jsonType = "application/json"
	formType = "application/x-www-form-urlencoded"
)

// contentType is what the headers say that the body is: jsonType, also when they say
// nothing, or formType. Anything else is an error, also one that says both.
func contentType(header http.Header) (string, error) {
	values := header.Values("Content-Type")
	if len(values) == 0 {
		return jsonType, nil
	}
	kind, _, err := mime.ParseMediaType(values[0])
	if err != nil || len(values) > 1 || (kind != jsonType && kind != formType) {
		return "", fmt.Errorf("the content type is neither %s nor %s: choose one of them for the webhook", jsonType, formType)
	}
	return kind, nil
}

func isForm(header http.Header) bool {
	kind, err := contentType(header)
	return err == nil && kind == formType
}
