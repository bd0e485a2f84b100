package config

import (
	"fmt"
	"net/netip"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// CIDR is a range of addresses, written as 10.0.0.0/8 or fd00::/8; a single address
// stands for itself.
type CIDR struct{ netip.Prefix }

// UnmarshalYAMLNode reads a range or an address.
func (c *CIDR) UnmarshalYAMLNode(node strictyaml.Node) error {
	text := node.Scalar()
	prefix, err := netip.ParsePrefix(text)
	if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil || prefix.Addr().Is4In6() {
		return node.Complain(fmt.Sprintf("%q is not a range of addresses", text), "write a range such as 10.0.0.0/8 or fd00::/8, or one address")
	}
	if prefix != prefix.Masked() {
		return node.Complain(fmt.Sprintf("%q names an address inside of a range", text), "write "+prefix.Masked().String()+", or the address alone")
	}
	c.Prefix = prefix
	return nil
}

// Prefixes returns the ranges as net/netip has them.
func Prefixes(list []CIDR) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, c := range list {
		prefixes = append(prefixes, c.Prefix)
	}
	return prefixes
}
