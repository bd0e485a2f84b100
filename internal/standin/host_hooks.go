package standin

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// HostHook is a webhook that is registered at a git host, without its secret.
type HostHook struct {
	Host string `json:"host"`
	// Repository is the full name of the repository that it is of, or Organization the organisation
	// or group.
	Repository   string `json:"repository,omitempty"`
	Organization string `json:"organization,omitempty"`
	ID           int64  `json:"id"`
	URL          string `json:"url"`
	// Events are in the host's own words.
	Events []string `json:"events"`
	// JSON: it sends JSON, not a form. VerifiesTLS: it wants a certificate that is trusted.
	JSON        bool `json:"json"`
	VerifiesTLS bool `json:"verifies_tls"`
	// Active: a person has not switched it off. Disabled is how the host has: "", temporarily_disabled
	// or disabled, as GitLab does after failures.
	Active   bool   `json:"active"`
	Disabled string `json:"disabled,omitempty"`
	// Failures are those since the last success.
	Failures   int            `json:"failures"`
	Deliveries []HostDelivery `json:"deliveries"`
}

// HostDelivery is one request of a hook.
type HostDelivery struct {
	ID int64 `json:"id"`
	// GUID is the id that the receiver is told; the same for each attempt of one event.
	GUID  string    `json:"guid"`
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	// Status is that of the answer; 0 when there was none.
	Status     int  `json:"status"`
	Redelivery bool `json:"redelivery"`
}

// HostEvent is something that happened at a git host, of which its hooks are told.
type HostEvent struct {
	Host       string `json:"host"`
	Repository string `json:"repository"`
	// Event is push, tag, merge_request or comment; or a name of GitHub's own, such as merge_group.
	Event string `json:"event"`
	// Branch is the branch of a push whose payload is made here. Default main.
	Branch string `json:"branch,omitempty"`
	// Before is the commit before such a push. Default: the parent of its commit.
	Before string `json:"before,omitempty"`
	// Payload is the body. Default, of a push: one that is made from the repository.
	Payload json.RawMessage `json:"payload,omitempty"`
}

// HookDeliveries is what becomes of the deliveries of hooks.
type HookDeliveries string

const (
	// HookDeliveriesSent is the default.
	HookDeliveriesSent HookDeliveries = "sent"
	// HookDeliveriesFail: nothing is sent, and the host notes a failure of the connection.
	HookDeliveriesFail HookDeliveries = "fail"
	// HookDeliveriesDropped: nothing is sent, and the host knows nothing of it.
	HookDeliveriesDropped HookDeliveries = "dropped"
)

// HookRights is what the tokens may do with hooks.
type HookRights string

const (
	// HookRightsGranted is the default.
	HookRightsGranted HookRights = "granted"
	// HookRightsForbidden: 403.
	HookRightsForbidden HookRights = "forbidden"
	// HookRightsHidden: 404, as for a hook that is not there.
	HookRightsHidden HookRights = "hidden"
)

const (
	// hookTimeout is how long a receiver may take (specs/githosts.md 1.1, 2.1).
	hookTimeout = 10 * time.Second
	// maxHookDeliveries is how many deliveries of a hook are remembered.
	maxHookDeliveries = 1000
	// maxGitHubHooks is how many hooks of an event GitHub takes (specs/githosts.md 1.1), maxGitLabHooks
	// how many GitLab does of a project.
	maxGitHubHooks, maxGitLabHooks = 20, 100
	// gitlabFailures is the number of failures in a row after which GitLab disables a hook for a while,
	// gitlabFailuresForGood for good (specs/githosts.md 2.1).
	gitlabFailures, gitlabFailuresForGood = 4, 40
	// gitlabPerMinute bounds tests and resends of a hook (specs/githosts.md 2.6).
	gitlabPerMinute = 5
)

// hostHook is one hook.
type hostHook struct {
	HostHook
	secret, signingToken string
	// signs: Gitee's encryption_type is 1.
	signs bool
	// filter and header are GitLab's and Gitea's branch filter, and Gitea's Authorization header.
	filter, header string
	created        time.Time
	disabledUntil  time.Time
	deliveries     []*hookDelivery
	// requests are the times of tests and resends, which GitLab limits.
	requests []time.Time
}

// hookDelivery is a delivery with all that is needed to send it again.
type hookDelivery struct {
	HostDelivery
	// name is the event in the host's word, as the header says it, subscription that of the hook.
	name, subscription string
	action, url        string
	took               time.Duration
	sent               http.Header
	payload            []byte
	answered           http.Header
	answer             string
	// said is why there was no answer.
	said string
}

