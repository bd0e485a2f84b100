package webhook

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// giteeMaxAge is Gitee's own limit (specs/githosts.md 3.1).
const giteeMaxAge = time.Hour

// giteeHost is Gitee, on gitee.com or as a private installation. Its events are
// read in gitee_parse.go.
func giteeHost() host {
	return host{
		Kind: Kind{
			Name: string(event.Gitee), Title: "Gitee", URL: "https://gitee.com",
			Modes: []string{ModeSign, ModePassword},
			MaxAge: func(mode string, _ bool) (time.Duration, string) {
				if mode == ModePassword {
					return 0, "only Gitee's signature has a time, its password has none"
				}
				return giteeMaxAge, ""
			},
			RepoType: func(string) string { return "Gitee" },
			APIURL:   func(address string) string { return address + "/api/v5" },
			// The signature covers the time alone (specs/githosts.md 3.1).
			SignsBody: func(bool) bool { return false },
		},
		ref:    "pull",
		verify: verifyGitee,
		sign:   signGitee,
		sentAt: func(header http.Header) (time.Time, bool) {
			milliseconds, err := strconv.ParseInt(header.Get("X-Gitee-Timestamp"), 10, 64)
			return time.UnixMilli(milliseconds).UTC(), err == nil
		},

		isPing:        func(header http.Header) bool { return strings.EqualFold(header.Get("X-Gitee-Ping"), "true") },
		eventName:     inHeader("X-Gitee-Event"),
		kind:          giteeKind,
		deliveryID:    func(Connection, http.Header) string { return "" },
		setDeliveryID: func(http.Header, string) {},
		// The body names the event, and the header spells it in two ways.
		key:         func(_ string, body []byte) string { return bodyKey("", body) },
		keptHeaders: []string{"X-Gitee-Event", "X-Gitee-Ping", "X-Gitee-Timestamp", "X-Git-Oschina-Event"},

		payload:        giteePayload,
		withoutSecrets: withoutGiteePassword,
		parse:          parseGitee,
	}
}

func giteeKind(eventName string) event.Kind {
	switch giteeHookName(eventName) {
	case "push_hooks":
		return event.Push
	case "tag_push_hooks":
		return event.Tag
	case "merge_request_hooks":
		return event.MergeRequest
	case "note_hooks":
		return event.Comment
	}
	return ""
}

// giteeHookName turns the header's spelling ("Merge Request Hook") into the
// body's ("merge_request_hooks").
func giteeHookName(name string) string {
	if before, ok := strings.CutSuffix(strings.ToLower(name), " hook"); ok {
		return strings.ReplaceAll(before, " ", "_") + "_hooks"
	}
	return name
}

// verifyGitee compares X-Gitee-Token with the secret, or with the signature of
// the time that the header holds. The signature covers the time and not the
// body (specs/githosts.md 3.1).
func verifyGitee(c Connection, header http.Header, now time.Time) (func([]byte) error, error) {
	token := header.Get("X-Gitee-Token")
	if token == "" {
		return nil, refuse("X-Gitee-Token is missing: set a password or a signing key on the webhook; old hooks that send forms have neither: delete the hook and create a new one")
	}
	if c.Mode == ModePassword {
		for _, secret := range c.Secrets {
			if sameSecret(secret, token) {
				return nil, nil
			}
		}
		return nil, refuse("X-Gitee-Token is not this connection's password: set it on the webhook, or configure mode %q if the webhook signs", ModeSign)
	}
	// Gitee's documents end with an URL-encoding that its servers do not do; a
	// token that was encoded is accepted too.
	decoded, err := url.PathUnescape(token)
	if err != nil {
		decoded = token
	}
	for _, secret := range c.Secrets {
		want := giteeSignature(secret, header.Get("X-Gitee-Timestamp"))
		if secret != "" && (sameSecret(want, token) || sameSecret(want, decoded)) {
			return nil, checkAge(c, header, now)
		}
	}
	return nil, refuse("X-Gitee-Token is not a signature by this connection's key: set it on the webhook, or configure mode %q if the webhook sends a password", ModePassword)
}

// giteeSignature signs a time in milliseconds.
func giteeSignature(secret, timestamp string) string {
	return base64.StdEncoding.EncodeToString(hmacSHA256([]byte(secret), []byte(timestamp+"\n"+secret)))
}

func signGitee(c Connection, header http.Header, body []byte, now time.Time) ([]byte, error) {
	timestamp := strconv.FormatInt(now.UnixMilli(), 10)
	token, password, sign := c.Secrets[0], c.Secrets[0], ""
	if c.Mode != ModePassword {
		sign = giteeSignature(c.Secrets[0], timestamp)
		token, password = sign, ""
	}
	header.Set("X-Gitee-Timestamp", timestamp)
	header.Set("X-Gitee-Token", token)
	signed := replaceMembers(body, func(name string, old json.RawMessage) json.RawMessage {
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
	return signed, nil
}

// withoutGiteePassword blanks out the member "password" of the body, which in
// password mode is the secret.
func withoutGiteePassword(c Connection, body []byte) []byte {
	if c.Mode != ModePassword {
		return body
	}
	return replaceMembers(body, func(name string, old json.RawMessage) json.RawMessage {
		if name == "password" {
			return json.RawMessage(`""`)
		}
		return old
	})
}

// giteePayload refuses the forms of old hooks, which nothing signs.
func giteePayload(header http.Header, body []byte) ([]byte, error) {
	if isForm(header) {
		return nil, errors.New("the body is a form, as old Gitee hooks send: delete the hook and add a WebHook, which sends JSON")
	}
	return body, nil
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
