package webhook_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

func FuzzGitHub(f *testing.F) {
	fuzzHost(f, connection(event.GitHub), "X-GitHub-Event", "X-Hub-Signature-256")
}

func FuzzGitLab(f *testing.F) {
	fuzzHost(f, connection(event.GitLab), "X-Gitlab-Event", "webhook-signature")
}

func FuzzGitee(f *testing.F) {
	fuzzHost(f, connection(event.Gitee), "X-Gitee-Event", "X-Gitee-Token")
}

func FuzzGitea(f *testing.F) {
	fuzzHost(f, connection(event.Gitea), "X-Gitea-Event", "X-Gitea-Signature")
}

// fuzzHost: whatever a stranger sends, it is refused and nothing panics; what is
// signed verifies at the time of signing; and what parses without a reason to
// ignore it names its repository and full commits.
func fuzzHost(f *testing.F, c webhook.Connection, eventHeader, signatureHeader string) {
	for _, r := range readRecorded(f, filepath.Join("testdata", string(c.Host))) {
		f.Add(r.header.Get(eventHeader), r.header.Get("Content-Type"), "sha256=00", int64(1767225600123), r.body)
	}
	f.Fuzz(func(t *testing.T, name, contentType, signature string, milliseconds int64, body []byte) {
		header := http.Header{}
		header.Set(eventHeader, name)
		header.Set("Content-Type", contentType)
		header.Set(signatureHeader, signature)
		header.Set("X-Gitee-Timestamp", signature)
		header.Set("Webhook-Timestamp", signature)
		now := time.UnixMilli(milliseconds)
		if err := webhook.Verify(c, header, body, now); err == nil {
			t.Fatal("a stranger's request verified")
		}

		sent, err := webhook.Sign(c, header, body, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := webhook.Verify(c, header, sent, now); err != nil {
			t.Fatal(err)
		}
		if at, ok := webhook.SentAt(c, header); ok {
			if err := webhook.Verify(c, header, sent, at); err != nil {
				t.Fatal(err)
			}
		}

		ev, err := webhook.Parse(c, header, sent)
		if err != nil {
			return
		}
		if ev.Connection != c.Name || ev.Labels == nil {
			t.Fatalf("incomplete event: %+v", ev)
		}
		if ev.IgnoredReason != "" {
			return
		}
		if ev.Repository.ID == "" || ev.Repository.FullName == "" || ev.Kind == "" || ev.Deleted {
			t.Fatalf("not ignored and not complete: %+v", ev)
		}
		if !strings.HasSuffix(ev.Repository.HTTPSURL, "/"+ev.Repository.FullName+".git") || strings.Contains("/"+ev.Repository.FullName+"/", "/../") {
			t.Fatalf("not ignored and not bound: %+v", ev)
		}
		if fine := len(ev.HeadSHA) == 40 || len(ev.HeadSHA) == 64 || ev.Kind == event.Comment && ev.Number > 0; !fine {
			t.Fatalf("not ignored and no commit: %+v", ev)
		}
	})
}
