package access

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

// The addresses of logins.
const (
	loginPath    = "/login"
	startPath    = "/auth/start"
	callbackPath = "/auth/callback"
	logoutPath   = "/logout"
)

const (
	loginCookie = "gatewright-login"
	// loginLasts is how long somebody may take at the provider.
	loginLasts = 10 * time.Minute
)

// loginSecret is what one browser has of a login that it began. All that the provider sees or gives
// back is derived from it, so that it belongs to this browser and any replica can check it.
type loginSecret string

func (l loginSecret) derive(what string) string {
	mac := hmac.New(sha256.New, []byte(l))
	mac.Write([]byte(what))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (l loginSecret) state() string    { return l.derive("state") }
func (l loginSecret) nonce() string    { return l.derive("nonce") }
func (l loginSecret) verifier() string { return l.derive("verifier") }

// localPath is where a login leads back to: a path of ours, and the login page for anything else.
func localPath(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(next, "/") ||
		strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") || len(next) > 1024 ||
		strings.HasPrefix(u.Path, "/auth/") || u.Path == logoutPath {
		return loginPath
	}
	return next
}

// loginPage says who is logged in, or lets somebody log in, or why that is not possible.
func (s *Service) loginPage(c echo.Context) error {
	page := loginView{Next: localPath(c.QueryParam("next"))}
	if u, known := Current(c); known {
		page.User = &u
		page.CanLogOut = s.provider != nil && u.Token == ""
		return s.render(c, http.StatusOK, page)
	}
	if s.provider == nil {
		page.Problem = problemNoLogin
		return s.render(c, http.StatusOK, page)
	}
	if _, err := s.provider.endpoints(c.Request().Context()); err != nil {
		return s.unavailable(c, page, err)
	}
	page.CanLogIn = true
	return s.render(c, http.StatusOK, page)
}

// unavailable answers somebody who cannot log in because the provider does not answer.
func (s *Service) unavailable(c echo.Context, page loginView, err error) error {
	s.opts.Metrics.login("unavailable")
	s.opts.Log.Warn("OpenID provider unavailable", zap.String(event.LogReason, printable(err.Error())))
	page.Problem = problemUnavailable
	c.Response().Header().Set("Retry-After", "10")
	return s.render(c, http.StatusServiceUnavailable, page)
}

// startLogin sends a browser to the provider.
func (s *Service) startLogin(c echo.Context) error {
	page := loginView{Next: localPath(c.QueryParam("next")), CanLogIn: s.provider != nil}
	if s.provider == nil {
		page.Problem = problemNoLogin
		return s.render(c, http.StatusNotFound, page)
	}
	secret := loginSecret(newSecret())
	address, err := s.provider.authURL(c.Request().Context(), secret)
	if err != nil {
		return s.unavailable(c, page, err)
	}
	value := string(secret) + "." + strconv.FormatInt(s.opts.Now().Unix(), 10) + "." + base64.RawURLEncoding.EncodeToString([]byte(page.Next))
	s.setCookie(c, loginCookie, value, loginLasts)
	return c.Redirect(http.StatusSeeOther, address)
}

// begun reads the cookie of a login that this browser began.
func (s *Service) begun(c echo.Context) (secret loginSecret, next string, found bool) {
	parts := strings.Split(s.cookie(c, loginCookie), ".")
	if len(parts) != 3 || !secretPattern.MatchString(parts[0]) {
		return "", "", false
	}
	began, err := strconv.ParseInt(parts[1], 10, 64)
	path, pathErr := base64.RawURLEncoding.DecodeString(parts[2])
	if age := s.opts.Now().Sub(time.Unix(began, 0)); err != nil || pathErr != nil || age < -time.Minute || age > loginLasts {
		return "", "", false
	}
	return loginSecret(parts[0]), localPath(string(path)), true
}

// callback is where the provider sends a browser back to.
func (s *Service) callback(c echo.Context) error {
	page := loginView{Next: loginPath, CanLogIn: s.provider != nil}
	if s.provider == nil {
		page.Problem = problemNoLogin
		return s.render(c, http.StatusNotFound, page)
	}
	if !s.limiter.allows(s.opts.Clients.Of(c.Request())) {
		s.opts.Metrics.refuse("limited")
		page.Problem = problemLimited
		return s.render(c, http.StatusTooManyRequests, page)
	}
	secret, next, found := s.begun(c)
	if found {
		page.Next = next
	}
	refuse := func(status int, problem problem, why error) error {
		s.opts.Metrics.login("refused")
		s.refused(c, "login", why)
		page.Problem = problem
		return s.render(c, status, page)
	}
	// A login is over with its first answer, good or not.
	s.setCookie(c, loginCookie, "", 0)
	switch {
	case !found || subtle.ConstantTimeCompare([]byte(c.QueryParam("state")), []byte(secret.state())) != 1:
		return refuse(http.StatusBadRequest, problemStale, errors.New("the answer is not of a login that this browser began"))
	case c.QueryParam("error") != "":
		return refuse(http.StatusForbidden, problemRefused, errors.New("the provider answered "+printable(c.QueryParam("error"))))
	}
	id, err := s.provider.identity(c.Request().Context(), c.QueryParam("code"), secret)
	if errors.Is(err, errUnavailable) {
		return s.unavailable(c, page, err)
	}
	if err != nil {
		return refuse(http.StatusForbidden, problemRefused, err)
	}
	user, err := s.beginSession(c, id)
	if err != nil {
		return err
	}
	s.opts.Metrics.login("succeeded")
	s.opts.Log.Info("person logged in", zap.String(event.LogIdentity, user.Identity), zap.String(event.LogPerson, user.Person), zap.Any(event.LogRoles, user.Roles))
	return c.Redirect(http.StatusSeeOther, next)
}

// logout ends the session of a browser.
func (s *Service) logout(c echo.Context) error {
	if secret := s.cookie(c, sessionCookie); secret != "" {
		if err := s.opts.Store.EndSession(c.Request().Context(), hashOf(secret)); err != nil {
			return err
		}
		if u, known := Current(c); known {
			s.opts.Log.Info("person logged out", zap.String(event.LogIdentity, u.Identity))
		}
	}
	s.setCookie(c, sessionCookie, "", 0)
	return c.Redirect(http.StatusSeeOther, loginPath)
}
