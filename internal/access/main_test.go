package access_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(storetest.Main(m))
}

// site is the service as people reach it, on one database. Its clock is moved by the tests.
type site struct {
	*httptest.Server
	store    *store.Store
	settings atomic.Pointer[access.Settings]
	// claims are what logins said of people.
	claims   sync.Map
	offset   atomic.Int64
	log      *observer.ObservedLogs
	registry *prometheus.Registry
}

func (s *site) now() time.Time { return time.Now().Add(time.Duration(s.offset.Load())) }

func (s *site) pass(d time.Duration) { s.offset.Add(int64(d)) }

// PersonOf implements access.People: there is Ann.
func (s *site) PersonOf(subject string) string {
	if subject == "id1" {
		return "ann"
	}
	return ""
}

// GroupsOf implements access.People: groups are claims.
func (s *site) GroupsOf(_ string, claims []string) []string { return claims }

// SaveClaims implements access.Claims.
func (s *site) SaveClaims(_ context.Context, subject string, claims []string) error {
	s.claims.Store(subject, claims)
	return nil
}

// openSite serves a site on a database, with a guarded route for each action.
func openSite(t *testing.T, db storetest.Database, change func(*access.Options)) *site {
	t.Helper()
	database, err := store.Open(t.Context(), store.Options{SQLite: db.SQLite, Postgres: db.Postgres, WithoutLock: db.SQLite != "" && exists(db.SQLite)})
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	s := &site{store: database, log: logs, registry: prometheus.NewRegistry()}
	s.settings.Store(&access.Settings{ClientSecret: "secret", Roles: map[access.Role][]string{
		access.Viewer: {"viewers"}, access.Operator: {"operators"}, access.Approver: {"approvers"}, access.Admin: {"admins"},
	}})
	e := echo.New()
	s.Server = httptest.NewUnstartedServer(e)
	opts := access.Options{
		Store: database, People: s, Settings: func() access.Settings { return *s.settings.Load() }, Claims: s,
		URL: "http://" + s.Listener.Addr().String(), Log: zap.New(core), Metrics: access.NewMetrics(s.registry), Now: s.now,
	}
	change(&opts)
	service, err := access.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	service.Register(e, func(c echo.Context) bool { return c.Path() == "/healthz" })
	e.GET("/healthz", func(c echo.Context) error { return c.String(http.StatusOK, "ok") })
	for _, action := range access.Actions() {
		e.Match([]string{http.MethodGet, http.MethodPost}, "/act/"+string(action), func(c echo.Context) error {
			u, _ := access.Current(c)
			return c.JSON(http.StatusOK, u)
		}, access.Guard(action))
	}
	s.Start()
	t.Cleanup(func() {
		s.Close()
		if err := database.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// token makes a token and returns it.
func (s *site) token(t *testing.T, name string, role access.Role, lasts time.Duration) string {
	t.Helper()
	token, stored, err := access.NewToken(name, role, "test", s.now(), s.now().Add(lasts))
	if err == nil {
		err = s.store.AddToken(t.Context(), stored)
	}
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// answer is what came back.
type answer struct {
	status int
	body   string
	header http.Header
	url    *url.URL
}

// user is the user that a guarded route saw.
func (a answer) user(t *testing.T) (u access.User) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &u); err != nil {
		t.Fatalf("status %d: %v: %s", a.status, err, a.body)
	}
	if (u.Claims == nil) != u.ClaimsAt.IsZero() {
		t.Errorf("claims %q as of %s", u.Claims, u.ClaimsAt)
	}
	u.ClaimsAt = time.Time{}
	return u
}

// browser keeps cookies and follows redirects.
func browser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

// send sends a request with headers, each "Name: value".
func send(t *testing.T, client *http.Client, method, address, form string, headers ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if form != "" {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		request.Header.Add(name, value)
		if name == "Host" {
			request.Host = value
		}
	}
	resp, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, string(body), resp.Header, resp.Request.URL}
}

// realProvider is an OpenID provider of another project, with the users test-user@HOST (id1) and
// test-user2 (id2), whose groups the tests set.
type realProvider struct {
	*httptest.Server
	// groups are those of each user; inToken has them in the ID token and not only in userinfo.
	groups  map[string][]string
	inToken bool
	down    atomic.Bool
	// calls are the paths that were asked for.
	calls sync.Map
}

type withGroups struct {
	*storage.Storage
	provider *realProvider
}

// SetUserinfoFromRequest is asked for what stands in the ID token.
func (s withGroups) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, token op.IDTokenRequest, scopes []string) error {
	if err := s.Storage.SetUserinfoFromRequest(ctx, info, token, scopes); err != nil || !s.provider.inToken {
		return err
	}
	info.AppendClaims("groups", s.provider.groups[token.GetSubject()])
	return nil
}

// SetUserinfoFromToken is asked for what userinfo tells.
func (s withGroups) SetUserinfoFromToken(ctx context.Context, info *oidc.UserInfo, tokenID, subject, origin string) error {
	if err := s.Storage.SetUserinfoFromToken(ctx, info, tokenID, subject, origin); err != nil {
		return err
	}
	info.AppendClaims("groups", s.provider.groups[subject])
	return nil
}

