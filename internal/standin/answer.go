package standin

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// bodyLimit is the gateway's for signed requests (specs/codearts-check.md 4.3).
const bodyLimit = 12 << 20

// call is one request on its way through the stand-in.
type call struct {
	http *http.Request
	body []byte
	// actor is who asks: the user of the token or the access key.
	actor string
	// missing and moved are faults of a git host.
	missing, moved bool
	// entry is what the journal will say of it.
	entry Call
}

func newCall(r *http.Request, rt route, now time.Time) *call {
	return &call{http: r, entry: Call{
		Time:      now.UTC(),
		Operation: rt.operation,
		Project:   r.PathValue("project_id"),
		Task:      r.PathValue("task_id"),
		Pipeline:  r.PathValue("pipeline_id"),
	}}
}

// readBody takes in the whole body, or returns the refusal of one too large.
func (c *call) readBody(w http.ResponseWriter) (answer, bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, c.http.Body, bodyLimit))
	if err == nil {
		c.body = body
		return answer{}, true
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return gatewayError(http.StatusRequestEntityTooLarge, "APIGW.0201", "Request entity too large"), false
	}
	return gatewayError(http.StatusBadRequest, "APIGW.0201", "Bad request"), false
}

func (c *call) project() string  { return c.http.PathValue("project_id") }
func (c *call) task() string     { return c.http.PathValue("task_id") }
func (c *call) pipeline() string { return c.http.PathValue("pipeline_id") }

func (c *call) query(name string) string { return c.http.URL.Query().Get(name) }

// number reads a query parameter between low and high; absent it is fallback.
func (c *call) number(name string, fallback, low, high int) (int, bool) {
	if !c.http.URL.Query().Has(name) {
		return fallback, true
	}
	n, err := strconv.Atoi(c.query(name))
	return n, err == nil && n >= low && n <= high
}

// object decodes the body into the struct that into points to. It reports false
// unless the body is exactly one JSON object. Unknown fields are ignored, as
// the services do.
func (c *call) object(into any) bool {
	if !bytes.HasPrefix(bytes.TrimSpace(c.body), []byte("{")) {
		return false
	}
	return json.Unmarshal(c.body, into) == nil
}

// text chooses the language of a message: Chinese unless X-Language says
// en-us (specs/codearts-check.md 1).
func (c *call) text(english, chinese string) string {
	if strings.EqualFold(c.http.Header.Get("X-Language"), "en-us") {
		return english
	}
	return chinese
}

// answer is what goes back. code repeats the error code for the journal.
type answer struct {
	status int
	header http.Header
	// body is sent as JSON; nil sends no body, a []byte is sent as it is.
	body any
	code string
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

func (a answer) write(w http.ResponseWriter) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	if w.Header().Get("X-Request-Id") == "" {
		w.Header().Set("X-Request-Id", newID())
	}
	raw, isRaw := a.body.([]byte)
	if !isRaw && a.body != nil {
		var buffer bytes.Buffer
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(a.body); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		raw = bytes.TrimRight(buffer.Bytes(), "\n")
		w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
	w.WriteHeader(a.status)
	_, _ = w.Write(raw) // a caller that went away cannot be told
}

// errorBody is the shape of CodeArts Check's, ServiceStage's and the gateway's
// errors (specs/codearts-check.md 5.1); the gateway adds the request id.
type errorBody struct {
	Code      string `json:"error_code"`
	Message   string `json:"error_msg"`
	RequestID string `json:"request_id,omitempty"`
}

func serviceError(status int, code, message string) answer {
	return answer{status: status, body: errorBody{Code: code, Message: message}, code: code}
}

func gatewayError(status int, code, message string) answer {
	id := newID()
	return answer{
		status: status,
		header: http.Header{"X-Request-Id": {id}},
		body:   errorBody{Code: code, Message: message, RequestID: id},
		code:   code,
	}
}

// newID returns 32 random hex digits.
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}
