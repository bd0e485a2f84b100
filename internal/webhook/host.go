package webhook

import (
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// Kind is what configuration has to know of a kind of git host: which settings a
// connection to it has, and their defaults.
type Kind struct {
	// Name is the word in configuration: an event.Host.
	Name string
	// Title is the name as people write it, for messages.
	Title string
	// URL is the address of its public installation, without a slash at its end.
	URL string
	// CheckSigningToken returns what is wrong with a signing token, without showing
	// it. Nil when the kind has no signing tokens.
	CheckSigningToken func(token string) error
	// Modes are the words of the setting `mode`, the default first. Empty when the
	// kind has no modes.
	Modes []string
	// MaxAge returns the default of how far the signed time of a delivery may be
	// from now, for a connection of this mode, with signing tokens or without. When
	// its deliveries have no signed time, the limit is zero and undated says why.
	MaxAge func(mode string, signingTokens bool) (limit time.Duration, undated string)
	// RepoType returns what CodeArts Check calls an installation at this address
	// (specs/codearts-check.md 1.4, 7).
	RepoType func(url string) string
	// APIURL returns the base URL of the API of an installation at this address, both
	// without a slash at their end.
	APIURL func(url string) string
	// Apps: its API can be called as an App, in place of a token.
	Apps bool
	// SignsBody reports whether every delivery that a connection accepts proves its body;
	// secrets says that it accepts secrets beside signing tokens.
	SignsBody func(secrets bool) bool
}

// host is everything that differs between the kinds of git hosts. Each kind is one
// value, in a file of its own; everything else in this package asks the value.
type host struct {
	Kind
	// ref is the `ref` that CodeArts Check documents for merge requests of this kind
	// of host: pull or merge_request. It is tried first.
	ref string

	// verify is Verify for a connection of this kind, in two steps. The first goes by
	// the headers alone: it returns why they cannot be authentic, or what is left to
	// verify of the body. Nil says that nothing is left, because the proof does not
	// cover the body.
	verify func(c Connection, header http.Header, now time.Time) (body func([]byte) error, err error)
	// sign is Sign for a connection of this kind that has something to sign with.
	sign func(c Connection, header http.Header, body []byte, now time.Time) ([]byte, error)
	// sentAt is SentAt; nil when the host signs no time.
	sentAt func(header http.Header) (time.Time, bool)

	// isPing reports whether a delivery only tests the connection.
	isPing func(header http.Header) bool
	// eventName returns the host's own name of the event, and kind tells which kind of
	// event that name announces; empty for any other.
	eventName func(header http.Header) string
	kind      func(eventName string) event.Kind
	// deliveryID returns the host's id of a delivery; empty when it gives none.
	deliveryID func(c Connection, header http.Header) string
	// setDeliveryID makes a delivery a new one; it does nothing where the host gives
	// no ids.
	setDeliveryID func(header http.Header, id string)
	// key recognises the same delivery sent twice where the host gave no id.
	key func(eventName string, body []byte) string
	// keptHeaders are the canonical names of the headers that are stored with a
	// delivery, next to those of every host. None may hold a secret.
	keptHeaders []string

	// forms says that the host may send its JSON in a form.
	forms bool
	// payload returns the JSON of a body, or why there can be none in it.
	payload func(header http.Header, body []byte) ([]byte, error)
	// withoutSecrets returns the body as it is stored.
	withoutSecrets func(c Connection, body []byte) []byte
	// parse is Parse for a delivery that is not a ping, before the event is bound:
	// with what the payload says of where its repositories are.
	parse func(header http.Header, body []byte) (event.Event, places, error)
}

// hosts are the supported kinds, in the order in which help and messages list them.
func hosts() []host { return []host{githubHost(), gitlabHost(), giteeHost(), giteaHost()} }

// hostOf returns the value of a kind, and whether there is one.
func hostOf(name event.Host) (host, bool) {
	for _, h := range hosts() {
		if h.Name == string(name) {
			return h, true
		}
	}
	return host{}, false
}

// Hosts lists the supported kinds of git hosts, in the order in which help and
// documents show them.
func Hosts() []event.Host {
	var names []event.Host
	for _, h := range hosts() {
		names = append(names, event.Host(h.Name))
	}
	return names
}

// Kinds lists what configuration has to know of the supported kinds, in the order
// of Hosts.
func Kinds() []Kind {
	var kinds []Kind
	for _, h := range hosts() {
		kinds = append(kinds, h.Kind)
	}
	return kinds
}

// DefaultRef returns the `ref` that CodeArts Check documents for merge requests of a
// kind of host, pull or merge_request; empty for an unknown kind.
func DefaultRef(name event.Host) string {
	h, _ := hostOf(name)
	return h.ref
}

// SetDeliveryID gives a recorded delivery the id of a new one, so that it is not
// taken for a redelivery. It does nothing where the host gives no ids, or is
// unknown. The delivery must be signed afterwards.
func SetDeliveryID(name event.Host, header http.Header, id string) {
	if h, known := hostOf(name); known {
		h.setDeliveryID(header, id)
	}
}

// What hosts have in common that do without the respective feature.

func neverPing(http.Header) bool { return false }

// inHeader is the eventName of a host that has it in one header.
func inHeader(name string) func(http.Header) string {
	return func(header http.Header) string { return header.Get(name) }
}

func bodyItself(_ http.Header, body []byte) ([]byte, error) { return body, nil }

// jsonOrForm is the payload of a host that sends JSON itself, or a form with the JSON in its
// only field, "payload", as its webhook is set. No signature covers the content type, so no
// body may be read in both ways.
func jsonOrForm(header http.Header, body []byte) ([]byte, error) {
	switch kind, err := contentType(header); {
	case err != nil:
		return nil, err
	case kind != formType:
		return body, nil
	}
	encoded, err := formPayload(body)
	if err != nil {
		return nil, err
	}
	payload, err := url.QueryUnescape(string(encoded))
	if err != nil {
		return nil, errNotEncoded
	}
	return []byte(payload), nil
}

var errNotEncoded = errors.New("read form body: it is not percent-encoded as forms are")

// formPayload is the encoded JSON of a form.
func formPayload(body []byte) ([]byte, error) {
	encoded, ok := bytes.CutPrefix(body, []byte("payload="))
	if !ok || bytes.ContainsAny(encoded, "&;") {
		return nil, errors.New(`read form body: it is not the field "payload" and nothing else, as hosts send it`)
	}
	return encoded, nil
}

func nothingSecret(_ Connection, body []byte) []byte { return body }
