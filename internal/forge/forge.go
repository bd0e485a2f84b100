// Package forge is the way out to the git hosts. It reads where a branch, tag or merge
// request is now: a payload is a hint, and before we act on it the host itself confirms
// the commit. And it writes what became of a commit: its status, and the comment on its merge
// request (report.go). Files for each host; what all of them share (the bounds of an answer,
// where a request may go, what an answer's status means) is in transport.go and error.go.
package forge

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// Connection is one git host that is asked. It holds a secret: its String is the name
// alone.
type Connection struct {
	Name string
	Host event.Host
	// APIURL is the base URL of the host's API, without a slash at its end. No request
	// leaves its scheme, host and path.
	APIURL string
	// URL is the address of the host's pages, without a slash at its end; empty for no links.
	URL string
	// Token authorises the calls; empty with an App.
	Token string
	// App authorises the calls in place of a token; only hosts that have Apps. Default: none.
	App *App
	// RootCAs are the certificate authorities that are trusted; nil: the system's.
	RootCAs *x509.CertPool
	// Proxy is the proxy of these requests; nil: the one that the environment names.
	Proxy *url.URL
}

// String returns the name, so that a connection that is printed shows no secret.
func (c Connection) String() string { return c.Name }

// App is an installation of a GitHub App. Tokens are made with its key, and renewed.
type App struct {
	// ID is the App's number, Installation that of its installation in the account that owns the
	// repositories.
	ID, Installation int64
	// PrivateKey is the App's RSA key in PEM form.
	PrivateKey string
}

