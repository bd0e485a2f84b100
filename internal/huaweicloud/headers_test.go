package huaweicloud

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestHeaders holds the rows of the documents' tables of request headers, by the document
// and the row, and those of specs/codearts-check.md.
func TestHeaders(t *testing.T) {
	longest := strings.Repeat("t", 100_000)
	const project = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
	const check, stage = "application/json;charset=UTF-8", "application/json;charset=utf8"
	for _, test := range []struct {
		row     string
		auth    func() (Authenticator, error)
		options Options
		want    map[string]string // what the request has; empty: it has not
		signed  string
	}{
		{row: "000_e35210e95537fd03.txt table 2, X-Auth-Token, 1 to 100000 characters",
			auth: func() (Authenticator, error) { return NewGivenToken(longest, nil) },
			want: map[string]string{"X-Auth-Token": longest, "Authorization": "", "X-Project-Id": ""}},
		{row: "000_e35210e95537fd03.txt table 2, Content-Type", want: map[string]string{"Content-Type": check}},
		{row: "001_11d9345d99579aaf.txt table 2, X-Auth-Token, 1 to 100,000 characters",
			auth: func() (Authenticator, error) { return NewGivenToken("t", nil) }, want: map[string]string{"X-Auth-Token": "t"}},
		{row: "003_406115daee00d6ba.txt table 3, X-Auth-Token, 1 to 100000 characters",
			auth: func() (Authenticator, error) { return NewGivenToken(longest, nil) }, want: map[string]string{"X-Auth-Token": longest}},
		{row: "004_192d3ad45852e13d.txt, Content-Type, default application/json;charset=utf8",
			options: Options{ContentType: stage}, want: map[string]string{"Content-Type": stage}},
		{row: "004_192d3ad45852e13d.txt, X-Auth-Token, by AK/SK it is not mandatory",
			auth: func() (Authenticator, error) {
				return NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret})
			},
			want: map[string]string{"X-Auth-Token": "", "X-Project-Id": "", "X-Security-Token": ""}, signed: "host;x-sdk-date"},
		{row: "specs/codearts-check.md 4.3, X-Project-Id goes with the key of a project",
			auth: func() (Authenticator, error) {
				return NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret, ProjectID: project})
			},
			want: map[string]string{"X-Project-Id": project}, signed: "host;x-project-id;x-sdk-date"},
		{row: "specs/codearts-check.md 4.3, X-Security-Token goes with a temporary key",
			auth: func() (Authenticator, error) {
				return NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret, SecurityToken: "s"})
			},
			want: map[string]string{"X-Security-Token": "s"}, signed: "host;x-sdk-date;x-security-token"},
		{row: "specs/codearts-check.md 1, X-Language, default none", want: map[string]string{"X-Language": ""}},
		{row: "specs/codearts-check.md 1, X-Language, zh-cn", options: Options{Language: "zh-cn"}, want: map[string]string{"X-Language": "zh-cn"}},
	} {
		t.Run(test.row, func(t *testing.T) {
			var got http.Header
			server := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
			if test.auth != nil {
				auth, err := test.auth()
				if err != nil {
					t.Fatal(err)
				}
				test.options.Auth = auth
			}
			if err := newClient(t, server, test.options).Do(t.Context(), Call{Operation: "run task", Method: "POST", Path: "/x", Body: struct{}{}}, nil); err != nil {
				t.Fatal(err)
			}
			for name, want := range test.want {
				if got.Get(name) != want {
					t.Errorf("%s is %.40q, want %.40q", name, got.Get(name), want)
				}
			}
			if !strings.Contains(got.Get("Authorization"), "SignedHeaders="+test.signed) && test.signed != "" {
				t.Errorf("Authorization %s, want %s signed", got.Get("Authorization"), test.signed)
			}
		})
	}
}

