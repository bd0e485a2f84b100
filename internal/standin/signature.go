package standin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	signatureScheme = "SDK-HMAC-SHA256"
	signatureTime   = "20060102T150405Z"
	// keyFailures bad signatures in a row lock the access key for keyLock.
	keyFailures = 5
	keyLock     = 5 * time.Minute
)

// keys verifies signed requests (specs/codearts-check.md 4.3).
type keys struct {
	opts Options

	mu          sync.Mutex
	failures    int
	lockedUntil time.Time
}

func newKeys(opts Options) *keys { return &keys{opts: opts} }

// signedHeader is an Authorization header in its parts.
type signedHeader struct {
	access  string
	headers []string
	// names is the list of headers as it was sent.
	names     string
	signature string
}

// verify recomputes the signature from the request, against the headers that
// the caller says it signed and the body as it came.
func (k *keys) verify(c *call) (answer, bool) {
	sent, ok := parseAuthorization(c.http.Header.Get("Authorization"))
	if !ok {
		return badSignature(""), false
	}
	if sent.access != k.opts.AccessKey || k.opts.AccessKey == "" {
		return badSignature(": Get secretKey failed,ak:***,err:ak not exist"), false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.opts.Now()
	if now.Before(k.lockedUntil) {
		return badSignature(": AK access failed to reach the limit,forbidden"), false
	}
	if reason := k.refusal(c, sent, now); reason != "" {
		c.entry.Detail = reason
		if k.failures++; k.failures >= keyFailures && !k.opts.KeepKeyUnlocked {
			k.failures, k.lockedUntil = 0, now.Add(keyLock)
		}
		return badSignature(": verify aksk signature fail"), false
	}
	k.failures = 0
	if id := c.http.Header.Get("X-Project-Id"); k.opts.RequireProjectID && c.entry.Operation != createToken &&
		(id != k.opts.RegionProject.ID || !slices.Contains(sent.headers, "x-project-id")) {
		c.entry.Detail = "X-Project-Id is missing, not signed or of another project"
		return gatewayError(http.StatusForbidden, "APIGW.0310", "The project is unavailable."), false
	}
	c.actor = sent.access
	return answer{}, true
}

func badSignature(why string) answer {
	return gatewayError(http.StatusUnauthorized, "APIGW.0301", "Incorrect IAM authentication information"+why)
}

// refusal says why a signed request is not believed; empty when it is.
func (k *keys) refusal(c *call, sent signedHeader, now time.Time) string {
	r := c.http
	date, err := time.Parse(signatureTime, r.Header.Get("X-Sdk-Date"))
	switch {
	case err != nil || !slices.Contains(sent.headers, "x-sdk-date"):
		return "X-Sdk-Date is missing, unreadable or not signed"
	case now.Sub(date).Abs() > k.opts.ClockTolerance:
		return "X-Sdk-Date is more than " + k.opts.ClockTolerance.String() + " away"
	case !hmac.Equal([]byte(r.Header.Get("X-Security-Token")), []byte(k.opts.SecurityToken)):
		return "X-Security-Token is not the one of the access key"
	}
	hash := sha256.Sum256(c.body)
	bodyHash := hex.EncodeToString(hash[:])
	if named := r.Header.Get("X-Sdk-Content-Sha256"); named != "" {
		if named != bodyHash && named != "UNSIGNED-PAYLOAD" {
			return "X-Sdk-Content-Sha256 is not the hash of the body"
		}
		bodyHash = named
	}
	canonical := sha256.Sum256([]byte(canonicalRequest(r, sent, bodyHash)))
	mac := hmac.New(sha256.New, []byte(k.opts.SecretKey))
	mac.Write([]byte(signatureScheme + "\n" + r.Header.Get("X-Sdk-Date") + "\n" + hex.EncodeToString(canonical[:])))
	if !hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(sent.signature)) {
		return "the signature is another one"
	}
	return ""
}

// parseAuthorization reads
// `SDK-HMAC-SHA256 Access=…, SignedHeaders=a;b, Signature=…`.
func parseAuthorization(value string) (signedHeader, bool) {
	rest, ok := strings.CutPrefix(value, signatureScheme+" ")
	if !ok {
		return signedHeader{}, false
	}
	var sent signedHeader
	for part := range strings.SplitSeq(rest, ",") {
		name, val, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Access":
			sent.access = val
		case "SignedHeaders":
			sent.names, sent.headers = val, strings.Split(val, ";")
		case "Signature":
			sent.signature = val
		}
	}
	sorted := slices.IsSorted(sent.headers) && sent.names == strings.ToLower(sent.names)
	return sent, sent.access != "" && sent.names != "" && sent.signature != "" && sorted
}

// canonicalRequest is the text whose hash is signed.
func canonicalRequest(r *http.Request, sent signedHeader, bodyHash string) string {
	segments := strings.Split(r.URL.Path, "/")
	for i, segment := range segments {
		segments[i] = escape(segment)
	}
	path := strings.Join(segments, "/")
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	var headers strings.Builder
	for _, name := range sent.headers {
		values := slices.Sorted(slices.Values(r.Header.Values(name)))
		if name == "host" {
			values = []string{r.Host}
		}
		for _, value := range values {
			headers.WriteString(name + ":" + strings.TrimSpace(value) + "\n")
		}
	}
	return strings.Join([]string{r.Method, path, canonicalQuery(r.URL.Query()), headers.String(), sent.names, bodyHash}, "\n")
}

func canonicalQuery(query url.Values) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[key])) {
			pairs = append(pairs, escape(key)+"="+escape(value))
		}
	}
	return strings.Join(pairs, "&")
}

// escape percent-encodes all but unreserved characters.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
