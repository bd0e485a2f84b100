package webhook

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// giteaHost is Gitea or Forgejo, wherever it is installed. Its events are read in
// gitea_parse.go.
func giteaHost() host {
	return host{
		Kind: Kind{
			Name: string(event.Gitea), Title: "Gitea", URL: "https://gitea.com",
			MaxAge: func(string, bool) (time.Duration, string) {
				return 0, "Gitea does not say when a delivery was sent"
			},
			// CodeArts Check has no word for Gitea: this is its word for any other git host.
			RepoType:  func(string) string { return "GitPub" },
			APIURL:    func(address string) string { return address + "/api/v1" },
			SignsBody: func(bool) bool { return true },
		},
		ref:    "merge_request",
		verify: verifyGitea,
		sign:   signGitea,

		isPing:        neverPing,
		eventName:     giteaEventName,
		kind:          giteaKind,
		deliveryID:    func(_ Connection, header http.Header) string { return giteaHeader(header, "Delivery") },
		setDeliveryID: setGiteaDeliveryID,
		key:           bodyKey,
		keptHeaders: []string{
			"X-Forgejo-Event", "X-Forgejo-Event-Type", "X-Forgejo-Delivery",
			"X-Gitea-Event", "X-Gitea-Event-Type", "X-Gitea-Delivery",
			"X-Gogs-Event", "X-Gogs-Event-Type", "X-Gogs-Delivery",
		},

		forms:          true,
		payload:        jsonOrForm,
		withoutSecrets: withoutGiteaSecret,
		parse:          parseGitea,
	}
}

// giteaPrefixes are the families of headers in which a delivery says the same, the most
// telling first: Forgejo sends them all, Gitea the last two, Gogs the last
// (specs/githosts.md 4.2).
func giteaPrefixes() []string { return []string{"X-Forgejo-", "X-Gitea-", "X-Gogs-"} }

// giteaHeader is a header of the first family that has a value for it.
func giteaHeader(header http.Header, name string) string {
	for _, prefix := range giteaPrefixes() {
		if value := header.Get(prefix + name); value != "" {
			return value
		}
	}
	return ""
}

// giteaDelivery is the name of a header that tells that a delivery is of Gitea or Forgejo;
// empty when there is none.
func giteaDelivery(header http.Header) string {
	for _, prefix := range giteaPrefixes() {
		for _, name := range []string{"Event", "Event-Type", "Delivery", "Signature"} {
			if _, present := header[textproto.CanonicalMIMEHeaderKey(prefix+name)]; present {
				return prefix + name
			}
		}
	}
	return ""
}

// giteaEventName: the event is empty where Gitea groups a new type under none yet.
func giteaEventName(header http.Header) string {
	return cmp.Or(giteaHeader(header, "Event"), giteaHeader(header, "Event-Type"))
}

// giteaKind: a tag is announced as a push. The longer names are types of events, which
// stand in for them where the event is empty.
func giteaKind(eventName string) event.Kind {
	switch eventName {
	case "push":
		return event.Push
	case "pull_request", "pull_request_sync", "pull_request_label", "pull_request_assign", "pull_request_milestone", "pull_request_review_request",
		"pull_request_approved", "pull_request_review_approved", "pull_request_rejected", "pull_request_review_rejected":
		return event.MergeRequest
	case "issue_comment", "pull_request_comment", "pull_request_review_comment":
		return event.Comment
	}
	return ""
}

// setGiteaDeliveryID sets the id in every family that the delivery has.
func setGiteaDeliveryID(header http.Header, id string) {
	for _, prefix := range append(signedFamilies(header), "X-GitHub-") {
		if prefix != "X-GitHub-" || header.Get("X-GitHub-Delivery") != "" {
			header.Set(prefix+"Delivery", id)
		}
	}
}

// signedFamilies are the prefixes of the families that a delivery has; Gitea's where it has
// none.
func signedFamilies(header http.Header) []string {
	var families []string
	for _, prefix := range giteaPrefixes() {
		for name := range header {
			if strings.HasPrefix(name, prefix) {
				families = append(families, prefix)
				break
			}
		}
	}
	if len(families) == 0 {
		return []string{"X-Gitea-"}
	}
	return families
}

