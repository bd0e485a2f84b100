package config

import (
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Dashboard is where people and programs look and decide, and who they are. It is served at
// http.private_addr.
type Dashboard struct {
	// URL is the address that statuses and comments link to, and to which the OpenID provider
	// sends back, without a slash at its end. Default: empty, for no links; auth.oidc needs it.
	URL string `yaml:"url,omitempty"`
	// Auth says how people prove who they are. Default: nobody can log in; tokens work.
	Auth DashboardAuth `yaml:"auth,omitempty"`
	// Roles say what people may. Default: nothing.
	Roles Roles `yaml:"roles,omitempty"`
	// PublicView lets everybody who reaches the address see what a viewer sees. Default: false.
	PublicView bool    `yaml:"public_view"`
	Session    Session `yaml:"session"`
}

// DashboardAuth is how people prove who they are: at most one field is given.
type DashboardAuth struct {
	OIDC  *OIDC      `yaml:"oidc,omitempty"`
	Proxy *AuthProxy `yaml:"proxy,omitempty"`
	// None asks nobody who they are, on a loopback private_addr only. It may be written as the word none.
	None *NoAuth `yaml:"none,omitempty"`
}

// UnmarshalYAMLNode reads a mapping, or the word none.
func (a *DashboardAuth) UnmarshalYAMLNode(node strictyaml.Node) error {
	if node.Kind() == strictyaml.Map {
		type plain DashboardAuth
		return node.Decode((*plain)(a))
	}
	if node.Scalar() != "none" {
		return node.Complain(fmt.Sprintf("%q is not a way to log in", node.Scalar()), "write oidc: {…} or proxy: {…} below it, or the word none")
	}
	a.None = &NoAuth{}
	return nil
}

// OIDC is an OpenID provider (OpenID Connect Core 1.0, authorization code with PKCE).
type OIDC struct {
	// Issuer is the provider's address, exactly as its discovery document says it. https, but
	// for the loopback.
	Issuer string `yaml:"issuer"`
	// ClientID is what the provider calls Gatewright, and ClientSecret its secret there.
	// Default: none, for a public client.
	ClientID     string `yaml:"client_id"`
	ClientSecret Secret `yaml:"client_secret,omitempty"`
	// Scopes are what the provider is asked for. Default: openid, profile.
	Scopes []string `yaml:"scopes,flow"`
	// GroupsClaim names the claim with the groups of a person, and NameClaim the one that is
	// shown. Where the ID token lacks the groups the provider's userinfo is asked. Default:
	// groups, preferred_username.
	GroupsClaim string `yaml:"groups_claim"`
	NameClaim   string `yaml:"name_claim"`
	// Hosts are further hosts, host or host:port, that the provider's endpoints may have.
	// Nothing else is called. Default: the issuer's alone.
	Hosts []string `yaml:"hosts,omitempty"`
	// CAFile holds certificate authorities in PEM form that are trusted beside the system's.
	// Default: none.
	CAFile string `yaml:"ca_file,omitempty"`
	// ClockLeeway is how far the provider's clock may be from ours. Default: 1m.
	ClockLeeway time.Duration `yaml:"clock_leeway"`

	ca []byte // the content of CAFile
}

// CA is the content of CAFile.
func (o *OIDC) CA() []byte { return o.ca }

// AuthProxy is an authenticating proxy in front of the private address.
type AuthProxy struct {
	// UserHeader says who the user is: what people have as oidc. GroupsHeader lists groups,
	// separated by commas, NameHeader is shown. Default: X-Forwarded-User, X-Forwarded-Groups,
	// X-Forwarded-Preferred-Username, as oauth2-proxy sends them.
	UserHeader   string `yaml:"user_header"`
	GroupsHeader string `yaml:"groups_header"`
	NameHeader   string `yaml:"name_header"`
	// TrustedProxies are the addresses from which these headers count; from others they are
	// removed. Mandatory.
	TrustedProxies []CIDR `yaml:"trusted_proxies"`
}

// NoAuth lets everybody who reaches the address do everything.
type NoAuth struct {
	// Person is the entry of people that they are, for decisions that take a person. Default: none.
	Person string `yaml:"person,omitempty"`
}

// Roles are the groups that have a role: names of groups, or values of the provider's groups
// claim where no group has that name.
type Roles struct {
	Viewer   []string `yaml:"viewer,omitempty"`
	Operator []string `yaml:"operator,omitempty"`
	Approver []string `yaml:"approver,omitempty"`
	Admin    []string `yaml:"admin,omitempty"`
}

// Session is how long a login lasts.
type Session struct {
	// Idle is after how long without a request it ends, Absolute after how long in any case.
	// Default: 8h, 24h.
	Idle     time.Duration `yaml:"idle"`
	Absolute time.Duration `yaml:"absolute"`
}

func defaultDashboard() Dashboard {
	return Dashboard{Session: Session{Idle: 8 * time.Hour, Absolute: 24 * time.Hour}}
}

// UnmarshalYAMLNode reads a provider over its defaults.
func (o *OIDC) UnmarshalYAMLNode(node strictyaml.Node) error {
	type plain OIDC
	*o = OIDC{Scopes: []string{"openid", "profile"}, GroupsClaim: "groups", NameClaim: "preferred_username", ClockLeeway: time.Minute}
	return node.Decode((*plain)(o))
}

// UnmarshalYAMLNode reads a proxy over its defaults.
func (p *AuthProxy) UnmarshalYAMLNode(node strictyaml.Node) error {
	type plain AuthProxy
	*p = AuthProxy{UserHeader: "X-Forwarded-User", GroupsHeader: "X-Forwarded-Groups", NameHeader: "X-Forwarded-Preferred-Username"}
	return node.Decode((*plain)(p))
}

func (k *checker) dashboard(c *Config) {
	d := &c.Dashboard
	if d.URL != "" {
		d.URL, _ = k.url("dashboard.url", d.URL)
	}
	if d.Session.Idle < time.Minute {
		k.complain("dashboard.session.idle", fmt.Sprintf("%s ends a login while somebody reads a page", d.Session.Idle), "write at least 1m, such as 8h")
	}
	if d.Session.Absolute < d.Session.Idle || d.Session.Absolute > 31*24*time.Hour {
		k.complain("dashboard.session.absolute", fmt.Sprintf("%s is shorter than idle or longer than 744h", d.Session.Absolute), "write a time such as 24h")
	}
	ways := 0
	if o := d.Auth.OIDC; o != nil {
		ways++
		k.oidc(c, o)
	}
	if p := d.Auth.Proxy; p != nil {
		ways++
		k.authProxy(p)
	}
	if d.Auth.None != nil {
		ways++
		if host, _, err := net.SplitHostPort(c.HTTP.PrivateAddr); err == nil && !loopback(host) {
			k.complain("dashboard.auth", "everybody who reaches http.private_addr could do everything", `write oidc or proxy, or make http.private_addr a loopback address such as "127.0.0.1:8081"`)
		}
	}
	if ways > 1 {
		k.complain("dashboard.auth", "several ways to log in are given", "keep one of oidc, proxy and none")
	}
	k.roles(c)
}

func (k *checker) oidc(c *Config, o *OIDC) {
	const path = "dashboard.auth.oidc"
	if o.Issuer == "" {
		k.complain(path+".issuer", "this setting is missing", "write the address of the OpenID provider, such as https://id.example.com")
	} else if _, u := k.url(path+".issuer", o.Issuer); u != nil && plainOffLoopback(u) {
		k.complain(path+".issuer", "logins would cross the network in the clear", "write an https:// address")
	}
	if o.ClientID == "" {
		k.complain(path+".client_id", "this setting is missing", "write the id under which the provider knows gatewright")
	}
	k.secret(path+".client_secret", &o.ClientSecret)
	if !slices.Contains(o.Scopes, "openid") {
		k.complain(path+".scopes", "openid is not among them, without which there is no ID token", "write [openid, profile] and what brings the groups")
	}
	for _, claim := range []struct{ key, value string }{{"groups_claim", o.GroupsClaim}, {"name_claim", o.NameClaim}} {
		if claim.value == "" {
			k.complain(path+"."+claim.key, "this name is empty", "write the name of a claim, or leave the setting out")
		}
	}
	for i, host := range o.Hosts {
		if strings.ContainsAny(host, "/ @?#") || host == "" {
			k.complain(fmt.Sprintf("%s.hosts[%d]", path, i), fmt.Sprintf("%q is not a host", host), "write host or host:port, such as login.example.com")
		}
	}
	if o.ClockLeeway < 0 || o.ClockLeeway > 10*time.Minute {
		k.complain(path+".clock_leeway", fmt.Sprintf("%s is negative or longer than 10m", o.ClockLeeway), "write a time such as 1m, and synchronize the clocks (NTP)")
	}
	o.ca = k.caFile(path+".ca_file", &o.CAFile)
	if c.Dashboard.URL == "" {
		k.complain("dashboard.auth", "the provider does not know where to send people back to: dashboard.url is missing", "write dashboard.url, such as https://gatewright.example.com")
	}
	if c.Dashboard.URL == "" || k.complained("dashboard.url") {
		return
	}
	switch _, u := k.url("dashboard.url", c.Dashboard.URL); {
	case u == nil:
	case plainOffLoopback(u):
		k.complain("dashboard.url", "the cookies of people who log in would cross the network in the clear", "write the https:// address of the pages")
	case strings.Trim(u.Path, "/") != "":
		k.complain("dashboard.url", "there is a path in this URL, and the pages are served without one", "give the pages a host name of their own")
	}
}

// headerPattern is the name of a header.
var headerPattern = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func (k *checker) authProxy(p *AuthProxy) {
	const path = "dashboard.auth.proxy"
	for _, header := range []struct {
		key   string
		value *string
	}{{"user_header", &p.UserHeader}, {"groups_header", &p.GroupsHeader}, {"name_header", &p.NameHeader}} {
		name := http.CanonicalHeaderKey(*header.value)
		switch {
		case !headerPattern.MatchString(name):
			k.complain(path+"."+header.key, fmt.Sprintf("%q is not the name of a header", *header.value), "write a name such as X-Forwarded-User, or leave it out")
		case slices.Contains([]string{"Authorization", "Cookie", "Host", "Origin"}, name):
			k.complain(path+"."+header.key, fmt.Sprintf("browsers and programs send %s themselves", name), "write the header that only the proxy sets, such as X-Forwarded-User")
		}
		*header.value = name
	}
	if len(p.TrustedProxies) == 0 {
		k.complain(path+".trusted_proxies", "without them anybody could send the header", "write the addresses of the proxy, such as [10.1.2.3]")
	}
	for i, c := range p.TrustedProxies {
		if c.IsValid() && c.Bits() == 0 {
			k.complain(fmt.Sprintf("%s.trusted_proxies[%d]", path, i), "this is every address, so that anybody could send the header", "write the addresses of the proxy, such as 10.1.2.3")
		}
	}
}

func (k *checker) roles(c *Config) {
	r, given := c.Dashboard.Roles, false
	for _, role := range []struct {
		key    string
		groups []string
	}{{"viewer", r.Viewer}, {"operator", r.Operator}, {"approver", r.Approver}, {"admin", r.Admin}} {
		for i, group := range role.groups {
			given = true
			if strings.TrimSpace(group) == "" {
				k.complain(fmt.Sprintf("dashboard.roles.%s[%d]", role.key, i), "this name is empty", "write the name of a group")
			}
		}
	}
	if auth := c.Dashboard.Auth; !given && (auth.OIDC != nil || auth.Proxy != nil) {
		k.warn("dashboard.auth", "nobody has a role, so nobody who logs in sees anything", "write dashboard.roles, such as {viewer: [developers], admin: [platform]}")
	}
}