// startProvider starts the provider for a site that is served later at redirect.
func startProvider(t *testing.T) *realProvider {
	t.Helper()
	p := &realProvider{groups: map[string][]string{"id1": {"operators", "leads"}}, inToken: true}
	p.Server = httptest.NewUnstartedServer(nil)
	t.Cleanup(func() { p.Server.Close() })
	return p
}

// begin serves the provider for the site at an address.
func (p *realProvider) begin(site string) {
	issuer := "http://" + p.Listener.Addr().String()
	clients := map[string]*storage.Client{"gatewright": storage.WebClient("gatewright", "secret", site+"/auth/callback")}
	users := storage.NewUserStore(issuer)
	router := exampleop.SetupServer(issuer, withGroups{storage.NewStorageWithClients(users, clients), p}, nil, false, op.WithAllowInsecure())
	p.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.calls.Store(r.URL.Path, true)
		if p.down.Load() {
			http.Error(w, "down for maintenance", http.StatusServiceUnavailable)
			return
		}
		router.ServeHTTP(w, r)
	})
	p.Start()
}

func (p *realProvider) options(settings func() access.Settings) *access.ProviderOptions {
	return &access.ProviderOptions{
		Issuer: "http://" + p.Listener.Addr().String(), ClientID: "gatewright", ClientSecret: func() string { return settings().ClientSecret },
		Scopes: []string{"openid", "profile"}, GroupsClaim: "groups", NameClaim: "preferred_username", Leeway: time.Minute,
	}
}

// withProvider serves a site whose people log in at a real provider.
func withProvider(t *testing.T, db storetest.Database) (*site, *realProvider) {
	t.Helper()
	p := startProvider(t)
	s := openSite(t, db, func(o *access.Options) { o.OIDC = p.options(o.Settings) })
	p.begin(s.URL)
	return s, p
}

var requestID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// logIn logs a user in as a person does: the link of the login page, the form of the provider.
func (s *site) logIn(t *testing.T, client *http.Client, user, next string) answer {
	t.Helper()
	form := send(t, client, "GET", s.URL+"/auth/start?next="+url.QueryEscape(next), "")
	id := requestID.FindStringSubmatch(form.body)
	if id == nil {
		t.Fatalf("status %d, no form of the provider: %s", form.status, form.body)
	}
	return send(t, client, "POST", form.url.String(), url.Values{"id": {id[1]}, "username": {user}, "password": {"verysecure"}}.Encode())
}

// forger is a provider that answers as a test wants, with a key of its own.
type forger struct {
	*httptest.Server
	key *rsa.PrivateKey
	// claims changes those of the next ID token; signer signs it, nil: with the key.
	claims func(map[string]any)
	signer func(payload []byte) string
	// discovery changes what it says of itself.
	discovery func(map[string]any)
	nonce     string
	challenge string
	// hits counts the requests to a path.
	mu   sync.Mutex
	hits []string
}

func startForger(t *testing.T) *forger {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := &forger{key: key}
	mux := http.NewServeMux()
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.hits = append(f.hits, r.URL.Path)
		f.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	write := func(w http.ResponseWriter, value any) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(value)
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		said := map[string]any{
			"issuer": f.URL, "authorization_endpoint": f.URL + "/authorize", "token_endpoint": f.URL + "/token", "jwks_uri": f.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"},
		}
		if f.discovery != nil {
			f.discovery(said)
		}
		write(w, said)
	})
	mux.HandleFunc("/authorize", func(w http.ResponseWriter, r *http.Request) {
		f.nonce, f.challenge = r.FormValue("nonce"), r.FormValue("code_challenge")
		http.Redirect(w, r, r.FormValue("redirect_uri")+"?code=abc&state="+url.QueryEscape(r.FormValue("state")), http.StatusFound)
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
		claims := map[string]any{
			"iss": f.URL, "sub": "mallory", "aud": "gatewright", "nonce": f.nonce, "groups": []string{"admins"}, "preferred_username": "mallory",
			"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		}
		if f.claims != nil {
			f.claims(claims)
		}
		payload, _ := json.Marshal(claims)
		sign := f.signer
		if sign == nil {
			sign = func(payload []byte) string { return signed(f.key, payload) }
		}
		write(w, map[string]any{"access_token": "hunter2-access", "token_type": "Bearer", "id_token": sign(payload)})
	})
	return f
}

func signed(key any, payload []byte) string {
	algorithm := jose.RS256
	if _, symmetric := key.([]byte); symmetric {
		algorithm = jose.HS256
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "1"))
	if err != nil {
		panic(err)
	}
	object, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := object.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}

// counter reads a metric with one label value.
func (s *site) counter(t *testing.T, name, value string) float64 {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == name && metric.GetLabel()[0].GetValue() == value {
				return metric.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, value)
	return 0
}

// wantSilent checks that the log holds none of some texts.
func (s *site) wantSilent(t *testing.T, secrets ...string) {
	t.Helper()
	for _, entry := range s.log.All() {
		line := entry.Message + fmt.Sprint(entry.ContextMap())
		for _, secret := range secrets {
			if secret != "" && strings.Contains(line, secret) {
				t.Errorf("the log shows a secret: %s", line)
			}
		}
	}
}

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// unsigned is a token with the algorithm none.
func unsigned(payload []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + "."
}
