package access

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/webhook"
)

// Proxy is an authenticating proxy.
type Proxy struct {
	// UserHeader, GroupsHeader and NameHeader are what it sends.
	UserHeader, GroupsHeader, NameHeader string
	// Trusted are the addresses from which they count.
	Trusted []netip.Prefix
}

// strip removes the headers of the proxy from a request that did not come from it, and reports
// whether it did. The address is that of the connection: nothing that a request says counts here.
func (p *Proxy) strip(r *http.Request) (trusted bool) {
	if p == nil {
		return false
	}
	if (webhook.Clients{Proxies: p.Trusted}).Trusted(webhook.PeerAddr(r.RemoteAddr)) {
		return true
	}
	for _, name := range []string{p.UserHeader, p.GroupsHeader, p.NameHeader} {
		r.Header.Del(name)
	}
	return false
}

// identity is whom the proxy names. A header that was sent twice names nobody: one of them may be
// the client's own.
func (p *Proxy) identity(r *http.Request) (id identity, found bool) {
	users := r.Header.Values(p.UserHeader)
	if len(users) != 1 || strings.TrimSpace(users[0]) == "" || len(users[0]) > maxClaim || printable(users[0]) != strings.TrimSpace(users[0]) {
		return id, false
	}
	id.subject, id.name = strings.TrimSpace(users[0]), printable(r.Header.Get(p.NameHeader))
	for _, list := range r.Header.Values(p.GroupsHeader) {
		for group := range strings.SplitSeq(list, ",") {
			id.claims = append(id.claims, strings.TrimSpace(group))
		}
	}
	id.claims = bounded(id.claims)
	return id, true
}

// localHost reports whether a request asks for a name of this machine. A page of another site whose
// name was made to mean 127.0.0.1 has that name in its requests.
func localHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return slices.Contains([]string{"localhost", ""}, strings.ToLower(host)) || err == nil && addr.IsLoopback()
}
