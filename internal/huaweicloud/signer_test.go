package huaweicloud

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	testAccess = "AKEXAMPLE0000000001"
	testSecret = "SKexample/secret+key0000000000000000001"
)

func TestSignatureVectors(t *testing.T) {
	files, err := filepath.Glob("testdata/sign/*.json")
	if err != nil || len(files) != 5 {
		t.Fatalf("want 5 vectors, found %d (%v)", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var v struct {
				Method, URL, Body, Canonical, Authorization string
				Header                                      map[string]string
				Signed                                      []string
			}
			readJSON(t, file, &v)
			req, err := http.NewRequest(v.Method, v.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			for name, value := range v.Header {
				req.Header.Set(name, value)
			}
			if diff := cmp.Diff(v.Canonical, canonicalRequest(req, []byte(v.Body), v.Signed)); diff != "" {
				t.Errorf("canonical request (-want +got):\n%s", diff)
			}
			s, err := NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret})
			if err != nil {
				t.Fatal(err)
			}
			if got := s.authorization(req, []byte(v.Body), v.Signed); got != v.Authorization {
				t.Errorf("authorization\n got %s\nwant %s", got, v.Authorization)
			}
		})
	}
}

// Authorize must sign the same headers as the vectors that our requests look
// like: with a project, and with a temporary key.
func TestAuthorizeSigns(t *testing.T) {
	at := newClock()
	for file, o := range map[string]SignerOptions{
		"list-tasks-with-project": {ProjectID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9"},
		"run-task":                {},
		"run-task-temporary-key":  {SecurityToken: "gQpjbi1ub3J0aC00EXAMPLESECURITYTOKEN=="},
		"release-action":          {},
	} {
		var v struct{ Method, URL, Body, Authorization string }
		readJSON(t, "testdata/sign/"+file+".json", &v)
		o.AccessKey, o.SecretKey, o.Now = testAccess, testSecret, at.now
		s, err := NewSigner(o)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequest(v.Method, v.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Authorize(t.Context(), req, []byte(v.Body)); err != nil {
			t.Fatal(err)
		}
		if got := req.Header.Get("Authorization"); got != v.Authorization {
			t.Errorf("%s: authorization\n got %s\nwant %s", file, got, v.Authorization)
		}
	}
}

func TestNewSignerWantsKeys(t *testing.T) {
	if _, err := NewSigner(SignerOptions{AccessKey: testAccess}); err == nil {
		t.Error("a signer without a secret key was made")
	}
}

// A refused key must not be sent again by the calls that follow: five failures
// lock it. After the cooldown one call goes first.
func TestRefusedKeyIsHeld(t *testing.T) {
	at := newClock()
	requests, refuse := 0, true
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		if refuse {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error_code":"APIGW.0301","error_msg":"verify aksk signature fail, ak:` + testAccess + `"}`))
			return
		}
		_, _ = w.Write([]byte(`{}`))
	})
	signer, err := NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret, Cooldown: time.Minute, Now: at.now})
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t, server, Options{Auth: signer, Now: at.now, Wait: (&waits{}).wait})
	call := func() *Error {
		err := client.Do(context.Background(), Call{Operation: "list tasks", Method: "GET", Path: "/v2/p/tasks", Safe: true}, nil)
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("error is a %T", err)
		}
		return e
	}

	first := call()
	if first == nil || first.Code != "APIGW.0301" || requests != 1 {
		t.Fatalf("first call: %v after %d requests, want APIGW.0301 after 1", first, requests)
	}
	if strings.Contains(first.Error(), testAccess) {
		t.Errorf("error text has the access key: %s", first)
	}
	held := call()
	if held == nil || requests != 1 || !held.Retryable() || !held.NotSent() || held.RetryAfter() != askAgain || !strings.Contains(held.Error(), "verify aksk signature fail") {
		t.Fatalf("call during the cooldown: %v (%d requests), want a retryable error and no request", held, requests)
	}
	at.add(time.Minute)
	refuse = false
	if e := call(); e != nil || requests != 2 {
		t.Fatalf("call after the cooldown: %v (%d requests)", e, requests)
	}
	if e := call(); e != nil || requests != 3 {
		t.Fatalf("call after the one that worked: %v (%d requests)", e, requests)
	}
	refuse = true
	if e := call(); e == nil || requests != 4 {
		t.Fatalf("refused again: %v (%d requests)", e, requests)
	}
	at.add(time.Minute)
	// One is sent first. As long as it has not ended the others wait, but not for ever.
	if err := signer.cooldown.check(t.Context(), "probe"); err != nil {
		t.Fatalf("probe: %v", err)
	}
	if e := call(); e == nil || requests != 4 {
		t.Fatal("second call during the probe was sent")
	}
	at.add(probeTime)
	refuse = false
	if e := call(); e != nil || requests != 5 {
		t.Fatalf("call after the probe: %v (%d requests)", e, requests)
	}
}

// TestManyCallsWithAWrongKey holds that of many calls at once one is sent with a key that
// no service has accepted, and that they all go when it is accepted.
func TestManyCallsWithAWrongKey(t *testing.T) {
	for answer, want := range map[int]struct{ requests, failures int64 }{401: {1, 50}, 404: {50, 50}, 200: {50, 0}} {
		var requests, failures atomic.Int64
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			w.WriteHeader(answer)
		})
		signer, err := NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret})
		if err != nil {
			t.Fatal(err)
		}
		client := newClient(t, server, Options{Auth: signer})
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if client.Do(t.Context(), Call{Operation: "list tasks", Method: "GET", Path: "/x"}, nil) != nil {
					failures.Add(1)
				}
			})
		}
		group.Wait()
		if requests.Load() != want.requests || failures.Load() != want.failures {
			t.Errorf("status %d: %d requests, %d failures, want %+v", answer, requests.Load(), failures.Load(), want)
		}
	}
}

// TestUnprovenKeyAndAServiceThatHangs holds that nobody waits long for a first answer.
func TestUnprovenKeyAndAServiceThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signer, err := NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signer.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		leave, err := signer.enter(t.Context())
		if err != nil || time.Since(began) != probeTime {
			t.Errorf("%v after %v, want %v", err, time.Since(began), probeTime)
		}
		leave()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := signer.enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a caller that has gone: %v", err)
		}
	})
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}
