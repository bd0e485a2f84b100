package forge

import (
	"context"
	"crypto/rsa"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-github/v60/github"
)

const (
	// jwtLife is how long a signature of the App is good for; GitHub takes ten minutes at most.
	// jwtBack lets it begin earlier, for clocks that differ.
	jwtLife, jwtBack = 9 * time.Minute, time.Minute
	// renewBefore is how long before its end an installation's token is replaced. It lives an hour.
	renewBefore = 5 * time.Minute
)

// githubApp asks as an installation of an App. As RoundTripper it puts the installation's token on
// each request, and makes one when there is none that is still good.
type githubApp struct {
	id, installation int64
	key              *rsa.PrivateKey
	next             http.RoundTripper
	now              func() time.Time
	// api asks as the App itself.
	api *github.Client

	// making is held while a token is read or made.
	making chan struct{}
	token  string
	until  time.Time
}

func newGitHubApp(app App, h *http.Client, now func() time.Time) (*githubApp, error) {
	key, err := jwt.ParseRSAPrivateKeyFromPEM([]byte(app.PrivateKey))
	if err != nil {
		return nil, errors.New("the private key of the App is not an RSA key in PEM form")
	}
	a := &githubApp{id: app.ID, installation: app.Installation, key: key, next: h.Transport, now: now, making: make(chan struct{}, 1)}
	a.api = github.NewClient(&http.Client{Transport: signedByApp{a}, CheckRedirect: h.CheckRedirect})
	return a, nil
}

// signedByApp signs each request with the App's key.
type signedByApp struct{ app *githubApp }

func (s signedByApp) RoundTrip(req *http.Request) (*http.Response, error) {
	now := s.app.now()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer:    strconv.FormatInt(s.app.id, 10),
		IssuedAt:  jwt.NewNumericDate(now.Add(-jwtBack)),
		ExpiresAt: jwt.NewNumericDate(now.Add(jwtLife)),
	}).SignedString(s.app.key)
	if err != nil {
		return nil, &Error{message: "not sent: sign with the App's private key", cause: err}
	}
	return s.app.next.RoundTrip(authorized(req, signed))
}

// authorized is the request with a token; a RoundTripper may not change the one that it is given.
func authorized(req *http.Request, token string) *http.Request {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

// RoundTrip implements [http.RoundTripper].
func (a *githubApp) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := a.installationToken(req.Context())
	if err != nil {
		return nil, err
	}
	resp, err := a.next.RoundTrip(authorized(req, token))
	if failure(err).Status == http.StatusUnauthorized {
		a.forget(token)
	}
	return resp, err
}

// installationToken returns the token in force, or a new one when that is about to end.
func (a *githubApp) installationToken(ctx context.Context) (string, error) {
	select {
	case a.making <- struct{}{}:
		defer func() { <-a.making }()
	case <-ctx.Done():
		return "", &Error{message: "not sent", cause: ctx.Err(), retryable: true}
	}
	if a.token != "" && a.now().Before(a.until.Add(-renewBefore)) {
		return a.token, nil
	}
	made, _, err := a.api.Apps.CreateInstallationToken(ctx, a.installation, nil)
	if err != nil {
		return "", a.explain(err)
	}
	if made.GetToken() == "" || !made.GetExpiresAt().After(a.now()) {
		return "", &Error{message: "the host made no token for the App's installation that is good now: compare the clocks", retryable: true}
	}
	a.token, a.until = made.GetToken(), made.GetExpiresAt().Time
	return a.token, nil
}

// forget lets the next request make a token, because this one is refused: it may have been revoked.
func (a *githubApp) forget(token string) {
	a.making <- struct{}{}
	defer func() { <-a.making }()
	if a.token == token {
		a.token = ""
	}
}

// explain says what a refusal means that is about the App and not about what was asked.
func (a *githubApp) explain(err error) error {
	e := failure(githubError(err))
	switch {
	case e.forbidden:
		e.message = "the host refuses the App: compare app.id and app.private_key with the App's settings, and the clocks"
	case e.NotFound():
		// Not what was asked for is missing: trying again may find the installation.
		e = &Error{message: "the App has no such installation: compare app.installation with the address of the installation's page", retryable: true, forbidden: true}
	case e.message == "":
		return err
	}
	return e
}

// account is the id of the App's user, who writes its comments: the one with the App's name.
func (a *githubApp) account(ctx context.Context, users *github.UsersService) (string, error) {
	app, _, err := a.api.Apps.Get(ctx, "")
	if err != nil {
		return "", a.explain(err)
	}
	if app.GetSlug() == "" {
		return "", errors.New("it has no name of the App")
	}
	user, _, err := users.Get(ctx, url.PathEscape(app.GetSlug()+"[bot]"))
	return strconv.FormatInt(user.GetID(), 10), githubError(err)
}

// mayReport reads the rights of the installation.
func (a *githubApp) mayReport(ctx context.Context) (granted bool, err error) {
	installation, _, err := a.api.Apps.GetInstallation(ctx, a.installation)
	if err != nil {
		return false, a.explain(err)
	}
	rights := installation.GetPermissions()
	return rights.GetChecks() == "write" && (rights.GetPullRequests() == "write" || rights.GetIssues() == "write"), nil
}
