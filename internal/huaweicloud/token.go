package huaweicloud

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"sync"
	"time"

	"go.uber.org/zap"
)

// renewBefore is how much of its life a token has left when a new one is
// fetched; a quarter of its life where that is less.
const renewBefore = 30 * time.Minute

// TokenOptions configures a TokenSource. Endpoint, Domain, either User and Password or
// Agency and Delegate, and one of ProjectName, ProjectID and WholeAccount are mandatory.
type TokenOptions struct {
	// Endpoint is IAM's base URL.
	Endpoint string
	// Domain is the name of the account, User and Password are those of an IAM
	// user with programmatic access.
	Domain   string
	User     string
	Password string
	// Agency is the name of an agency of the account, by which Delegate may act: a user of
	// another account who has the right Agent Operator (method assume_role;
	// support.huaweicloud.com api-iam, iam_30_0003).
	Agency   string
	Delegate Authenticator
	// ProjectName (the region, as "cn-north-4") or ProjectID is the scope of
	// the token; the id wins. WholeAccount is the scope of the account instead.
	ProjectName  string
	ProjectID    string
	WholeAccount bool
	// Cooldown is how long the password is not used after it was refused: repeated
	// wrong passwords lock the account. Default 5 minutes.
	Cooldown time.Duration

	// Replicas, HTTP, Timeout, Log, Metrics, Now and Wait are those of Options.
	Replicas *Replicas
	HTTP     *http.Client
	Timeout  time.Duration
	Log      *zap.Logger
	Metrics  *Metrics
	Now      func() time.Time
	Wait     func(ctx context.Context, d time.Duration) error
}

// TokenSource authorizes requests with an IAM token that it gets by password or by agency,
// keeps, and renews before it expires (specs/codearts-check.md 4.1). However
// many callers need a token, one request for it is in flight.
type TokenSource struct {
	options  TokenOptions
	client   *Client
	cooldown *cooldown
	// fetching is held by who asks IAM; a channel, so that waiting ends with the
	// waiter's context.
	fetching chan struct{}

	mu      sync.Mutex
	current token
}

var _ Authenticator = (*TokenSource)(nil)

type token struct {
	value     string
	projectID string
	// renewAt is when a new one is wanted, expires when this one is useless.
	renewAt time.Time
	expires time.Time
}

