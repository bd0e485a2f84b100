package access

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
)

// Options say who is let in and how. Store, People, Settings, Log and Metrics are mandatory; of
// OIDC, Proxy and Local at most one is given, and without any only tokens work.
type Options struct {
	Store *store.Store
	// People says who somebody is in the server file.
	People People
	// Settings are those in force.
	Settings func() Settings
	OIDC     *ProviderOptions
	Proxy    *Proxy
	// Local lets everybody in as an admin; the address must be a loopback one.
	Local *Local
	// URL is the address of the pages, without a slash at its end; OIDC needs it.
	URL string
	// Stylesheet and Icon are the paths of those of the login page, which need no login; empty: it has none.
	Stylesheet, Icon string
	// Idle and Absolute are the limits of a login; default 8h and 24h.
	Idle, Absolute time.Duration
	// Clients says which address a request came from.
	Clients webhook.Clients
	// Claims keeps the groups of a person as the newest login said; nil: nobody needs them.
	Claims Claims
	Log    *zap.Logger
	// Metrics are made by NewMetrics.
	Metrics *Metrics
	// Now is the clock; default time.Now.
	Now func() time.Time
}

// People are the people and groups of the server file.
type People interface {
	// PersonOf returns the name of the entry with a subject; empty when there is none.
	PersonOf(subject string) string
	// GroupsOf returns the names that roles can be given to: the groups of a person (empty for
	// nobody's entry) who has these claims, and the claims that are not names of groups.
	GroupsOf(person string, claims []string) []string
}

// Settings are what a reload changes.
type Settings struct {
	// Roles are the groups of each role.
	Roles map[Role][]string
	// PublicView makes everybody a viewer.
	PublicView bool
	// ClientSecret is that of the OpenID provider, empty for a public client.
	ClientSecret string
}

// Local is whoever reaches a loopback address.
type Local struct {
	// Person is the entry of people that they are; empty for none.
	Person string
}

// Service authenticates the requests of the private address.
type Service struct {
	opts     Options
	provider *provider
	limiter  *limiter
	// strangers is the sampled log, for lines that anybody can cause.
	strangers *zap.Logger
	// secure: the pages have an https address, and so do the cookies.
	secure bool
	// crossOrigin refuses what another site makes a browser send.
	crossOrigin *http.CrossOriginProtection
}

// New makes the service. It makes no call: the OpenID provider is asked when somebody logs in.
func New(opts Options) (*Service, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	opts.Idle, opts.Absolute = cmp.Or(opts.Idle, 8*time.Hour), cmp.Or(opts.Absolute, 24*time.Hour)
	s := &Service{opts: opts, strangers: webhook.Sampled(opts.Log), limiter: newLimiter(opts.Now), secure: strings.HasPrefix(opts.URL, "https://"), crossOrigin: http.NewCrossOriginProtection()}
	if u, err := url.Parse(opts.URL); err == nil && u.Host != "" {
		// A proxy in front may have changed the Host of the request.
		if err := s.crossOrigin.AddTrustedOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, err
		}
	}
	if opts.OIDC != nil {
		var err error
		if s.provider, err = newProvider(*opts.OIDC, opts.URL+callbackPath, opts.Now); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Register adds the pages of logins, and has every request authenticated but those for which open
// reports true. Routes that are registered before or after say by Guard who may use them.
func (s *Service) Register(e *echo.Echo, open func(echo.Context) bool) {
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			if open(c) {
				return next(c)
			}
			setHeaders(c.Response().Header(), s.secure)
			return s.authenticate(c, next)
		}
	})
	e.GET(loginPath, s.loginPage)
	e.GET(startPath, s.startLogin)
	e.GET(callbackPath, s.callback)
	e.POST(logoutPath, s.logout)
}

