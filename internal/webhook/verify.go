package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// ErrSignature marks every refusal of Verify.
var ErrSignature = errors.New("signature refused")

// Verify checks that the request was made by somebody who knows a secret of the
// connection: GitHub's X-Hub-Signature-256, GitLab's webhook-signature or
// X-Gitlab-Token, Gitee's X-Gitee-Token. body is the raw request body. now
// decides whether a signed time is still acceptable; for a recorded delivery
// pass what SentAt returns.
//
// It returns nil, or an error for which errors.Is(err, ErrSignature) holds and
// whose text says what to do and holds no secret. Secrets are compared in
// constant time; an empty secret never verifies anything.
//
// GitLab's token and Gitee's token do not cover the body: they prove who sent
// it, not what was sent (specs/githosts.md 0 and 2.1).
func Verify(c Connection, header http.Header, body []byte, now time.Time) error {
	switch c.Host {
	case event.GitHub:
		return verifyGitHub(c, header, body)
	case event.GitLab:
		return verifyGitLab(c, header, body, now)
	case event.Gitee:
		return verifyGitee(c, header, now)
	}
	return refuse("unknown host %q", c.Host)
}

// SentAt returns the time that the host signed, and whether the headers hold
// one: Gitee's X-Gitee-Timestamp, GitLab's webhook-timestamp.
func SentAt(c Connection, header http.Header) (time.Time, bool) {
	switch c.Host {
	case event.GitLab:
		seconds, err := strconv.ParseInt(header.Get("Webhook-Timestamp"), 10, 64)
		return time.Unix(seconds, 0).UTC(), err == nil
	case event.Gitee:
		milliseconds, err := strconv.ParseInt(header.Get("X-Gitee-Timestamp"), 10, 64)
		return time.UnixMilli(milliseconds).UTC(), err == nil
	}
	return time.Time{}, false
}

// checkAge refuses a delivery whose signed time is further than the
// connection's limit from now, in either direction.
func checkAge(c Connection, header http.Header, now time.Time) error {
	sent, ok := SentAt(c, header)
	if !ok {
		return refuse("the signed time is missing or unreadable")
	}
	if now.Sub(sent).Abs() > c.maxAge() {
		return refuse("the signed time is more than %s from this server's clock: send it again, or set the clocks right", c.maxAge())
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
