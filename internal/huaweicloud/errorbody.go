package huaweicloud

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// longestMessage bounds a service's text in errors, in runes.
const longestMessage = 300

// errorBody is the union of the shapes in specs/codearts-check.md 5.1.
type errorBody struct {
	ErrorCode    lax             `json:"error_code"`
	ErrorMsg     lax             `json:"error_msg"`
	ErrorMessage lax             `json:"error_message"`
	Code         lax             `json:"code"`
	Message      lax             `json:"message"`
	RequestID    lax             `json:"request_id"`
	Error        json.RawMessage `json:"error"`
	// The v1/v3/v4 envelope.
	HTTPStatus lax `json:"httpStatus"`
	Status     lax `json:"status"`
	Result     lax `json:"result"`
}

// lax is a string or a number, as text; anything else is the empty string.
type lax string

func (l *lax) UnmarshalJSON(b []byte) error {
	*l = ""
	if len(b) > 0 && b[0] == '"' {
		return json.Unmarshal(b, (*string)(l))
	}
	if len(b) > 0 && (b[0] == '-' || b[0] >= '0' && b[0] <= '9') {
		*l = lax(b)
	}
	return nil
}

// readError finds the error in an answer; nil when there is none. Below status
// 300 only an error_code, an error object or a failed envelope is one. The
// service's words go through scrub before they are shortened.
func readError(status int, header http.Header, body []byte, scrub func(string) string) *Error {
	e := &Error{Status: status, RequestID: requestID(header)}
	var parsed errorBody
	isObject := json.Unmarshal(body, &parsed) == nil
	if isObject {
		e.Code, e.Message = parsed.find()
		if e.RequestID == "" {
			e.RequestID = clean(string(parsed.RequestID))
		}
	}
	if status >= 200 && status < 300 {
		if !isObject || !parsed.failed() {
			return nil
		}
	} else if e.Message == "" {
		e.Message = textOf(status, header, body)
	}
	e.Code, e.Message = clean(scrub(e.Code)), clean(scrub(e.Message))
	if authRefused(status, e.Code) {
		e.kind = kindCredentialsRefused
	}
	return e
}

// failed reports whether the body of a 2xx answer is an error.
func (b errorBody) failed() bool {
	if b.ErrorCode != "" {
		return true
	}
	if nested, ok := b.nested(); ok && nested.Code+nested.ErrorCode != "" {
		return true
	}
	return b.envelopeFailed()
}

func (b errorBody) envelopeFailed() bool {
	switch strings.ToUpper(string(b.HTTPStatus)) {
	case "":
		return false
	case "INTERNAL_SERVER_ERROR", "BAD_REQUEST":
		return true
	}
	return strings.EqualFold(string(b.Status), "error")
}

// find gives code and message of whichever shape is there, in the order in
// which the official SDK looks (specs/codearts-check.md 9.4).
func (b errorBody) find() (code, message string) {
	if b.envelopeFailed() && b.ErrorCode == "" {
		return strings.ToUpper(string(b.HTTPStatus)), string(first(b.ErrorMsg, b.Message, b.Result))
	}
	code = string(first(b.ErrorCode, b.Code))
	message = string(first(b.ErrorMsg, b.ErrorMessage, b.Message))
	if code != "" || message != "" {
		return code, message
	}
	if nested, ok := b.nested(); ok {
		return string(first(nested.ErrorCode, nested.Code)), string(first(nested.ErrorMsg, nested.ErrorMessage, nested.Message))
	}
	return "", ""
}

// nested is the object under "error", as IAM and CodeArts Pipeline send it.
func (b errorBody) nested() (errorBody, bool) {
	var nested errorBody
	if !bytes.HasPrefix(bytes.TrimSpace(b.Error), []byte("{")) {
		return nested, false
	}
	return nested, json.Unmarshal(b.Error, &nested) == nil
}

func first(values ...lax) lax {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// requestID reads the header that names the exchange; IAM has its own.
func requestID(h http.Header) string {
	for _, name := range []string{"X-Request-Id", "X-IAM-Trace-Id"} {
		if id := h.Get(name); id != "" {
			return clean(id)
		}
	}
	return ""
}

// textOf says in words what an answer without a readable error is: a page's
// title, a plain text, or only what the status means.
func textOf(status int, header http.Header, body []byte) string {
	if status >= 300 && status < 400 {
		return "answer is a redirect, which is not followed: is the endpoint right?"
	}
	text := strings.TrimSpace(string(body))
	if strings.HasPrefix(text, "<") || strings.Contains(header.Get("Content-Type"), "html") {
		if m := htmlTitle().FindStringSubmatch(text); m != nil {
			return html.UnescapeString(m[1])
		}
		return http.StatusText(status)
	}
	if text == "" || strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		return http.StatusText(status)
	}
	return text
}

// undecodable says why an answer without an error in it cannot be read.
func undecodable(body []byte, err error) string {
	text := strings.TrimSpace(string(body[:min(len(body), 4<<10)]))
	if !strings.HasPrefix(text, "<") {
		return "answer cannot be understood: " + clean(err.Error())
	}
	if m := htmlTitle().FindStringSubmatch(text); m != nil {
		return clean("answer is a page and not JSON, with the title " + strconv.Quote(html.UnescapeString(m[1])) + ": is the endpoint right?")
	}
	return "answer is a page and not JSON: is the endpoint right?"
}

// clockDifference is how far our clock may be from a service's without being worth a word.
const clockDifference = time.Minute

// clockAdvice says, after a refused signature, that our clock is wrong: a service refuses
// signatures of another time; empty when it is right, or the answer has no date.
func clockAdvice(header http.Header, now time.Time) string {
	theirs, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return ""
	}
	off, side := now.Sub(theirs).Round(time.Second), "ahead of"
	if off < 0 {
		off, side = -off, "behind"
	}
	if off <= clockDifference {
		return ""
	}
	return fmt.Sprintf("; this machine's clock is %s %s the service's, and a signature of another time is refused: synchronize it (NTP)", off, side)
}

func htmlTitle() *regexp.Regexp {
	return regexp.MustCompile(`(?is)<title[^>]*>([^<]*)</title>`)
}

// clean makes text one line of printable characters, of bounded length.
func clean(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == unicode.ReplacementChar
	}), " ")
	if runes := []rune(text); len(runes) > longestMessage {
		return string(runes[:longestMessage]) + "…"
	}
	return text
}

// scrubber returns what removes from a text the credentials that req carries
// and the secrets.
func scrubber(req *http.Request, secrets []string) func(string) string {
	for _, name := range []string{"X-Auth-Token", "X-Security-Token", "Authorization"} {
		secrets = append(secrets[:len(secrets):len(secrets)], req.Header.Get(name))
	}
	if _, rest, ok := strings.Cut(req.Header.Get("Authorization"), "Access="); ok {
		access, _, _ := strings.Cut(rest, ",")
		secrets = append(secrets, access)
	}
	return func(text string) string {
		for _, secret := range secrets {
			if secret != "" {
				text = strings.ReplaceAll(text, secret, "***")
			}
		}
		return text
	}
}
