package access

import (
	"context"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

// ProviderOptions say which OpenID provider people log in at. Issuer and ClientID are mandatory.
type ProviderOptions struct {
	Issuer, ClientID string
	// ClientSecret is that in force; empty for a public client.
	ClientSecret func() string
	Scopes       []string
	// GroupsClaim and NameClaim name the claims with the groups and the name of a person.
	GroupsClaim, NameClaim string
	// Hosts are further hosts that the provider's endpoints may have.
	Hosts []string
	// Leeway is how far the provider's clock may be from ours.
	Leeway time.Duration
	// CA are certificate authorities in PEM form that are trusted beside the system's.
	CA []byte
}

const (
	// providerTimeout bounds one call, maxAnswer its answer in bytes.
	providerTimeout = 10 * time.Second
	maxAnswer       = 1 << 20
	// discoveryLasts is how long what the provider says of itself is used, and retryDiscovery how
	// long it is not asked again when it did not answer.
	discoveryLasts = time.Hour
	retryDiscovery = 5 * time.Second
)

// errUnavailable: the provider did not answer, or not as a provider does.
var errUnavailable = errors.New("the OpenID provider does not answer")

// provider is the OpenID provider. What it says of itself is read when somebody logs in, so that the
// service starts and works without it.
type provider struct {
	opts     ProviderOptions
	redirect string
	client   *http.Client
	hosts    []string
	now      func() time.Time

	mu sync.Mutex
	// known is what it said at read; nil before. err is why it could not be read at tried.
	known       *endpoints
	read, tried time.Time
	err         error
}

// endpoints are those of a provider.
type endpoints struct {
	*oidc.Provider
	style oauth2.AuthStyle
}

func newProvider(opts ProviderOptions, redirect string, now func() time.Time) (*provider, error) {
	issuer, err := url.Parse(opts.Issuer)
	if err != nil || issuer.Host == "" {
		return nil, fmt.Errorf("the address of the OpenID provider %q is not a URL", opts.Issuer)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes, transport.IdleConnTimeout = 64<<10, 30*time.Second
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if len(opts.CA) > 0 {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		roots.AppendCertsFromPEM(opts.CA)
		transport.TLSClientConfig.RootCAs = roots
	}
	p := &provider{opts: opts, redirect: redirect, hosts: append([]string{issuer.Host}, opts.Hosts...), now: now}
	p.client = &http.Client{
		Timeout: providerTimeout, Transport: boundedTransport{transport, p.mayCall},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p, nil
}

// mayCall returns an error for an address that does not belong to the provider.
func (p *provider) mayCall(u *url.URL) error {
	secure := strings.HasPrefix(p.opts.Issuer, "https://")
	if slices.Contains(p.hosts, u.Host) && u.User == nil && (u.Scheme == "https" || u.Scheme == "http" && !secure) {
		return nil
	}
	return fmt.Errorf("the provider names an endpoint on %q, which is not among its hosts: add it to dashboard.auth.oidc.hosts", u.Host)
}

// boundedTransport sends requests to allowed hosts, and bounds the answers.
type boundedTransport struct {
	http.RoundTripper
	allowed func(*url.URL) error
}

func (t boundedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.allowed(r.URL); err != nil {
		return nil, err
	}
	resp, err := t.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{&boundedReader{resp.Body, maxAnswer}, resp.Body}
	}
	return resp, err
}

// boundedReader fails where more is read than is left.
type boundedReader struct {
	io.Reader
	left int
}

func (r *boundedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.left -= n; r.left < 0 {
		return 0, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return n, err
}

// endpoints returns those of the provider. The error wraps errUnavailable; while the provider does not
// answer, what it said before is used.
func (p *provider) endpoints(ctx context.Context) (*endpoints, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	fresh := p.known != nil && now.Sub(p.read) < discoveryLasts
	if !fresh && now.Sub(p.tried) >= retryDiscovery {
		found, err := p.discover(ctx)
		if err == nil {
			p.known, p.read = found, now
		}
		// Those who waited meanwhile do not try at once again.
		p.tried, p.err = p.now(), err
	}
	if p.known != nil {
		return p.known, nil
	}
	return nil, fmt.Errorf("%w: %w", errUnavailable, p.err)
}

// discover reads what the provider says of itself.
func (p *provider) discover(ctx context.Context) (*endpoints, error) {
	// A person who goes away must not make it fail for those who wait for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), providerTimeout)
	defer cancel()
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client), p.opts.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		Methods  any    `json:"token_endpoint_auth_methods_supported"`
		KeysURL  string `json:"jwks_uri"`
		UserInfo string `json:"userinfo_endpoint"`
	}
	if err := found.Claims(&more); err != nil {
		return nil, err
	}
	for _, address := range []string{found.Endpoint().AuthURL, found.Endpoint().TokenURL, more.KeysURL, more.UserInfo} {
		if address == "" && address == more.UserInfo {
			continue
		}
		u, err := url.Parse(address)
		if err == nil {
			err = p.mayCall(u)
		}
		if err != nil {
			return nil, err
		}
	}
	methods := texts(more.Methods)
	style := oauth2.AuthStyleInHeader // the default of OpenID Connect Discovery 1.0, section 3
	if p.opts.ClientSecret() == "" || len(methods) > 0 && !slices.Contains(methods, "client_secret_basic") {
		style = oauth2.AuthStyleInParams
	}
	return &endpoints{found, style}, nil
}

func (p *provider) oauth(e *endpoints) *oauth2.Config {
	endpoint := e.Endpoint()
	endpoint.AuthStyle = e.style
	return &oauth2.Config{ClientID: p.opts.ClientID, ClientSecret: p.opts.ClientSecret(), Endpoint: endpoint, RedirectURL: p.redirect, Scopes: p.opts.Scopes}
}

// authURL is where a browser goes to log in.
func (p *provider) authURL(ctx context.Context, l loginSecret) (string, error) {
	e, err := p.endpoints(ctx)
	if err != nil {
		return "", err
	}
	return p.oauth(e).AuthCodeURL(l.state(), oidc.Nonce(l.nonce()), oauth2.S256ChallengeOption(l.verifier())), nil
}

// identity exchanges the code that a browser brought for what the provider says of the person. The
// error wraps errUnavailable where the provider does not answer; otherwise the login is refused.
func (p *provider) identity(ctx context.Context, code string, l loginSecret) (id identity, err error) {
	e, err := p.endpoints(ctx)
	if err != nil {
		return id, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), 2*providerTimeout)
	defer cancel()
	token, err := p.oauth(e).Exchange(ctx, code, oauth2.VerifierOption(l.verifier()))
	if err != nil {
		return id, exchangeError(err)
	}
	raw, _ := token.Extra("id_token").(string)
	if raw == "" {
		return id, errors.New("the provider sent no ID token: is openid among dashboard.auth.oidc.scopes?")
	}
	idToken, err := p.verify(ctx, e, raw, l.nonce())
	if err != nil {
		return id, err
	}
	claims := map[string]any{}
	if err := idToken.Claims(&claims); err != nil {
		return id, err
	}
	if missing := claims[p.opts.GroupsClaim] == nil || claims[p.opts.NameClaim] == nil; missing && e.UserInfoEndpoint() != "" {
		if err := p.addUserInfo(ctx, e, token, idToken.Subject, claims); err != nil {
			return id, err
		}
	}
	name, _ := claims[p.opts.NameClaim].(string)
	return identity{subject: idToken.Subject, name: printable(name), claims: bounded(texts(claims[p.opts.GroupsClaim]))}, nil
}

