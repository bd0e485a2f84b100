// Package webhook is the door in: it verifies a git host's webhook over the raw
// bytes, hands the delivery to an Inbox that makes it durable, and only then
// acknowledges it. What a delivery says is read later, by Parse, away from the
// request. Facts about the hosts come from specs/githosts.md, sections 1 to 3.
package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// The values of Connection.Mode.
const (
	// ModePassword: Gitee sends the secret itself (encryption_type 0).
	ModePassword = "password"
	// ModeSign: Gitee sends a signature made with the secret (encryption_type 1).
	ModeSign = "sign"
)

// The defaults of Connection.MaxAge.
const (
	giteeMaxAge  = time.Hour
	gitlabMaxAge = 5 * time.Minute
)

// Connection is one configured git host, as far as the door needs it. It holds
// secrets: its String is the name alone.
type Connection struct {
	// Name is the last part of the webhook's URL: ^[a-z0-9][a-z0-9-]{0,62}$.
	Name string
	Host event.Host
	// Secrets are the webhook secrets; any one of them is valid, so that a
	// secret can be replaced without a gap. Mandatory, except that a GitLab
	// connection may have SigningTokens alone.
	Secrets []string
	// SigningTokens are GitLab's signing tokens, whsec_ and base64; any one of
	// them is valid. When there are some, a delivery that carries a signature
	// must verify by it; one that carries none is held to Secrets.
	SigningTokens []string
	// Mode is Gitee's: ModePassword or ModeSign. Empty means ModeSign, because
	// a request does not tell the mode and a signature gives nothing away.
	Mode string
	// MaxAge is how far the signed time of a delivery may be from now, in both
	// directions. Zero means 1 h for Gitee, which its documents ask for, and
	// 5 min for GitLab's signing token, which is what Standard Webhooks
	// libraries use because GitLab states none (specs/githosts.md 2.1, 3.1).
	MaxAge time.Duration
}

// String returns the name, so that a connection that is printed shows no secret.
func (c Connection) String() string { return c.Name }

// validate returns every complaint about the connection, joined; nil when there
// is none.
func (c Connection) validate() error {
	var complaints []error
	complain := func(format string, args ...any) {
		complaints = append(complaints, fmt.Errorf("check connection %q: "+format, append([]any{c.Name}, args...)...))
	}
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`).MatchString(c.Name) {
		complain("name must be 1 to 63 lower-case letters, digits and dashes, and must not start with a dash")
	}
	if !c.Host.Valid() {
		complain("unknown host %q: use one of %q", c.Host, event.Hosts())
	}
	for i, secret := range c.Secrets {
		if strings.TrimSpace(secret) == "" {
			complain("secret %d is empty: give it a value or take it away", i+1)
		}
	}
	for i, token := range c.SigningTokens {
		if _, err := signingKey(token); err != nil {
			complain("signing token %d: %w", i+1, err)
		}
	}
	if len(c.SigningTokens) > 0 && c.Host != event.GitLab {
		complain("only GitLab has signing tokens: use a secret")
	}
	if len(c.Secrets) == 0 && len(c.SigningTokens) == 0 {
		complain("no secret: a webhook without one cannot be told from a stranger's")
	}
	if c.Mode != "" && c.Host != event.Gitee {
		complain("only Gitee has a mode: take it away")
	} else if c.Mode != "" && c.Mode != ModePassword && c.Mode != ModeSign {
		complain("unknown mode %q: use %q or %q", c.Mode, ModePassword, ModeSign)
	}
	if c.MaxAge < 0 {
		complain("age limit %s is negative: use 0 for the default", c.MaxAge)
	}
	return errors.Join(complaints...)
}

// maxAge is MaxAge with its default.
func (c Connection) maxAge() time.Duration {
	switch {
	case c.MaxAge > 0:
		return c.MaxAge
	case c.Host == event.Gitee:
		return giteeMaxAge
	default:
		return gitlabMaxAge
	}
}

// signingKey returns the key that a signing token stands for. The error never
// holds the token.
func signingKey(token string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(token, "whsec_")
	if !ok {
		return nil, errors.New(`must start with "whsec_"`)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`must be "whsec_" and the base64 of 24 to 64 bytes, as GitLab shows it once`)
	}
	return key, nil
}