// verifyGitea demands the signature of the first family that has one: an HMAC over the JSON,
// also where that is sent in a form. A webhook without a secret sends the header empty.
func verifyGitea(c Connection, header http.Header, _ time.Time) (func([]byte) error, error) {
	name, signature := "", ""
	for _, prefix := range giteaPrefixes() {
		if values := header.Values(prefix + "Signature"); len(values) > 0 {
			name, signature = prefix+"Signature", values[0]
			break
		}
	}
	switch {
	case name == "" && header.Get("X-Hub-Signature-256") != "":
		return nil, refuse("X-Gitea-Signature is missing and X-Hub-Signature-256 is there, as in a delivery of GitHub: give this connection the kind of its host")
	case name == "":
		return nil, refuse("X-Forgejo-Signature and X-Gitea-Signature are missing: set a secret on the webhook, and let it be of the type Gitea or Forgejo")
	case signature == "":
		return nil, refuse("%s is empty: set a secret on the webhook", name)
	}
	got, err := hex.DecodeString(signature)
	if err != nil {
		return nil, refuse("%s is not hexadecimal", name)
	}
	if len(got) != sha256.Size {
		return nil, refuse("%s does not have 64 digits", name)
	}
	return func(body []byte) error {
		for _, secret := range c.Secrets {
			if secret != "" && hmac.Equal(got, giteaSignature(secret, header, body)) {
				return nil
			}
		}
		return refuse("%s does not match the JSON: give the webhook and this connection the same secret", name)
	}, nil
}

// giteaSignature signs the JSON of a body. Of a form that has none it signs the body, so
// that the form is refused for what it is.
func giteaSignature(secret string, header http.Header, body []byte) []byte {
	if isForm(header) {
		if encoded, err := formPayload(body); err == nil {
			mac := hmac.New(sha256.New, []byte(secret))
			if unescapeTo(mac, encoded) == nil {
				return mac.Sum(nil)
			}
		}
	}
	return hmacSHA256([]byte(secret), body)
}

// unescapeTo writes the value of a field of a form, piece by piece: the body of a stranger
// is not copied before it is verified.
func unescapeTo(w io.Writer, encoded []byte) error {
	const most = 32 << 10
	for len(encoded) > 0 {
		piece := encoded[:min(len(encoded), most)]
		if end := max(len(piece)-2, 0); len(piece) < len(encoded) {
			if cut := bytes.IndexByte(piece[end:], '%'); cut >= 0 {
				piece = piece[:end+cut]
			}
		}
		encoded = encoded[len(piece):]
		text, err := url.QueryUnescape(string(piece))
		if err != nil {
			return errNotEncoded
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

func signGitea(c Connection, header http.Header, body []byte, _ time.Time) ([]byte, error) {
	signature := hex.EncodeToString(giteaSignature(c.Secrets[0], header, body))
	families := signedFamilies(header)
	for _, name := range append(giteaPrefixes(), "X-Hub-") {
		header.Del(name + "Signature")
	}
	for _, prefix := range families {
		header.Set(prefix+"Signature", signature)
	}
	header.Set("X-Hub-Signature-256", "sha256="+signature)
	return body, nil
}

// withoutGiteaSecret blanks out the member "secret" of the JSON, in which Gitea before 1.14
// repeats the secret.
func withoutGiteaSecret(_ Connection, body []byte) []byte {
	blank := func(name string, old json.RawMessage) json.RawMessage {
		if name == "secret" {
			return json.RawMessage(`""`)
		}
		return old
	}
	encoded, err := formPayload(body)
	if err != nil {
		return replaceMembers(body, blank)
	}
	payload, err := url.QueryUnescape(string(encoded))
	if err != nil {
		return body
	}
	if blanked := replaceMembers([]byte(payload), blank); string(blanked) != payload {
		return []byte("payload=" + url.QueryEscape(string(blanked)))
	}
	return body
}
