package access_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestLogin: people log in at a real provider, all replicas know them, and they log out.
func TestLogin(t *testing.T) { storetest.Each(t, testLogin) }

func testLogin(t *testing.T, db storetest.Database) {
	s, p := withProvider(t, db)
	other := openSite(t, db, func(o *access.Options) { o.OIDC = p.options(o.Settings) })
	client := browser(t)
	if got := send(t, client, "GET", s.URL+"/act/view", ""); got.status != http.StatusUnauthorized {
		t.Fatalf("nobody: %d %s", got.status, got.body)
	}
	if page := send(t, client, "GET", s.URL+"/login?next=/act/view", "", "Accept-Language: zh-CN,zh;q=0.9,en;q=0.8"); !strings.Contains(page.body, "登录") || !strings.Contains(page.body, "/auth/start?next=%2Fact%2Fview") ||
		!strings.HasPrefix(page.header.Get("Content-Security-Policy"), "default-src 'none'") || page.header.Get("Cache-Control") != "no-store" {
		t.Errorf("the login page: %d %v %s", page.status, page.header, page.body)
	}
	got := s.logIn(t, client, "test-user@127.0.0.1", "/act/view")
	want := access.User{Name: "test-user@127.0.0.1", Person: "ann", Identity: "oidc:id1", Via: access.ViaPage, Roles: []access.Role{access.Operator}, Claims: []string{"operators", "leads"}}
	if got.url.Path != "/act/view" {
		t.Fatalf("the login leads to %s: %d %s", got.url, got.status, got.body)
	}
	if diff := cmp.Diff(want, got.user(t)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if claims, _ := s.claims.Load("id1"); !cmp.Equal(claims, []string{"operators", "leads"}) {
		t.Errorf("claims kept: %v", claims)
	}
	site, _ := url.Parse(s.URL)
	secret := ""
	for _, cookie := range client.Jar.Cookies(site) {
		secret = cookie.Value
	}
	// The other replica has the same database.
	if got := send(t, &http.Client{Transport: client.Transport}, "GET", other.URL+"/act/rerun", "", "Cookie: gatewright="+secret); got.status != http.StatusOK {
		t.Errorf("on another replica: %d %s", got.status, got.body)
	}
	// A second login has another session, and the first is over.
	s.logIn(t, client, "test-user@127.0.0.1", "/act/view")
	if got := send(t, &http.Client{Transport: client.Transport}, "GET", s.URL+"/act/view", "", "Cookie: gatewright="+secret); got.status != http.StatusUnauthorized {
		t.Errorf("a session that was replaced: %d", got.status)
	}
	if page := send(t, client, "GET", s.URL+"/login", ""); !strings.Contains(page.body, "<strong>test-user@127.0.0.1</strong>") || !strings.Contains(page.body, "operator") {
		t.Errorf("the page of somebody who is logged in: %s", page.body)
	}
	// A role that is taken away is gone with the next request.
	s.settings.Store(&access.Settings{ClientSecret: "secret", Roles: map[access.Role][]string{access.Viewer: {"leads"}}})
	if got := send(t, client, "GET", s.URL+"/act/rerun", ""); got.status != http.StatusForbidden {
		t.Errorf("after the role was taken away: %d", got.status)
	}
	for _, cookie := range client.Jar.Cookies(site) {
		secret = cookie.Value
	}
	if page := send(t, client, "POST", s.URL+"/logout", "a=b", "Origin: "+s.URL, "Sec-Fetch-Site: same-origin"); page.status != http.StatusOK || page.url.Path != "/login" {
		t.Errorf("logged out: %d %s", page.status, page.url)
	}
	for _, address := range []string{s.URL, other.URL} {
		if got := send(t, &http.Client{Transport: client.Transport}, "GET", address+"/act/view", "", "Cookie: gatewright="+secret); got.status != http.StatusUnauthorized {
			t.Errorf("after the logout: %d", got.status)
		}
	}
	s.wantSilent(t, secret, "verysecure", "hunter2")
	if n := s.counter(t, "gatewright_logins_total", "succeeded"); n != 2 {
		t.Errorf("%v logins were counted", n)
	}
}

// TestGroupsOfUserInfo: what the ID token lacks is asked for.
func TestGroupsOfUserInfo(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		s, p := withProvider(t, db)
		p.inToken = false
		p.groups["id2"] = []string{"viewers", "", strings.Repeat("x", 300)}
		got := s.logIn(t, browser(t), "test-user2", "/act/view").user(t)
		want := access.User{Name: "test-user2", Identity: "oidc:id2", Via: access.ViaPage, Roles: []access.Role{access.Viewer}, Claims: []string{"viewers"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if _, asked := p.calls.Load("/userinfo"); !asked {
			t.Error("userinfo was not asked")
		}
	})
}

// TestSessionCookie: by https the cookie is bound to the host, and no page of another site or script reads it.
func TestSessionCookie(t *testing.T) {
	p := startProvider(t)
	s := openSite(t, storetest.Database{SQLite: t.TempDir() + "/test.db"}, func(o *access.Options) {
		o.OIDC, o.URL = p.options(o.Settings), "https://gatewright.example.com"
	})
	p.begin("https://gatewright.example.com")
	client := browser(t)
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	got := send(t, client, "GET", s.URL+"/auth/start", "")
	cookie, err := http.ParseSetCookie(got.header.Get("Set-Cookie"))
	if err != nil || cookie.Name != "__Host-gatewright-login" || !cookie.Secure || !cookie.HttpOnly || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/" || cookie.Domain != "" {
		t.Errorf("cookie %q, %v", got.header.Get("Set-Cookie"), err)
	}
	if got.header.Get("Strict-Transport-Security") == "" {
		t.Error("browsers are not told to use https")
	}
	to, err := url.Parse(got.header.Get("Location"))
	if q := to.Query(); err != nil || q.Get("code_challenge_method") != "S256" || q.Get("code_challenge") == "" || q.Get("nonce") == "" || q.Get("state") == "" ||
		q.Get("redirect_uri") != "https://gatewright.example.com/auth/callback" || q.Get("response_type") != "code" {
		t.Errorf("the browser goes to %s, %v", to, err)
	}
}

