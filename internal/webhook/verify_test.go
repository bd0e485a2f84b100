package webhook_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// headers makes a header of names and values.
func headers(pairs ...string) http.Header {
	h := make(http.Header)
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// TestVerify: the vectors of specs/githosts.md 1.1, 2.1, 3.1 and 4.2, and what is
// wrong in each of them by one thing.
func TestVerify(t *testing.T) {
	const (
		githubSecret    = "It's a Secret to Everybody"
		githubSignature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
		gitlabSignature = "v1,Z+TZ/7ZajOTsy7bHM+h4i59G6v4kjL/E1dgnWOBRNfw="
		giteeKey        = "bBg5lrt03VixkX85CNqYIcecC0SIGASE"
		giteeSignature  = "Xvh4YPVe6l31XpDRL9J2yeaEXabsckIoUUschpXiVck="
	)
	github := webhook.Connection{Name: "gh", Host: event.GitHub, Secrets: []string{githubSecret}}
	both := webhook.Connection{Name: "gl", Host: event.GitLab, Secrets: []string{"tok"}, SigningTokens: []string{signingToken}}
	tokenOnly := webhook.Connection{Name: "gl", Host: event.GitLab, Secrets: []string{"old", "tok"}}
	signedOnly := webhook.Connection{Name: "gl", Host: event.GitLab, SigningTokens: []string{"whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyb3Q=", signingToken}}
	giteeSign := webhook.Connection{Name: "ge", Host: event.Gitee, Secrets: []string{"older", giteeKey}}
	giteePassword := webhook.Connection{Name: "ge", Host: event.Gitee, Mode: webhook.ModePassword, Secrets: []string{"older", "sesame"}}

	gitea := webhook.Connection{Name: "tea", Host: event.Gitea, Secrets: []string{"older", githubSecret}}
	// A body as JSON and as a form, and their HMACs: the first is what Gitea sends for both.
	const (
		teaJSON      = `{"ref":"refs/heads/main","x":"a b&c=%25+é"}`
		teaForm      = `payload=%7B%22ref%22%3A%22refs%2Fheads%2Fmain%22%2C%22x%22%3A%22a+b%26c%3D%2525%2B%C3%A9%22%7D`
		teaSignature = "77014fa31fc7a6c246fbbbecdcb0850ce3496ab06f8a0bbc59d0012f8da20d55"
		teaOfForm    = "72a0dc0677a08c80e13cc421d29b7aa9a8622fb1e24b9cb50c846bdff36b04bb"
		teaNoKey     = "dd78e759d129fb712139e5145d2aa8aae1c4a9f5dfd7549e33880af33ae554c0"
	)
	teaFormHeaders := func(signature string) http.Header {
		return headers("Content-Type", "application/x-www-form-urlencoded", "X-Gitea-Signature", signature)
	}

	gitlabTime := time.Unix(1767225600, 0)
	giteeTime := time.UnixMilli(1633679083918)
	const hello, push = "Hello, World!", `{"object_kind":"push"}`
	gitlabHeaders := func(more ...string) http.Header {
		return headers(append([]string{
			"webhook-id", "f5e5f430-f57b-4e6e-9fac-d9128cd7232f",
			"webhook-timestamp", "1767225600",
			"webhook-signature", gitlabSignature,
		}, more...)...)
	}
	giteeHeaders := func(token string) http.Header {
		return headers("X-Gitee-Token", token, "X-Gitee-Timestamp", "1633679083918")
	}

	cases := []struct {
		name   string
		c      webhook.Connection
		header http.Header
		body   string
		now    time.Time
		want   string // part of the refusal; empty: verified
	}{
		{"github", github, headers("X-Hub-Signature-256", githubSignature), hello, time.Time{}, ""},
		{"github second secret", webhook.Connection{Host: event.GitHub, Secrets: []string{"new", githubSecret}}, headers("X-Hub-Signature-256", githubSignature), hello, time.Time{}, ""},
		{"github other body", github, headers("X-Hub-Signature-256", githubSignature), hello + " ", time.Time{}, "does not match the body"},
		{"github other secret", webhook.Connection{Host: event.GitHub, Secrets: []string{"new"}}, headers("X-Hub-Signature-256", githubSignature), hello, time.Time{}, "does not match the body"},
		{"github no header", github, headers(), hello, time.Time{}, "is missing"},
		{"github sha1 only", github, headers("X-Hub-Signature", "sha1=a6ccbfc3f5576d6ddf1ddd602ce1713f6f73312c"), hello, time.Time{}, "is missing"},
		{"github sha1 in the new header", github, headers("X-Hub-Signature-256", "sha1=a6ccbfc3f5576d6ddf1ddd602ce1713f6f73312c"), hello, time.Time{}, "does not start with sha256="},
		{"github not hexadecimal", github, headers("X-Hub-Signature-256", "sha256=zz"), hello, time.Time{}, "not hexadecimal"},
		{"github empty digest", github, headers("X-Hub-Signature-256", "sha256="), hello, time.Time{}, "64 digits"},
		// The HMAC of the body with an empty key.
		{"github empty secret", webhook.Connection{Host: event.GitHub, Secrets: []string{""}}, headers("X-Hub-Signature-256", "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"), "", time.Time{}, "does not match the body"},

		{"gitlab token", tokenOnly, headers("X-Gitlab-Token", "tok"), push, time.Time{}, ""},
		{"gitlab other token", tokenOnly, headers("X-Gitlab-Token", "toc"), push, time.Time{}, "not this connection's secret"},
		{"gitlab no token", tokenOnly, headers(), push, time.Time{}, "X-Gitlab-Token is missing"},
		{"gitlab signature unused", tokenOnly, gitlabHeaders("X-Gitlab-Token", "tok", "webhook-signature", "v1,x"), push, time.Time{}, ""},
		{"gitlab signed", signedOnly, gitlabHeaders(), push, gitlabTime, ""},
		{"gitlab signed, several signatures", both, gitlabHeaders("webhook-signature", "v1,AAAA v2,x "+gitlabSignature), push, gitlabTime, ""},
		{"gitlab signed, late but in time", both, gitlabHeaders(), push, gitlabTime.Add(5 * time.Minute), ""},
		{"gitlab signed, too old", both, gitlabHeaders("X-Gitlab-Token", "tok"), push, gitlabTime.Add(5*time.Minute + time.Second), "signed time"},
		{"gitlab signed, from the future", both, gitlabHeaders(), push, gitlabTime.Add(-5*time.Minute - time.Second), "signed time"},
		{"gitlab signed, no fallback to the token", both, gitlabHeaders("X-Gitlab-Token", "tok"), push + " ", gitlabTime, "does not match the body"},
		{"gitlab signed, empty signature", both, gitlabHeaders("X-Gitlab-Token", "tok", "webhook-signature", ""), push, gitlabTime, "base64 of 32 bytes"},
		{"gitlab signed, other id", both, gitlabHeaders("webhook-id", "g"), push, gitlabTime, "does not match the body"},
		{"gitlab not signed yet", both, headers("X-Gitlab-Token", "tok"), push, gitlabTime, ""},
		{"gitlab signature demanded", signedOnly, headers("X-Gitlab-Token", "tok"), push, gitlabTime, "webhook-signature is missing"},

		{"gitee sign", giteeSign, giteeHeaders(giteeSignature), push, giteeTime, ""},
		{"gitee sign, url-encoded", giteeSign, giteeHeaders("Xvh4YPVe6l31XpDRL9J2yeaEXabsckIoUUschpXiVck%3D"), push, giteeTime, ""},
		{"gitee sign, in time", giteeSign, giteeHeaders(giteeSignature), push, giteeTime.Add(time.Hour), ""},
		{"gitee sign, stale", giteeSign, giteeHeaders(giteeSignature), push, giteeTime.Add(time.Hour + time.Millisecond), "signed time"},
		{"gitee sign, from the future", giteeSign, giteeHeaders(giteeSignature), push, giteeTime.Add(-time.Hour - time.Millisecond), "signed time"},
		{"gitee sign, own limit", webhook.Connection{Host: event.Gitee, Secrets: []string{giteeKey}, MaxAge: time.Minute}, giteeHeaders(giteeSignature), push, giteeTime.Add(2 * time.Minute), "signed time"},
		{"gitee sign, other time", giteeSign, headers("X-Gitee-Token", giteeSignature, "X-Gitee-Timestamp", "1633679083919"), push, giteeTime, "not a signature"},
		{"gitee sign, key as token", giteeSign, giteeHeaders(giteeKey), push, giteeTime, "not a signature"},
		{"gitee no token", giteeSign, headers("X-Gitee-Timestamp", "1633679083918"), push, giteeTime, "X-Gitee-Token is missing"},
		{"gitee password", giteePassword, headers("X-Gitee-Token", "sesame"), push, giteeTime, ""},
		{"gitee other password", giteePassword, headers("X-Gitee-Token", "sesamf"), push, giteeTime, "not this connection's password"},
		{"gitee empty password", webhook.Connection{Host: event.Gitee, Mode: webhook.ModePassword, Secrets: []string{""}}, headers("X-Gitee-Token", ""), push, giteeTime, "is missing"},

		{"gitea", gitea, headers("X-Gitea-Signature", teaSignature), teaJSON, time.Time{}, ""},
		{"gitea, a form", gitea, teaFormHeaders(teaSignature), teaForm, time.Time{}, ""},
		{"gitea, a form signed as GitHub does", gitea, teaFormHeaders(teaOfForm), teaForm, time.Time{}, "does not match the JSON"},
		{"gitea, other body", gitea, headers("X-Gitea-Signature", teaSignature), teaJSON + " ", time.Time{}, "does not match the JSON"},
		{"gitea, a form with another field", gitea, teaFormHeaders(teaSignature), teaForm + "&x=1", time.Time{}, "does not match the JSON"},
		{"gitea, a form whose JSON goes on", gitea, teaFormHeaders(teaSignature), teaForm + "+", time.Time{}, "does not match the JSON"},
		{"gitea, the form without its type", gitea, headers("X-Gitea-Signature", teaSignature), teaForm, time.Time{}, "does not match the JSON"},
		{"gitea, other secret", webhook.Connection{Host: event.Gitea, Secrets: []string{"new"}}, headers("X-Gitea-Signature", teaSignature), teaJSON, time.Time{}, "does not match the JSON"},
		{"gitea, empty secret", webhook.Connection{Host: event.Gitea, Secrets: []string{""}}, headers("X-Gitea-Signature", teaNoKey), teaJSON, time.Time{}, "does not match the JSON"},
		{"gitea, no signature", gitea, headers("X-Gitea-Event", "push"), teaJSON, time.Time{}, "are missing"},
		{"gitea, no secret there", gitea, headers("X-Gitea-Signature", "", "X-Gogs-Signature", "", "X-Hub-Signature-256", "sha256="), teaJSON, time.Time{}, "X-Gitea-Signature is empty"},
		{"gitea, GitHub's prefix", gitea, headers("X-Gitea-Signature", "sha256="+teaSignature), teaJSON, time.Time{}, "not hexadecimal"},
		{"gitea, short", gitea, headers("X-Gitea-Signature", "00"), teaJSON, time.Time{}, "64 digits"},
		{"gitea, gogs", gitea, headers("X-Gogs-Signature", teaSignature), teaJSON, time.Time{}, ""},
		{"forgejo", gitea, headers("X-Forgejo-Signature", teaSignature, "X-Gitea-Signature", teaSignature, "X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+teaSignature), teaJSON, time.Time{}, ""},
		{"forgejo comes first", gitea, headers("X-Forgejo-Signature", teaOfForm, "X-Gitea-Signature", teaSignature), teaJSON, time.Time{}, "X-Forgejo-Signature does not match"},
		{"forgejo, empty", gitea, headers("X-Forgejo-Signature", "", "X-Gitea-Signature", teaSignature), teaJSON, time.Time{}, "X-Forgejo-Signature is empty"},
		{"gitea gets GitHub's", gitea, headers("X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+teaSignature), teaJSON, time.Time{}, "as in a delivery of GitHub"},
		// With GitHub's headers and a signature that is right for JSON.
		{"github gets Gitea's", github, headers("X-Gitea-Event", "push", "X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+teaSignature), teaJSON, time.Time{}, "give this connection the kind gitea"},
		{"github gets Forgejo's", github, headers("X-Forgejo-Event", "push", "X-GitHub-Event", "push", "X-Hub-Signature-256", "sha256="+teaSignature), teaJSON, time.Time{}, "X-Forgejo-Event"},
		{"github gets what Gitea does not sign", github, headers("X-Gitea-Signature", "", "X-Hub-Signature-256", "sha256="), teaJSON, time.Time{}, "of Gitea or Forgejo"},

		{"unknown host", webhook.Connection{Host: "svn", Secrets: []string{"x"}}, headers(), push, time.Time{}, "unknown host"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			err := webhook.Verify(tc.c, tc.header, []byte(tc.body), tc.now)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, webhook.ErrSignature) {
				t.Fatalf("error is %v, want one that is ErrSignature", err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %q, want it to hold %q", err, tc.want)
			}
			for _, secret := range append(tc.c.Secrets, tc.c.SigningTokens...) {
				if len(secret) > 3 && strings.Contains(err.Error(), secret) {
					t.Errorf("error shows the secret: %q", err)
				}
			}
		})
	}
}

// TestVerifyLongForm: a form is unescaped in pieces, and none of them ends within a
// character that is escaped.
func TestVerifyLongForm(t *testing.T) {
	c := connection(event.Gitea)
	for spaces := range 6 {
		body := strings.Repeat(" ", spaces) + `{"x":"` + strings.Repeat("é€a", 20_000) + `"}`
		header := headers("Content-Type", "application/json")
		if _, err := webhook.Sign(c, header, []byte(body), time.Time{}); err != nil {
			t.Fatal(err)
		}
		header.Set("Content-Type", "application/x-www-form-urlencoded")
		if err := webhook.Verify(c, header, []byte("payload="+url.QueryEscape(body)), time.Time{}); err != nil {
			t.Errorf("%d spaces: %v", spaces, err)
		}
	}
}

func TestSentAt(t *testing.T) {
	for _, tc := range []struct {
		host   event.Host
		header http.Header
		want   time.Time
		ok     bool
	}{
		{event.Gitee, headers("X-Gitee-Timestamp", "1767225600123"), time.Date(2026, 1, 1, 0, 0, 0, 123e6, time.UTC), true},
		{event.GitLab, headers("webhook-timestamp", "1767225600"), time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), true},
		{event.GitLab, headers("webhook-timestamp", "soon"), time.Time{}, false},
		{event.Gitee, headers(), time.Time{}, false},
		{event.GitHub, headers("X-Gitee-Timestamp", "1767225600123"), time.Time{}, false},
	} {
		got, ok := webhook.SentAt(webhook.Connection{Host: tc.host}, tc.header)
		if ok != tc.ok || ok && !got.Equal(tc.want) {
			t.Errorf("%s %v: %s %t, want %s %t", tc.host, tc.header, got, ok, tc.want, tc.ok)
		}
	}
}

// TestSign: old signatures go, ids stay, and a Gitee body changes in three
// members only.
func TestSign(t *testing.T) {
	now := time.UnixMilli(1767225600123)
	t.Run("github", func(t *testing.T) {
		h := headers("X-Hub-Signature", "sha1=old", "X-Hub-Signature-256", "sha256=old", "X-GitHub-Delivery", "d1")
		if _, err := webhook.Sign(connection(event.GitHub), h, []byte("{}"), now); err != nil {
			t.Fatal(err)
		}
		if h.Get("X-Hub-Signature") != "" || h.Get("X-GitHub-Delivery") != "d1" {
			t.Errorf("headers are %v", h)
		}
	})
	t.Run("gitlab without signing token", func(t *testing.T) {
		c := webhook.Connection{Name: "gl", Host: event.GitLab, Secrets: []string{"tok"}}
		h := headers("webhook-signature", "v1,old", "webhook-timestamp", "1", "X-Gitlab-Token", "old", "Idempotency-Key", "k1")
		if _, err := webhook.Sign(c, h, []byte("{}"), now); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(headers("X-Gitlab-Token", "tok", "Idempotency-Key", "k1"), h); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
	})
	t.Run("gitlab id", func(t *testing.T) {
		h := headers("Idempotency-Key", "k1")
		if _, err := webhook.Sign(connection(event.GitLab), h, []byte("{}"), now); err != nil {
			t.Fatal(err)
		}
		if h.Get("webhook-id") != "k1" {
			t.Errorf("webhook-id is %q, want the Idempotency-Key", h.Get("webhook-id"))
		}
	})
	t.Run("gitee sign body", func(t *testing.T) {
		h := headers()
		got, err := webhook.Sign(connection(event.Gitee), h, []byte("{ \"password\" : \"old\",\n\"sign\":\"old\", \"n\":[1 , {\"sign\":\"inner\"}],\"timestamp\": 12 }\n"), now)
		if err != nil {
			t.Fatal(err)
		}
		want := "{ \"password\" : \"\",\n\"sign\":\"" + h.Get("X-Gitee-Token") + "\", \"n\":[1 , {\"sign\":\"inner\"}],\"timestamp\": 1767225600123 }\n"
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
	})
	t.Run("gitee password body", func(t *testing.T) {
		c := webhook.Connection{Name: "ge", Host: event.Gitee, Mode: webhook.ModePassword, Secrets: []string{`pa"ss<`}}
		got, err := webhook.Sign(c, headers(), []byte(`{"password":"","sign":"x","timestamp":"1"}`), now)
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"password":"pa\"ss<","sign":"","timestamp":"1767225600123"}`; string(got) != want {
			t.Errorf("body is %s, want %s", got, want)
		}
	})
	t.Run("gitea", func(t *testing.T) {
		h := headers("X-Forgejo-Event", "push", "X-Gitea-Event", "push", "X-Gogs-Signature", "old", "X-Hub-Signature", "sha1=old", "X-Hub-Signature-256", "old", "X-GitHub-Event", "push")
		body, err := webhook.Sign(connection(event.Gitea), h, []byte(`{}`), now)
		if err != nil || string(body) != `{}` {
			t.Fatalf("body %s, error %v", body, err)
		}
		signature := h.Get("X-Gitea-Signature")
		want := headers("X-Forgejo-Event", "push", "X-Gitea-Event", "push", "X-GitHub-Event", "push",
			"X-Forgejo-Signature", signature, "X-Gitea-Signature", signature, "X-Gogs-Signature", signature, "X-Hub-Signature-256", "sha256="+signature)
		if diff := cmp.Diff(want, h); diff != "" {
			t.Errorf("headers (-want +got):\n%s", diff)
		}
		h = headers()
		if _, err := webhook.Sign(connection(event.Gitea), h, []byte(`{}`), now); err != nil || h.Get("X-Gitea-Signature") != signature || h.Get("X-Forgejo-Signature") != "" {
			t.Errorf("headers %v, error %v", h, err)
		}
	})
	t.Run("a delivery of Gitea as GitHub's", func(t *testing.T) {
		h := headers("X-Gitea-Event", "push", "X-GitHub-Event", "push")
		if _, err := webhook.Sign(connection(event.GitHub), h, []byte(`{}`), now); err == nil || !strings.Contains(err.Error(), "X-Gitea-Event") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("gitee body that is not an object", func(t *testing.T) {
		for _, body := range []string{``, `[]`, `{"sign":"x"`, `{"sign"}`, `nonsense`} {
			got, err := webhook.Sign(connection(event.Gitee), headers(), []byte(body), now)
			if err != nil || string(got) != body {
				t.Errorf("%s became %s, error %v", body, got, err)
			}
		}
	})
	t.Run("no secret", func(t *testing.T) {
		for _, c := range []webhook.Connection{
			{Host: event.GitHub}, {Host: event.GitHub, Secrets: []string{""}}, {Host: event.GitLab},
			{Host: event.GitHub, SigningTokens: []string{signingToken}}, {Host: "svn", Secrets: []string{"x"}},
			{Host: event.GitLab, SigningTokens: []string{"whsec_"}},
		} {
			if _, err := webhook.Sign(c, headers(), nil, now); err == nil {
				t.Errorf("signed for %+v", c)
			}
		}
	})
}

func TestReadHeaders(t *testing.T) {
	got, err := webhook.ReadHeaders(strings.NewReader("\nPOST /webhooks/x HTTP/1.1\r\nx-github-event: push\r\n\r\nX-Two: a: b\nX-Two:c\nX-Empty:\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{"X-Github-Event": {"push"}, "X-Two": {"a: b", "c"}, "X-Empty": {""}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
	for text, line := range map[string]string{
		"A: b\nsecret words\n":                "line 2",
		"A: b\nPOST /x HTTP/1.1\n":            "line 2",
		": secret\n":                          "line 1",
		"a secret: b\n":                       "line 1",
		"A: " + strings.Repeat("x", 70<<10):   "longer",
		"A: b\n" + strings.Repeat("y", 1<<20): "longer",
	} {
		_, err := webhook.ReadHeaders(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), line) || strings.Contains(err.Error(), "secret") {
			t.Errorf("error is %v, want one that says %q and shows no text", err, line)
		}
	}
}

// TestConnectionShowsNoSecret: a connection that ends up in a log line or an
// error is its name.
func TestConnectionShowsNoSecret(t *testing.T) {
	if got := fmt.Sprintf("%v %+v %s", connection(event.GitLab), connection(event.GitLab), connection(event.GitLab)); got != "the-gitlab the-gitlab the-gitlab" {
		t.Errorf("printed as %s", got)
	}
}
