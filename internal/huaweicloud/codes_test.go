package huaweicloud

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
)

// TestCodes holds what each code of specs/codearts-check.md 5.2 means, in both forms that
// the editions print, with the status 200 of the table and with 400.
func TestCodes(t *testing.T) {
	var rows []struct{ Code, Message, Means string }
	readJSON(t, "testdata/codes.json", &rows)
	for _, row := range rows {
		for _, form := range []string{"", ".400", ".500"} {
			for _, status := range []int{http.StatusOK, http.StatusBadRequest} {
				t.Run(row.Code+form+" "+http.StatusText(status), func(t *testing.T) {
					e := answered(t, status, row.Code+form, row.Message)
					means := row.Means
					if means == "nothing" && form == ".400" {
						means = "before"
					}
					certain := means == "before" || means == "forbidden" || means == "gone" || means == "busy" || means == "credentials" ||
						means == "nothing" && status == http.StatusBadRequest
					if e.NotSent() != certain {
						t.Errorf("NotSent %v, want %v", e.NotSent(), certain)
					}
					if want := means == "passes" || means == "busy" || means == "credentials"; e.Retryable() != want {
						t.Errorf("Retryable %v, want %v", e.Retryable(), want)
					}
					if want := means == "before"; e.ParametersRefused() != want {
						t.Errorf("ParametersRefused %v, want %v", e.ParametersRefused(), want)
					}
					for what, is := range map[string]bool{
						"busy": e.Busy(), "gone": e.NotFound(), "forbidden": e.Forbidden(), "credentials": e.CredentialsRefused(), "create failed": e.CreateFailed(),
					} {
						if is != (means == what) {
							t.Errorf("%s: %v", what, is)
						}
					}
				})
			}
		}
	}
}

// TestPipelineCodes holds what each code of CodeArts Pipeline means (specs/codearts-check.md
// 3.6), with the status 400 and in the body of a 200.
func TestPipelineCodes(t *testing.T) {
	for code, means := range map[string]string{
		"DEVPIPE.00011401": "gone", "DEVPIPE.00011412": "gone", "DEVPIPE.30021001": "gone", "DEV_21_100169": "gone", "DEVPIPE.00011136": "gone",
		"DEVPIPE.30011011": "forbidden", "DEVPIPE.00011169": "queued", "DEVPIPE.00011170": "queued", "DEVPIPE.00099999": "nothing",
	} {
		for _, status := range []int{http.StatusOK, http.StatusBadRequest} {
			e := answered(t, status, code, "the service's words")
			certain := means == "gone" || means == "forbidden" || means == "nothing" && status == http.StatusBadRequest
			if e.NotSent() != certain || e.Retryable() {
				t.Errorf("%s with %d: NotSent %v, Retryable %v", code, status, e.NotSent(), e.Retryable())
			}
			for what, is := range map[string]bool{"gone": e.NotFound(), "forbidden": e.Forbidden(), "queued": e.Queued(), "busy": e.Busy()} {
				if is != (means == what) {
					t.Errorf("%s with %d: %s %v", code, status, what, is)
				}
			}
		}
	}
}

// answered is the error of a call that a service answers with a code.
func answered(t *testing.T, status int, code, message string) *Error {
	t.Helper()
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error_code": code, "error_msg": message})
	})
	// Credentials that are refused are not used again for a while, so each call has its own client.
	err := newClient(t, server, Options{Retries: -1}).Do(t.Context(), Call{Operation: "run task", Method: "POST", Path: "/x", Body: struct{}{}}, nil)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("want an *Error, got %v", err)
	}
	if e.Code != code || !strings.Contains(e.Error(), message) {
		t.Errorf("error %q with code %q", e, e.Code)
	}
	return e
}