// TestSessionEnds: a session ends when it was idle, when it is old, and a forged one never began.
func TestSessionEnds(t *testing.T) { storetest.Each(t, testSessionEnds) }

func testSessionEnds(t *testing.T, db storetest.Database) {
	s, p := withProvider(t, db)
	client := browser(t)
	s.logIn(t, client, "test-user@127.0.0.1", "/login")
	see := func(want int, when string) {
		t.Helper()
		if got := send(t, client, "GET", s.URL+"/act/view", ""); got.status != want {
			t.Errorf("%s: %d, want %d", when, got.status, want)
		}
	}
	for range 3 {
		s.pass(7 * time.Hour)
		see(http.StatusOK, "while it is used")
	}
	s.pass(3*time.Hour + time.Minute)
	see(http.StatusUnauthorized, "after 24h")
	site, _ := url.Parse(s.URL)
	if cookies := client.Jar.Cookies(site); len(cookies) != 0 {
		t.Errorf("the browser keeps %v", cookies)
	}
	s.offset.Store(0)
	s.logIn(t, client, "test-user@127.0.0.1", "/login")
	s.pass(8*time.Hour + time.Minute)
	see(http.StatusUnauthorized, "after 8h without a request")
	plain := &http.Client{Transport: client.Transport}
	for _, forged := range []string{"x", strings.Repeat("A", 52), strings.Repeat("A", 5000), "gatewright", "' OR 1=1"} {
		if got := send(t, plain, "GET", s.URL+"/act/view", "", "Cookie: gatewright="+forged); got.status != http.StatusUnauthorized {
			t.Errorf("session %q: %d", forged, got.status)
		}
	}
	_ = p
	if n := s.counter(t, "gatewright_access_refused_total", "session"); n < 6 {
		t.Errorf("%v refused sessions were counted", n)
	}
}

// TestProviderDown: without the provider the service starts, says so, and whoever is logged in goes on; once it
// answers again people log in.
func TestProviderDown(t *testing.T) { storetest.Each(t, testProviderDown) }

func testProviderDown(t *testing.T, db storetest.Database) {
	s, p := withProvider(t, db)
	p.down.Store(true)
	client := browser(t)
	for _, path := range []string{"/login", "/auth/start"} {
		if page := send(t, client, "GET", s.URL+path, ""); page.status != http.StatusServiceUnavailable || !strings.Contains(page.body, "does not answer") || page.header.Get("Retry-After") == "" {
			t.Errorf("%s without a provider: %d %s", path, page.status, page.body)
		}
	}
	p.down.Store(false)
	s.pass(6 * time.Second)
	if got := s.logIn(t, client, "test-user@127.0.0.1", "/act/view"); got.status != http.StatusOK {
		t.Fatalf("once it answers: %d %s", got.status, got.body)
	}
	p.down.Store(true)
	s.pass(2 * time.Hour) // longer than what it said of itself lasts
	if got := send(t, client, "GET", s.URL+"/act/view", ""); got.status != http.StatusOK {
		t.Errorf("somebody who is logged in: %d", got.status)
	}
	if page := send(t, browser(t), "GET", s.URL+"/login", ""); page.status != http.StatusOK {
		t.Errorf("what the provider said before is not used: %d", page.status)
	}
	if n := s.counter(t, "gatewright_logins_total", "unavailable"); n != 2 {
		t.Errorf("%v logins without a provider were counted", n)
	}
}