// Options configure a Forge. All but Connections have a default.
type Options struct {
	Connections []Connection
	// Timeout bounds one call, such as Head, with all its requests. Default 10 seconds.
	Timeout time.Duration
	// Metrics counts the requests. Default: nothing is counted.
	Metrics *Metrics
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Forge asks the git hosts. It is safe for concurrent use.
type Forge struct {
	timeout time.Duration
	now     func() time.Time
	clients map[string]*connected
}

// RefusedTokens are the connections whose host answered 401 when it was asked last, with the error.
func (f *Forge) RefusedTokens() map[string]string {
	refused := map[string]string{}
	for name, c := range f.clients {
		c.transport.mu.Lock()
		if c.transport.refusal != "" {
			refused[name] = c.transport.refusal
		}
		c.transport.mu.Unlock()
	}
	return refused
}

// connected is one connection with its client.
type connected struct {
	client
	transport *transport
	kind      event.Host
	// url, filePage and hookKind are those of the connection and its host, and so is mostInPush.
	url, filePage string
	hookKind      HookKind
	mostInPush    int

	mu sync.Mutex
	// author is the id of the account that writes comments; empty until it is known.
	author string
}

// client is what a kind of host does for one connection.
type client interface {
	reader
	memberReader
	refLister
	statusWriter
	commentWriter
	hookKeeper
	commentReader
	commitReader
}

// reader reads from one connection. A repository is its full name; neither that nor another
// name has empty or dotted segments.
type reader interface {
	branch(ctx context.Context, repository, name string) (sha string, err error)
	// tag returns the commit, also of an annotated tag.
	tag(ctx context.Context, repository, name string) (sha string, err error)
	mergeRequest(ctx context.Context, repository string, number int) (MergeRequest, error)
	// languages are the repository's, by the host's or GitHub's names, the most used first;
	// sha is a commit of it.
	languages(ctx context.Context, repository, sha string) (names []string, err error)
	// mergeRequestFiles are the files that a merge request changes, with its commit.
	mergeRequestFiles(ctx context.Context, repository string, number int) (changes, error)
	// compare returns the files that differ between a commit and a later one.
	compare(ctx context.Context, repository, before, after string) (changes, error)
}

// host is a kind of git host: its word, and its client, which is made from an address, a
// token and an HTTP client that has every bound.
type host struct {
	name event.Host
	// filePage is the path of a file at a commit on the host's pages, below the repository's;
	// %s stands for the commit.
	filePage string
	hookKind HookKind
	// mostInPush is Refs.MostInPush.
	mostInPush int
	newClient  func(c Connection, h *http.Client, now func() time.Time) (client, error)
}

// errNoApps is what New says of an App for a host that has none.
var errNoApps = errors.New("this kind of host has no Apps: give it a token")

// hosts are the supported kinds.
func hosts() []host { return []host{githubHost(), gitlabHost(), giteeHost(), giteaHost()} }

// New returns a Forge, or an error that names the first wrong connection.
func New(o Options) (*Forge, error) {
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	f := &Forge{timeout: o.Timeout, now: o.Now, clients: map[string]*connected{}}
	for _, c := range o.Connections {
		kind := slices.IndexFunc(hosts(), func(h host) bool { return h.name == c.Host })
		base, err := url.Parse(c.APIURL)
		if kind < 0 || (c.Token == "") == (c.App == nil) || err != nil || base.Host == "" {
			return nil, fmt.Errorf("create forge: connection %q needs a known kind of host, an API address, and a token or an App", c.Name)
		}
		t := newTransport(c, base, o)
		made, err := hosts()[kind].newClient(c, t.client(), o.Now)
		if err != nil {
			return nil, fmt.Errorf("create forge: connection %q: %w", c.Name, err)
		}
		h := hosts()[kind]
		f.clients[c.Name] = &connected{client: made, transport: t, kind: c.Host, url: c.URL, filePage: h.filePage, hookKind: h.hookKind, mostInPush: h.mostInPush}
	}
	return f, nil
}

// CloseIdle closes the connections that carry nothing.
func (f *Forge) CloseIdle() {
	for _, c := range f.clients {
		c.transport.CloseIdleConnections()
	}
}

// connected returns the client of a connection, or the error for one without an API token.
func (f *Forge) connected(connection, operation string) (*connected, error) {
	c, known := f.clients[connection]
	if !known {
		return nil, &Error{Operation: operation, message: fmt.Sprintf("connection %q has no API token", connection)}
	}
	return c, nil
}

// Head reads the commit that the event's branch, tag or merge request has now on its
// host: the tip of the branch, the commit of the tag (an annotated tag is followed to its
// commit), the head of the merge request. The repository is named by its full name,
// because that is what every address that we send is built from.
//
// An error that may pass says so by Retryable: no answer, 5xx, 429, refused
// credentials, an answer that cannot be read. One that names nothing on the host (404) or is
// redirected to another host does not pass. No error shows the token.
func (f *Forge) Head(ctx context.Context, ev event.Event) (sha string, err error) {
	r, err := f.connected(ev.Connection, operationOf(ev))
	if err != nil {
		return "", err
	}
	repository := ev.Repository.FullName
	if !plain(repository) || ev.Number <= 0 && !plain(ev.CommitRef()) {
		return "", &Error{Operation: operationOf(ev), message: fmt.Sprintf("%.100q in %.100q cannot be the name of one", ev.CommitRef(), repository)}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	ctx = withOperation(ctx, operation{operationOf(ev), rightToRead})
	switch {
	case ev.Number > 0:
		var request MergeRequest
		request, err = r.mergeRequest(ctx, repository, ev.Number)
		sha = request.HeadSHA
	case ev.Kind == event.Tag:
		sha, err = r.tag(ctx, repository, ev.Branch)
	default:
		sha, err = r.branch(ctx, repository, ev.CommitRef())
	}
	if err == nil && !isCommit(sha) {
		err = errors.New("it has no commit hash where it should have one")
	}
	return sha, asError(operationOf(ev), err)
}

// operationOf is the name of the read in errors and, with underscores, in metrics.
func operationOf(ev event.Event) string {
	switch {
	case ev.Number > 0:
		return "read merge request"
	case ev.Kind == event.Tag:
		return "read tag"
	}
	return "read branch"
}

// plain reports whether a name can be put into a path: a segment that is empty or dotted would
// turn the read into another one.
func plain(name string) bool {
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// isCommit reports whether sha has the form of a full commit hash, SHA-1 or SHA-256.
func isCommit(sha string) bool {
	if len(sha) != 40 && len(sha) != 64 || event.ZeroHash(sha) {
		return false
	}
	for _, c := range sha {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Languages reads the programming languages of the event's repository, by the names that
// GitHub and GitLab give them, the most used first. GitHub, GitLab and Gitea tell those of the
// default branch; on Gitee they are derived from the names of the files at the event's
// commit. Errors are as those of Head.
func (f *Forge) Languages(ctx context.Context, ev event.Event) (names []string, err error) {
	const name = "read languages"
	r, err := f.connected(ev.Connection, name)
	if err != nil {
		return nil, err
	}
	if !plain(ev.Repository.FullName) || !isCommit(ev.HeadSHA) {
		return nil, &Error{Operation: name, message: fmt.Sprintf("%.100q at %.100q cannot be a commit of a repository", ev.Repository.FullName, ev.HeadSHA)}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	names, err = r.languages(withOperation(ctx, operation{name, rightToRead}), ev.Repository.FullName, ev.HeadSHA)
	return names[:min(len(names), maxLanguages)], asError(name, err)
}

// maxLanguages bounds what is taken from an answer.
const maxLanguages = 100

// byUse are the keys of a map, those with the highest values first.
func byUse[N cmp.Ordered](use map[string]N) []string {
	return slices.SortedFunc(maps.Keys(use), func(a, b string) int { return cmp.Or(cmp.Compare(use[b], use[a]), cmp.Compare(a, b)) })
}

// FileURL is the address of a line of a file at a commit on the host's pages; "" where the
// connection has no address, or the names are not those of a file in a repository.
func (f *Forge) FileURL(connection, repository, sha, path string, line int) string {
	c, known := f.clients[connection]
	if !known || c.url == "" || !plain(repository) || !plain(path) || !isCommit(sha) {
		return ""
	}
	address := c.url + escapedPath("/"+repository) + fmt.Sprintf(c.filePage, sha) + escapedPath(path)
	if line > 0 {
		address += "#L" + strconv.Itoa(line)
	}
	return address
}

// escapedPath escapes each segment, also the brackets that would end a link in Markdown.
func escapedPath(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		segments[i] = strings.NewReplacer("(", "%28", ")", "%29", "'", "%27", "*", "%2A", "!", "%21").Replace(url.PathEscape(segment))
	}
	return strings.Join(segments, "/")
}
