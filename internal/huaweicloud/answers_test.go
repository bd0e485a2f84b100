package huaweicloud

import (
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answerCase is one of testdata/answers: what a service answers, and what our error says
// behind the operation; empty where there is none.
type answerCase struct {
	Status int               `json:"status"`
	Header map[string]string `json:"header"`
	Body   string            `json:"body"`
	// Repeat is sent Times times instead of the body.
	Repeat string `json:"repeat"`
	Times  int    `json:"times"`
	// Length is the length that the answer claims.
	Length int `json:"length"`
	// Stall: after the body nothing comes any more.
	Stall bool `json:"stall"`

	Want string `json:"want"`
	// MayHaveActed and Retryable are what a signed call that is not safe must know.
	MayHaveActed bool `json:"may_have_acted"`
	Retryable    bool `json:"retryable"`
}

// TestAnswers sends each answer of testdata/answers to a signed call.
func TestAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/answers/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			c := answerCase{Status: 200}
			readJSON(t, file, &c)
			over := make(chan struct{})
			server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Date"] = nil
				for name, value := range c.Header {
					w.Header().Set(name, value)
				}
				if c.Length > 0 {
					w.Header().Set("Content-Length", strconv.Itoa(c.Length))
				}
				w.WriteHeader(c.Status)
				_, _ = w.Write([]byte(c.Body + strings.Repeat(c.Repeat, c.Times)))
				if c.Stall {
					_ = http.NewResponseController(w).Flush()
					<-over
				}
			})
			t.Cleanup(func() { close(over) })
			at := newClock()
			signer, err := NewSigner(SignerOptions{AccessKey: testAccess, SecretKey: testSecret, Now: at.now})
			if err != nil {
				t.Fatal(err)
			}
			o := Options{Auth: signer, Now: at.now, MaxAnswer: 64 << 10}
			if c.Stall {
				o.Timeout = 50 * time.Millisecond
			}
			var out struct {
				ExecID string `json:"exec_id"`
			}
			err = newClient(t, server, o).Do(t.Context(), Call{Operation: "run task", Method: "POST", Path: "/x", Body: struct{}{}}, &out)
			if c.Want == "" {
				if err != nil || out.ExecID != "" {
					t.Errorf("%v, %+v", err, out)
				}
				return
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("no *Error: %v", err)
			}
			if got := strings.TrimPrefix(e.Error(), "run task: "); got != c.Want {
				t.Errorf("error text\n got %s\nwant %s", got, c.Want)
			}
			if e.Retryable() != c.Retryable || c.MayHaveActed && e.NotSent() {
				t.Errorf("Retryable is %v, NotSent is %v", e.Retryable(), e.NotSent())
			}
		})
	}
}
