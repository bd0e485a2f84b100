package huaweicloud

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

const (
	algorithm  = "SDK-HMAC-SHA256"
	dateLayout = "20060102T150405Z"
)

// SignerOptions configures a Signer. AccessKey and SecretKey are mandatory.
type SignerOptions struct {
	AccessKey string
	SecretKey string
	// SecurityToken belongs to temporary keys; empty for permanent ones.
	SecurityToken string
	// ProjectID is the IAM project of the region, sent as X-Project-Id; empty
	// sends none.
	ProjectID string
	// Cooldown is how long the keys are not used after they were refused: five
	// refusals in a row lock a key for five minutes (specs/codearts-check.md
	// 4.3). Default 5 minutes.
	Cooldown time.Duration
	// Replicas are told of refusals, and tell of those of others. Default: there are none.
	Replicas *Replicas
	// Now is the clock; the gateway refuses signatures of a clock that is
	// minutes off. Default time.Now.
	Now func() time.Time
}

// Signer signs requests with an access key (AK/SK), as
// specs/codearts-check.md 4.3 describes.
type Signer struct {
	options  SignerOptions
	cooldown *cooldown
	// proven says that a service has accepted the keys. Until then one request at a time
	// is sent, which holds first: many refusals at once would lock them.
	proven atomic.Bool
	first  chan struct{}
}

var _ Authenticator = (*Signer)(nil)

// NewSigner returns a signer, or an error when a key is missing.
func NewSigner(o SignerOptions) (*Signer, error) {
	if o.AccessKey == "" || o.SecretKey == "" {
		return nil, errors.New("create signer: access key or secret key is missing")
	}
	if o.Cooldown <= 0 {
		o.Cooldown = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Signer{options: o, cooldown: newCooldown(o.Cooldown, o.Now, credentialsKey("access key", o.AccessKey), o.Replicas), first: make(chan struct{}, 1)}, nil
}

// Authorize signs req. It fails without signing while the keys are held after
// a refusal.
func (s *Signer) Authorize(ctx context.Context, req *http.Request, body []byte) error {
	if err := s.cooldown.check(ctx, "sign request"); err != nil {
		return err
	}
	req.Header.Set("X-Sdk-Date", s.options.Now().UTC().Format(dateLayout))
	signed := []string{"host", "x-sdk-date"}
	if s.options.ProjectID != "" {
		req.Header.Set("X-Project-Id", s.options.ProjectID)
		signed = append(signed, "x-project-id")
	}
	if s.options.SecurityToken != "" {
		req.Header.Set("X-Security-Token", s.options.SecurityToken)
		signed = append(signed, "x-security-token")
	}
	req.Header.Set("Authorization", s.authorization(req, body, signed))
	return nil
}

// Expired begins the cooldown of the keys and reports false: a second request
// with the same keys would be one more failure towards the lock.
func (s *Signer) Expired(ctx context.Context, _ *http.Request, refusal error) bool {
	s.cooldown.begin(ctx, refusal)
	return false
}

// enter waits, while the keys are not proven, until the request before has ended; not for
// longer than the probe time, since that may be to a service that does not answer. The
// caller calls leave when its own has ended.
func (s *Signer) enter(ctx context.Context) (leave func(), err error) {
	if s.proven.Load() {
		return func() {}, nil
	}
	patience := time.NewTimer(probeTime)
	defer patience.Stop()
	select {
	case s.first <- struct{}{}:
		return func() { <-s.first }, nil
	case <-patience.C:
		return func() {}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Signer) worked(ctx context.Context) {
	s.proven.Store(true)
	s.cooldown.worked(ctx)
}

func (s *Signer) forget(ctx context.Context) { s.cooldown.forget(ctx) }

// authorization is the Authorization header over the headers named in signed,
// in lower case.
func (s *Signer) authorization(req *http.Request, body []byte, signed []string) string {
	slices.Sort(signed)
	canonical := sha256.Sum256([]byte(canonicalRequest(req, body, signed)))
	toSign := algorithm + "\n" + req.Header.Get("X-Sdk-Date") + "\n" + hex.EncodeToString(canonical[:])
	mac := hmac.New(sha256.New, []byte(s.options.SecretKey))
	mac.Write([]byte(toSign))
	return algorithm + " Access=" + s.options.AccessKey +
		", SignedHeaders=" + strings.Join(signed, ";") +
		", Signature=" + hex.EncodeToString(mac.Sum(nil))
}

func canonicalRequest(req *http.Request, body []byte, signed []string) string {
	digest := sha256.Sum256(body)
	return strings.Join([]string{
		req.Method,
		canonicalPath(req.URL.Path),
		canonicalQuery(req.URL.Query()),
		canonicalHeaders(req, signed),
		strings.Join(signed, ";"),
		hex.EncodeToString(digest[:]),
	}, "\n")
}

// canonicalPath escapes each segment of the decoded path and ends with a slash.
func canonicalPath(decoded string) string {
	segments := strings.Split(decoded, "/")
	for i, s := range segments {
		segments[i] = escape(s)
	}
	joined := strings.Join(segments, "/")
	if !strings.HasSuffix(joined, "/") {
		joined += "/"
	}
	return joined
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[key])) {
			pairs = append(pairs, escape(key)+"="+escape(value))
		}
	}
	return strings.Join(pairs, "&")
}

// canonicalHeaders has one line a header and ends with a newline.
func canonicalHeaders(req *http.Request, signed []string) string {
	var b strings.Builder
	for _, name := range signed {
		value := req.Header.Get(name)
		if name == "host" {
			value = req.Host
			if value == "" {
				value = req.URL.Host
			}
		}
		b.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
	}
	return b.String()
}

// escape keeps A-Z a-z 0-9 - _ . ~ and writes every other byte as %XX.
func escape(s string) string {
	const hexDigits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9',
			c == '-', c == '_', c == '.', c == '~':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
		}
	}
	return b.String()
}
