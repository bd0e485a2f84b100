package standin_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/standin"
)

// vector is one entry of testdata/signatures.json: the vectors of
// specs/codearts-check.md 4.4.
type vector struct {
	Name, Method, URL, Body string
	Headers                 map[string]string
	Authorization           string
}

func vectors(t *testing.T) []vector {
	t.Helper()
	var all []vector
	if err := json.Unmarshal(readFile(t, "signatures.json"), &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// clone copies v, so that a test can change it.
func (v vector) clone() vector {
	v.Headers = maps.Clone(v.Headers)
	return v
}

// signed sends v to a stand-in and returns the status and the error code.
func (v vector) signed(t *testing.T, server *standin.Server) (int, string) {
	t.Helper()
	target, err := url.Parse(v.URL)
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest(v.Method, target.RequestURI(), strings.NewReader(v.Body))
	req.Host = target.Host
	req.Header.Set("Content-Type", "application/json") // mandatory, and not signed
	for name, value := range v.Headers {
		req.Header.Set(name, value)
	}
	req.Header.Set("Authorization", v.Authorization)
	res := httptest.NewRecorder()
	server.Handler().ServeHTTP(res, req)
	var body struct {
		Code    string `json:"error_code"`
		Message string `json:"error_msg"`
	}
	_ = json.Unmarshal(res.Body.Bytes(), &body) // a list is not an error
	return res.Code, body.Code
}

// signing returns a stand-in that knows v's key and whose clock is late by that
// much after the signature's date. Its paths are those of the vectors.
func (v vector) signing(t *testing.T, late time.Duration) *standin.Server {
	t.Helper()
	date, err := time.Parse("20060102T150405Z", v.Headers["x-sdk-date"])
	if err != nil {
		t.Fatal(err)
	}
	opts := sample(t)
	opts.User, opts.Password = "", ""
	opts.AccessKey, opts.SecretKey = "AKEXAMPLE0000000001", "SKexample/secret+key0000000000000000001"
	opts.SecurityToken = v.Headers["x-security-token"]
	opts.Tasks[0].ID = "2b31ed520c0f4d5c9febedb6e5700001"
	opts.Now = func() time.Time { return date.Add(late) }
	server, err := standin.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// known leaves out the vectors of paths that the stand-in does not serve; they
// are checked by TestCanonicalRequest.
func (v vector) known() bool {
	return !strings.Contains(v.URL, "/v1/")
}

func TestSignatureVectors(t *testing.T) {
	for _, v := range vectors(t) {
		if !v.known() {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			if status, code := v.signed(t, v.signing(t, 0)); status != http.StatusOK {
				t.Fatalf("refused: %d %s", status, code)
			}
			refused := map[string]func(*vector){
				"body":          func(v *vector) { v.Body += " " },
				"query":         func(v *vector) { v.URL += "&x=1" },
				"signature":     func(v *vector) { v.Authorization += "0" },
				"access":        func(v *vector) { v.Authorization = strings.Replace(v.Authorization, "Access=AK", "Access=BK", 1) },
				"no signature":  func(v *vector) { v.Authorization, _, _ = strings.Cut(v.Authorization, ", Signature") },
				"scheme":        func(v *vector) { v.Authorization = strings.Replace(v.Authorization, "SDK", "AWS4", 1) },
				"date":          func(v *vector) { v.Headers["x-sdk-date"] = strings.Replace(v.Headers["x-sdk-date"], "15Z", "16Z", 1) },
				"no date":       func(v *vector) { delete(v.Headers, "x-sdk-date") },
				"unsigned date": func(v *vector) { v.Authorization = strings.Replace(v.Authorization, ";x-sdk-date", "", 1) },
				"token":         func(v *vector) { v.Headers["x-security-token"] = "other" },
				"content hash":  func(v *vector) { v.Headers["x-sdk-content-sha256"] = strings.Repeat("0", 64) },
				"no payload":    func(v *vector) { v.Headers["x-sdk-content-sha256"] = "UNSIGNED-PAYLOAD" },
			}
			if v.Headers["x-project-id"] != "" {
				refused["signed header"] = func(v *vector) { v.Headers["x-project-id"] = region[:31] + "0" }
			}
			for name, tamper := range refused {
				bad := v.clone()
				tamper(&bad)
				if status, code := bad.signed(t, v.signing(t, 0)); status != http.StatusUnauthorized || code != "APIGW.0301" {
					t.Errorf("%s changed: %d %s", name, status, code)
				}
			}
			for _, late := range []time.Duration{-16 * time.Minute, 16 * time.Minute} {
				if status, _ := v.signed(t, v.signing(t, late)); status != http.StatusUnauthorized {
					t.Errorf("a clock off by %v: %d", late, status)
				}
			}
			if status, _ := v.signed(t, v.signing(t, 14*time.Minute)); status != http.StatusOK {
				t.Errorf("a clock off by 14 minutes: %d", status)
			}
		})
	}
}

func TestBadSignaturesLockTheKey(t *testing.T) {
	v := vectors(t)[0]
	bad := v.clone()
	bad.Authorization += "0"
	date, _ := time.Parse("20060102T150405Z", v.Headers["x-sdk-date"])
	now := date
	opts := sample(t)
	opts.User, opts.Password = "", ""
	opts.AccessKey, opts.SecretKey = "AKEXAMPLE0000000001", "SKexample/secret+key0000000000000000001"
	opts.Now = func() time.Time { return now }
	server, err := standin.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	for range 4 {
		bad.signed(t, server)
	}
	if status, _ := v.signed(t, server); status != http.StatusOK {
		t.Fatal("four bad signatures locked the key")
	}
	for range 5 {
		bad.signed(t, server)
	}
	if status, _ := v.signed(t, server); status != http.StatusUnauthorized {
		t.Fatal("five bad signatures in a row did not lock the key")
	}
	now = now.Add(5*time.Minute + time.Second)
	if status, _ := v.signed(t, server); status != http.StatusOK {
		t.Error("the key is still locked after five minutes")
	}

	opts.KeepKeyUnlocked = true
	lenient, err := standin.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer lenient.Close()
	for range 6 {
		bad.signed(t, lenient)
	}
	if status, _ := v.signed(t, lenient); status != http.StatusOK {
		t.Error("the key was locked although that is switched off")
	}
}

func TestTokensExpire(t *testing.T) {
	tests := []struct {
		how    standin.ExpiredAnswer
		status int
		code   string
	}{
		{"", 401, "APIGW.0307"},
		{standin.ExpiredByService, 401, "CC.00000003"},
		{standin.ExpiredInside200, 200, "CC.00050007"},
	}
	for _, test := range tests {
		var mu sync.Mutex
		now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
		opts := sample(t)
		opts.ExpiredAnswer, opts.TokenLifetime = test.how, time.Hour
		opts.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		later := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
		c := serve(t, opts)

		later(time.Hour - time.Second)
		if body := c.call(http.StatusOK, http.MethodGet, "/v2/"+project+"/tasks", ""); body["error_code"] != nil {
			t.Errorf("%s: expired too early: %v", test.how, body)
		}
		later(time.Second)
		if body := c.call(test.status, http.MethodGet, "/v2/"+project+"/tasks", ""); body["error_code"] != test.code {
			t.Errorf("%s: %v", test.how, body)
		}
		if body := c.call(401, http.MethodGet, pipelines, ""); body["error_code"] != "APIGW.0307" {
			t.Errorf("%s: ServiceStage says %v", test.how, body)
		}
		c.token = c.login(opts)
		if body := c.call(http.StatusOK, http.MethodGet, "/v2/"+project+"/tasks", ""); body["error_code"] != nil {
			t.Errorf("%s: a new token is refused: %v", test.how, body)
		}
	}
}

func TestLargeBodyIsRefused(t *testing.T) {
	c := serve(t, sample(t))
	body := c.call(http.StatusRequestEntityTooLarge, http.MethodPost, "/v3/task", strings.Repeat(" ", 13<<20))
	if body["error_code"] != "APIGW.0201" {
		t.Errorf("answer: %v", body)
	}
}

// TestSignedProjectID holds that X-Project-Id may be left out, unless it is required: then
// it must be the region's and signed.
func TestSignedProjectID(t *testing.T) {
	withProject, without := vectors(t)[0], vectors(t)[1]
	for _, test := range []struct {
		vector   vector
		required bool
		project  string
		status   int
		code     string
	}{
		{without, false, region, http.StatusOK, ""},
		{without, true, region, http.StatusForbidden, "APIGW.0310"},
		{withProject, true, withProject.Headers["x-project-id"], http.StatusOK, ""},
		{withProject, true, strings.Repeat("f", 32), http.StatusForbidden, "APIGW.0310"},
	} {
		date, err := time.Parse("20060102T150405Z", test.vector.Headers["x-sdk-date"])
		if err != nil {
			t.Fatal(err)
		}
		opts := sample(t)
		opts.AccessKey, opts.SecretKey = "AKEXAMPLE0000000001", "SKexample/secret+key0000000000000000001"
		opts.Tasks[0].ID = "2b31ed520c0f4d5c9febedb6e5700001"
		opts.RegionProject.ID, opts.RequireProjectID = test.project, test.required
		opts.Now = func() time.Time { return date }
		server, err := standin.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		if status, code := test.vector.signed(t, server); status != test.status || code != test.code {
			t.Errorf("%s, required %v, project %s: %d %s, want %d %s", test.vector.Name, test.required, test.project, status, code, test.status, test.code)
		}
		server.Close()
	}
}

// TestClockTolerance holds that the tolerance is a setting.
func TestClockTolerance(t *testing.T) {
	v := vectors(t)[0]
	date, err := time.Parse("20060102T150405Z", v.Headers["x-sdk-date"])
	if err != nil {
		t.Fatal(err)
	}
	for late, want := range map[time.Duration]int{30 * time.Second: http.StatusOK, -30 * time.Second: http.StatusOK, 31 * time.Second: 401, -31 * time.Second: 401} {
		opts := sample(t)
		opts.AccessKey, opts.SecretKey = "AKEXAMPLE0000000001", "SKexample/secret+key0000000000000000001"
		opts.ClockTolerance, opts.Now = 30*time.Second, func() time.Time { return date.Add(late) }
		server, err := standin.New(opts)
		if err != nil {
			t.Fatal(err)
		}
		if status, code := v.signed(t, server); status != want {
			t.Errorf("%v late: %d %s, want %d", late, status, code, want)
		}
		server.Close()
	}
}

// TestAgencyTokens holds who gets a token of an agency, and that it opens the services.
func TestAgencyTokens(t *testing.T) {
	opts := sample(t)
	opts.AgencyDomain, opts.Agency = "customer", "gatewright"
	c := serve(t, opts)
	const path = "/v3/auth/tokens?nocatalog=true"
	body := func(domain, agency string) string {
		return `{"auth":{"identity":{"methods":["assume_role"],"assume_role":{"domain_name":"` + domain + `","agency_name":"` + agency + `"}},"scope":{"project":{"name":"` + opts.RegionProject.Name + `"}}}}`
	}
	user := c.token
	for _, test := range []struct {
		token, body string
		status      int
	}{
		{user, body("customer", "gatewright"), 201},
		{user, body("customer", "other"), 404},
		{user, body("acme", "gatewright"), 404},
		{user, body("customer", ""), 400},
		{"another", body("customer", "gatewright"), 401},
		{"", body("customer", "gatewright"), 401},
	} {
		c.token = test.token
		c.call(test.status, http.MethodPost, path, test.body)
	}
}
