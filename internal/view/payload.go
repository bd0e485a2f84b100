package view

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/gatewright/gatewright/internal/store"
)

// shownPayload bounds the text of a payload, in bytes.
const shownPayload = 256 << 10

// Payload is what a git host sent, as far as it is kept, without secrets.
type Payload struct {
	Header http.Header `json:"header"`
	// Text is the body: indented where it is JSON.
	Text string `json:"text"`
	// Cut: the text is longer than it is shown.
	Cut bool `json:"cut"`
	// Removed: it was removed after store.payload_retention.
	Removed bool `json:"removed"`
}

// secretName finds the names of members that may hold a secret. What the hosts send as one is not
// stored in the first place; this is for what else a payload may have.
var secretName = regexp.MustCompile(`(?i)(secret|passw|token|private_?key|credential|authorization|api_?key)`)

// NewPayload is the view of the body of a stored delivery.
func NewPayload(d store.Delivery) Payload {
	p := Payload{Header: http.Header{}, Removed: d.PayloadRemoved}
	for name, values := range d.Header {
		if !secretName.MatchString(name) {
			p.Header[name] = values
		}
	}
	body := d.Body
	if kind, _, err := mime.ParseMediaType(p.Header.Get("Content-Type")); err == nil && kind == "application/x-www-form-urlencoded" {
		if form, err := url.ParseQuery(string(body)); err == nil && form.Get("payload") != "" {
			body = []byte(form.Get("payload"))
		}
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		p.Text, p.Cut = cut(strings.ToValidUTF8(string(body), "�"))
		return p
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	// What was decoded can be encoded.
	_ = encoder.Encode(withoutSecrets(value))
	p.Text, p.Cut = cut(text.String())
	return p
}

// withoutSecrets replaces the texts of members whose names say that they are secrets.
func withoutSecrets(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for name, below := range value {
			if text, ok := below.(string); ok && text != "" && secretName.MatchString(name) {
				value[name] = "<secret>"
				continue
			}
			value[name] = withoutSecrets(below)
		}
	case []any:
		for i, below := range value {
			value[i] = withoutSecrets(below)
		}
	}
	return value
}

func cut(text string) (string, bool) {
	if len(text) <= shownPayload {
		return text, false
	}
	end := shownPayload
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end], true
}
