package huaweicloud

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestCredentialsReplaced holds that refused keys show with their first refusal, that
// other keys work as soon as they are there, and that late news of the old ones does
// not hold the new ones back.
func TestCredentialsReplaced(t *testing.T) {
	at := newClock()
	var late chan struct{}
	arrived := make(chan struct{}, 1)
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "Access=new,") {
			_, _ = w.Write([]byte(`{}`))
			return
		}
		if late != nil {
			arrived <- struct{}{}
			<-late
		}
		status(401, `{"error_code":"APIGW.0301","error_msg":"verify aksk signature fail"}`, "Date", at.now().Format(http.TimeFormat))(w, r)
	})
	keys := func(id string) Authenticator {
		signer, err := NewSigner(SignerOptions{AccessKey: id, SecretKey: testSecret, Now: at.now})
		if err != nil {
			t.Fatal(err)
		}
		return signer
	}
	credentials := NewCredentials(keys("old"), at.now)
	client := newClient(t, server, Options{Auth: credentials, Now: at.now, Wait: (&waits{}).wait})
	call := func() error {
		return client.Do(t.Context(), Call{Operation: "list tasks", Method: "GET", Path: "/x", Safe: true}, nil)
	}
	if refusal, refused := credentials.Refused(); refused {
		t.Errorf("refused before the first call: %+v", refusal)
	}
	began := at.now()
	for range 3 {
		if err := call(); err == nil {
			t.Fatal("the old keys work")
		}
		at.add(time.Second)
	}
	refusal, refused := credentials.Refused()
	if want := "list tasks: APIGW.0301: verify aksk signature fail (status 401)"; !refused || refusal.Reason != want || !refusal.Since.Equal(began) {
		t.Errorf("refusal %+v, want %q since %v", refusal, want, began)
	}

	at.add(5 * time.Minute)
	late = make(chan struct{})
	ended := make(chan error)
	go func() { ended <- call() }()
	<-arrived
	credentials.Replace(t.Context(), keys("new"))
	if err := call(); err != nil {
		t.Errorf("the new keys: %v", err)
	}
	close(late)
	if err := <-ended; err == nil {
		t.Error("the old keys work")
	}
	if refusal, refused := credentials.Refused(); refused {
		t.Errorf("still refused after the replacement: %+v", refusal)
	}
	if err := call(); err != nil {
		t.Errorf("the new keys after late news of the old ones: %v", err)
	}
}

// TestCredentialsWorkAgain holds that a refusal is forgotten when the same keys work.
func TestCredentialsWorkAgain(t *testing.T) {
	at := newClock()
	refuse := true
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if refuse {
			status(401, `{"error_code":"APIGW.0301","error_msg":"no"}`)(w, r)
			return
		}
		_, _ = w.Write([]byte(`{}`))
	})
	signer, err := NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret, Cooldown: time.Minute, Now: at.now})
	if err != nil {
		t.Fatal(err)
	}
	credentials := NewCredentials(signer, at.now)
	client := newClient(t, server, Options{Auth: credentials, Now: at.now, Wait: (&waits{}).wait})
	for _, works := range []bool{false, true} {
		refuse = !works
		err := client.Do(t.Context(), Call{Operation: "list tasks", Method: "GET", Path: "/x", Safe: true}, nil)
		if _, refused := credentials.Refused(); (err == nil) != works || refused == works {
			t.Errorf("keys that work %v: error %v, refused %v", works, err, refused)
		}
		at.add(time.Minute)
	}
}
