package webhook

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// NamedSecret is a secret or signing token of a connection by what may be shown of it.
type NamedSecret struct {
	// Label is its place in the connection's Secrets, from 1; signing_1 and so on in its SigningTokens.
	Label string
	// ID tells it from other secrets of the connection, wherever it stands. It is a short and slow hash: many other
	// texts have the same one.
	ID string
}

// secretIterations makes guesses at a secret by its ID slow, and a start not.
const secretIterations = 4096

// Secrets are the secrets and then the signing tokens of a connection, in their order.
func Secrets(c Connection) []NamedSecret {
	var named []NamedSecret
	for prefix, values := range [][]string{c.Secrets, c.SigningTokens} {
		for i, value := range values {
			key, err := pbkdf2.Key(sha256.New, value, []byte("gatewright webhook secret of "+c.Name), secretIterations, 4)
			if err != nil {
				panic(err) // of parameters that do not change
			}
			named = append(named, NamedSecret{[]string{"", "signing_"}[prefix] + strconv.Itoa(i+1), hex.EncodeToString(key)})
		}
	}
	return named
}

// SecretUse is how a secret was used: to prove a delivery.
type SecretUse struct {
	Connection string
	NamedSecret
	// Count is how often since the start, Last the newest time; zero for never.
	Count int64
	Last  time.Time
}

// secretUses counts the uses of secrets, by connection and ID.
type secretUses struct{ byID sync.Map }

type secretUse struct{ count, last atomic.Int64 }

func (u *secretUses) of(connection, id string) *secretUse {
	use, _ := u.byID.LoadOrStore(connection+"/"+id, &secretUse{})
	return use.(*secretUse)
}

// note notes a use, which may be older than another.
func (u *secretUse) note(at time.Time) {
	for {
		last := u.last.Load()
		if at.UnixMicro() <= last || u.last.CompareAndSwap(last, at.UnixMicro()) {
			return
		}
	}
}

// provedBy is the place in Secrets of the one that a verified delivery is proved by.
func provedBy(e endpoint, header http.Header, body []byte, now time.Time) int {
	c := e.Connection
	c.MaxAge = math.MaxInt64
	for i := range e.secrets[:len(e.secrets)-1] {
		if of := len(e.Secrets); i < of {
			c.Secrets, c.SigningTokens = e.Secrets[i:i+1], nil
		} else {
			c.Secrets, c.SigningTokens = nil, e.SigningTokens[i-of:i-of+1]
		}
		// A signature counts where there is one, as it does when it is verified.
		_, signed := header["Webhook-Signature"]
		if signed && len(e.SigningTokens) > 0 && len(c.SigningTokens) == 0 {
			continue
		}
		if Verify(c, header, body, now) == nil {
			return i
		}
	}
	return len(e.secrets) - 1
}

// noteSecret notes which secret a delivery was proved by.
func (h *Handler) noteSecret(e endpoint, header http.Header, body []byte) {
	now := h.now()
	use := e.uses[provedBy(e, header, body, now)]
	use.count.Add(1)
	use.note(now)
}

// SecretUses tells how the secrets of all connections were used, each connection's in their order.
func (h *Handler) SecretUses() []SecretUse {
	var all []SecretUse
	for _, e := range *h.endpoints.Load() {
		for i, secret := range e.secrets {
			use := SecretUse{Connection: e.Name, NamedSecret: secret, Count: e.uses[i].count.Load()}
			if last := e.uses[i].last.Load(); last > 0 {
				use.Last = time.UnixMicro(last)
			}
			all = append(all, use)
		}
	}
	return all
}

// KnowSecretUse takes over when a secret was used before the start.
func (h *Handler) KnowSecretUse(connection, id string, last time.Time) {
	if !last.IsZero() {
		h.uses.of(connection, id).note(last)
	}
}

var (
	secretUsedTotal = prometheus.NewDesc("gatewright_webhook_secret_used_total",
		"Deliveries that each webhook secret of a connection has proved, by its place in the list (signing_1 for signing tokens).", []string{"connection", "secret"}, nil)
	secretLastUsed = prometheus.NewDesc("gatewright_webhook_secret_last_used_timestamp_seconds",
		"When each webhook secret of a connection last proved a delivery, in seconds since 1970; 0 for never.", []string{"connection", "secret"}, nil)
)

// Describe implements [prometheus.Collector].
func (h *Handler) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- secretUsedTotal
	descriptions <- secretLastUsed
}

// Collect implements [prometheus.Collector] with gatewright_webhook_secret_used_total and
// gatewright_webhook_secret_last_used_timestamp_seconds. A secret keeps what was counted of it when a reload gives it
// another place.
func (h *Handler) Collect(metrics chan<- prometheus.Metric) {
	for _, use := range h.SecretUses() {
		last := float64(0)
		if !use.Last.IsZero() {
			last = float64(use.Last.UnixMicro()) / 1e6
		}
		metrics <- prometheus.MustNewConstMetric(secretUsedTotal, prometheus.CounterValue, float64(use.Count), use.Connection, use.Label)
		metrics <- prometheus.MustNewConstMetric(secretLastUsed, prometheus.GaugeValue, last, use.Connection, use.Label)
	}
}

// String shows no secret.
func (u SecretUse) String() string { return fmt.Sprintf("%s of %s", u.Label, u.Connection) }
