package standin

import (
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
	"time"
)

// tokens is IAM: it gives out tokens for a password or by an agency, and knows them again.
type tokens struct {
	opts Options
	keys *keys
	mu   sync.Mutex
	live map[string]token
}

// token is what a token string stands for.
type token struct {
	user      string
	regional  bool
	expiresAt time.Time
}

func newTokens(opts Options, keys *keys) *tokens {
	return &tokens{opts: opts, keys: keys, live: map[string]token{}}
}

// createToken is the operation of POST /v3/auth/tokens.
const createToken = "create_token"

// tokenRequest is the body of POST /v3/auth/tokens (specs/codearts-check.md 4.1; for
// assume_role support.huaweicloud.com api-iam, iam_30_0003).
type tokenRequest struct {
	Auth struct {
		Identity struct {
			Methods  []string `json:"methods"`
			Password struct {
				User struct {
					Name     string  `json:"name"`
					Password string  `json:"password"`
					Domain   iamName `json:"domain"`
				} `json:"user"`
			} `json:"password"`
			AssumeRole struct {
				DomainID   string `json:"domain_id"`
				DomainName string `json:"domain_name"`
				AgencyName string `json:"agency_name"`
			} `json:"assume_role"`
		} `json:"identity"`
		Scope struct {
			Project *iamName `json:"project"`
			Domain  *iamName `json:"domain"`
		} `json:"scope"`
	} `json:"auth"`
}

type iamName struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
}

type tokenAnswer struct {
	Token tokenBody `json:"token"`
}

type tokenBody struct {
	Catalog   []struct{}  `json:"catalog"`
	ExpiresAt string      `json:"expires_at"`
	IssuedAt  string      `json:"issued_at"`
	Methods   []string    `json:"methods"`
	Project   *iamProject `json:"project,omitempty"`
	Domain    *iamName    `json:"domain,omitempty"`
	Roles     []iamName   `json:"roles"`
	User      iamUser     `json:"user"`
}

type iamProject struct {
	Domain iamName `json:"domain"`
	ID     string  `json:"id"`
	Name   string  `json:"name"`
}

type iamUser struct {
	Domain            iamName `json:"domain"`
	ID                string  `json:"id"`
	Name              string  `json:"name"`
	PasswordExpiresAt string  `json:"password_expires_at"`
}

// iamTime is IAM's form of a time: UTC with microseconds.
const iamTime = "2006-01-02T15:04:05.000000Z"

// create is POST /v3/auth/tokens: 201 with the token in X-Subject-Token; 400 for
// a body that is neither a password request nor one for an agency, 401 for a wrong name or
// password and for who may not act by an agency, 404 for an agency or a scope that does not
// exist. The catalog is always empty. Tokens without a project scope are given, and
// refused by both services.
func (t *tokens) create(c *call) answer {
	var request tokenRequest
	identity := &request.Auth.Identity
	if !c.object(&request) || len(identity.Methods) != 1 {
		return iamError(http.StatusBadRequest, "The request body is invalid")
	}
	account, user := t.opts.Domain, t.opts.User
	switch method := identity.Methods[0]; {
	case method == "password" && identity.Password.User.Name != "":
		if !t.knows(identity.Password.User.Name, identity.Password.User.Password, identity.Password.User.Domain.Name) {
			return iamError(http.StatusUnauthorized, "The username or password is wrong.")
		}
	case method == "assume_role" && identity.AssumeRole.AgencyName != "":
		if !t.mayAct(c) {
			return iamError(http.StatusUnauthorized, "The request you have made requires authentication.")
		}
		account, user = t.opts.AgencyDomain, t.opts.AgencyDomain+"/"+t.opts.Agency
		domain := iamName{ID: identity.AssumeRole.DomainID, Name: identity.AssumeRole.DomainName}
		if t.opts.Agency == "" || identity.AssumeRole.AgencyName != t.opts.Agency || !domain.is(stableID("domain", account), account) {
			return iamError(http.StatusNotFound, "The agency is not found.")
		}
	default:
		return iamError(http.StatusBadRequest, "The request body is invalid")
	}
	now := t.opts.Now().UTC()
	domain := iamName{ID: stableID("domain", account), Name: account}
	body := tokenBody{
		Catalog:   []struct{}{},
		ExpiresAt: now.Add(t.opts.TokenLifetime).Format(iamTime),
		IssuedAt:  now.Format(iamTime),
		Methods:   identity.Methods,
		Roles:     []iamName{{ID: "0", Name: "te_admin"}},
		User:      iamUser{Domain: domain, ID: stableID("user", user), Name: user},
	}
	switch scope := request.Auth.Scope; {
	case scope.Project != nil:
		if !scope.Project.is(t.opts.RegionProject.ID, t.opts.RegionProject.Name) {
			return iamError(http.StatusNotFound, "The project is not found.")
		}
		body.Project = &iamProject{Domain: domain, ID: t.opts.RegionProject.ID, Name: t.opts.RegionProject.Name}
	case scope.Domain != nil && !scope.Domain.is(domain.ID, domain.Name):
		return iamError(http.StatusNotFound, "The domain is not found.")
	default:
		body.Domain = &domain
	}

	value := ("MII" + newID() + strings.Repeat(newID(), t.opts.TokenLength/32))[:t.opts.TokenLength]
	t.keep(value, token{user: user, regional: body.Project != nil, expiresAt: now.Add(t.opts.TokenLifetime)}, now)
	c.entry.Acted = true
	return answer{
		status: http.StatusCreated,
		header: http.Header{"X-Subject-Token": {value}, "X-Iam-Trace-Id": {"token_" + newID()}},
		body:   tokenAnswer{Token: body},
	}
}

