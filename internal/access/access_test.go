package access_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/storetest"
)

// allowed is who may do what; what is not here nobody may.
var allowed = map[access.Action]string{
	"view": "viewer operator approver admin", "audit": "viewer operator approver admin", "payload": "operator admin",
	"replay": "operator admin", "rerun": "operator admin", "stop": "operator admin", "resolve": "operator admin", "ok": "operator admin",
	"pipeline_retry": "operator admin", "pipeline_continue": "operator admin", "pipeline_rollback": "operator admin", "pipeline_stop": "operator admin",
	"approve": "approver admin", "refuse": "approver admin",
	"approve_held": "viewer operator approver admin", "refuse_held": "viewer operator approver admin", "break_glass": "viewer operator approver admin",
}

// people only, and entries of people only.
var (
	humans  = []access.Action{"ok", "approve", "refuse", "approve_held", "refuse_held", "break_glass"}
	persons = []access.Action{"approve_held", "refuse_held", "break_glass"}
)

// TestActions walks every action with every role, as a person, as somebody who is nobody's entry, and as a
// machine, by HTTP.
func TestActions(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		s := openSite(t, db, func(o *access.Options) {
			o.Proxy = &access.Proxy{UserHeader: "X-Forwarded-User", GroupsHeader: "X-Forwarded-Groups", NameHeader: "X-Forwarded-Name", Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
		})
		client := browser(t)
		if len(allowed) != len(access.Actions()) {
			t.Errorf("%d actions are known here, and there are %d", len(allowed), len(access.Actions()))
		}
		try := func(who string, action access.Action, want int, headers ...string) {
			t.Helper()
			if got := send(t, client, "POST", s.URL+"/act/"+string(action), "", headers...); got.status != want {
				t.Errorf("%s, %s: %d, want %d", who, action, got.status, want)
			}
		}
		status := func(may bool) int {
			if may {
				return http.StatusOK
			}
			return http.StatusForbidden
		}
		for _, role := range access.Roles() {
			token := ""
			if slices.Contains(access.TokenRoles(), role) {
				token = s.token(t, "of-"+string(role), role, time.Hour)
			}
			for _, action := range access.Actions() {
				may := slices.Contains(strings.Fields(allowed[action]), string(role))
				group := "X-Forwarded-Groups: other," + string(role) + "s"
				try(string(role)+" Ann", action, status(may), "X-Forwarded-User: id1", group)
				try(string(role)+" of no entry", action, status(may && !slices.Contains(persons, action)), "X-Forwarded-User: stranger", group)
				if token != "" {
					try(string(role)+" machine", action, status(may && !slices.Contains(humans, action)), "Authorization: Bearer "+token)
				}
			}
		}
		for _, action := range access.Actions() {
			try("Ann without a role", action, http.StatusForbidden, "X-Forwarded-User: id1")
			try("nobody", action, http.StatusUnauthorized)
		}
		s.settings.Store(&access.Settings{PublicView: true})
		for _, action := range access.Actions() {
			want := http.StatusUnauthorized
			if action == access.ActionView {
				want = http.StatusOK
			}
			try("everybody, with public_view", action, want)
		}
		if (access.User{Roles: access.Roles(), Person: "ann"}).May("unheard_of") {
			t.Error("an action that is not in the table is allowed")
		}
	})
}

// TestTokens: a token works while it is known, in time and not revoked, and never a forged one.
func TestTokens(t *testing.T) { storetest.Each(t, testTokens) }

func testTokens(t *testing.T, db storetest.Database) {
	s := openSite(t, db, func(*access.Options) {})
	client := browser(t)
	token := s.token(t, "ci", access.Viewer, time.Hour)
	use := func(token string, want int) answer {
		t.Helper()
		got := send(t, client, "GET", s.URL+"/act/view", "", "Authorization: bearer "+token)
		if got.status != want {
			t.Errorf("token %q: %d, want %d: %s", token, got.status, want, got.body)
		}
		return got
	}
	if u := use(token, http.StatusOK).user(t); u.Token != "ci" || u.Person != "" || u.Identity != "token:ci" || u.Actor() != "token ci" {
		t.Errorf("a machine is %+v", u)
	}
	lastUse := func() time.Time {
		t.Helper()
		tokens, err := s.store.Tokens(t.Context())
		if err != nil || len(tokens) != 1 {
			t.Fatalf("%v, %v", tokens, err)
		}
		if strings.Contains(tokens[0].Hash, token) {
			t.Error("the token itself is stored")
		}
		return tokens[0].LastUsed
	}
	first := lastUse()
	s.pass(50 * time.Second)
	use(token, http.StatusOK)
	if second := lastUse(); first.IsZero() || !second.Equal(first) {
		t.Errorf("the last use was written at %s and %s", first, second)
	}
	s.pass(11 * time.Second)
	use(token, http.StatusOK)
	if third := lastUse(); !third.After(first) {
		t.Errorf("the last use stays %s", third)
	}
	last := token[len(token)-1:]
	other := map[bool]string{true: "b", false: "a"}[last == "a"]
	for _, forged := range []string{token[:len(token)-1] + other, token + "a", strings.ToUpper(token), "gwt_", "gwt_aaaaaaaaaa_aaaaaaaaaaaaaaaaaaaaaaaaaa", "gwt_' OR 1=1"} {
		if forged == strings.ToUpper(token) {
			continue // not ours: Guard refuses it
		}
		use(forged, http.StatusUnauthorized)
	}
	use("eyJhbGciOiJSUzI1NiJ9.x.y", http.StatusUnauthorized)
	s.pass(time.Hour)
	use(token, http.StatusUnauthorized)
	s.offset.Store(0)
	use(token, http.StatusOK)
	if err := s.store.RevokeToken(t.Context(), "ci", "test", s.now()); err != nil {
		t.Fatal(err)
	}
	use(token, http.StatusUnauthorized)
	// What probes and Prometheus read asks for nothing, whatever they send.
	if got := send(t, client, "GET", s.URL+"/healthz", "", "Authorization: Bearer "+token); got.status != http.StatusOK {
		t.Errorf("/healthz: %d", got.status)
	}
	for range 25 {
		send(t, client, "GET", s.URL+"/act/view", "", "Authorization: Bearer gwt_x")
	}
	if got := use("gwt_x", http.StatusTooManyRequests); got.header.Get("Retry-After") == "" {
		t.Error("nothing says when to try again")
	}
	// Others have the same address.
	good := s.token(t, "good", access.Viewer, time.Hour)
	use(good, http.StatusOK)
	s.pass(2 * time.Minute)
	use("gwt_x", http.StatusUnauthorized)
	s.wantSilent(t, token, good)
	if n := s.counter(t, "gatewright_access_refused_total", "limited"); n == 0 {
		t.Error("limited requests were not counted")
	}
}

