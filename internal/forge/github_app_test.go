package forge_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/standin"
)

const appID, installationID = 312, 4711

// appKey is the key of the App, the same in all tests.
var appKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pemOf(key *rsa.PrivateKey) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func newApp() *forge.App {
	return &forge.App{ID: appID, Installation: installationID, PrivateKey: pemOf(appKey())}
}

// TestGitHubApp: tokens of the installation are made when they are needed, kept, renewed before they end and
// after they were revoked; and a wrong App is told as such.
func TestGitHubApp(t *testing.T) {
	clock := now()
	r := newReporting(t, event.GitHub, newApp(), func(o *standin.Options) { o.Now = func() time.Time { return clock } })
	use := func(app forge.App) *forge.Forge {
		f, err := forge.New(forge.Options{Now: func() time.Time { return clock }, Connections: []forge.Connection{{Name: "c", Host: event.GitHub, APIURL: r.url, App: &app}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(f.CloseIdle)
		return f
	}
	read := func(f *forge.Forge) error {
		sha, err := f.Head(t.Context(), event.Event{Connection: "c", Kind: event.Push, Branch: "main", Repository: event.Repository{FullName: "acme/store"}})
		if err == nil && sha != r.made.CleanSHA {
			t.Errorf("read %q", sha)
		}
		return err
	}
	made := func() int64 { return r.server.Counts().Acted["github_installation_token"] }
	f := use(*r.app)
	for _, step := range []struct {
		after time.Duration
		want  int64
	}{{0, 1}, {54 * time.Minute, 1}, {2 * time.Minute, 2}, {59 * time.Minute, 3}, {24 * time.Hour, 4}} {
		clock = clock.Add(step.after)
		if err := read(f); err != nil || made() != step.want {
			t.Fatalf("after %s: %d tokens, error %v", step.after, made(), err)
		}
	}
	r.faults(standin.Fault{Kind: standin.FaultExpired, Operations: []string{"github_ref"}, Next: 1})
	failure, _ := read(f).(*forge.Error)
	if failure == nil || !failure.Forbidden() || !failure.Retryable() {
		t.Errorf("with a revoked token: %v", failure)
	}
	if err := read(f); err != nil || made() != 5 {
		t.Errorf("after the token was revoked: %d tokens, error %v", made(), err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		app  forge.App
		want string
	}{
		"another key":          {forge.App{ID: appID, Installation: installationID, PrivateKey: pemOf(other)}, "app.private_key"},
		"another App":          {forge.App{ID: 1, Installation: installationID, PrivateKey: pemOf(appKey())}, "app.id"},
		"another installation": {forge.App{ID: appID, Installation: 1, PrivateKey: pemOf(appKey())}, "app.installation"},
	} {
		f := use(test.app)
		for _, err := range []error{read(f), func() error {
			_, err := f.CanReport(t.Context(), event.Event{Connection: "c", Repository: event.Repository{FullName: "acme/store"}})
			return err
		}()} {
			failure, _ := err.(*forge.Error)
			if failure == nil || !strings.Contains(err.Error(), test.want) || !failure.Forbidden() || !failure.Retryable() {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if told, err := f.CanReport(t.Context(), event.Event{Connection: "c", Repository: event.Repository{FullName: "acme/store"}}); err != nil || !told {
		t.Errorf("rights: told %v, error %v", told, err)
	}
	r.switches(map[string]string{"git_token_reads_only": "true"})
	if _, err := f.CanReport(t.Context(), event.Event{Connection: "c", Repository: event.Repository{FullName: "acme/store"}}); err == nil || !strings.Contains(err.Error(), "Checks: write") {
		t.Errorf("rights: %v", err)
	}
	if _, err := forge.New(forge.Options{Connections: []forge.Connection{{Name: "c", Host: event.GitHub, APIURL: r.url, App: &forge.App{PrivateKey: "hunter2"}}}}); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a key that is not a key: %v", err)
	}
	if _, err := forge.New(forge.Options{Connections: []forge.Connection{{Name: "c", Host: event.GitLab, APIURL: r.url, App: newApp()}}}); err == nil || !strings.Contains(err.Error(), "has no Apps") {
		t.Errorf("an App of GitLab: %v", err)
	}
}
