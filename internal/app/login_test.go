package app_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
)

// TestLoginPage: whoever is not logged in sees the login page as the other pages look, and nothing else.
func TestLoginPage(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLiteWith(t, demo.Options{Server: func(text string) string {
		return strings.Replace(text, "auth: ${AUTH}", "auth: {proxy: {trusted_proxies: [192.0.2.1]}}", 1)
	}})
	get := func(path string) (status int, kind, text string) {
		client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := client.Get(d.Private() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, answer.Header.Get("Content-Type"), string(body)
	}
	_, _, page := get("/login")
	style := regexp.MustCompile(`<link rel="stylesheet" href="([^"]+)">`).FindStringSubmatch(page)
	if style == nil || !strings.Contains(page, "Nobody can log in here") {
		t.Fatalf("the login page: %s", page)
	}
	if status, kind, text := get(style[1]); status != http.StatusOK || !strings.HasPrefix(kind, "text/css") || !strings.Contains(text, "main.login") {
		t.Errorf("%s: %d %s", style[1], status, kind)
	}
	for _, path := range []string{"/", "/runs", "/assets/nothing.css", "/assets/../runs", "/assets/..%2fruns", "/assets"} {
		if status, _, text := get(path); status == http.StatusOK || strings.Contains(text, "acme") {
			t.Errorf("%s is answered %d to a stranger: %s", path, status, text)
		}
	}
}