// TestAgencyToken holds the two requests by which an agency's token is got, and who asks.
func TestAgencyToken(t *testing.T) {
	at := newClock()
	var requests []string
	refuse := false
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		by := "token " + r.Header.Get("X-Auth-Token")
		if strings.HasPrefix(r.Header.Get("Authorization"), algorithm+" Access="+testAccess) {
			by = "key"
		}
		requests = append(requests, by+": "+string(body))
		if refuse {
			status(403, `{"error":{"code":403,"message":"You are not authorized to perform the requested action.","title":"Forbidden"}}`)(w, r)
			return
		}
		token := "of the agency"
		if strings.Contains(string(body), `"password"`) {
			token = "of the user"
		}
		w.Header().Set("X-Subject-Token", token)
		w.WriteHeader(http.StatusCreated)
		_, _ = w.Write([]byte(`{"token":{"issued_at":"2026-03-01T08:30:15.000000Z","expires_at":"2026-03-02T08:30:15.000000Z","project":{"id":"aa2d97d7e62c4b7da3ffdfc11551f0f5"}}}`))
	})
	source := func(o TokenOptions) *TokenSource {
		o.Endpoint, o.Now, o.Wait, o.HTTP = server.URL, at.now, (&waits{}).wait, server.Client()
		s, err := NewTokenSource(o)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const agency = `{"auth":{"identity":{"assume_role":{"agency_name":"gatewright","domain_name":"customer"},"methods":["assume_role"]},"scope":{"project":{"name":"cn-north-4"}}}}`
	signer, err := NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret, Now: at.now})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		delegate Authenticator
		want     []string
	}{
		"by a password": {source(TokenOptions{Domain: "acme", User: "operator", Password: "hunter2", WholeAccount: true}), []string{
			`token : {"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"acme"},"name":"operator","password":"hunter2"}}},"scope":{"domain":{"name":"acme"}}}}`,
			"token of the user: " + agency}},
		"by a key": {signer, []string{"key: " + agency}},
	} {
		requests, refuse = nil, false
		s := source(TokenOptions{Domain: "customer", Agency: "gatewright", Delegate: test.delegate, ProjectName: "cn-north-4"})
		req := httptest.NewRequest("GET", "http://service.invalid/", nil)
		if err := s.Authorize(t.Context(), req, nil); err != nil || req.Header.Get("X-Auth-Token") != "of the agency" {
			t.Errorf("%s: %v, token %q", name, err, req.Header.Get("X-Auth-Token"))
		}
		if id, err := s.ProjectID(t.Context()); err != nil || id != "aa2d97d7e62c4b7da3ffdfc11551f0f5" {
			t.Errorf("%s: project %q, %v", name, id, err)
		}
		if diff := cmp.Diff(test.want, requests); diff != "" {
			t.Errorf("%s: requests (-want +got):\n%s", name, diff)
		}

		// An agency that is refused is asked for once in a while, not with every call.
		refuse, requests = true, nil
		s.Expired(t.Context(), req, nil)
		for range 3 {
			err := s.Authorize(t.Context(), req, nil)
			if err == nil || !strings.Contains(err.Error(), "You are not authorized") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: refused with %v", name, err)
			}
		}
		if len(requests) != 1 {
			t.Errorf("%s: %d requests of a refused agency", name, len(requests))
		}
	}
	for name, o := range map[string]TokenOptions{
		"nobody acts":     {Domain: "d", Agency: "a", ProjectName: "p"},
		"a second person": {Domain: "d", User: "u", Password: "w", Delegate: signer, ProjectName: "p"},
	} {
		o.Endpoint = server.URL
		if _, err := NewTokenSource(o); err == nil {
			t.Errorf("%s: a source was made", name)
		}
	}
}

// TestGivenToken holds that a refused token is not sent again and again, and that another
// one is used at once.
func TestGivenToken(t *testing.T) {
	at := newClock()
	requests := 0
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		if r.Header.Get("X-Auth-Token") != "new" {
			status(401, `{"error_code":"APIGW.0307","error_msg":"The token must be updated."}`)(w, r)
		}
	})
	given := func(value string) Authenticator {
		g, err := NewGivenToken(value, at.now)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	credentials := NewCredentials(given("old"), at.now)
	client := newClient(t, server, Options{Auth: credentials, Now: at.now, Wait: (&waits{}).wait})
	call := func() error {
		return client.Do(t.Context(), Call{Operation: "list tasks", Method: "GET", Path: "/x", Safe: true}, nil)
	}
	for range 3 {
		if err := call(); err == nil || !strings.Contains(err.Error(), "The token must be updated.") {
			t.Errorf("refused with %v", err)
		}
	}
	if requests != 1 {
		t.Errorf("%d requests with a refused token", requests)
	}
	if _, err := credentials.ProjectID(t.Context()); err == nil || !strings.Contains(err.Error(), "huaweicloud.project_id") {
		t.Errorf("project of a given token: %v", err)
	}
	credentials.Replace(t.Context(), given("new"))
	if err := call(); err != nil {
		t.Errorf("with the new token: %v", err)
	}
	if _, err := NewGivenToken("", nil); err == nil {
		t.Error("an empty token was taken")
	}
}

// FuzzReadToken: whatever IAM answers, its token is read or refused.
func FuzzReadToken(f *testing.F) {
	f.Add("token", []byte(`{"token":{"issued_at":"2020-01-03T09:05:22.701000Z","expires_at":"2020-01-04T09:05:22.701000Z","project":{"id":"aa2d"}}}`))
	f.Add("token", []byte(`{"token":{"issued_at":"9999-12-31T23:59:59Z","expires_at":"0001-01-01T00:00:00Z"}}`))
	f.Add("", []byte(`{"token":[]}`))
	f.Add("token", []byte(`<html>`))
	f.Fuzz(func(t *testing.T, value string, body []byte) {
		at := newClock()
		s := &TokenSource{options: TokenOptions{Now: at.now}}
		got, err := s.read(http.Header{"X-Subject-Token": {value}}, body)
		if err != nil {
			return
		}
		if got.value == "" || !got.renewAt.After(at.now()) || got.expires.Before(got.renewAt) || !json.Valid(body) {
			t.Errorf("token %+v of %q", got, body)
		}
	})
}
