package webhook

import (
	"fmt"
	"net/http"
	"time"
)

// Sign signs a delivery as the host would have at the time now, with the first
// secret (and the first signing token) of the connection, and returns the body
// to send. It replaces the signature headers in header and removes those that
// do not belong to the connection; it leaves the delivery's id as it is, so that
// a delivery that is sent twice is recognised, and gives GitLab's signature an id
// where there is none. In a Gitee body it renews the members password, sign and
// timestamp where the body has them; every other byte stays.
//
// What Sign returned without an error, Verify accepts at the same time now. The
// error says that the connection has no secret to sign with.
func Sign(c Connection, header http.Header, body []byte, now time.Time) ([]byte, error) {
	h, known := hostOf(c.Host)
	switch {
	case !known:
		return nil, fmt.Errorf("sign delivery of %q: unknown host %q", c.Name, c.Host)
	case len(c.Secrets) > 0 && c.Secrets[0] == "":
		return nil, fmt.Errorf("sign delivery of %q: the first secret is empty", c.Name)
	case len(c.Secrets) == 0 && (h.CheckSigningToken == nil || len(c.SigningTokens) == 0):
		return nil, fmt.Errorf("sign delivery of %q: the connection has no secret", c.Name)
	}
	return h.sign(c, header, body, now)
}
