package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// tokenPrefix begins every token, so that scanners for secrets recognise one.
const tokenPrefix = "gwt_"

var (
	// tokenPattern is the prefix, the public id and the secret.
	tokenPattern = regexp.MustCompile(`^gwt_([a-z2-7]{10})_[a-z2-7]{26}$`)
	namePattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// TokenRoles are the roles that a token may have. A machine is nobody's person: it approves nothing.
func TokenRoles() []Role { return []Role{Viewer, Operator, Admin} }

// NewToken makes a token and what is stored of it. The token itself can be shown once.
func NewToken(name string, role Role, by string, now, expires time.Time) (token string, stored store.Token, err error) {
	switch {
	case !namePattern.MatchString(name):
		return "", stored, fmt.Errorf("%q is not a name for a token: write lower-case letters, digits and -, at most 63", name)
	case !slices.Contains(TokenRoles(), role):
		return "", stored, fmt.Errorf("%q is not a role for a token: write viewer, operator or admin", role)
	case !expires.After(now):
		return "", stored, errors.New("the token would have expired already: choose a later time")
	}
	id := strings.ToLower(rand.Text()[:10])
	token = tokenPrefix + id + "_" + strings.ToLower(rand.Text())
	return token, store.Token{ID: id, Name: name, Role: string(role), Hash: hashOf(token), CreatedAt: now.UTC(), CreatedBy: by, ExpiresAt: expires.UTC()}, nil
}

// hashOf is what is stored of a secret. It has 128 random bits or more, so that no slow hash is needed.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// bearer returns the token of a request; false where it has none of ours. What else stands in
// Authorization is for a proxy in front.
func bearer(r *http.Request) (token string, found bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	return token, strings.EqualFold(scheme, "Bearer") && strings.HasPrefix(token, tokenPrefix)
}

// errBadToken: the token is not good. What the sender is told does not say whether it ever was.
var errBadToken = errors.New("the token is not known, has expired or was revoked: make another with gatewright token create")

// machine is the user that a token stands for.
func (s *Service) machine(ctx context.Context, token string) (User, error) {
	parts := tokenPattern.FindStringSubmatch(token)
	if parts == nil {
		return User{}, errBadToken
	}
	t, err := s.opts.Store.Token(ctx, parts[1])
	if errors.Is(err, store.ErrNotFound) {
		return User{}, errBadToken
	}
	if err != nil {
		return User{}, err
	}
	now := s.opts.Now()
	same := subtle.ConstantTimeCompare([]byte(t.Hash), []byte(hashOf(token))) == 1
	if !same || !t.RevokedAt.IsZero() || !now.Before(t.ExpiresAt) || !slices.Contains(TokenRoles(), Role(t.Role)) {
		return User{}, errBadToken
	}
	if now.Sub(t.LastUsed) >= time.Minute {
		if err := s.opts.Store.UseToken(ctx, t.ID, now); err != nil {
			s.opts.Log.Warn("use of token not saved", zap.String(event.LogIdentity, "token:"+t.Name), zap.Error(err))
		}
	}
	return User{Name: "token " + t.Name, Identity: "token:" + t.Name, Token: t.Name, Roles: []Role{Role(t.Role)}}, nil
}
