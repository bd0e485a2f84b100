package standin_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/standin"
)

// host sends a request to a git host, with the API token unless another is given.
func (c *client) host(method, path, contentType, body, token string) (status int, answer string) {
	c.t.Helper()
	if token == "" {
		token = "standin-api-token"
	}
	scheme := "Bearer "
	if strings.HasPrefix(path, "/api/v1/") {
		scheme = "token "
	}
	res, raw := c.send(method, path, body, map[string]string{"Authorization": scheme + token, "PRIVATE-TOKEN": token, "Content-Type": contentType})
	return res.StatusCode, string(raw)
}

// headOf is the head of merge request 7.
func (c *client) headOf(path string) string {
	c.t.Helper()
	_, answer := c.host(http.MethodGet, path, "", "", "")
	sha := regexp.MustCompile(`"sha":"([0-9a-f]{40})"`).FindStringSubmatch(answer)
	if sha == nil {
		c.t.Fatalf("no head in %s", answer)
	}
	return sha[1]
}

// TestHostsRefuse: what the git hosts refuse of statuses, check runs, comments and labels, and how.
func TestHostsRefuse(t *testing.T) {
	c := serve(t, sample(t))
	sha, depot := c.headOf("/api/v3/repos/acme/shop/pulls/7"), c.headOf("/api/v4/projects/acme%2Fdepot/merge_requests/7")
	gone := strings.Repeat("ab", 20)
	const (
		github, gitlab, gitee = "/api/v3/repos/acme/shop", "/api/v4/projects/acme%2Fdepot", "/api/v5/repos/acme/shop"
		asJSON, form          = "application/json", "application/x-www-form-urlencoded"
	)
	for _, test := range []struct {
		send, contentType, body string
		status                  int
		want                    string
	}{
		{"POST " + github + "/statuses/" + sha, asJSON, `{"state":"running"}`, 422, "state is not included"},
		{"POST " + github + "/statuses/" + sha, asJSON, `{"state":"pending","description":"` + strings.Repeat("é", 141) + `"}`, 422, "140 characters"},
		{"POST " + github + "/statuses/" + sha, asJSON, `{"state":"pending","description":"` + strings.Repeat("é", 140) + `"}`, 201, `"context":"default"`},
		{"POST " + github + "/statuses/" + sha, asJSON, `{"state":"pending","target_url":"javascript:x"}`, 422, "http(s)"},
		{"POST " + github + "/statuses/" + gone, asJSON, `{"state":"pending"}`, 422, "No commit found for SHA: " + gone},
		{"POST " + github + "/check-runs", asJSON, `{"name":"x","head_sha":"` + sha + `"}`, 403, "You must authenticate via a GitHub App"},
		{"PATCH " + github + "/check-runs/1", asJSON, `{}`, 403, "You must authenticate via a GitHub App"},
		{"GET " + github + "/check-runs/1", "", "", 404, "Not Found"},
		{"GET " + github + "/commits/" + gone + "/check-runs", "", "", 422, "No commit found"},
		{"POST " + github + "/issues/7/comments", asJSON, `{"body":""}`, 422, "Body cannot be blank"},
		{"POST " + github + "/issues/7/comments", asJSON, `{"body":"` + strings.Repeat("x", 65537) + `"}`, 422, "65536"},
		{"POST " + github + "/issues/8/comments", asJSON, `{"body":"x"}`, 404, "Not Found"},
		{"GET " + github + "/issues/7/comments?per_page=101", "", "", 404, "Not Found"},
		{"PATCH " + github + "/issues/comments/1", asJSON, `{"body":"x"}`, 404, "Not Found"},
		{"GET /api/v3/users/nobody", "", "", 404, "Not Found"},
		{"GET /api/v3/app", "", "", 404, "APIGW.0101"},

		{"POST " + gitlab + "/statuses/" + gone, asJSON, `{"state":"pending"}`, 404, "Commit Not Found"},
		{"POST " + gitlab + "/statuses/" + depot, asJSON, `{"state":"failure"}`, 400, "state does not have a valid value"},
		{"POST " + gitlab + "/statuses/" + depot, asJSON, `{"state":"pending","pipeline_id":1}`, 404, "Pipeline Not Found"},
		{"POST " + gitlab + "/statuses/" + depot, form, "state=pending&name=x&ref=topic", 201, `"status":"pending"`},
		{"POST " + gitlab + "/statuses/" + depot, form, "state=pending&name=x&ref=topic", 400, "Cannot transition status via :enqueue from :pending"},
		{"POST " + gitlab + "/statuses/" + depot, form, "state=running&name=x&ref=topic", 201, `"status":"running"`},
		{"POST " + gitlab + "/statuses/" + depot, form, "state=running&name=x&ref=topic", 400, "Cannot transition status via :run from :running"},
		{"POST " + gitlab + "/statuses/" + depot, form, "state=success&name=x&ref=topic", 201, `"status":"success"`},
		{"POST " + gitlab + "/statuses/" + depot, form, "state=pending&name=x&ref=topic", 201, `"status":"pending"`},
		{"GET " + gitlab + "/repository/commits/" + depot + "/statuses?ref=other", "", "", 200, `[]`},
		{"POST " + gitlab + "/merge_requests/7/notes", asJSON, `{}`, 400, "body is missing"},
		{"POST " + gitlab + "/merge_requests/8/notes", asJSON, `{"body":"x"}`, 404, "404 Not found"},
		{"PUT " + gitlab + "/merge_requests/7/notes/1", asJSON, `{"body":"x"}`, 404, "404 Not found"},

		{"POST " + gitee + "/check-runs", form, "name=x", 400, "head_sha is missing"},
		{"POST " + gitee + "/check-runs", form, "name=x&head_sha=" + gone, 404, "Commit Not Found"},
		{"POST " + gitee + "/check-runs", form, "name=x&head_sha=" + sha + "&status=completed&output[title]=t&output[summary]=s", 400, "conclusion is missing"},
		{"POST " + gitee + "/check-runs", form, "name=x&head_sha=" + sha + "&output[title]=t", 400, "output[summary]"},
		{"POST " + gitee + "/check-runs", form, "name=x&head_sha=" + sha + "&output[title]=t&output[summary]=s&output[annotations][path][]=a.go", 400, "output[annotations] is invalid"},
		{"PATCH " + gitee + "/check-runs/1", form, "output[title]=t&output[summary]=s", 404, "Not Found"},
		{"POST " + gitee + "/pulls/7/labels", asJSON, `["new"]`, 404, "Label Not Found"},
		{"POST " + gitee + "/pulls/7/labels", asJSON, `{"name":"new"}`, 400, "body is invalid"},
		{"POST " + gitee + "/labels", form, "name=new", 400, "color is missing"},
		{"POST " + gitee + "/labels", form, "name=new&color=FF0000", 201, `"name":"new"`},
		{"POST " + gitee + "/labels", form, "name=new&color=FF0000", 400, "exists"},
		{"POST " + gitee + "/pulls/7/labels", asJSON, `["new"]`, 201, `"name":"new"`},
		{"DELETE " + gitee + "/pulls/7/labels/other", "", "", 404, "Label Not Found"},
		{"DELETE " + gitee + "/pulls/7/labels/new", "", "", 204, ""},
		{"POST " + gitee + "/pulls/7/comments", form, "", 400, "body is missing"},
		{"PATCH " + gitee + "/pulls/comments/1", form, "body=x", 404, "Note Not Found"},
	} {
		method, path, _ := strings.Cut(test.send, " ")
		if status, answer := c.host(method, path, test.contentType, test.body, ""); status != test.status || !strings.Contains(answer, test.want) {
			t.Errorf("%s %.200s: %d %s, want %d %s", test.send, test.body, status, answer, test.status, test.want)
		}
		if status, _ := c.host(method, path, test.contentType, test.body, "wrong"); status != 401 && test.want != "APIGW.0101" {
			t.Errorf("%s with a wrong token: %d", test.send, status)
		}
	}
	var reports standin.HostReports
	_, raw := c.send(http.MethodGet, "/standin/reports", "", nil)
	if err := json.Unmarshal(raw, &reports); err != nil {
		t.Fatal(err)
	}
	if len(reports.Statuses) != 2 || fmt.Sprint(reports.Statuses[1].History) != "[pending running success pending]" || reports.Statuses[1].Writes != 4 || len(reports.Comments) != 0 || len(reports.Labels) != 1 {
		t.Errorf("reports: %s", raw)
	}
	if acted := c.server.Counts().Acted; acted["gitlab_create_status"] != 4 || acted["gitee_add_labels"] != 1 {
		t.Errorf("journal: %v", acted)
	}
}