// TestForgedLogins: nobody is logged in by an answer that is not of the provider, of this login, and of now.
func TestForgedLogins(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	for name, tc := range map[string]struct {
		claims    func(map[string]any)
		signer    func([]byte) string
		discovery func(map[string]any)
		status    int
		log       string
	}{
		"good":                       {status: 200},
		"clock a little behind":      {claims: func(c map[string]any) { c["exp"] = at(-30 * time.Second) }, status: 200},
		"clock a little ahead":       {claims: func(c map[string]any) { c["iat"] = at(30 * time.Second) }, status: 200},
		"expired":                    {claims: func(c map[string]any) { c["exp"] = at(-2 * time.Minute) }, status: 403, log: "expired at"},
		"from the future":            {claims: func(c map[string]any) { c["iat"] = at(2 * time.Minute) }, status: 403, log: "of a time to come"},
		"not yet":                    {claims: func(c map[string]any) { c["nbf"] = at(2 * time.Minute) }, status: 403, log: "of a time to come"},
		"another issuer":             {claims: func(c map[string]any) { c["iss"] = "https://evil.example.com" }, status: 403, log: "different provider"},
		"another client":             {claims: func(c map[string]any) { c["aud"] = "other" }, status: 403, log: "audience"},
		"several clients":            {claims: func(c map[string]any) { c["aud"] = []string{"gatewright", "other"} }, status: 403, log: "another client"},
		"another authorized party":   {claims: func(c map[string]any) { c["azp"] = "other" }, status: 403, log: "another client"},
		"another nonce":              {claims: func(c map[string]any) { c["nonce"] = "x" }, status: 403, log: "nonce"},
		"no nonce":                   {claims: func(c map[string]any) { delete(c, "nonce") }, status: 403, log: "nonce"},
		"nobody":                     {claims: func(c map[string]any) { c["sub"] = "" }, status: 403, log: "names nobody"},
		"a subject with a line feed": {claims: func(c map[string]any) { c["sub"] = "a\nb" }, status: 403, log: "names nobody"},
		"groups of another type":     {claims: func(c map[string]any) { c["groups"] = map[string]any{"admins": true} }, status: 403},
		"another key":                {signer: func(payload []byte) string { return signed(newKey(), payload) }, status: 403, log: "verify signature"},
		"a shared key":               {signer: func(payload []byte) string { return signed([]byte(strings.Repeat("k", 32)), payload) }, status: 403, log: "malformed jwt"},
		"no signature":               {signer: func(payload []byte) string { return unsigned(payload) }, status: 403, log: "malformed jwt"},
		"no token":                   {signer: func([]byte) string { return "" }, status: 403, log: "no ID token"},
		"a large token":              {claims: func(c map[string]any) { c["x"] = strings.Repeat("x", 2<<20) }, status: 403},
		"an issuer of another name":  {discovery: func(d map[string]any) { d["issuer"] = "https://evil.example.com" }, status: 503, log: "did not match"},
		"an endpoint elsewhere":      {discovery: func(d map[string]any) { d["token_endpoint"] = "http://127.0.0.1:1/token" }, status: 503, log: "dashboard.auth.oidc.hosts"},
		"keys elsewhere":             {discovery: func(d map[string]any) { d["jwks_uri"] = "http://169.254.169.254/keys" }, status: 503, log: "dashboard.auth.oidc.hosts"},
		"a large discovery":          {discovery: func(d map[string]any) { d["x"] = strings.Repeat("x", 2<<20) }, status: 503, log: "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startForger(t)
			f.claims, f.signer, f.discovery = tc.claims, tc.signer, tc.discovery
			s := openSite(t, storetest.Database{SQLite: t.TempDir() + "/test.db"}, func(o *access.Options) {
				o.OIDC = &access.ProviderOptions{Issuer: f.URL, ClientID: "gatewright", ClientSecret: func() string { return "hunter2-client" },
					Scopes: []string{"openid"}, GroupsClaim: "groups", NameClaim: "preferred_username", Leeway: time.Minute}
			})
			client := browser(t)
			got := send(t, client, "GET", s.URL+"/auth/start?next=/act/view", "")
			if got.status != tc.status {
				t.Errorf("status %d, want %d: %s", got.status, tc.status, got.body)
			}
			if now := send(t, client, "GET", s.URL+"/act/view", ""); (now.status == http.StatusOK) != (tc.status == 200) {
				t.Errorf("then a page answers %d", now.status)
			}
			said := ""
			for _, entry := range s.log.All() {
				reason, _ := entry.ContextMap()["reason"].(string)
				said += reason + "\n"
			}
			if !strings.Contains(said, tc.log) {
				t.Errorf("the log says %q, want %q", said, tc.log)
			}
			s.wantSilent(t, "hunter2", f.nonce)
		})
	}
}

