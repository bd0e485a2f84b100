package webhook

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// Sign signs a delivery as the host would have at the time now, with the first
// secret (and the first signing token) of the connection, and returns the body
// to send. It replaces the signature headers in header and removes those that
// do not belong to the connection; it leaves the delivery's id as it is, so that
// a delivery that is sent twice is recognised, and gives GitLab's signature an id
// where there is none. In a Gitee body it renews the members password, sign and
// timestamp where the body has them; every other byte stays.
//
// What Sign returned without an error, Verify accepts at the same time now. The
// error says that the connection has no secret to sign with.
func Sign(c Connection, header http.Header, body []byte, now time.Time) ([]byte, error) {
	if len(c.Secrets) > 0 && c.Secrets[0] == "" {
		return nil, fmt.Errorf("sign delivery of %q: the first secret is empty", c.Name)
	}
	if len(c.Secrets) == 0 && (c.Host != event.GitLab || len(c.SigningTokens) == 0) {
		return nil, fmt.Errorf("sign delivery of %q: the connection has no secret", c.Name)
	}
	switch c.Host {
	case event.GitHub:
		signGitHub(c, header, body)
		return body, nil
	case event.GitLab:
		return body, signGitLab(c, header, body, now)
	case event.Gitee:
		return signGitee(c, header, body, now), nil
	}
	return nil, fmt.Errorf("sign delivery of %q: unknown host %q", c.Name, c.Host)
}

func signGitHub(c Connection, header http.Header, body []byte) {
	header.Del("X-Hub-Signature")
	header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(hmacSHA256([]byte(c.Secrets[0]), body)))
}

func signGitLab(c Connection, header http.Header, body []byte, now time.Time) error {
	for _, name := range []string{"X-Gitlab-Token", "Webhook-Timestamp", "Webhook-Signature"} {
		header.Del(name)
	}
	if len(c.Secrets) > 0 {
		header.Set("X-Gitlab-Token", c.Secrets[0])
	}
	if len(c.SigningTokens) == 0 {
		return nil
	}
	key, err := signingKey(c.SigningTokens[0])
	if err != nil {
		return fmt.Errorf("sign delivery of %q: signing token: %w", c.Name, err)
	}
	if header.Get("Webhook-Id") == "" {
		header.Set("Webhook-Id", firstOf(header.Get("Idempotency-Key"), bodyKey(header.Get("X-Gitlab-Event"), body)))
	}
	header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	header.Set("Webhook-Signature", gitlabSignature(key, header, body))
	return nil
}

func signGitee(c Connection, header http.Header, body []byte, now time.Time) []byte {
	timestamp := strconv.FormatInt(now.UnixMilli(), 10)
	token, password, sign := c.Secrets[0], c.Secrets[0], ""
	if c.Mode != ModePassword {
		sign = giteeSignature(c.Secrets[0], timestamp)
		token, password = sign, ""
	}
	header.Set("X-Gitee-Timestamp", timestamp)
	header.Set("X-Gitee-Token", token)
	return replaceMembers(body, func(name string, old json.RawMessage) json.RawMessage {
		switch {
		case name == "password":
			return jsonText(password)
		case name == "sign":
			return jsonText(sign)
		case name == "timestamp" && old[0] == '"':
			return jsonText(timestamp)
		case name == "timestamp":
			return json.RawMessage(timestamp)
		}
		return old
	})
}

// jsonText is s as a JSON string.
func jsonText(s string) json.RawMessage {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return json.RawMessage(`""`)
	}
	return bytes.TrimSpace(out.Bytes())
}

// replaceMembers returns body with the value of each member of its outermost
// object replaced by what replace returns for it; all other bytes stay. A body
// that is not one well-formed object is returned as it is.
func replaceMembers(body []byte, replace func(name string, old json.RawMessage) json.RawMessage) []byte {
	out, err := replaced(body, replace)
	if err != nil {
		return body
	}
	return out
}

func replaced(body []byte, replace func(name string, old json.RawMessage) json.RawMessage) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(body))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, errors.New("not an object")
	}
	var out []byte
	copied := 0
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		var old json.RawMessage
		if err := decoder.Decode(&old); err != nil {
			return nil, err
		}
		end := int(decoder.InputOffset())
		out = append(out, body[copied:end-len(old)]...)
		out = append(out, replace(name.(string), old)...)
		copied = end
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	return append(out, body[copied:]...), nil
}
