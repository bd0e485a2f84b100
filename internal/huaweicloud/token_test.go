package huaweicloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// iam issues tokens named t1, t2 … that live for life, and can be told to fail.
type iam struct {
	clock *clock

	mu     sync.Mutex
	asked  int
	body   string
	life   time.Duration
	status int
	answer string
}

func (s *iam) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := io.ReadAll(r.Body)
	s.asked, s.body = s.asked+1, r.Method+" "+r.RequestURI+" "+string(b)
	if s.status != 0 {
		w.WriteHeader(s.status)
		_, _ = w.Write([]byte(s.answer))
		return
	}
	const layout = "2006-01-02T15:04:05.000000Z"
	// IAM's clock is a day ahead of ours, which must not matter.
	issued := s.clock.now().Add(24 * time.Hour)
	w.Header().Set("X-Subject-Token", fmt.Sprintf("token-%d", s.asked))
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{"token": map[string]any{
		"issued_at": issued.Format(layout), "expires_at": issued.Add(s.life).Format(layout),
		"project": map[string]any{"id": "aa2d97d7e62c4b7da3ffdfc11551f0f5", "name": "cn-north-4"}}})
}

func (s *iam) set(status int, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.answer = status, answer
}

func (s *iam) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func newIAM(t *testing.T, life time.Duration) (*iam, *TokenSource, *clock) {
	t.Helper()
	at := newClock()
	service := &iam{clock: at, life: life}
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	source, err := NewTokenSource(TokenOptions{Endpoint: server.URL, Domain: "acme", User: "gate", Password: "pass-word",
		ProjectName: "cn-north-4", Now: at.now, Wait: (&waits{}).wait})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(source.client.CloseIdle)
	return service, source, at
}

// authorize returns the token that the source puts on a request.
func authorize(t *testing.T, s *TokenSource) string {
	t.Helper()
	req := httptest.NewRequest("GET", "http://service.invalid/", nil)
	if err := s.Authorize(t.Context(), req, nil); err != nil {
		t.Fatal(err)
	}
	return req.Header.Get("X-Auth-Token")
}

func TestTokenRequest(t *testing.T) {
	service, source, _ := newIAM(t, 24*time.Hour)
	authorize(t, source)
	want := `POST /v3/auth/tokens?nocatalog=true {"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"acme"},"name":"gate","password":"pass-word"}}},"scope":{"project":{"name":"cn-north-4"}}}}`
	if diff := cmp.Diff(want, service.body); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if id, err := source.ProjectID(t.Context()); err != nil || id != "aa2d97d7e62c4b7da3ffdfc11551f0f5" {
		t.Errorf("project %q, error %v", id, err)
	}
}

func TestTokenIsKeptAndRenewedEarly(t *testing.T) {
	for _, test := range []struct{ life, renew time.Duration }{
		{24 * time.Hour, 23*time.Hour + 30*time.Minute},
		{time.Hour, 45 * time.Minute},
	} {
		service, source, at := newIAM(t, test.life)
		authorize(t, source)
		at.add(test.renew - time.Second)
		if got := authorize(t, source); got != "token-1" || service.count() != 1 {
			t.Errorf("life %s: token %s after %d requests, want the first one still", test.life, got, service.count())
		}
		at.add(time.Second)
		if got := authorize(t, source); got != "token-2" {
			t.Errorf("life %s: token %s, want a new one", test.life, got)
		}
	}
}

func TestOldTokenServesWhileRenewingFails(t *testing.T) {
	service, source, at := newIAM(t, 24*time.Hour)
	authorize(t, source)
	service.set(503, "")
	at.add(23*time.Hour + 45*time.Minute)
	if got := authorize(t, source); got != "token-1" {
		t.Errorf("token %s, want the old one", got)
	}
	asked := service.count()
	if authorize(t, source); service.count() != asked {
		t.Error("IAM was asked again at once")
	}
	at.add(15 * time.Minute)
	req := httptest.NewRequest("GET", "http://service.invalid/", nil)
	if err := source.Authorize(t.Context(), req, nil); err == nil {
		t.Error("an expired token was used")
	}
}