// exchangeError says why a code was not exchanged, without what the provider wrote, which may hold
// secrets.
func exchangeError(err error) error {
	var refused *oauth2.RetrieveError
	switch {
	case errors.As(err, &refused) && refused.Response != nil && refused.Response.StatusCode >= 500:
		return fmt.Errorf("%w: the token endpoint answered %d", errUnavailable, refused.Response.StatusCode)
	case errors.As(err, &refused):
		return fmt.Errorf("the token endpoint refused the code: %s", printable(refused.ErrorCode))
	}
	var failed *url.Error
	if errors.As(err, &failed) {
		return fmt.Errorf("%w: %w", errUnavailable, failed.Err)
	}
	return fmt.Errorf("the answer of the token endpoint cannot be used: %s", printable(err.Error()))
}

// verify checks an ID token (OpenID Connect Core 1.0, section 3.1.3.7).
func (p *provider) verify(ctx context.Context, e *endpoints, raw, nonce string) (*oidc.IDToken, error) {
	// The library knows no leeway for the end of a token, which is checked below.
	token, err := e.VerifierContext(oidc.ClientContext(ctx, p.client), &oidc.Config{ClientID: p.opts.ClientID, SkipExpiryCheck: true}).Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	var more struct {
		Party     string       `json:"azp"`
		NotBefore *json.Number `json:"nbf"`
	}
	if err := token.Claims(&more); err != nil {
		return nil, err
	}
	now := p.now()
	switch {
	case subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1:
		return nil, errors.New("the ID token is of another login: its nonce differs")
	case now.After(token.Expiry.Add(p.opts.Leeway)):
		return nil, fmt.Errorf("the ID token expired at %s: are the clocks right?", token.Expiry.UTC().Format(time.RFC3339))
	case token.IssuedAt.After(now.Add(p.opts.Leeway)), notBefore(more.NotBefore).After(now.Add(p.opts.Leeway)):
		return nil, errors.New("the ID token is of a time to come: are the clocks right?")
	case more.Party != "" && more.Party != p.opts.ClientID, more.Party == "" && len(token.Audience) > 1:
		return nil, errors.New("the ID token was made for another client")
	case token.Subject == "" || len(token.Subject) > 255 || printable(token.Subject) != token.Subject:
		return nil, errors.New("the ID token names nobody: its subject is empty, longer than 255 bytes or not printable")
	}
	return token, nil
}

func notBefore(seconds *json.Number) time.Time {
	if seconds == nil {
		return time.Time{}
	}
	at, _ := seconds.Float64()
	return time.Unix(int64(at), 0)
}

// addUserInfo adds the claims that the provider's userinfo has of the same person.
func (p *provider) addUserInfo(ctx context.Context, e *endpoints, token *oauth2.Token, subject string, claims map[string]any) error {
	info, err := e.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return fmt.Errorf("%w: userinfo: %s", errUnavailable, printable(err.Error()))
	}
	if info.Subject != subject {
		return errors.New("the provider's userinfo is of somebody else")
	}
	more := map[string]any{}
	if err := info.Claims(&more); err != nil {
		return err
	}
	for name, value := range more {
		if _, found := claims[name]; !found {
			claims[name] = value
		}
	}
	return nil
}

// texts are the texts of a claim: a list, or one text.
func texts(claim any) (list []string) {
	switch claim := claim.(type) {
	case string:
		return []string{claim}
	case []any:
		for _, value := range claim {
			if text, ok := value.(string); ok {
				list = append(list, text)
			}
		}
	}
	return list
}
