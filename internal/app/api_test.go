package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/api"
	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/evidence"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/view"
)

// token makes a token of a machine with a role.
func token(t *testing.T, d apptest.Service, role access.Role) string {
	t.Helper()
	text, stored, err := access.NewToken(string(role), role, "test", time.Now(), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Store().AddToken(t.Context(), stored); err != nil {
		t.Fatal(err)
	}
	return text
}

// apiClient asks the API of a service and holds each answer against the document.
type apiClient struct {
	service apptest.Service
	token   string
	// answered are the answers that were seen, such as "GET /runs 200".
	answered map[string]bool
	compiler *jsonschema.Compiler
	paths    map[string]map[string]struct {
		Responses map[string]struct {
			Content map[string]struct{ Schema json.RawMessage }
		}
	}
}

const documentURL = "https://gatewright.test/openapi.json"

func newAPIClient(t *testing.T, d apptest.Service, token string) *apiClient {
	t.Helper()
	c := &apiClient{service: d, token: token, answered: map[string]bool{}, compiler: jsonschema.NewCompiler()}
	_, _, text := c.send(t, http.MethodGet, "/openapi.json", "", nil)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c.compiler.AssertFormat()
	if err := c.compiler.AddResource(documentURL, document); err != nil {
		t.Fatal(err)
	}
	var told struct{ Paths json.RawMessage }
	if err := json.Unmarshal(text, &told); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(told.Paths, &c.paths); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *apiClient) send(t *testing.T, method, path, body string, header map[string]string) (int, http.Header, []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, c.service.Private()+api.Prefix+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if c.token != "" {
		request.Header.Set("Authorization", "Bearer "+c.token)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, text
}

// ask sends a request to a route of the document and fails unless the answer has the status, and is as the document
// says. route is the path in the document, in which each {…} is replaced by the next of ids.
func (c *apiClient) ask(t *testing.T, want int, method, route, query, body string, header map[string]string, ids ...string) []byte {
	t.Helper()
	path := route
	for _, id := range ids {
		begin, end := strings.Index(path, "{"), strings.Index(path, "}")
		path = path[:begin] + id + path[end+1:]
	}
	if query != "" {
		path += "?" + query
	}
	status, _, text := c.send(t, method, path, body, header)
	if status != want {
		t.Errorf("%s %s: status %d, want %d: %s", method, path, status, want, text)
		return text
	}
	operation, known := c.paths[route][strings.ToLower(method)]
	documented, listed := operation.Responses[strconv.Itoa(status)]
	if !known || !listed {
		t.Errorf("%s %s: the document does not have the answer %d", method, route, status)
		return text
	}
	c.answered[fmt.Sprintf("%s %s %d", method, route, status)] = true
	pointer := fmt.Sprintf("%s#/paths/%s/%s/responses/%d/content/application~1json/schema", documentURL, strings.ReplaceAll(strings.ReplaceAll(route, "~", "~0"), "/", "~1"), strings.ToLower(method), status)
	if _, isJSON := documented.Content["application/json"]; !isJSON {
		return text
	}
	schema, err := c.compiler.Compile(strings.NewReplacer("{", "%7B", "}", "%7D").Replace(pointer))
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("%s %s: the answer is not as the document says: %v\n%s", method, path, err, text)
	}
	return text
}

// TestAPI: each route answers real records as its document says, and refuses what it does not take.
func TestAPI(t *testing.T) { apptest.Each(t, demo.Options{}, testAPI) }

func testAPI(t *testing.T, d apptest.Service) {
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", SHA: d.World.Clean})
	d.Until(t, "it is released", apptest.Released)
	offer(t, d, event.GitLab, "2", "", d.World.Bad)
	r := d.Until(t, "all is checked and told", func(r demo.Records) bool { return len(r.Runs) >= 2 && r.Checked() && r.Told() && apptest.Released(r) })
	delivery, run := r.Deliveries[0].ID, r.Runs[0].ID
	release := r.Releases[slices.IndexFunc(r.Releases, func(r view.ReleaseDetail) bool { return r.Action == rules.ReleaseStart })].ID
	bad := r.Runs[len(r.Runs)-1]
	c := newAPIClient(t, d, token(t, d, access.Operator))
	get := func(want int, route, query string, ids ...string) []byte {
		t.Helper()
		return c.ask(t, want, http.MethodGet, route, query, "", nil, ids...)
	}
	post := func(want int, route, body string, header map[string]string, ids ...string) []byte {
		t.Helper()
		return c.ask(t, want, http.MethodPost, route, "", body, header, ids...)
	}
	get(200, "/openapi.json", "")
	get(200, "/health", "")
	var page view.Page[view.Run]
	if err := json.Unmarshal(get(200, "/runs", "limit=1"), &page); err != nil || len(page.Items) != 1 || page.Next == "" {
		t.Errorf("page %+v, error %v", page, err)
	}
	if err := json.Unmarshal(get(200, "/runs", "limit=1&cursor="+page.Next), &page); err != nil || len(page.Items) != 1 || page.Items[0].ID != run {
		t.Errorf("the second page is %+v, error %v", page, err)
	}
	get(400, "/runs", "limit=1&state=passed&cursor="+page.Next+"x")
	get(400, "/runs", "state=gone")
	get(400, "/runs", "page=2")
	get(400, "/runs", "limit=1&limit=2")
	get(200, "/deliveries", "search=main")
	get(200, "/releases", "actor=nobody")
	get(200, "/approvals", "state=approved&actor=nobody")
	get(200, "/missing", "after=1m")
	get(200, "/records/{id}", "", run[:len(run)-1])
	get(404, "/records/{id}", "", "ffff")
	get(400, "/records/{id}", "", run[:2])
	get(200, "/deliveries/{id}", "", delivery)
	get(200, "/runs/{id}", "", run)
	get(200, "/runs/{id}", "", bad.ID)
	get(200, "/releases/{id}", "", release)
	get(404, "/runs/{id}", "", release)
	get(404, "/releases/{id}", "", "%00")
	get(400, "/runs/{id}", "full=1", run)
	payload := get(200, "/deliveries/{id}/payload", "", delivery)
	if !strings.Contains(string(payload), d.World.Clean) {
		t.Errorf("the payload does not name the commit: %s", payload)
	}
	get(404, "/deliveries/{id}/payload", "", run)
	var found api.FindingsPage
	if err := json.Unmarshal(get(200, "/runs/{id}/findings", "limit=1", bad.ID), &found); err != nil || len(found.Items) != 1 || found.Next == "" || found.Count < 2 {
		t.Errorf("findings %+v, error %v", found, err)
	}
	first, second := found.Items[0].ID, found.Next
	if err := json.Unmarshal(get(200, "/runs/{id}/findings", "limit=1&cursor="+second, bad.ID), &found); err != nil || len(found.Items) != 1 || found.Items[0].ID == first {
		t.Errorf("the second page of findings is %+v, error %v", found, err)
	}
	get(400, "/runs/{id}/findings", "severity=major&cursor="+second, bad.ID)
	get(400, "/runs/{id}/findings", "severity=fatal", bad.ID)
	get(200, "/runs/{id}/findings", "severity=critical,major&baseline=new&search=go", bad.ID)
	get(404, "/runs/{id}/findings", "", delivery)
	get(200, "/runs/{id}/sarif", "", bad.ID)
	var overview view.Overview
	if err := json.Unmarshal(get(200, "/overview", ""), &struct{ Needs *[]view.Need }{&overview.Needs}); err != nil {
		t.Error(err)
	}
	get(400, "/overview", "limit=1")
	for _, id := range []string{delivery, run, release} {
		var change struct{ Delivery view.Delivery }
		if err := json.Unmarshal(get(200, "/changes/{id}", "", id), &change); err != nil || change.Delivery.ID != delivery {
			t.Errorf("the change of %s is of delivery %q, error %v", id, change.Delivery.ID, err)
		}
	}
	get(404, "/changes/{id}", "", run[:len(run)-1])
	get(404, "/changes/{id}", "", "ffff")
	testProof(t, c, get, release)
	get(200, "/rules", "")
	testEvaluate(t, d, post, delivery)
	testAPIOrders(t, c, get, post, run, release, delivery)
	get(200, "/actions", "action=rerun")

	for route, operations := range c.paths {
		for method := range operations {
			name := strings.ToUpper(method) + " " + route
			switch {
			case route == "/events":
				// TestEvents listens to it.
			case !c.answered[name+" 200"] && !c.answered[name+" 403"] && !c.answered[name+" 409"]:
				t.Errorf("nothing asked for %s", name)
			}
		}
	}
}

// testProof reads the audit log in pages, and the evidence of a release.
func testProof(t *testing.T, c *apiClient, get func(int, string, string, ...string) []byte, release string) {
	t.Helper()
	var page view.AuditPage
	cursor, rows := "", int64(0)
	for {
		var next view.AuditPage
		if err := json.Unmarshal(get(200, "/audit", "limit=2&cursor="+cursor), &next); err != nil {
			t.Fatal(err)
		}
		if len(page.Rows) > 0 && len(next.Rows) > 0 && (page.Rows[len(page.Rows)-1].Prev != next.Rows[0].Hash) {
			t.Errorf("row %d does not follow row %d", page.Rows[len(page.Rows)-1].Seq, next.Rows[0].Seq)
		}
		rows += int64(len(next.Rows))
		if page, cursor = next, next.Next; cursor == "" {
			break
		}
	}
	if rows < 3 || rows > page.NewestRow || len(page.NewestHash) != 64 {
		t.Errorf("%d rows, the newest is %d with hash %q", rows, page.NewestRow, page.NewestHash)
	}
	if err := json.Unmarshal(get(200, "/audit", "record="+release+"&action=ended&kind=release&since=1h"), &page); err != nil || len(page.Rows) != 1 || page.Rows[0].RecordID != release {
		t.Errorf("the end of the release: %+v, error %v", page.Rows, err)
	}
	for _, query := range []string{"kind=gone", "cursor=x", "cursor=0", "limit=0", "limit=501", "since=soon", "state=held"} {
		get(400, "/audit", query)
	}
	apptest.WaitFor(t, "evidence", func() bool {
		status, _, _ := c.send(t, http.MethodGet, "/releases/"+release+"/evidence", "", nil)
		return status == http.StatusOK
	})
	bundle := get(200, "/releases/{id}/evidence", "", release)
	_, header, _ := c.send(t, http.MethodGet, "/releases/"+release+"/evidence", "", nil)
	if want := "attachment; filename=evidence-" + release + ".json"; header.Get("Content-Disposition") != want {
		t.Errorf("disposition %q, want %q", header.Get("Content-Disposition"), want)
	}
	if result, err := evidence.Verify(bundle, nil); err != nil || len(result.Problems) > 0 || result.ReleaseID != release {
		t.Errorf("the evidence: %+v, error %v", result, err)
	}
	get(404, "/releases/{id}/evidence", "", "ffff")
}

type poster func(want int, route, body string, header map[string]string, ids ...string) []byte

func testEvaluate(t *testing.T, d apptest.Service, post poster, delivery string) {
	t.Helper()
	var answer api.Evaluation
	before, err := d.Records(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(post(200, "/rules/evaluate", fmt.Sprintf(`{"delivery_id": %q, "all_rules": true}`, delivery), nil), &answer); err != nil || answer.Decision == nil || len(answer.Decision.Matches) == 0 {
		t.Errorf("evaluation %+v, error %v", answer, err)
	}
	pasted := fmt.Sprintf(`{"connection": "github", "headers": {"X-GitHub-Event": "ping"}, "payload": %s}`, `{"zen": "x"}`)
	post(200, "/rules/evaluate", pasted, nil)
	for body, want := range map[string]int{
		`{`: 400, `[]`: 400, `{"delivery_id": "x", "more": 1}`: 400, `{"delivery_id": 7}`: 400, `{} {}`: 400, `{}`: 422, `{"connection": "github"}`: 422,
		`{"delivery_id": "ffff"}`: 404, `{"connection": "nobody", "payload": {}}`: 422, `{"connection": "github", "headers": {"X-GitHub-Event": "push"}, "payload": "no JSON"}`: 422,
		`{"connection": "github", "delivery_id": "x", "payload": {}}`: 422, `{"connection": "github", "payload": "` + strings.Repeat("x", 9<<20) + `"}`: 413,
	} {
		post(want, "/rules/evaluate", body, nil)
	}
	post(415, "/rules/evaluate", `{}`, map[string]string{"Content-Type": "text/plain"})
	after, err := d.Records(t.Context())
	if err != nil || len(after.Deliveries) != len(before.Deliveries) || len(after.Runs) != len(before.Runs) {
		t.Errorf("evaluating stored something, error %v", err)
	}
}

func testAPIOrders(t *testing.T, c *apiClient, get func(int, string, string, ...string) []byte, post poster, run, release, delivery string) {
	t.Helper()
	etag := func(path string) map[string]string {
		t.Helper()
		_, header, _ := c.send(t, http.MethodGet, path, "", nil)
		return map[string]string{"If-Match": header.Get("ETag")}
	}
	const why = `{"reason": "the scanner is mended"}`
	post(428, "/runs/{id}/rerun", why, nil, run)
	post(412, "/runs/{id}/rerun", why, map[string]string{"If-Match": `"99999"`}, run)
	post(400, "/runs/{id}/rerun", why, map[string]string{"If-Match": `W/"1"`}, run)
	post(422, "/runs/{id}/rerun", `{"reason": "  "}`, etag("/runs/"+run), run)
	post(400, "/runs/{id}/rerun", `{"reason": "x", "actor": "ann"}`, etag("/runs/"+run), run)
	post(404, "/runs/{id}/rerun", why, map[string]string{"If-Match": "*"}, "ffff")
	post(404, "/runs/{id}/rerun", why, map[string]string{"If-Match": "*"}, release)
	post(413, "/runs/{id}/rerun", `{"reason": "`+strings.Repeat("x", 70<<10)+`"}`, etag("/runs/"+run), run)
	post(415, "/runs/{id}/rerun", why, map[string]string{"Content-Type": "application/xml", "If-Match": "*"}, run)
	post(409, "/runs/{id}/stop", why, etag("/runs/"+run), run)
	var done view.Done
	if err := json.Unmarshal(post(200, "/runs/{id}/rerun", why, etag("/runs/"+run), run), &done); err != nil || len(done.Runs) != 1 || done.Runs[0].RerunOf != run || done.Action == nil || done.Action.Reason != "the scanner is mended" {
		t.Errorf("the rerun did %+v, error %v", done, err)
	}
	post(409, "/runs/{id}/rerun", why, map[string]string{"If-Match": "*"}, run)
	post(200, "/deliveries/{id}/replay", why, etag("/deliveries/"+delivery), delivery)
	post(422, "/releases/{id}/resolve", `{"reason": "x", "as": "done"}`, etag("/releases/"+release), release)
	post(409, "/releases/{id}/resolve", `{"reason": "x", "as": "failed"}`, etag("/releases/"+release), release)
	// It has succeeded: nothing in it can be retried, goes on or can be stopped.
	for _, action := range []string{"pipeline/retry", "pipeline/continue", "pipeline/stop"} {
		post(409, "/releases/{id}/"+action, why, etag("/releases/"+release), release)
	}
	post(200, "/releases/{id}/pipeline/rollback", why, etag("/releases/"+release), release)
	post(409, "/releases/{id}/rerun", why, etag("/releases/"+release), release)
	// A machine decides nothing that takes a person.
	post(403, "/releases/{id}/approve", why, etag("/releases/"+release), release)
	post(403, "/releases/{id}/refuse", why, etag("/releases/"+release), release)
	post(403, "/releases/{id}/break-glass", `{"reason": "x", "commit": "y"}`, etag("/releases/"+release), release)
	post(403, "/deliveries/{id}/ok", why, etag("/deliveries/"+delivery), delivery)
}

// TestAPIIsClosed: without a login the API says nothing but how it is used, and a viewer changes nothing.
func TestAPIIsClosed(t *testing.T) {
	t.Parallel()
	d := apptest.OnSQLiteWith(t, demo.Options{Server: func(text string) string {
		return regexp.MustCompile(`(?m)^dashboard:.*$`).ReplaceAllString(text, "dashboard: {}")
	}})
	nobody := newAPIClient(t, d, "")
	viewer := newAPIClient(t, d, token(t, d, access.Viewer))
	wrong := &apiClient{service: d, token: "gwt_" + strings.Repeat("a", 10) + "_" + strings.Repeat("b", 26)}
	for route, operations := range nobody.paths {
		path := strings.ReplaceAll(route, "{id}", "x")
		for method := range operations {
			method = strings.ToUpper(method)
			if route == "/openapi.json" {
				continue
			}
			if status, _, text := nobody.send(t, method, path, "", nil); status != http.StatusUnauthorized {
				t.Errorf("nobody: %s %s: %d %s", method, path, status, text)
			}
			// Whether a release is held, and who may then approve it, is looked at later.
			if method != http.MethodPost || route == "/rules/evaluate" || strings.HasSuffix(route, "/approve") || strings.HasSuffix(route, "/refuse") {
				continue
			}
			if status, _, text := viewer.send(t, method, path, "", nil); status != http.StatusForbidden {
				t.Errorf("viewer: %s %s: %d %s", method, path, status, text)
			}
		}
	}
	for range 3 {
		if status, _, _ := wrong.send(t, http.MethodGet, "/runs", "", nil); status != http.StatusUnauthorized {
			t.Errorf("a wrong token: %d", status)
		}
	}
	if status, _, text := viewer.send(t, http.MethodGet, "/deliveries/x/payload", "", nil); status != http.StatusForbidden {
		t.Errorf("payload for a viewer: %d %s", status, text)
	}
	for _, test := range []struct {
		method, path string
		want         int
	}{{http.MethodGet, "/nothing", 404}, {http.MethodDelete, "/runs", 405}, {http.MethodPost, "/runs/x", 405}} {
		status, header, text := viewer.send(t, test.method, test.path, "", nil)
		var problem struct{ Error, Message string }
		if err := json.Unmarshal(text, &problem); status != test.want || err != nil || problem.Error == "" || problem.Message == "" || status == 405 && header.Get("Allow") == "" {
			t.Errorf("%s %s: %d %s", test.method, test.path, status, text)
		}
	}
}

// TestEvents: a stream tells what changes, again for one that comes back, and ends with the service.
func TestEvents(t *testing.T) { apptest.Each(t, demo.Options{}, testEvents) }

func testEvents(t *testing.T, d apptest.Service) {
	text := token(t, d, access.Viewer)
	listen := func(last string) *bufio.Scanner {
		t.Helper()
		request, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, d.Private()+api.Prefix+"/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+text)
		if last != "" {
			request.Header.Set("Last-Event-ID", last)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatalf("status %d, %v", response.StatusCode, response.Header)
		}
		return bufio.NewScanner(response.Body)
	}
	lines := listen("")
	lines.Scan() // The stream is open.
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", SHA: d.World.Clean})
	id := ""
	var passed api.Change
	for lines.Scan() {
		if after, found := strings.CutPrefix(lines.Text(), "id: "); found {
			id = after
		}
		data, found := strings.CutPrefix(lines.Text(), "data: ")
		if !found {
			continue
		}
		if err := json.Unmarshal([]byte(data), &passed); err != nil {
			t.Fatal(err)
		}
		if passed.Kind == "run" && passed.State == "passed" {
			break
		}
	}
	if passed.State != "passed" || id != strconv.FormatInt(passed.At.UnixMicro(), 10) {
		t.Fatalf("the last event is %q: %+v, error %v", id, passed, lines.Err())
	}
	again := listen(id)
	seen := false
	for !seen && again.Scan() {
		seen = strings.Contains(again.Text(), passed.ID)
	}
	if !seen {
		t.Error("who comes back is not told what was changed since")
	}
	for range 6 {
		listen("")
	}
	if status, _, answer := (&apiClient{service: d, token: text}).send(t, http.MethodGet, "/events", "", nil); status != http.StatusTooManyRequests {
		t.Errorf("a ninth stream of one user: %d %s", status, answer)
	}
	text = token(t, d, access.Operator)
	listen("")
	if err := d.StopService(); err != nil {
		t.Fatal(err)
	}
	for again.Scan() {
	}
	for lines.Scan() {
	}
}