// TestCallbackOfAnotherBrowser: what the provider sends back counts in the browser that began the login, once.
func TestCallbackOfAnotherBrowser(t *testing.T) {
	t.Parallel()
	f := startForger(t)
	s := openSite(t, storetest.Database{SQLite: t.TempDir() + "/test.db"}, func(o *access.Options) {
		o.OIDC = &access.ProviderOptions{Issuer: f.URL, ClientID: "gatewright", ClientSecret: func() string { return "" }, Scopes: []string{"openid"}, GroupsClaim: "groups", NameClaim: "name", Leeway: time.Minute}
	})
	attacker, victim := browser(t), browser(t)
	attacker.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == "/auth/callback" {
			return http.ErrUseLastResponse
		}
		return nil
	}
	link := send(t, attacker, "GET", s.URL+"/auth/start", "").header.Get("Location")
	for name, address := range map[string]string{
		"a callback of somebody else": link,
		"no state":                    s.URL + "/auth/callback?code=abc",
		"an error without a login":    s.URL + "/auth/callback?error=%3Cscript%3Ealert(1)%3C/script%3E",
	} {
		if got := send(t, victim, "GET", address, ""); got.status != http.StatusBadRequest || strings.Contains(got.body, "<script") || !strings.Contains(got.body, "begun in another window") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	// The attacker waited too long.
	s.pass(11 * time.Minute)
	if got := send(t, attacker, "GET", link, ""); got.status != http.StatusBadRequest {
		t.Errorf("a login that took too long: %d", got.status)
	}
	if got := send(t, victim, "GET", s.URL+"/act/view", ""); got.status != http.StatusUnauthorized {
		t.Errorf("the victim is logged in: %d", got.status)
	}
	for _, hit := range f.hits {
		if hit == "/token" {
			t.Error("a code was exchanged")
		}
	}
	// Failures are limited, with a good login too.
	for range 30 {
		send(t, victim, "GET", s.URL+"/auth/callback?code=abc", "")
	}
	if got := send(t, victim, "GET", s.URL+"/auth/start", ""); got.status != http.StatusTooManyRequests {
		t.Errorf("after many failures: %d", got.status)
	}
	s.pass(2 * time.Minute)
	if got := send(t, victim, "GET", s.URL+"/auth/start?next=/act/view", ""); got.status != http.StatusOK {
		t.Errorf("after a while: %d %s", got.status, got.body)
	}
}

// TestNext: a login leads to a page of ours and nowhere else.
func TestNext(t *testing.T) {
	t.Parallel()
	f := startForger(t)
	s := openSite(t, storetest.Database{SQLite: t.TempDir() + "/test.db"}, func(o *access.Options) {
		o.OIDC = &access.ProviderOptions{Issuer: f.URL, ClientID: "gatewright", ClientSecret: func() string { return "" }, Scopes: []string{"openid"}, GroupsClaim: "groups", NameClaim: "name", Leeway: time.Minute}
	})
	for next, want := range map[string]string{
		"/act/view?a=b": "/act/view?a=b", "//evil.example.com": "/login", "https://evil.example.com/": "/login", `/\evil.example.com`: "/login",
		"/\t/evil.example.com": "/login", "javascript:alert(1)": "/login", "": "/login", "/auth/start": "/login", "act": "/login", "/" + strings.Repeat("a", 2000): "/login",
	} {
		got := send(t, browser(t), "GET", s.URL+"/auth/start?next="+url.QueryEscape(next), "")
		if got.url.RequestURI() != want || "http://"+got.url.Host != s.URL {
			t.Errorf("%q leads to %s", next, got.url)
		}
	}
}
