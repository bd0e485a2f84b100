// Package webhook is the webhook endpoint: it verifies a delivery over its raw
// bytes, hands it to an Inbox that makes it durable, and only then acknowledges it.
// What a delivery says is read later, by Parse, outside of the request.
//
// Each kind of git host is one value in one file (github.go, gitlab.go, gitee.go,
// gitea.go); nothing else distinguishes them. Facts about the hosts come from
// specs/githosts.md, sections 1 to 4.
package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
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

// Connection is one configured git host, as far as the webhook endpoint needs it.
// It holds secrets: its String is the name alone.
type Connection struct {
	// Name is the last part of the webhook's URL: ^[a-z0-9][a-z0-9-]{0,62}$.
	Name string
	Host event.Host
	// URL is the host's address, without a slash at its end. Events are bound to it.
	// Empty for a delivery that is read without a configuration: then it is where
	// the payload's own web address is.
	URL string
	// Hosts are further names of the host that its payloads may give.
	Hosts []string
	// CloneURL and SSHURL are the addresses of a repository, with {repository} in
	// the place of its full name. Empty: URL/{repository}.git, and
	// git@HOST:{repository}.git with the host of URL.
	CloneURL, SSHURL string
	// Secrets are the webhook secrets; any one of them is valid, so that a
	// secret can be replaced without a gap. Mandatory, except that a GitLab
	// connection may have SigningTokens alone.
	Secrets []string
	// SigningTokens are GitLab's signing tokens, whsec_ and base64; any one of
	// them is valid. When there are some, a delivery that carries a signature
	// must verify by it; one that carries none must carry one of Secrets.
	SigningTokens []string
	// Scopes are the patterns of the repositories that a secret or signing token may
	// speak of, by its value. One that is not here may speak of every repository.
	Scopes map[string][]string
	// Mode is Gitee's: ModePassword or ModeSign. Empty means ModeSign, because
	// a request does not tell the mode and a signature reveals no secret.
	Mode string
	// MaxAge is how far the signed time of a delivery may be from now, in both
	// directions. Zero means the default of the kind of host (Kind.MaxAge): 1 h
	// for Gitee, 5 min for GitLab with a signing token.
	MaxAge time.Duration
	// Allow are the addresses from which deliveries are accepted; empty means any.
	Allow []netip.Prefix
}

// String returns the name, so that a connection that is printed shows no secret.
func (c Connection) String() string { return c.Name }

// namePattern is what a connection may be called.
var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// validate returns every complaint about the connection, joined; nil when there
// is none.
func (c Connection) validate() error {
	var complaints []error
	if !namePattern.MatchString(c.Name) {
		complaints = append(complaints, c.complaint("name must be 1 to 63 lower-case letters, digits and dashes, and must not start with a dash"))
	}
	for i, secret := range c.Secrets {
		if strings.TrimSpace(secret) == "" {
			complaints = append(complaints, c.complaint("secret %d is empty: give it a value or remove it", i+1))
		}
	}
	if len(c.Secrets) == 0 && len(c.SigningTokens) == 0 {
		complaints = append(complaints, c.complaint("no secret: without one anybody could send webhooks"))
	}
	if c.MaxAge < 0 {
		complaints = append(complaints, c.complaint("age limit %s is negative: use 0 for the default", c.MaxAge))
	}
	if h, known := hostOf(c.Host); known {
		complaints = append(complaints, c.validateSettings(h))
	} else {
		complaints = append(complaints, c.complaint("unknown host %q: use one of %q", c.Host, Hosts()))
	}
	return errors.Join(complaints...)
}

// validateSettings returns every complaint about the settings that only some kinds
// of hosts have, joined.
func (c Connection) validateSettings(h host) error {
	var complaints []error
	for i, token := range c.SigningTokens {
		if h.CheckSigningToken == nil {
			complaints = append(complaints, c.complaint("%s has no signing tokens: use a secret", h.Title))
			break
		}
		if err := h.CheckSigningToken(token); err != nil {
			complaints = append(complaints, c.complaint("signing token %d: %w", i+1, err))
		}
	}
	switch {
	case c.Mode == "":
	case len(h.Modes) == 0:
		complaints = append(complaints, c.complaint("%s has no modes: remove the mode", h.Title))
	case !slices.Contains(h.Modes, c.Mode):
		complaints = append(complaints, c.complaint("unknown mode %q: use one of %q", c.Mode, h.Modes))
	}
	return errors.Join(complaints...)
}

func (c Connection) complaint(format string, args ...any) error {
	return fmt.Errorf("check connection %q: "+format, append([]any{c.Name}, args...)...)
}

// maxAge is MaxAge with its default.
func (c Connection) maxAge() time.Duration {
	if c.MaxAge > 0 {
		return c.MaxAge
	}
	h, _ := hostOf(c.Host)
	limit, _ := h.Kind.MaxAge(c.Mode, len(c.SigningTokens) > 0)
	return limit
}
