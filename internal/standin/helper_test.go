package standin_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/internal/standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	project   = "41b8df4bf53f4d51b8e6c5b32e8d2a07"
	region    = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
	pipeline  = "caf409b1-10df-483a-b14d-7b05f7e12c88"
	pipelines = "/v3/" + region + "/pipeline/pipelines"
)

// sample returns the options of Sample, made quick.
func sample(t *testing.T) standin.Options {
	t.Helper()
	opts, err := standin.Sample(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	opts.ScanDelay, opts.RegisterDelay = time.Millisecond, -1
	opts.Release.StopDelay, opts.Release.RestartDelay, opts.Release.RollbackDelay = -1, -1, -1
	return opts
}

// client speaks to one stand-in over HTTP with a token.
type client struct {
	t      *testing.T
	server *standin.Server
	url    string
	token  string
}

// serve starts a stand-in, which ends with the test, and gets a token.
func serve(t *testing.T, opts standin.Options) *client {
	t.Helper()
	server, err := standin.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(server.Handler())
	t.Cleanup(func() {
		listener.Close()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	c := &client{t: t, server: server, url: listener.URL}
	if opts.User != "" {
		c.token = c.login(opts)
	}
	return c
}

func loginBody(opts standin.Options) string {
	return `{"auth":{"identity":{"methods":["password"],"password":{"user":{"domain":{"name":"` + opts.Domain +
		`"},"name":"` + opts.User + `","password":"` + opts.Password + `"}}},"scope":{"project":{"name":"` + opts.RegionProject.Name + `"}}}}`
}

func (c *client) login(opts standin.Options) string {
	c.t.Helper()
	res, body := c.send(http.MethodPost, "/v3/auth/tokens?nocatalog=true", loginBody(opts), nil)
	if res.StatusCode != http.StatusCreated {
		c.t.Fatalf("login: %d %s", res.StatusCode, body)
	}
	return res.Header.Get("X-Subject-Token")
}

// send makes one request with the headers given and no others.
func (c *client) send(method, path, body string, headers map[string]string) (*http.Response, []byte) {
	c.t.Helper()
	res, raw, err := c.try(method, path, body, headers)
	if err != nil {
		c.t.Fatal(err)
	}
	return res, raw
}

func (c *client) try(method, path, body string, headers map[string]string) (*http.Response, []byte, error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	return res, raw, err
}

// call sends with the token and decodes the answer, which must have status.
func (c *client) call(status int, method, path, body string) map[string]any {
	c.t.Helper()
	res, raw := c.send(method, path, body, map[string]string{"X-Auth-Token": c.token, "Content-Type": "application/json"})
	if res.StatusCode != status {
		c.t.Fatalf("%s %s: status %d, want %d: %s", method, path, res.StatusCode, status, raw)
	}
	var decoded map[string]any
	if len(bytes.TrimSpace(raw)) > 0 {
		if err := json.Unmarshal(raw, &decoded); err != nil {
			c.t.Fatalf("%s %s: %v: %s", method, path, err, raw)
		}
	}
	return decoded
}

// until repeats look, at most for a minute, until it reports true.
func until(t *testing.T, what string, look func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for !look() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited a minute for %s", what)
		}
	}
}

// check runs a task with body and waits for the end; it returns the task_status
// and the execution id.
func (c *client) check(task, body string) (int, string) {
	c.t.Helper()
	started := c.call(http.StatusOK, http.MethodPost, "/v2/tasks/"+task+"/run", body)
	id, _ := started["exec_id"].(string)
	if id == "" {
		c.t.Fatalf("run: %v", started)
	}
	status := 0
	until(c.t, "the run to end", func() bool {
		progress := c.call(http.StatusOK, http.MethodGet, "/v2/tasks/"+task+"/progress?job_id="+id, "")
		number, ok := progress["task_status"].(float64)
		status = int(number)
		return ok && status != 0
	})
	return status, id
}

// readFile returns a file of testdata.
func readFile(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
