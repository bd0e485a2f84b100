package access

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// Claims keeps the groups of people as their newest login said them, by the subject that it proved.
type Claims interface {
	SaveClaims(ctx context.Context, subject string, claims []string) error
}

// secretPattern is the secret of a session: 256 random bits.
var secretPattern = regexp.MustCompile(`^[A-Z2-7]{52}$`)

func newSecret() string { return rand.Text() + rand.Text() }

// cookieName is the name of a cookie; the prefix makes browsers take it from this host by https only.
func (s *Service) cookieName(name string) string {
	if s.secure {
		return "__Host-" + name
	}
	return name
}

// setCookie sets a cookie for a time; 0 removes it.
func (s *Service) setCookie(c echo.Context, name, value string, age time.Duration) {
	cookie := &http.Cookie{Name: s.cookieName(name), Value: value, Path: "/", MaxAge: int(age.Seconds()), Secure: s.secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if age == 0 {
		cookie.MaxAge = -1
	}
	c.SetCookie(cookie)
}

// cookie returns the value of a cookie; empty when there is none, or several of that name, of which
// another host may have set one.
func (s *Service) cookie(c echo.Context, name string) string {
	if all := c.Request().CookiesNamed(s.cookieName(name)); len(all) == 1 {
		return all[0].Value
	}
	return ""
}

const sessionCookie = "gatewright"

// errBadSession: the cookie is of no session, or of one that has ended.
var errBadSession = errors.New("the session is not known or has ended")

// sessionUser is the user whose session a request names. A session that is not good is forgotten by
// the browser, and the request is nobody's.
func (s *Service) sessionUser(c echo.Context) (User, bool, error) {
	secret := s.cookie(c, sessionCookie)
	if secret == "" || s.provider == nil {
		return User{}, false, nil
	}
	session, err := s.session(c.Request().Context(), secret)
	if errors.Is(err, errBadSession) {
		// A browser keeps its cookie for longer than a session lasts: that is not an attack.
		s.opts.Metrics.refuse("session")
		s.setCookie(c, sessionCookie, "", 0)
		return User{}, false, nil
	}
	if err != nil {
		return User{}, false, err
	}
	subject := strings.TrimPrefix(session.Identity, "oidc:")
	return s.user("oidc:", identity{subject: subject, name: session.Name, claims: session.Claims, at: session.CreatedAt}), true, nil
}

// session is the session of a secret, whose use it notes.
func (s *Service) session(ctx context.Context, secret string) (store.Session, error) {
	if !secretPattern.MatchString(secret) {
		return store.Session{}, errBadSession
	}
	session, err := s.opts.Store.Session(ctx, hashOf(secret))
	if errors.Is(err, store.ErrNotFound) {
		return store.Session{}, errBadSession
	}
	if err != nil {
		return store.Session{}, err
	}
	now := s.opts.Now()
	if now.Sub(session.UsedAt) >= s.opts.Idle || now.Sub(session.CreatedAt) >= s.opts.Absolute {
		return store.Session{}, errors.Join(errBadSession, s.opts.Store.EndSession(ctx, session.Hash))
	}
	if now.Sub(session.UsedAt) >= min(time.Minute, s.opts.Idle/4) {
		if err := s.opts.Store.UseSession(ctx, session.Hash, now); err != nil {
			s.opts.Log.Warn("use of session not saved", zap.String(event.LogIdentity, session.Identity), zap.Error(err))
		}
	}
	return session, nil
}

// beginSession logs somebody in: a new session in the place of the one that the browser had.
func (s *Service) beginSession(c echo.Context, id identity) (User, error) {
	ctx, secret, now := c.Request().Context(), newSecret(), s.opts.Now()
	session := store.Session{Hash: hashOf(secret), Identity: "oidc:" + id.subject, Name: id.name, Claims: id.claims, CreatedAt: now, UsedAt: now}
	if err := s.opts.Store.AddSession(ctx, session, hashOf(s.cookie(c, sessionCookie)), now.Add(-s.opts.Absolute), now.Add(-s.opts.Idle)); err != nil {
		return User{}, err
	}
	id.at = now.UTC()
	u := s.user("oidc:", id)
	if u.Person != "" && s.opts.Claims != nil {
		if err := s.opts.Claims.SaveClaims(ctx, id.subject, id.claims); err != nil {
			return User{}, err
		}
	}
	s.setCookie(c, sessionCookie, secret, s.opts.Absolute)
	return u, nil
}