// NewTokenSource returns a source that has not yet asked for a token, or an
// error that names the first wrong option.
func NewTokenSource(o TokenOptions) (*TokenSource, error) {
	if o.Domain == "" || o.Agency == "" && (o.User == "" || o.Password == "") {
		return nil, errors.New("create token source: domain, user or password is missing")
	}
	if (o.Agency == "") != (o.Delegate == nil) {
		return nil, errors.New("create token source: an agency goes with who acts by it")
	}
	if o.ProjectName == "" && o.ProjectID == "" && !o.WholeAccount {
		return nil, errors.New("create token source: project name or project id is missing")
	}
	if o.Cooldown <= 0 {
		o.Cooldown = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	client, err := New(Options{Service: "iam", Endpoint: o.Endpoint, Auth: o.Delegate, ContentType: "application/json;charset=utf8",
		Replicas: o.Replicas, HTTP: o.HTTP, Timeout: o.Timeout, Log: o.Log, Metrics: o.Metrics, Now: o.Now, Wait: o.Wait})
	if err != nil {
		return nil, err
	}
	key := credentialsKey("password", o.Domain, o.User)
	if o.Agency != "" {
		key = credentialsKey("agency", o.Domain, o.Agency)
	}
	return &TokenSource{options: o, client: client, cooldown: newCooldown(o.Cooldown, o.Now, key, o.Replicas), fetching: make(chan struct{}, 1)}, nil
}

// Authorize adds the token to req, after getting one when there is none or its
// end is near.
func (s *TokenSource) Authorize(ctx context.Context, req *http.Request, _ []byte) error {
	t, err := s.token(ctx)
	if err != nil {
		return err
	}
	req.Header.Set("X-Auth-Token", t.value)
	return nil
}

// Expired forgets the token that used carried, unless it was replaced in the
// meantime, and reports true.
func (s *TokenSource) Expired(_ context.Context, used *http.Request, _ error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.value == used.Header.Get("X-Auth-Token") {
		s.current.value = ""
	}
	return true
}

// forget is told that what authorizes was replaced; see cooldown.forget.
func (s *TokenSource) forget(ctx context.Context) {
	s.cooldown.forget(ctx)
	if f, ok := s.options.Delegate.(interface{ forget(context.Context) }); ok {
		f.forget(ctx)
	}
}

// ProjectID is the IAM project that the token is for: the project id in
// ServiceStage's paths.
func (s *TokenSource) ProjectID(ctx context.Context) (string, error) {
	if s.options.ProjectID != "" {
		return s.options.ProjectID, nil
	}
	t, err := s.token(ctx)
	if err == nil && t.projectID == "" {
		err = errors.New("get token: answer names no project")
	}
	return t.projectID, err
}

// token returns a token that is good now. When renewing fails while the old one
// is still good, the old one is used and renewing is tried again a minute later.
func (s *TokenSource) token(ctx context.Context) (token, error) {
	if t, fresh := s.cached(); fresh {
		return t, nil
	}
	select {
	case s.fetching <- struct{}{}:
		defer func() { <-s.fetching }()
	case <-ctx.Done():
		return token{}, &Error{Operation: "get token", kind: kindNotSent, cause: ctx.Err()}
	}
	old, fresh := s.cached()
	if fresh {
		return old, nil
	}
	t, err := s.fetch(ctx)
	if err != nil {
		if old.value == "" || !s.options.Now().Before(old.expires) {
			return token{}, err
		}
		t = old
		t.renewAt = s.options.Now().Add(time.Minute)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = t
	return t, nil
}

func (s *TokenSource) cached() (t token, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current, s.current.value != "" && s.options.Now().Before(s.current.renewAt)
}

// fetch asks IAM once (repeats after transient failures included).
func (s *TokenSource) fetch(ctx context.Context) (token, error) {
	if err := s.cooldown.check(ctx, "get token"); err != nil {
		return token{}, err
	}
	header, body, err := s.client.send(ctx, Call{
		Operation: "get token",
		Method:    http.MethodPost,
		Path:      "/v3/auth/tokens",
		Query:     url.Values{"nocatalog": {"true"}},
		Body:      s.request(),
		Safe:      true,
		Secrets:   []string{s.options.Password},
	})
	if err != nil {
		var e *Error
		if errors.As(err, &e) && !e.transient() && e.Status >= 400 && e.Status < 500 {
			s.cooldown.begin(ctx, e)
			e.refused, e.retryAfter = true, max(e.retryAfter, askAgain)
		}
		return token{}, err
	}
	s.cooldown.worked(ctx)
	return s.read(header, body)
}

func (s *TokenSource) request() any {
	type object = map[string]any
	scope := object{"project": object{"name": s.options.ProjectName}}
	switch {
	case s.options.WholeAccount:
		scope = object{"domain": object{"name": s.options.Domain}}
	case s.options.ProjectID != "":
		scope = object{"project": object{"id": s.options.ProjectID}}
	}
	identity := object{"methods": []string{"assume_role"},
		"assume_role": object{"domain_name": s.options.Domain, "agency_name": s.options.Agency}}
	if s.options.Agency == "" {
		user := object{"domain": object{"name": s.options.Domain}, "name": s.options.User, "password": s.options.Password}
		identity = object{"methods": []string{"password"}, "password": object{"user": user}}
	}
	return object{"auth": object{"identity": identity, "scope": scope}}
}

// read takes the token from the answer. Its life is measured with IAM's two
// times, so that a wrong clock on our side does not shorten or stretch it.
func (s *TokenSource) read(header http.Header, body []byte) (token, error) {
	var answer struct {
		Token struct {
			IssuedAt  time.Time `json:"issued_at"`
			ExpiresAt time.Time `json:"expires_at"`
			Project   struct {
				ID string `json:"id"`
			} `json:"project"`
		} `json:"token"`
	}
	unreadable := &Error{Operation: "get token", Status: http.StatusCreated, kind: kindUndecodable}
	if err := json.Unmarshal(body, &answer); err != nil {
		unreadable.Message, unreadable.cause = "answer cannot be understood", err
		return token{}, unreadable
	}
	value := header.Get("X-Subject-Token")
	life := answer.Token.ExpiresAt.Sub(answer.Token.IssuedAt)
	if value == "" || answer.Token.IssuedAt.IsZero() || life <= 0 {
		unreadable.Message = "answer has no X-Subject-Token or no issued_at and expires_at"
		return token{}, unreadable
	}
	now := s.options.Now()
	return token{
		value:     value,
		projectID: answer.Token.Project.ID,
		renewAt:   now.Add(life - min(renewBefore, life/4)),
		expires:   now.Add(life),
	}, nil
}
