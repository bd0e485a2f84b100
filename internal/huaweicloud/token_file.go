package huaweicloud

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// GivenToken authorizes requests with a token that something else gets and renews. When
// it is refused it is not used for a minute; a renewed token is another GivenToken.
type GivenToken struct {
	value    string
	cooldown *cooldown
}

var _ Authenticator = (*GivenToken)(nil)

// NewGivenToken returns what authorizes with a token. now is the clock; nil means time.Now.
func NewGivenToken(value string, now func() time.Time) (*GivenToken, error) {
	if value == "" {
		return nil, errors.New("create given token: it is empty")
	}
	if now == nil {
		now = time.Now
	}
	// Its refusals lock nothing, so that the other replicas, which may have another one,
	// need not know.
	return &GivenToken{value: value, cooldown: newCooldown(time.Minute, now, "", nil)}, nil
}

// Authorize adds the token to req.
func (g *GivenToken) Authorize(ctx context.Context, req *http.Request, _ []byte) error {
	if err := g.cooldown.check(ctx, "use token of the file"); err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", g.value)
	return nil
}

// Expired reports false: only whoever wrote the token can renew it.
func (g *GivenToken) Expired(ctx context.Context, _ *http.Request, refusal error) bool {
	g.cooldown.begin(ctx, refusal)
	return false
}

func (g *GivenToken) worked(ctx context.Context) { g.cooldown.worked(ctx) }