// TestProxyHeader: the header counts from the proxy alone, and once.
func TestProxyHeader(t *testing.T) {
	t.Parallel()
	proxy := func(trusted string) *site {
		return openSite(t, storetest.Database{SQLite: t.TempDir() + "/test.db"}, func(o *access.Options) {
			o.Proxy = &access.Proxy{UserHeader: "X-Forwarded-User", GroupsHeader: "X-Forwarded-Groups", NameHeader: "X-Forwarded-Name", Trusted: []netip.Prefix{netip.MustParsePrefix(trusted)}}
		})
	}
	near, far := proxy("127.0.0.1/32"), proxy("10.1.2.3/32")
	client := browser(t)
	for name, tc := range map[string]struct {
		site    *site
		headers []string
		status  int
	}{
		"the proxy":           {near, []string{"X-Forwarded-User: bob", "X-Forwarded-Groups: x, viewers"}, 200},
		"others":              {far, []string{"X-Forwarded-User: bob", "X-Forwarded-Groups: admins"}, 401},
		"others as the proxy": {far, []string{"X-Forwarded-User: bob", "X-Forwarded-Groups: admins", "X-Forwarded-For: 10.1.2.3"}, 401},
		"twice":               {near, []string{"X-Forwarded-User: bob", "X-Forwarded-User: eve", "X-Forwarded-Groups: viewers"}, 401},
		"nobody":              {near, []string{"X-Forwarded-Groups: viewers"}, 401},
		"empty":               {near, []string{"X-Forwarded-User:  ", "X-Forwarded-Groups: viewers"}, 401},
		"too long":            {near, []string{"X-Forwarded-User: " + strings.Repeat("x", 300), "X-Forwarded-Groups: viewers"}, 401},
	} {
		if got := send(t, client, "GET", tc.site.URL+"/act/view", "", tc.headers...); got.status != tc.status {
			t.Errorf("%s: %d, want %d: %s", name, got.status, tc.status, got.body)
		}
	}
}

// TestLocal: without logins whoever reaches the loopback address may do everything, and no page of another site
// reaches it.
func TestLocal(t *testing.T) {
	t.Parallel()
	s := openSite(t, storetest.Database{SQLite: t.TempDir() + "/test.db"}, func(o *access.Options) { o.Local, o.URL = &access.Local{Person: "ann"}, "" })
	client := browser(t)
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	for name, tc := range map[string]struct {
		headers []string
		status  int
	}{
		"somebody here":               {nil, 200},
		"by name":                     {[]string{"Host: localhost" + port}, 200},
		"a name that was rebound":     {[]string{"Host: evil.example.com" + port}, 401},
		"another site":                {[]string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example.com"}, 403},
		"another site, old browser":   {[]string{"Origin: https://evil.example.com"}, 403},
		"another port":                {[]string{"Sec-Fetch-Site: same-site"}, 403},
		"our own page":                {[]string{"Sec-Fetch-Site: same-origin", "Origin: " + s.URL}, 200},
		"our own page, old browser":   {[]string{"Origin: " + s.URL}, 200},
		"a program without a browser": {nil, 200},
	} {
		if got := send(t, client, "POST", s.URL+"/act/approve_held", "", tc.headers...); got.status != tc.status {
			t.Errorf("%s: %d, want %d: %s", name, got.status, tc.status, got.body)
		}
	}
	if page := send(t, client, "GET", s.URL+"/login", ""); !strings.Contains(page.body, "local user") || strings.Contains(page.body, "<form") {
		t.Errorf("the login page: %s", page.body)
	}
}

// TestNoLogin: without auth there are tokens alone, and the page says that.
func TestNoLogin(t *testing.T) {
	t.Parallel()
	s := openSite(t, storetest.Database{SQLite: t.TempDir() + "/test.db"}, func(o *access.Options) { o.URL = "" })
	for _, path := range []string{"/login", "/auth/start", "/auth/callback?code=a&state=b"} {
		if page := send(t, browser(t), "GET", s.URL+path, "", "X-Forwarded-User: admin", "Cookie: gatewright="+strings.Repeat("A", 52)); !strings.Contains(page.body, "Nobody can log in here") {
			t.Errorf("%s: %d %s", path, page.status, page.body)
		}
	}
}