// TestAppSignature: who may get a token of the App's installation.
func TestAppSignature(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	opts := sample(t)
	opts.GitHosts[0].App = &standin.HostApp{ID: 312, Installation: 4711, PublicKey: &key.PublicKey}
	now := time.Now()
	opts.Now = func() time.Time { return now }
	c := serve(t, opts)
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	sign := func(key *rsa.PrivateKey, header, claims string) string {
		signed := part(header) + "." + part(claims)
		sum := sha256.Sum256([]byte(signed))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	claims := func(iss string, from, to time.Duration) string {
		return fmt.Sprintf(`{"iss":%s,"iat":%d,"exp":%d}`, iss, now.Add(from).Unix(), now.Add(to).Unix())
	}
	const rs256 = `{"alg":"RS256","typ":"JWT"}`
	good := sign(key, rs256, claims(`"312"`, -time.Minute, 9*time.Minute))
	for name, test := range map[string]struct {
		token        string
		installation int
		status       int
	}{
		"good":                 {good, 4711, 201},
		"another installation": {good, 4712, 404},
		"the API token":        {"standin-api-token", 4711, 401},
		"another key":          {sign(other, rs256, claims(`"312"`, -time.Minute, 9*time.Minute)), 4711, 401},
		"another App":          {sign(key, rs256, claims(`"313"`, -time.Minute, 9*time.Minute)), 4711, 401},
		"over":                 {sign(key, rs256, claims(`"312"`, -9*time.Minute, -time.Minute)), 4711, 401},
		"not yet":              {sign(key, rs256, claims(`"312"`, time.Minute, 9*time.Minute)), 4711, 401},
		"too long":             {sign(key, rs256, claims(`"312"`, -time.Minute, 11*time.Minute)), 4711, 401},
		"another algorithm":    {sign(key, `{"alg":"none"}`, claims(`"312"`, -time.Minute, 9*time.Minute)), 4711, 401},
		"changed":              {strings.Replace(good, part(rs256), part(`{"alg":"RS256"}`), 1), 4711, 401},
		"no signature":         {strings.Join(strings.Split(good, ".")[:2], "."), 4711, 401},
	} {
		status, answer := c.host(http.MethodPost, fmt.Sprintf("/api/v3/app/installations/%d/access_tokens", test.installation), "", "", test.token)
		if status != test.status {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		if status != http.StatusCreated {
			continue
		}
		var made struct{ Token string }
		if err := json.Unmarshal([]byte(answer), &made); err != nil {
			t.Fatal(err)
		}
		if status, answer := c.host(http.MethodGet, "/api/v3/repos/acme/shop/languages", "", "", made.Token); status != http.StatusOK {
			t.Errorf("a read with the token: %d %s", status, answer)
		}
		if status, _ := c.host(http.MethodGet, "/api/v3/user", "", "", made.Token); status != http.StatusForbidden {
			t.Errorf("the user of the installation: %d", status)
		}
	}
	for _, data := range []string{"", "-----BEGIN X-----\nAAAA\n-----END X-----\n"} {
		if _, err := standin.ReadApp([]byte(data)); err == nil {
			t.Errorf("a key of %q was read", data)
		}
	}
}

// TestPutMergeRequest: a merge request can be made one from a fork, or closed, over HTTP.
func TestPutMergeRequest(t *testing.T) {
	c := serve(t, sample(t))
	put := func(body string) (int, string) {
		return c.host(http.MethodPut, "/standin/merge-requests", asJSON, body, "")
	}
	for body, want := range map[string]string{
		`{"host":"bitbucket","number":7,"author":14}`:            "a host of this stand-in",
		`{"host":"gitlab","number":0,"author":14}`:               "a number",
		`{"host":"gitlab","number":7}`:                           "14 (tova, none)",
		`{"host":"gitlab","number":7,"author":14,"forked":true}`: "forked",
	} {
		if status, answer := put(body); status != http.StatusBadRequest || !strings.Contains(answer, want) {
			t.Errorf("%s: %d %s", body, status, answer)
		}
	}
	if status, answer := put(`{"host":"github","number":7,"author":14,"fork":true}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	const requests = "/api/v3/repos/acme/shop/pulls"
	if _, answer := c.host(http.MethodGet, requests+"/7", "", "", ""); !strings.Contains(answer, `"fork":true`) || !strings.Contains(answer, `"tova"`) {
		t.Error(answer)
	}
	if status, answer := put(`{"host":"github","number":7,"author":14,"closed":true}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	if _, answer := c.host(http.MethodGet, requests+"?state=open", "", "", ""); strings.TrimSpace(answer) != "[]" {
		t.Error(answer)
	}
}
