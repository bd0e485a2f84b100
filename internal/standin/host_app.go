package standin

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// HostApp is a GitHub App with one installation, which has every repository of its host.
type HostApp struct {
	ID, Installation int64
	// PublicKey verifies what the App signs.
	PublicKey *rsa.PublicKey
}

// ReadApp returns an App with the number 1 and the installation 2, whose key is an RSA key in PEM form,
// private or public.
func ReadApp(data []byte) (*HostApp, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("it is not in PEM form")
	}
	app := &HostApp{ID: 1, Installation: 2}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		app.PublicKey = &key.PublicKey
	} else if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		if private, isRSA := key.(*rsa.PrivateKey); isRSA {
			app.PublicKey = &private.PublicKey
		}
	} else if key, err := x509.ParsePKIXPublicKey(block.Bytes); err == nil {
		app.PublicKey, _ = key.(*rsa.PublicKey)
	}
	if app.PublicKey == nil {
		return nil, errors.New("it is not an RSA key")
	}
	return app, nil
}

const (
	appSlug = "gatewright"
	// installationTokenLife is how long an installation's token is good; appTokenLife how long what
	// an App signs may be.
	installationTokenLife, appTokenLife = time.Hour, 10 * time.Minute
)

// installationTokens are those that were made, with their ends.
type installationTokens struct {
	mu   sync.Mutex
	made map[string]time.Time
}

// good reports whether a token was made and has not ended.
func (t *installationTokens) good(token string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Before(t.made[token])
}

// expire ends the life of a token.
func (t *installationTokens) expire(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.made, token)
}

// signedByApp verifies the signature of the App (RS256), and for how long it is good. The answer is
// the refusal.
func (g *gitHosts) signedByApp(c *call) (app HostApp, refusal answer, ok bool) {
	host := g.hosts[githubStyle().kind]
	if host.App == nil {
		return HostApp{}, unknownRoute.handle(c), false
	}
	refuse := func(why string) (HostApp, answer, bool) {
		c.entry.Detail = why
		return HostApp{}, hostMessage(http.StatusUnauthorized, "A JSON web token could not be decoded"), false
	}
	signed, found := strings.CutPrefix(c.http.Header.Get("Authorization"), "Bearer ")
	parts := strings.Split(signed, ".")
	if !found || len(parts) != 3 {
		return refuse("this is not a JSON web token")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return refuse("the signature is not base64url")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(host.App.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return refuse("the signature is not that of the App's key")
	}
	var header struct{ Alg string }
	var claims struct {
		Iss      any
		Iat, Exp int64
	}
	if !decodePart(parts[0], &header) || !decodePart(parts[1], &claims) || header.Alg != "RS256" {
		return refuse("the token is not signed with RS256")
	}
	issued, ends := time.Unix(claims.Iat, 0), time.Unix(claims.Exp, 0)
	switch {
	case claims.Iss != strconv.FormatInt(host.App.ID, 10):
		return refuse("iss is not the App's id")
	case issued.After(c.entry.Time) || !ends.After(c.entry.Time) || ends.Sub(c.entry.Time) > appTokenLife:
		return refuse("iat or exp is not good now")
	}
	return *host.App, answer{}, true
}

func decodePart(part string, into any) bool {
	data, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(data, into) == nil
}

// appRights are the permissions of the installation.
func (g *gitHosts) appRights() map[string]string {
	if g.opts.GitTokenReadsOnly {
		return map[string]string{"contents": "read", "metadata": "read", "pull_requests": "read"}
	}
	return map[string]string{"checks": "write", "contents": "read", "metadata": "read", "pull_requests": "write"}
}

func (g *gitHosts) installationToken(c *call) answer {
	app, refusal, ok := g.signedByApp(c)
	if !ok {
		return refusal
	}
	if c.http.PathValue("installation") != itoa(app.Installation) {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	token := "ghs_" + newID()
	until := c.entry.Time.Add(installationTokenLife).Truncate(time.Second)
	g.tokens.mu.Lock()
	g.tokens.made[token] = until
	g.tokens.mu.Unlock()
	return c.acted("", githubCreated(map[string]any{"token": token, "expires_at": until, "permissions": g.appRights(), "repository_selection": "all"}))
}

func (g *gitHosts) installation(c *call) answer {
	app, refusal, ok := g.signedByApp(c)
	if !ok {
		return refusal
	}
	if c.http.PathValue("installation") != itoa(app.Installation) {
		return hostMessage(http.StatusNotFound, githubNotFound)
	}
	return githubAnswer(map[string]any{"id": app.Installation, "app_id": app.ID, "app_slug": appSlug, "permissions": g.appRights(), "repository_selection": "all"})
}

func (g *gitHosts) app(c *call) answer {
	app, refusal, ok := g.signedByApp(c)
	if !ok {
		return refusal
	}
	return githubAnswer(map[string]any{"id": app.ID, "slug": appSlug, "name": "Gatewright"})
}
