package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

// place is where a payload says that a repository is. An empty address says
// nothing. The ssh address is not here, because nothing is concluded from it.
type place struct {
	web   string // the address of its page
	clone string // the address to clone it from over http
}

// places are what a payload says of the repositories of its event.
type places struct {
	// target is the repository that the event is about, as often as the payload
	// describes it.
	target []place
	// source is the repository that the code of a merge request comes from.
	source []place
}

// bind makes sure that an event is about a repository of its connection, and gives
// the repository the addresses that the connection has for it. Each address of the
// payload must be on a host of the connection, at the path of the full name below
// the path of the connection's URL. Scheme and port may differ, because the address
// is not used. The source of a merge request may be another repository of the host.
//
// A connection without a URL is where the payload says that it is.
func bind(c Connection, h host, ev *event.Event, said places) error {
	r := &ev.Repository
	if r.FullName == "" {
		return nil
	}
	if err := checkFullName(r.FullName); err != nil {
		return err
	}
	if c.URL == "" {
		c.URL = cmp.Or(ownURL(said.target, r.FullName), h.URL)
	}
	site, err := url.Parse(c.URL)
	if err != nil {
		return fmt.Errorf("the URL of connection %q cannot be read", c.Name)
	}
	for _, p := range said.target {
		for _, address := range []string{p.web, strings.TrimSuffix(p.clone, ".git")} {
			if err := c.check(site, address, r.FullName); err != nil {
				return err
			}
		}
	}
	for _, p := range said.source {
		for _, address := range []string{p.web, p.clone} {
			if err := c.check(site, address, ""); err != nil {
				return err
			}
		}
	}
	r.HTTPSURL, r.SSHURL = c.addresses(site, r.FullName)
	return nil
}

// addresses are those that the connection has for a repository; site is its URL.
func (c Connection) addresses(site *url.URL, fullName string) (https, ssh string) {
	return fill(cmp.Or(c.CloneURL, c.URL+"/{repository}.git"), fullName),
		fill(cmp.Or(c.SSHURL, "git@"+site.Hostname()+":{repository}.git"), fullName)
}

// Repository is a repository of a connection with a URL, as its deliveries describe it, but
// for the host's id, which a name does not tell.
func (c Connection) Repository(fullName string) event.Repository {
	r := event.Repository{Host: c.Host, FullName: fullName}
	if site, err := url.Parse(c.URL); err == nil {
		r.HTTPSURL, r.SSHURL = c.addresses(site, fullName)
	}
	return r
}

// check says what is wrong with an address of a payload: it is not on a host of the
// connection or, where a full name is given, not at its path. Names are compared
// without regard to case, as GitHub, GitLab and Gitee do (specs/githosts.md 5). An
// empty address is right.
func (c Connection) check(site *url.URL, address, fullName string) error {
	if address == "" {
		return nil
	}
	what, home := quote(fullName), site.Hostname()+site.EscapedPath()
	if fullName == "" {
		what = "the source of the merge request"
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "":
		return fmt.Errorf("the payload has %s at an address that cannot be read, and connection %q is at %q", what, c.Name, home)
	case u.User != nil:
		return fmt.Errorf("the payload has %s at an address of %.200q that contains a user name, and connection %q is at %q: no host sends such an address", what, u.Hostname(), c.Name, home)
	}
	// The rest of the address may hold a password.
	at := fmt.Sprintf("%.200q", u.Hostname()+u.EscapedPath())
	known := func(name string) bool { return strings.EqualFold(name, u.Hostname()) }
	switch {
	case !known(site.Hostname()) && !slices.ContainsFunc(c.Hosts, known):
		return fmt.Errorf("the payload has %s at %s, and connection %q is at %q: if this is the same host, write its other name under hosts of the connection", what, at, c.Name, home)
	case fullName != "" && !strings.EqualFold(u.EscapedPath(), site.EscapedPath()+"/"+fullName):
		return fmt.Errorf("the payload has %s at %s, and connection %q has it at %q: the path must be the full name below the connection's url", what, at, c.Name, home+"/"+fullName)
	}
	return nil
}

// ownURL is the address of the host that a payload itself gives for a repository:
// its web address, or else its clone address, less the full name. Empty when it
// gives none.
func ownURL(target []place, fullName string) string {
	for _, p := range target {
		address := cmp.Or(p.web, strings.TrimSuffix(p.clone, ".git"))
		u, err := url.Parse(address)
		if err != nil || u.Hostname() == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
			continue
		}
		if end := len(address) - len("/"+fullName); end > 0 && strings.EqualFold(address[end:], "/"+fullName) {
			return address[:end]
		}
		return u.Scheme + "://" + u.Host
	}
	return ""
}

// fill puts a full name into an address of a connection.
func fill(address, fullName string) string {
	return strings.ReplaceAll(address, "{repository}", fullName)
}

const (
	// maxFullName and maxNamePart bound a full name and each part of it, in bytes.
	// The longest are GitLab's: a path of up to 255 for each of its groups.
	maxFullName = 1024
	maxNamePart = 255
)

// checkFullName refuses what cannot be the path of a repository. What it lets pass
// stands in an address as it is, and means one place there.
func checkFullName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
	if len(name) > maxFullName {
		return fmt.Errorf("the repository's name has %d bytes: more than %d is not read", len(name), maxFullName)
	}
	parts := strings.Split(name, "/")
	if len(parts) < 2 {
		return fmt.Errorf("the repository's name %s is not owner/name", quote(name))
	}
	for _, part := range parts {
		switch {
		case part == "" || part == "." || part == "..":
			return fmt.Errorf("the repository's name %s is not a path", quote(name))
		case len(part) > maxNamePart:
			return fmt.Errorf("a part of the repository's name has %d bytes: more than %d is not read", len(part), maxNamePart)
		case strings.ContainsFunc(part, func(r rune) bool { return !strings.ContainsRune(allowed, r) }):
			return fmt.Errorf("the repository's name %s has a character that no host allows: only letters, digits and -._~ are read", quote(name))
		}
	}
	if strings.HasSuffix(strings.ToLower(name), ".git") {
		// Its address would be that of the repository without this ending.
		return errors.New("the repository's name ends with .git, which no host allows")
	}
	return nil
}
