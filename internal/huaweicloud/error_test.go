package huaweicloud

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

type wantError struct {
	Code       string `json:"code"`
	Message    string `json:"message"`
	RequestID  string `json:"request_id"`
	Retryable  bool   `json:"retryable"`
	Passing    bool   `json:"passing"`
	NotSent    bool   `json:"not_sent"`
	Auth       bool   `json:"auth"`
	NotFound   bool   `json:"not_found"`
	Busy       bool   `json:"busy"`
	RetryAfter string `json:"retry_after"`
}

type errorCase struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
	Want   *wantError        `json:"want"`
}

// Every documented error shape, over HTTP.
func TestErrorShapes(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			var c errorCase
			readJSON(t, file, &c)
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, value := range c.Header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(c.Status)
				_, _ = w.Write([]byte(c.Body))
			})
			client := newClient(t, server, Options{})
			err := client.Do(t.Context(), Call{Operation: "run task", Method: "POST", Path: "/x", Body: struct{}{}}, nil)
			if c.Want == nil {
				if err != nil {
					t.Fatalf("a good answer gave the error %v", err)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("want an *Error, got %v", err)
			}
			got := wantError{Code: e.Code, Message: e.Message, RequestID: e.RequestID, Retryable: e.Retryable(),
				Passing: e.transient(), NotSent: e.NotSent(), Auth: e.kind == kindCredentialsRefused, NotFound: e.NotFound(), Busy: e.Busy()}
			if e.RetryAfter() > 0 {
				got.RetryAfter = e.RetryAfter().String()
			}
			if diff := cmp.Diff(*c.Want, got); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if e.Status != c.Status || !strings.HasPrefix(e.Error(), "run task: ") {
				t.Errorf("status %d, text %q", e.Status, e.Error())
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 30, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"-3":                            0,
		"soon":                          0,
		"12":                            12 * time.Second,
		"86400":                         longestRetryAfter,
		"99999999999999":                longestRetryAfter,
		"Sun, 01 Mar 2026 08:31:00 GMT": time.Minute,
		"Sun, 01 Mar 2026 08:29:00 GMT": 0,
		"Mon, 02 Mar 2026 08:29:00 GMT": longestRetryAfter,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("Retry-After %q: %s, want %s", value, got, want)
		}
	}
}

// Whatever answers, reading its error neither panics nor lets control
// characters, long texts or broken UTF-8 through.
func FuzzReadError(f *testing.F) {
	files, err := filepath.Glob("testdata/errors/*.json")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		var c errorCase
		b, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(b, &c)
		}
		if err != nil {
			f.Fatal(err)
		}
		f.Add(c.Status, []byte(c.Body))
	}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		e := readError(status, http.Header{}, body, strings.ToLower)
		if e == nil {
			return
		}
		text := e.Error()
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\n\r\x00\x1b") || utf8.RuneCountInString(text) > 3*longestMessage+100 {
			t.Errorf("unfit error text %q", text)
		}
	})
}