// setHeaders sets what every answer to a browser needs: nothing of another host is loaded, no other
// page shows ours in a frame, and nothing is kept by caches. A page that needs more sets it itself.
func setHeaders(h http.Header, secure bool) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// authenticate finds out who sent a request. One whose credentials are not good is refused; one
// without any goes on as nobody's, and Guard refuses it where somebody is needed.
func (s *Service) authenticate(c echo.Context, next echo.HandlerFunc) error {
	if err := s.crossOrigin.Check(c.Request()); err != nil {
		s.opts.Metrics.refuse("cross_site")
		return webhook.Problem{Code: "cross_site", Message: "another site made your browser send this: open the page of gatewright and do it there"}.Send(c, http.StatusForbidden)
	}
	user, known, err := s.userOf(c)
	switch {
	case errors.Is(err, errLimited):
		s.opts.Metrics.refuse("limited")
		c.Response().Header().Set("Retry-After", "60")
		return webhook.Problem{Code: "too_many_failures", Message: "too many requests from this address failed to prove who they are: wait a minute"}.Send(c, http.StatusTooManyRequests)
	case errors.Is(err, errBadToken):
		s.refused(c, "token", err)
		return webhook.Problem{Code: "unauthorized", Message: err.Error()}.Send(c, http.StatusUnauthorized)
	case err != nil:
		return err
	}
	if known {
		user.Via = ViaPage
		if strings.HasPrefix(c.Request().URL.Path, "/api/") {
			user.Via = ViaAPI
		}
		c.Set(userKey, user)
	} else if s.opts.Settings().PublicView {
		c.Set(userKey, User{Name: "anonymous", Roles: []Role{Viewer}})
	}
	c.Set(metricsKey, s.opts.Metrics)
	return next(c)
}

// refused notes that credentials were refused.
func (s *Service) refused(c echo.Context, kind string, why error) {
	s.opts.Metrics.refuse(kind)
	client := s.opts.Clients.Of(c.Request())
	s.limiter.failed(client)
	s.strangers.Warn("access refused", zap.String(event.LogOperation, kind), zap.Stringer(event.LogClient, client), zap.String(event.LogReason, printable(why.Error())))
}

// errLimited: the client failed too often.
var errLimited = errors.New("too many failures")

// userOf returns who sent a request; known is false for nobody.
func (s *Service) userOf(c echo.Context) (u User, known bool, err error) {
	r := c.Request()
	trusted := s.opts.Proxy.strip(r)
	if token, found := bearer(r); found {
		u, err := s.machine(r.Context(), token)
		if errors.Is(err, errBadToken) && !s.limiter.allows(s.opts.Clients.Of(r)) {
			// Others behind the same address have good ones.
			err = errLimited
		}
		return u, err == nil, err
	}
	switch {
	case s.opts.Local != nil:
		if !localHost(r.Host) {
			return User{}, false, nil
		}
		return User{Name: "local user", Person: s.opts.Local.Person, Identity: "local", Roles: Roles()}, true, nil
	case s.opts.Proxy != nil:
		if !trusted {
			return User{}, false, nil
		}
		id, found := s.opts.Proxy.identity(r)
		if !found {
			return User{}, false, nil
		}
		id.at = s.opts.Now().UTC()
		return s.user("proxy:", id), true, nil
	}
	return s.sessionUser(c)
}

// identity is what a provider or a proxy says of somebody.
type identity struct {
	subject, name string
	claims        []string
	at            time.Time
}

// user is the user that an identity stands for, with the roles of the moment.
func (s *Service) user(prefix string, id identity) User {
	u := User{Identity: prefix + id.subject, Name: cmp.Or(id.name, id.subject), Person: s.opts.People.PersonOf(id.subject), Claims: id.claims, ClaimsAt: id.at}
	u.Roles = s.opts.Settings().rolesOf(s.opts.People.GroupsOf(u.Person, id.claims))
	return u
}

// rolesOf returns the roles of groups.
func (s Settings) rolesOf(groups []string) (roles []Role) {
	for _, role := range Roles() {
		if overlap(s.Roles[role], groups) {
			roles = append(roles, role)
		}
	}
	return roles
}
