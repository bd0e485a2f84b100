package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrSignature marks every refusal of Verify.
var ErrSignature = errors.New("signature refused")

// Verify checks that the request was made by somebody who knows a secret of the
// connection. body is the raw request body. now
// decides whether a signed time is still acceptable; for a recorded delivery
// pass what SentAt returns.
//
// It returns nil, or an error for which errors.Is(err, ErrSignature) holds and
// whose text says what to do and holds no secret. Secrets are compared in
// constant time; an empty secret never verifies anything.
//
// Not every host's proof covers the body: GitLab's token and Gitee's prove who sent
// it, not what was sent (specs/githosts.md 0 and 2.1).
func Verify(c Connection, header http.Header, body []byte, now time.Time) error {
	h, known := hostOf(c.Host)
	if !known {
		return refuse("unknown host %q", c.Host)
	}
	rest, err := h.verify(c, header, now)
	if err != nil || rest == nil {
		return err
	}
	return rest(body)
}

// SentAt returns the time that the host signed, and whether the headers hold one.
func SentAt(c Connection, header http.Header) (time.Time, bool) {
	h, known := hostOf(c.Host)
	if !known || h.sentAt == nil {
		return time.Time{}, false
	}
	return h.sentAt(header)
}

// checkAge refuses a delivery whose signed time is further than the
// connection's limit from now, in either direction.
func checkAge(c Connection, header http.Header, now time.Time) error {
	sent, ok := SentAt(c, header)
	if !ok {
		return refuse("the signed time is missing or unreadable")
	}
	if now.Sub(sent).Abs() > c.maxAge() {
		return refuse("the signed time is more than %s from this server's clock: send it again, or synchronize the clocks", c.maxAge())
	}
	return nil
}

// sameSecret compares in constant time and does not tell the secret's length.
// got must not be empty; then an empty secret equals nothing.
func sameSecret(secret, got string) bool {
	a, b := sha256.Sum256([]byte(secret)), sha256.Sum256([]byte(got))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// hmacSHA256 returns the HMAC of the message's parts, one after the other.
func hmacSHA256(key []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, key)
	for _, part := range parts {
		mac.Write(part)
	}
	return mac.Sum(nil)
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrSignature}, args...)...)
}
