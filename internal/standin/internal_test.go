package standin

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// TestCanonicalRequest holds every vector of specs/codearts-check.md 4.4, also
// those of paths that are not served.
func TestCanonicalRequest(t *testing.T) {
	raw, err := os.ReadFile("testdata/signatures.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, Method, URL, Body string
		Headers                 map[string]string
		Authorization           string
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	for _, v := range vectors {
		req := httptest.NewRequest(v.Method, v.URL, nil)
		for name, value := range v.Headers {
			req.Header.Set(name, value)
		}
		opts := Options{SecretKey: "SKexample/secret+key0000000000000000001", SecurityToken: v.Headers["x-security-token"]}
		sent, ok := parseAuthorization(v.Authorization)
		if !ok {
			t.Fatalf("%s: authorization is not read", v.Name)
		}
		now, _ := time.Parse(signatureTime, v.Headers["x-sdk-date"])
		if reason := newKeys(opts).refusal(&call{http: req, body: []byte(v.Body)}, sent, now); reason != "" {
			t.Errorf("%s: %s", v.Name, reason)
		}
	}
	if len(vectors) != 5 {
		t.Errorf("%d vectors", len(vectors))
	}
}

func TestRepositoryKey(t *testing.T) {
	same := [][]string{
		{
			"https://GitHub.com/Acme/API.git", "https://github.com/acme/api", "http://github.com/acme/api/", "git@github.com:acme/api.git",
			"ssh://git@github.com/acme/api.git", "ssh://git@github.com:22/acme/api", "https://github.com:443/acme/api.git", "https://user:pw@github.com/acme/api",
			"github.com:acme/api",
		},
		{"https://git.example.com:8443/a/b.git", "https://git.example.com:8443/A/B"},
		{"https://git.example.com/a/b.git"},
		{"http://127.0.0.1:3000/a/b.git"},
		{"https://gitlab.com/group/sub/api.git", "git@gitlab.com:group/sub/api"},
		{"/srv/git/api"},
	}
	seen := map[string]string{}
	for _, group := range same {
		want := repositoryKey(group[0])
		if other, ok := seen[want]; ok {
			t.Errorf("%s and %s are the same", group[0], other)
		}
		seen[want] = group[0]
		for _, url := range group {
			if got := repositoryKey(url); got != want {
				t.Errorf("%s gives %q, %s gives %q", url, got, group[0], want)
			}
		}
	}
}

func TestCountLines(t *testing.T) {
	tests := []struct {
		language, text string
		want           lineCounts
	}{
		{"Go", "package a\n\n// one\n/* two\nthree */\nvar x = 1 // no\n", lineCounts{total: 6, code: 2, comment: 3, blank: 1}},
		{"Go", "/* one */\nvar x = 1", lineCounts{total: 2, code: 1, comment: 1}},
		{"Shell", "#!/bin/sh\n \necho hi\n", lineCounts{total: 3, code: 1, comment: 1, blank: 1}},
		{"HTML", "<!-- a\n\nb -->\n<p>\n", lineCounts{total: 4, code: 1, comment: 2, blank: 1}},
		{"Lua", "--[[ a\nb ]]\n-- c\nx = 1\n", lineCounts{total: 4, code: 1, comment: 3}},
		{"", "a\n\n", lineCounts{total: 2, code: 1, blank: 1}},
		{"Go", "", lineCounts{}},
	}
	for _, test := range tests {
		if got := countLines(test.language, []byte(test.text)); got != test.want {
			t.Errorf("%s %q: %+v, want %+v", test.language, test.text, got, test.want)
		}
	}
}

func TestScanYAML(t *testing.T) {
	for name, test := range map[string]struct {
		text    string
		line    int
		message string
	}{
		"right":         {text: "a: [1, 2]\nb: &x {c: d}\ne: *x\n"},
		"two documents": {text: "a: 1\n---\nb: 2\n"},
		"empty":         {text: ""},
		"open bracket":  {"a: [1\nb: 2\n", 2, "syntax error: did not find expected ',' or ']'"},
		"second is bad": {"a: 1\n---\nb: 'x\n", 4, "syntax error: found unexpected end of stream"},
		"no anchor":     {"a: 1\nb: *x\n", 2, "syntax error: unknown anchor 'x' referenced"},
		"not text":      {"a: \xff\n", 1, "syntax error: invalid leading UTF-8 octet (value: 255)"},
		"too deep":      {strings.Repeat("[", 200_000), 1, "syntax error: exceeded max depth of 10000"},
	} {
		t.Run(name, func(t *testing.T) {
			var line int
			var message string
			for _, d := range scanYAML([]byte(test.text)) {
				line, message = d.Line, d.Message
			}
			if line != test.line || message != test.message {
				t.Errorf("line %d: %q, want %d: %q", line, message, test.line, test.message)
			}
		})
	}
}

// FuzzAuthorization feeds the signature check with what strangers may send: it
// never believes a signature that it did not compute, and never panics.
func FuzzAuthorization(f *testing.F) {
	f.Add("SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature=00", "20260301T083015Z", "/v2/a b/%2F?x=1&x")
	f.Add("SDK-HMAC-SHA256 Access=AK,SignedHeaders=,Signature=", "", "/")
	f.Fuzz(func(t *testing.T, authorization, date, target string) {
		req := httptest.NewRequest("GET", "/", nil)
		req.URL.Path, req.URL.RawQuery, _ = strings.Cut(target, "?")
		req.Header.Set("Authorization", authorization)
		req.Header.Set("X-Sdk-Date", date)
		now := time.Date(2026, 3, 1, 8, 30, 15, 0, time.UTC)
		k := newKeys(Options{AccessKey: "AK", SecretKey: newID(), Now: func() time.Time { return now }})
		if _, ok := k.verify(&call{http: req}); ok {
			t.Fatal("believed")
		}
	})
}

// FuzzScan feeds the scanners with any text under names that choose them.
func FuzzScan(f *testing.F) {
	for _, name := range []string{"a.go", "a.json", "a.yaml", "a.sh"} {
		f.Add(name, "package a\n{[(\"\x00 if")
		f.Add(name, "")
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		var r report
		if err := r.scanFile(t.Context(), name, []byte(text)); err != nil {
			t.Fatal(err)
		}
		for _, d := range r.Defects {
			if !hexID(d.ID) || d.Line < 1 || d.Message == "" {
				t.Errorf("defect %+v", d)
			}
		}
		if c := r.Lines; c.total != c.code+c.comment+c.blank {
			t.Errorf("lines %+v", c)
		}
	})
}