func TestExpiredTokenIsReplacedOnce(t *testing.T) {
	for name, refusal := range map[string]http.HandlerFunc{
		"gateway":        status(401, `{"error_code":"APIGW.0307","error_msg":"The token must be updated."}`),
		"service":        status(401, `{"error_code":"CC.00000003","error_msg":"Authentication information expired."}`),
		"service in 200": status(200, `{"error_code":"CC.00050007","error_msg":"IAM authentication failed"}`),
	} {
		service, source, _ := newIAM(t, 24*time.Hour)
		var seen []string
		good := "token-2"
		server := serve(t, func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, r.Header.Get("X-Auth-Token"))
			if r.Header.Get("X-Auth-Token") != good {
				refusal(w, r)
				return
			}
			_, _ = w.Write([]byte(`{}`))
		})
		client := newClient(t, server, Options{Auth: source, Wait: (&waits{}).wait})
		call := Call{Operation: "run task", Method: "POST", Path: "/x", Body: struct{}{}}
		if err := client.Do(t.Context(), call, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		good = "none"
		err := client.Do(t.Context(), call, nil)
		var e *Error
		if !errors.As(err, &e) || !e.NotSent() {
			t.Errorf("%s: %v, want the refusal", name, err)
		}
		if diff := cmp.Diff([]string{"token-1", "token-2", "token-2", "token-3"}, seen); diff != "" || service.count() != 3 {
			t.Errorf("%s: tokens (-want +got):\n%s", name, diff)
		}
	}
}

// Late news of an old token must not throw away its successor.
func TestExpiredOfAnOldToken(t *testing.T) {
	_, source, _ := newIAM(t, 24*time.Hour)
	old := httptest.NewRequest("GET", "http://service.invalid/", nil)
	if err := source.Authorize(t.Context(), old, nil); err != nil {
		t.Fatal(err)
	}
	source.Expired(t.Context(), old, nil)
	authorize(t, source)
	source.Expired(t.Context(), old, nil)
	if got := authorize(t, source); got != "token-2" {
		t.Errorf("token %s, want token-2", got)
	}
}

func TestWrongPasswordIsHeld(t *testing.T) {
	service, source, at := newIAM(t, 24*time.Hour)
	service.set(401, `{"error":{"code":401,"message":"The username or password is wrong: pass-word","title":"Unauthorized"}}`)
	client, err := New(Options{Service: "codecheck", Endpoint: "http://127.0.0.1:1", Auth: source})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		err := client.Do(t.Context(), Call{Operation: "run task", Method: "POST", Path: "/x", Safe: true}, nil)
		var e *Error
		if !errors.As(err, &e) || !e.NotSent() || !e.Retryable() || e.RetryAfter() != askAgain || !strings.Contains(err.Error(), "username or password is wrong") {
			t.Fatalf("try %d: %v", i, err)
		}
		if strings.Contains(err.Error(), "pass-word") {
			t.Errorf("error text has the password: %v", err)
		}
	}
	if service.count() != 1 {
		t.Errorf("IAM was asked %d times with a wrong password", service.count())
	}
	at.add(5 * time.Minute)
	service.set(0, "")
	if got := authorize(t, source); got != "token-2" {
		t.Errorf("token %s after the cooldown", got)
	}
}

func TestUnreadableTokenAnswers(t *testing.T) {
	service, source, _ := newIAM(t, 0)
	req := httptest.NewRequest("GET", "http://service.invalid/", nil)
	var e *Error
	if err := source.Authorize(t.Context(), req, nil); !errors.As(err, &e) || !e.Undecodable() {
		t.Errorf("token without a life: %v", err)
	}
	service.set(201, "not JSON")
	if err := source.Authorize(t.Context(), req, nil); !errors.As(err, &e) || !e.Undecodable() {
		t.Errorf("token answer that is not JSON: %v", err)
	}
}

func TestTokenIsFetchedOnceForMany(t *testing.T) {
	service, source, _ := newIAM(t, 24*time.Hour)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			req := httptest.NewRequest("GET", "http://service.invalid/", nil)
			if err := source.Authorize(t.Context(), req, nil); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if service.count() != 1 {
		t.Errorf("IAM was asked %d times", service.count())
	}
}

func TestWaitingForATokenEndsWithItsCaller(t *testing.T) {
	_, source, _ := newIAM(t, 24*time.Hour)
	source.fetching <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := source.Authorize(ctx, httptest.NewRequest("GET", "http://service.invalid/", nil), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the end of the context", err)
	}
}

func TestNewTokenSourceRefusesWrongOptions(t *testing.T) {
	for name, o := range map[string]TokenOptions{
		"no password": {Endpoint: "https://iam", Domain: "d", User: "u", ProjectName: "p"},
		"no project":  {Endpoint: "https://iam", Domain: "d", User: "u", Password: "w"},
		"no endpoint": {Domain: "d", User: "u", Password: "w", ProjectName: "p"},
	} {
		if _, err := NewTokenSource(o); err == nil {
			t.Errorf("%s: a source was made", name)
		}
	}
}
