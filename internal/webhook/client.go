package webhook

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Clients tells who sent a request: whoever connects, or whom a trusted proxy names.
type Clients struct {
	// Proxies are the trusted proxies.
	Proxies []netip.Prefix
}

// Trusted reports whether an address is that of a trusted proxy.
func (c Clients) Trusted(addr netip.Addr) bool {
	return contains(c.Proxies, addr)
}

// Of returns the address of the client. Of the addresses that proxies have noted in
// X-Forwarded-For it is the last one that is not a trusted proxy's: what stands before
// it was written by somebody who is not trusted. X-Real-IP, and then Forwarded, count
// where there is no X-Forwarded-For. When a proxy names nobody it is the proxy's own.
func (c Clients) Of(r *http.Request) netip.Addr {
	peer := PeerAddr(r.RemoteAddr)
	if !c.Trusted(peer) {
		return peer
	}
	hops := forwardedFor(r.Header)
	for i := len(hops) - 1; i >= 0; i-- {
		hop := PeerAddr(hops[i])
		if !hop.IsValid() {
			break
		}
		if peer = hop; !c.Trusted(hop) {
			break
		}
	}
	return peer
}

// forwardedFor returns the addresses that proxies have noted, the nearest last.
func forwardedFor(header http.Header) []string {
	if list := header.Values("X-Forwarded-For"); len(list) > 0 {
		return strings.Split(strings.Join(list, ","), ",")
	}
	if list := header.Values("X-Real-Ip"); len(list) > 0 {
		return list
	}
	var hops []string
	for _, element := range strings.Split(strings.Join(header.Values("Forwarded"), ","), ",") {
		for _, pair := range strings.Split(element, ";") {
			if name, value, _ := strings.Cut(strings.TrimSpace(pair), "="); strings.EqualFold(name, "for") {
				hops = append(hops, strings.Trim(value, `"`))
			}
		}
	}
	return hops
}

// PeerAddr reads an address with a port or without. It is not valid when there is none.
func PeerAddr(text string) netip.Addr {
	text = strings.TrimSpace(text)
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone("")
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}

// ShareOf is the range of addresses that share one part of what is bounded for each
// client: an IPv4 address, or the 64 bits of an IPv6 network, in which one machine can
// have any address.
func ShareOf(addr netip.Addr) netip.Prefix {
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

// contains reports whether an address is in one of the ranges.
func contains(list []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(addr) })
}
