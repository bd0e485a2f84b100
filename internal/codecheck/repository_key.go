package codecheck

import (
	"net/url"
	"strings"
)

// RepositoryKey is the identity of a repository, whatever form its address has:
// host and path in lower case, without scheme, user, default port, ".git" and
// slashes at the end. Only an http or https port that is not the default is
// part of it, because an ssh port says nothing about the https address of the
// same repository. Host and path are taken as case-insensitive, as the hosts
// that we read do. The key of an empty address is empty.
func RepositoryKey(address string) string {
	address = strings.ToLower(strings.TrimSpace(address))
	host, path := "", address
	if scheme, rest, isURL := strings.Cut(address, "://"); isURL {
		rest, _, _ = strings.Cut(rest, "#")
		rest, _, _ = strings.Cut(rest, "?")
		authority, _, _ := strings.Cut(rest, "/")
		host, path = keyHost(scheme, withoutUser(authority)), rest[len(authority):]
		if decoded, err := url.PathUnescape(path); err == nil {
			path = strings.ToLower(decoded)
		}
	} else if before, after, scp := strings.Cut(address, ":"); scp && !strings.Contains(before, "/") {
		// user@host:path
		host, path = withoutUser(before), after
	}
	path = strings.TrimRight(path, "/")
	path = strings.TrimRight(strings.TrimSuffix(path, ".git"), "/")
	if host == "" {
		return path
	}
	return host + "/" + strings.TrimLeft(path, "/")
}

func withoutUser(authority string) string {
	return authority[strings.LastIndex(authority, "@")+1:]
}

// keyHost is the host, with its port where that is part of the identity.
func keyHost(scheme, authority string) string {
	colon := strings.LastIndex(authority, ":")
	if colon < 0 || strings.Contains(authority[colon:], "]") {
		return authority
	}
	host, port := authority[:colon], authority[colon+1:]
	switch {
	case port == "",
		scheme == "https" && port == "443",
		scheme == "http" && port == "80",
		scheme != "https" && scheme != "http":
		return host
	}
	return authority
}
