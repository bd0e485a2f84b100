package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/store"
)

// Payload is what a git host sent, with secrets removed.
type Payload struct {
	DeliveryID string    `json:"delivery_id"`
	ReceivedAt time.Time `json:"received_at"`
	// Headers are those that are kept: no token and no signature is among them.
	Headers map[string][]string `json:"headers"`
	// Body is the JSON that was sent. Each value that may be a secret is "(removed)".
	Body any `json:"body"`
	// Removed is how many values were removed.
	Removed int `json:"removed"`
}

// ErrNotShown says that a payload is no JSON.
var ErrNotShown = errors.New("the payload is no JSON, and is not shown: nothing could be removed from it")

// NewPayload is the view of the body of a stored delivery. The error is [store.ErrPayloadRemoved] or ErrNotShown.
func NewPayload(d store.Delivery) (Payload, error) {
	if d.PayloadRemoved {
		return Payload{}, store.ErrPayloadRemoved
	}
	p := Payload{DeliveryID: d.ID, ReceivedAt: d.ReceivedAt, Headers: map[string][]string{}}
	for name, values := range d.Header {
		for _, value := range values {
			if secretName.MatchString(name) {
				p.Removed++
				value = removed
			}
			p.Headers[name] = append(p.Headers[name], p.cleanText(value))
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(jsonOf(d.Header, d.Body)))
	decoder.UseNumber()
	if err := decoder.Decode(&p.Body); err != nil {
		return Payload{}, ErrNotShown
	}
	p.Body = p.clean("", p.Body)
	return p, nil
}

// jsonOf is the JSON of a body, which a form may hold.
func jsonOf(header map[string][]string, body []byte) []byte {
	if kind, _, err := mime.ParseMediaType(http.Header(header).Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return body
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	return []byte(form.Get("payload"))
}

const removed = "(removed)"

var (
	// secretName is what a member is called that may hold a secret. Gitee sends password and sign.
	secretName = regexp.MustCompile(`(?i)passw|passphrase|secret|token|credential|authorization|signature|^sign$|(api|access|private|signing|deploy)[-_]?key`)
	// valueName is the member with the value of an object that has the name of it in another, such as a variable of GitLab.
	valueName = regexp.MustCompile(`(?i)^(secret_?)?value$`)
	// variables hold values of which nobody knows whether they are secrets.
	variables = regexp.MustCompile(`(?i)^(ci_)?variables$`)
	// secretInText are secrets within a text: in an address, and tokens of known shapes.
	secretInText = regexp.MustCompile(`://[^/\s@"]+@|(?i)[?&][a-z_-]*(?:token|secret|passw(?:or)?d|key)=[^&\s"#]+|\b(?:gh[oprsu]_[A-Za-z0-9]{16,}|github_pat_\w{20,}|gl(?:pat|rt|dt|cbt|ptt)-[\w-]{16,}|npm_[A-Za-z0-9]{16,}|xox[abprs]-[\w-]{10,}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+|gwt_[\w-]{16,}|AKIA[A-Z0-9]{16})\b|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*-----END [A-Z ]*PRIVATE KEY-----`)
)

// clean removes what may be a secret from a value that an object has under a name.
func (p *Payload) clean(name string, value any) any {
	switch value := value.(type) {
	case map[string]any:
		secret := secretMembers(name, value)
		for member, below := range value {
			if text, ok := below.(string); ok && text != "" && secret(member) {
				p.Removed++
				value[member] = removed
				continue
			}
			value[member] = p.clean(member, below)
		}
	case []any:
		for i, below := range value {
			value[i] = p.clean(name, below)
		}
	case string:
		// An address such as tokens_url holds none.
		if value != "" && secretName.MatchString(name) && !strings.HasPrefix(value, "https://") {
			p.Removed++
			return removed
		}
		return p.cleanText(value)
	case json.Number:
		if secretName.MatchString(name) {
			p.Removed++
			return removed
		}
	}
	return value
}

// secretMembers returns which texts of an object, which has a name itself, are the values of variables, or of what another
// member names as a secret.
func secretMembers(name string, object map[string]any) func(member string) bool {
	if variables.MatchString(name) {
		pair := slices.ContainsFunc(slices.Collect(maps.Keys(object)), valueName.MatchString)
		return func(member string) bool { return !pair || valueName.MatchString(member) }
	}
	named := slices.ContainsFunc([]string{"key", "name", "variable"}, func(other string) bool {
		text, _ := object[other].(string)
		return secretName.MatchString(text)
	})
	return func(member string) bool { return named && valueName.MatchString(member) }
}

func (p *Payload) cleanText(text string) string {
	return secretInText.ReplaceAllStringFunc(text, func(found string) string {
		if found == "://git@" {
			return found
		}
		p.Removed++
		return removed
	})
}
