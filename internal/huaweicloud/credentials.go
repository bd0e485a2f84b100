package huaweicloud

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Credentials authorize requests by an Authenticator that can be replaced while
// clients use it, and know whether the services refuse it. It is safe for concurrent
// use.
type Credentials struct {
	now func() time.Time

	mu      sync.Mutex
	current Authenticator
	refusal Refusal
}

var _ Authenticator = (*Credentials)(nil)

// Refusal is why and since when credentials do not work.
type Refusal struct {
	// Reason is the first refusal; what followed from it does not replace it.
	Reason string
	Since  time.Time
}

// NewCredentials returns credentials that use auth. now is the clock; nil means
// time.Now.
func NewCredentials(auth Authenticator, now func() time.Time) *Credentials {
	if now == nil {
		now = time.Now
	}
	return &Credentials{current: auth, now: now}
}

// Replace makes requests be authorized by auth from now on. What was refused before
// is forgotten, in all replicas when auth has the id of what was refused.
func (c *Credentials) Replace(ctx context.Context, auth Authenticator) {
	if f, ok := auth.(interface{ forget(context.Context) }); ok {
		f.forget(ctx)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current, c.refusal = auth, Refusal{}
}

// Refused returns the first refusal of the credentials in use since a call with them
// last succeeded, and whether there was one.
func (c *Credentials) Refused() (Refusal, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refusal, c.refusal != Refusal{}
}

// Authorize authorizes req by the Authenticator in use.
func (c *Credentials) Authorize(ctx context.Context, req *http.Request, body []byte) error {
	return c.inUse().Authorize(ctx, req, body)
}

// Expired tells the Authenticator in use.
func (c *Credentials) Expired(ctx context.Context, used *http.Request, refusal error) bool {
	return c.inUse().Expired(ctx, used, refusal)
}

// inUse is the Authenticator that a request uses from its beginning to its end.
func (c *Credentials) inUse() Authenticator {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.current
}

// observe notes the result of a call that auth authorized; a replaced one does not
// count any more.
func (c *Credentials) observe(auth Authenticator, failure *Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case auth != c.current:
	case failure == nil:
		c.refusal = Refusal{}
	case failure.CredentialsRefused() && c.refusal == Refusal{}:
		c.refusal = Refusal{Reason: failure.Error(), Since: c.now()}
	}
}

// ProjectID is the IAM project that the token in use is for; an error when that is not
// known: keys, and a token that was not got from IAM, do not tell it.
func (c *Credentials) ProjectID(ctx context.Context) (string, error) {
	if tokens, ok := c.inUse().(*TokenSource); ok {
		return tokens.ProjectID(ctx)
	}
	return "", errors.New("find project id: write the IAM region project's id as huaweicloud.project_id")
}