func (d *hookDelivery) ok() bool { return d.Status >= 200 && d.Status < 300 }

// hostHooks keeps the hooks of all hosts and delivers to them.
type hostHooks struct {
	mu     sync.Mutex
	lastID int64
	hooks  []*hostHook
	client *http.Client
	now    func() time.Time
}

func newHostHooks(now func() time.Time) *hostHooks {
	dialer := &net.Dialer{Timeout: hookTimeout, Control: onlyLoopback}
	return &hostHooks{now: now, client: &http.Client{
		Timeout:       hookTimeout,
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// onlyLoopback keeps what is delivered on this machine, whatever address a hook has.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return errors.New("the stand-in delivers to the loopback only")
	}
	return nil
}

// id is a new number; the caller holds mu.
func (h *hostHooks) id() int64 {
	h.lastID++
	return 700_000 + h.lastID
}

// of are the hooks of the repository or organisation that a request names; the caller holds mu.
func (h *hostHooks) of(r hosted) []*hostHook {
	var found []*hostHook
	for _, hook := range h.hooks {
		if hook.Host == r.host && strings.EqualFold(hook.Repository, r.name) && strings.EqualFold(hook.Organization, r.organization) {
			found = append(found, hook)
		}
	}
	return found
}

// hook finds the one that a request names; the caller holds mu.
func (h *hostHooks) hook(c *call, r hosted) *hostHook {
	for _, hook := range h.of(r) {
		if itoa(hook.ID) == c.http.PathValue("hook") && !r.missing {
			return hook
		}
	}
	return nil
}

// add keeps a new hook; the caller holds mu.
func (h *hostHooks) add(r hosted, hook *hostHook) *hostHook {
	hook.Host, hook.Repository, hook.Organization = r.host, r.name, r.organization
	hook.ID, hook.created = h.id(), h.now().UTC().Truncate(time.Second)
	h.hooks = append(h.hooks, hook)
	return hook
}

func (h *hostHooks) remove(hook *hostHook) {
	h.hooks = slices.DeleteFunc(h.hooks, func(other *hostHook) bool { return other == hook })
}

// subscribed are the hooks that are told of an event of a repository; the caller holds mu.
func (h *hostHooks) subscribed(host, repository, subscription string) []*hostHook {
	var found []*hostHook
	for _, hook := range h.hooks {
		owns := hook.Organization != "" && strings.HasPrefix(strings.ToLower(repository), strings.ToLower(hook.Organization)+"/")
		if hook.Host != host || !owns && !strings.EqualFold(hook.Repository, repository) || !hook.Active {
			continue
		}
		if slices.Contains(hook.Events, subscription) || slices.Contains(hook.Events, "*") {
			found = append(found, hook)
		}
	}
	return found
}

// announcement is what hooks are told: an event with its names and its body.
type announcement struct {
	// event is the name in the header, subscription that in the hook's events, action what the payload
	// says.
	event, subscription, action string
	payload                     []byte
	// ping: it only tests the hook.
	ping bool
}

// deliver sends an announcement to a hook and keeps what became of it. guid is empty for a new event.
// A hook that the host has disabled is told nothing, unless it is tested.
func (h *hostHooks) deliver(ctx context.Context, hook *hostHook, a announcement, guid string, mode HookDeliveries, disables, test bool) *hookDelivery {
	h.mu.Lock()
	if !test && hook.disabled(h.now()) != "" || mode == HookDeliveriesDropped {
		h.mu.Unlock()
		return nil
	}
	d := &hookDelivery{name: a.event, subscription: a.subscription, action: a.action, url: hook.URL, payload: a.payload}
	d.ID, d.GUID, d.Event, d.Redelivery, d.At = h.id(), cmp.Or(guid, newGUID()), a.event, guid != "", h.now().UTC()
	body := hook.body(a.payload, d.At)
	d.sent = hook.headers(a, d.GUID, d.At, body)
	h.mu.Unlock()

	if mode == HookDeliveriesFail {
		d.said = "connection refused"
	} else {
		h.post(ctx, d, body)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	hook.deliveries = append(hook.deliveries, d)
	hook.deliveries = hook.deliveries[max(0, len(hook.deliveries)-maxHookDeliveries):]
	hook.ended(d, h.now(), disables)
	return d
}

// post sends the request of a delivery.
func (h *hostHooks) post(ctx context.Context, d *hookDelivery, body []byte) {
	began := h.now()
	ctx, cancel := context.WithTimeout(ctx, hookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(body))
	if err != nil {
		d.said = "the URL cannot be used"
		return
	}
	req.Header = d.sent.Clone()
	resp, err := h.client.Do(req)
	d.took = h.now().Sub(began)
	if err != nil {
		d.said = "connection failed"
		return
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // the status is enough
	d.Status, d.answered, d.answer = resp.StatusCode, resp.Header, string(answer)
}

// disabled is how the host has switched a hook off at this time; empty when it has not.
func (hook *hostHook) disabled(now time.Time) string {
	switch {
	case hook.Disabled == gitlabDisabled:
		return gitlabDisabled
	case hook.Disabled == gitlabPaused && now.Before(hook.disabledUntil):
		return gitlabPaused
	}
	return ""
}

// What GitLab calls the states of a hook.
const gitlabExecutable, gitlabPaused, gitlabDisabled = "executable", "temporarily_disabled", "disabled"

// ended notes what became of a delivery: a success makes a disabled hook good again, and a few failures
// disable it for a while, which doubles up to a day.
func (hook *hostHook) ended(d *hookDelivery, now time.Time, disables bool) {
	if d.ok() {
		hook.Failures, hook.Disabled = 0, ""
		return
	}
	hook.Failures++
	switch {
	case !disables:
	case hook.Failures >= gitlabFailuresForGood:
		hook.Disabled = gitlabDisabled
	case hook.Failures >= gitlabFailures:
		wait := min(time.Minute<<min(hook.Failures-gitlabFailures, 11), 24*time.Hour)
		hook.Disabled, hook.disabledUntil = gitlabPaused, now.Add(wait)
	}
}

// body is the payload as the hook sends it: in a form, and on Gitee with its proof inside.
func (hook *hostHook) body(payload []byte, at time.Time) []byte {
	if hook.Host == giteeStyle().kind {
		payload = hook.giteeBody(payload, at)
	}
	if hook.JSON {
		return payload
	}
	return []byte("payload=" + url.QueryEscape(string(payload)))
}

func (hook *hostHook) giteeBody(payload []byte, at time.Time) []byte {
	var object map[string]json.RawMessage
	if json.Unmarshal(payload, &object) != nil {
		return payload
	}
	text := func(s string) json.RawMessage { encoded, _ := json.Marshal(s); return encoded } // a string always can be
	object["hook_id"], object["hook_url"] = json.RawMessage(itoa(hook.ID)), text(hook.URL)
	object["timestamp"] = text(strconv.FormatInt(at.UnixMilli(), 10))
	object["password"], object["sign"] = text(hook.secret), text("")
	if hook.signs {
		object["password"], object["sign"] = text(""), text(giteeSign(hook.secret, at))
	}
	signed, err := json.Marshal(object)
	if err != nil {
		return payload
	}
	return signed
}

// giteeSign is the signature of a time (specs/githosts.md 3.1).
func giteeSign(secret string, at time.Time) string {
	sum := sign([]byte(secret), strconv.FormatInt(at.UnixMilli(), 10)+"\n"+secret)
	return base64.StdEncoding.EncodeToString(sum)
}

func sign(key []byte, message string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

// headers are those of a delivery, with its proof.
func (hook *hostHook) headers(a announcement, guid string, at time.Time, body []byte) http.Header {
	header := http.Header{"Content-Type": {"application/json"}}
	if !hook.JSON {
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	switch hook.Host {
	case githubStyle().kind:
		hook.githubHeaders(header, a, guid, body)
	case gitlabStyle().kind:
		hook.gitlabHeaders(header, a, guid, at, body)
	case giteeStyle().kind:
		header.Set("User-Agent", "git-oschina-hook")
		header.Set("X-Gitee-Event", a.event)
		header.Set("X-Git-Oschina-Event", a.event)
		header.Set("X-Gitee-Ping", strconv.FormatBool(a.ping))
		header.Set("X-Gitee-Timestamp", strconv.FormatInt(at.UnixMilli(), 10))
		header.Set("X-Gitee-Token", hook.secret)
		if hook.signs {
			header.Set("X-Gitee-Token", giteeSign(hook.secret, at))
		}
	default:
		hook.giteaHeaders(header, a, guid)
	}
	return header
}

func (hook *hostHook) githubHeaders(header http.Header, a announcement, guid string, body []byte) {
	header.Set("User-Agent", "GitHub-Hookshot/standin")
	header.Set("X-GitHub-Event", a.event)
	header.Set("X-GitHub-Delivery", guid)
	header.Set("X-GitHub-Hook-ID", itoa(hook.ID))
	target := "repository"
	if hook.Organization != "" {
		target = "organization"
	}
	header.Set("X-GitHub-Hook-Installation-Target-Type", target)
	if hook.secret != "" {
		header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(sign([]byte(hook.secret), string(body))))
	}
}

func (hook *hostHook) gitlabHeaders(header http.Header, a announcement, guid string, at time.Time, body []byte) {
	header.Set("User-Agent", "GitLab/18.5.0")
	header.Set("X-Gitlab-Event", a.event)
	header.Set("X-Gitlab-Instance", "https://gitlab.com")
	header.Set("X-Gitlab-Webhook-UUID", newGUID())
	header.Set("X-Gitlab-Event-UUID", newGUID())
	header.Set("Idempotency-Key", guid)
	if hook.secret != "" {
		header.Set("X-Gitlab-Token", hook.secret)
	}
	if key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(hook.signingToken, "whsec_")); err == nil && hook.signingToken != "" {
		seconds := strconv.FormatInt(at.Unix(), 10)
		header.Set("Webhook-Id", guid)
		header.Set("Webhook-Timestamp", seconds)
		header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(sign(key, guid+"."+seconds+"."+string(body))))
	}
}

// giteaHeaders: the proof is over the JSON, also in a form (specs/githosts.md 4.2).
func (hook *hostHook) giteaHeaders(header http.Header, a announcement, guid string) {
	header.Set("User-Agent", "Go-http-client/1.1")
	proof := ""
	if hook.secret != "" {
		proof = hex.EncodeToString(sign([]byte(hook.secret), string(a.payload)))
	}
	for _, prefix := range []string{"X-Gitea-", "X-Gogs-", "X-GitHub-"} {
		header.Set(prefix+"Event", a.event)
		header.Set(prefix+"Event-Type", a.subscription)
		header.Set(prefix+"Delivery", guid)
	}
	header["X-Gitea-Signature"], header["X-Gogs-Signature"] = []string{proof}, []string{proof}
	header.Set("X-Hub-Signature-256", "sha256="+proof)
	if hook.header != "" {
		header.Set("Authorization", hook.header)
	}
}

// newGUID is an id in the form of a UUID.
func newGUID() string {
	id := newID()
	return id[:8] + "-" + id[8:12] + "-4" + id[13:16] + "-8" + id[17:20] + "-" + id[20:]
}

// Deliver tells the hooks of a repository, and of its organisation, of an event, and returns the
// deliveries, which have ended. What the switch hook_deliveries drops, and what a disabled hook is
// not told, is not among them.
func (s *Server) Deliver(ctx context.Context, e HostEvent) ([]HostDelivery, error) {
	s.settings.RLock()
	mode, disables := s.opts.HookDeliveries, s.opts.disablesHooks(e.Host)
	s.settings.RUnlock()
	a, err := s.gitHosts.announce(e)
	if err != nil {
		return nil, fmt.Errorf("deliver %s of %q at %q: %w", e.Event, e.Repository, e.Host, err)
	}
	h := s.gitHosts.hooks
	h.mu.Lock()
	hooks := h.subscribed(e.Host, e.Repository, a.subscription)
	h.mu.Unlock()
	deliveries := []HostDelivery{}
	for _, hook := range hooks {
		if d := h.deliver(ctx, hook, a, "", mode, disables, false); d != nil {
			deliveries = append(deliveries, d.HostDelivery)
		}
	}
	return deliveries, nil
}

// disablesHooks reports whether a host disables hooks after failures.
func (o Options) disablesHooks(host string) bool {
	return host == gitlabStyle().kind && o.GitLabDisablesHooks != "never"
}

// Hooks returns the hooks of the git hosts with their deliveries, the oldest first.
func (s *Server) Hooks() []HostHook {
	h := s.gitHosts.hooks
	h.mu.Lock()
	defer h.mu.Unlock()
	all := []HostHook{}
	for _, hook := range h.hooks {
		shown := hook.HostHook
		shown.Disabled = hook.disabled(h.now())
		shown.Events, shown.Deliveries = slices.Clone(hook.Events), []HostDelivery{}
		for _, d := range hook.deliveries {
			shown.Deliveries = append(shown.Deliveries, d.HostDelivery)
		}
		all = append(all, shown)
	}
	return all
}

// serveHooks is GET /standin/hooks.
func (s *Server) serveHooks(w http.ResponseWriter, _ *http.Request) { writeHelper(w, s.Hooks()) }

// serveDeliver is POST /standin/events: a HostEvent, answered with the deliveries.
func (s *Server) serveDeliver(w http.ResponseWriter, r *http.Request) {
	var e HostEvent
	if !readHelper(w, r, "event", &e) {
		return
	}
	deliveries, err := s.Deliver(r.Context(), e)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeHelper(w, deliveries)
}