// mayAct reports whether a request for an agency carries a live token of the user, of
// whatever scope, or a right signature.
func (t *tokens) mayAct(c *call) bool {
	value := c.http.Header.Get("X-Auth-Token")
	if value == "" {
		_, ok := t.keys.verify(c)
		return ok
	}
	tok, known := t.find(value)
	return known && tok.user == t.opts.User && t.opts.Now().Before(tok.expiresAt)
}

// knows compares the credentials without telling by its time where they differ.
func (t *tokens) knows(user, password, domain string) bool {
	same := subtle.ConstantTimeCompare([]byte(user), []byte(t.opts.User)) &
		subtle.ConstantTimeCompare([]byte(password), []byte(t.opts.Password)) &
		subtle.ConstantTimeCompare([]byte(domain), []byte(t.opts.Domain))
	return same == 1 && t.opts.User != ""
}

// is reports whether n names the thing, by id when it gives one.
func (n iamName) is(id, name string) bool {
	if n.ID != "" {
		return n.ID == id
	}
	return n.Name == name
}

// keep remembers a token and forgets those that have been over for a day.
func (t *tokens) keep(value string, tok token, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for old, o := range t.live {
		if now.Sub(o.expiresAt) > 24*time.Hour {
			delete(t.live, old)
		}
	}
	t.live[value] = tok
}

// expire ends the life of a token.
func (t *tokens) expire(value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if tok, ok := t.live[value]; ok {
		tok.expiresAt = time.Time{}
		t.live[value] = tok
	}
}

func (t *tokens) find(value string) (token, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	tok, ok := t.live[value]
	return tok, ok
}

// iamErrorBody is IAM's shape, with the status as an integer code.
type iamErrorBody struct {
	Error struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Title   string `json:"title"`
	} `json:"error"`
}

func iamError(status int, message string) answer {
	var body iamErrorBody
	body.Error.Code, body.Error.Message, body.Error.Title = status, message, http.StatusText(status)
	return answer{status: status, header: http.Header{"X-Iam-Trace-Id": {"token_" + newID()}}, body: body, code: http.StatusText(status)}
}

// authenticate lets a call pass that carries a live token of the region, or a
// right signature; otherwise it returns the refusal (specs/codearts-check.md
// 4.2 and 5.3). When both are sent the token counts.
func (s *Server) authenticate(c *call, of service) (answer, bool) {
	value := c.http.Header.Get("X-Auth-Token")
	if value == "" {
		return s.keys.verify(c)
	}
	tok, known := s.tokens.find(value)
	switch {
	case !known:
		return gatewayError(http.StatusUnauthorized, "APIGW.0301", "Incorrect IAM authentication information: decrypt token fail"), false
	case !s.opts.Now().Before(tok.expiresAt):
		return s.expired(c, of), false
	case !tok.regional:
		c.entry.Detail = "the token is not scoped to the region's project"
		return gatewayError(http.StatusForbidden, "APIGW.0302", "The IAM user is not authorized to access the API"), false
	}
	c.actor = tok.user
	return answer{}, true
}

// expired is the refusal of a token that is over.
func (s *Server) expired(c *call, of service) answer {
	switch {
	case of == serviceCheck && s.opts.ExpiredAnswer == ExpiredByService:
		return serviceError(http.StatusUnauthorized, "CC.00000003", c.text("Authentication information expired.", "认证信息过期"))
	case of == serviceCheck && s.opts.ExpiredAnswer == ExpiredInside200:
		return serviceError(http.StatusOK, "CC.00050007", "IAM authentication failed")
	default:
		return gatewayError(http.StatusUnauthorized, "APIGW.0307", "The token must be updated.")
	}
}
