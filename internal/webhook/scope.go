package webhook

import (
	"math"
	"net/http"
	"time"
)

// Scope returns the patterns of the repositories that the secret which verifies a
// delivery may speak of: the first that does. Nil when that is every repository of the
// connection; without a secret that verifies it, patterns that match none. The age of
// the delivery does not count.
func Scope(c Connection, header http.Header, body []byte, now time.Time) []string {
	if len(c.Scopes) == 0 {
		return nil
	}
	c.MaxAge = math.MaxInt64
	verifies := func(secrets, tokens []string) bool {
		c.Secrets, c.SigningTokens = secrets, tokens
		return Verify(c, header, body, now) == nil
	}
	secrets, tokens := c.Secrets, c.SigningTokens
	for _, token := range tokens {
		if verifies(nil, []string{token}) {
			return c.Scopes[token]
		}
	}
	for _, secret := range secrets {
		if verifies([]string{secret}, nil) {
			return c.Scopes[secret]
		}
	}
	return []string{"!**"}
}
