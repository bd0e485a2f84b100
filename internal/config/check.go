package config

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

var (
	namePattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	regionPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)
	idPattern     = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// checker goes through a decoded configuration once: it fills in what depends on
// other settings, reads the secrets, and collects what is wrong.
type checker struct {
	doc        *strictyaml.Document
	complaints strictyaml.Complaints
	dir        string
	env        func(string) (string, bool)
	readFile   func(string) ([]byte, error)
}

// complain adds a complaint, unless there is one at the same path, above or below
// it: that one is the cause, and this one would only follow from it.
func (k *checker) complain(path, problem, instead string) {
	if !k.complained(path) {
		k.complaints = append(k.complaints, k.doc.Complain(path, problem, instead))
	}
}

func (k *checker) complained(path string) bool {
	return slices.ContainsFunc(k.complaints, func(c strictyaml.Complaint) bool {
		return within(path, c.Path) || within(c.Path, path)
	})
}

// within reports whether path is the same as above, or leads to something in it.
func within(path, above string) bool {
	rest, found := strings.CutPrefix(path, above)
	return found && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

func (k *checker) config(c *Config) {
	k.http(c.HTTP)
	k.store(&c.Store)
	k.connections(c.Connections)
	k.huaweiCloud(&c.HuaweiCloud)
	c.Rules = k.file("rules", c.Rules)
	k.oneOf("log.level", c.Log.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", c.Log.Format, "json", "console")
}

func (k *checker) http(h HTTP) {
	k.address("http.addr", h.Addr)
	if h.MaxBody < KiB {
		k.complain("http.max_body", "no webhook fits into less than 1KiB", "write a size such as 25MiB")
	}
	k.positive("http.header_timeout", h.HeaderTimeout)
	k.positive("http.read_timeout", h.ReadTimeout)
	k.positive("http.shutdown_grace", h.ShutdownGrace)
	if h.PprofAddr == "" || !k.address("http.pprof_addr", h.PprofAddr) {
		return
	}
	if host, _, _ := net.SplitHostPort(h.PprofAddr); !loopback(host) {
		k.complain("http.pprof_addr", "profiles show the process's memory and are served on loopback only",
			`write "127.0.0.1:6060", or "" for none`)
	}
}

func (k *checker) connections(list []Connection) {
	if len(list) == 0 {
		k.complain("connections", "there is no connection, so no webhook could be taken",
			"write at least one: - {name: github, kind: github, secrets: [{env: GITHUB_WEBHOOK_SECRET}]}")
	}
	first := map[string]int{}
	for i := range list {
		path := fmt.Sprintf("connections[%d]", i)
		c := &list[i]
		k.connection(path, c)
		if !namePattern.MatchString(c.Name) {
			k.complain(path+".name", fmt.Sprintf("%q is no name for a connection", c.Name),
				`write 1 to 63 of a-z, 0-9 and "-", the first not "-"`)
			continue
		}
		if before, taken := first[c.Name]; taken {
			line, _ := k.doc.At(fmt.Sprintf("connections[%d].name", before))
			k.complain(path+".name", fmt.Sprintf("the name %q is taken by the connection in line %d", c.Name, line),
				"write another name: it stands in the webhook's URL")
			continue
		}
		first[c.Name] = i
	}
}

// publicURL is where each kind of host is when no url is given.
func publicURL(kind string) string {
	switch kind {
	case "github":
		return "https://github.com"
	case "gitlab":
		return "https://gitlab.com"
	case "gitee":
		return "https://gitee.com"
	}
	return ""
}

func (k *checker) connection(path string, c *Connection) {
	if c.URL == "" {
		c.URL = publicURL(c.Kind)
	} else {
		c.URL, _ = k.url(path+".url", c.URL)
	}
	k.secrets(path+".secrets", c.Secrets)
	k.secrets(path+".signing_tokens", c.SigningTokens)
	k.secret(path+".token", &c.Token)
	if !k.oneOf(path+".kind", c.Kind, "github", "gitlab", "gitee") {
		return
	}

	if len(c.Secrets) == 0 && (c.Kind != "gitlab" || len(c.SigningTokens) == 0) {
		k.complain(path+".secrets", "there is no secret, so anybody could send webhooks",
			"write secrets: [{env: NAME}], or [{file: PATH}]")
	}
	if c.Kind != "gitlab" && len(c.SigningTokens) > 0 {
		k.complain(path+".signing_tokens", "only GitLab has signing tokens", "write it under secrets")
	}
	for i, token := range c.SigningTokens {
		if token.Set() && !signingToken(token.Value()) {
			k.complain(fmt.Sprintf("%s.signing_tokens[%d]", path, i), "this is no signing token",
				"copy it whole from GitLab: whsec_ and a base64 text")
		}
	}
	k.mode(path+".mode", c)
	k.maxAge(path+".max_age", c)
	k.repoType(path+".repo_type", c)
}

func (k *checker) mode(path string, c *Connection) {
	if c.Kind != "gitee" {
		if c.Mode != "" {
			k.complain(path, "only Gitee has modes", "leave it out")
		}
		return
	}
	if c.Mode == "" {
		c.Mode = "sign"
	}
	k.oneOf(path, c.Mode, "sign", "password")
}

func (k *checker) maxAge(path string, c *Connection) {
	byDefault, undated := time.Duration(0), ""
	switch {
	case c.Kind == "github":
		undated = "GitHub does not say when a delivery was sent"
	case c.Kind == "gitlab" && len(c.SigningTokens) == 0:
		undated = "only a GitLab signature made with a signing token has a time"
	case c.Kind == "gitlab":
		byDefault = 5 * time.Minute
	case c.Mode == "password":
		undated = "only Gitee's signature has a time, its password has none"
	default:
		byDefault = time.Hour
	}
	switch {
	case undated != "" && c.MaxAge > 0:
		k.complain(path, undated, "leave it out")
	case c.MaxAge < 0:
		k.complain(path, "an age is not negative", "write a time such as 5m, or leave it out")
	case c.MaxAge == 0:
		c.MaxAge = byDefault
	}
}

func (k *checker) repoType(path string, c *Connection) {
	if c.RepoType != "" {
		k.oneOf(path, c.RepoType, "DevCloud", "Gitee", "GitHub", "GitPub", "gitcode", "gitlab", "self_gitlab", "tfs_git", "bitbucket")
		return
	}
	switch c.Kind {
	case "github":
		c.RepoType = "GitHub"
	case "gitee":
		c.RepoType = "Gitee"
	case "gitlab":
		c.RepoType = "self_gitlab"
		if u, err := url.Parse(c.URL); err == nil && strings.EqualFold(u.Hostname(), "gitlab.com") {
			c.RepoType = "gitlab"
		}
	}
}

func (k *checker) secrets(path string, list []Secret) {
	for i := range list {
		k.requiredSecret(fmt.Sprintf("%s[%d]", path, i), &list[i])
	}
}

// requiredSecret reads a secret that must be given.
func (k *checker) requiredSecret(path string, s *Secret) {
	k.secret(path, s)
	if !s.Set() {
		k.complain(path, "this secret is missing", secretForm)
	}
}

// secret reads a secret that may be left out.
func (k *checker) secret(path string, s *Secret) {
	if problem, instead := s.resolve(k.join, k.env, k.readFile); problem != "" {
		k.complain(path, problem, instead)
	}
}

// file returns the path that a non-empty setting names.
func (k *checker) file(path, value string) string {
	if value == "" {
		k.complain(path, "this path is empty", "write a path, or leave the setting out")
		return ""
	}
	return k.join(value)
}

func (k *checker) join(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(k.dir, path)
}

// caFile reads the certificate authorities that path names.
func (k *checker) caFile(path string, h *HuaweiCloud) {
	if h.CAFile == "" {
		return
	}
	h.CAFile = k.join(h.CAFile)
	data, err := k.readFile(h.CAFile)
	if err != nil {
		k.complain(path, fmt.Sprintf("the file cannot be read: %v", err), "write the path of a file with certificates in PEM form")
		return
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		k.complain(path, "there is no certificate in this file", "write the path of a file with certificates in PEM form")
		return
	}
	h.ca = data
}

// oneOf reports whether value is one of words, and complains when it is not.
func (k *checker) oneOf(path, value string, words ...string) bool {
	if slices.Contains(words, value) {
		return true
	}
	problem := fmt.Sprintf("%q is not known here", value)
	if value == "" {
		problem = "this setting is missing"
	}
	last := len(words) - 1
	k.complain(path, problem, "write "+strings.Join(words[:last], ", ")+" or "+words[last])
	return false
}

func (k *checker) positive(path string, d time.Duration) {
	if d <= 0 {
		k.complain(path, "this must be longer than nothing", "write a time such as 30s, or leave it out")
	}
}

// address reports whether value is a host:port to listen on.
func (k *checker) address(path, value string) bool {
	_, port, err := net.SplitHostPort(value)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		k.complain(path, fmt.Sprintf("%q is no address to listen on", value), `write host:port, or ":8080" for every interface`)
	}
	return err == nil
}

// url returns value without a slash at its end, and its parts. Its complaints do
// not repeat the value: it may hold a password.
func (k *checker) url(path, value string) (string, *url.URL) {
	const instead = "write a URL such as https://git.example.com"
	u, err := url.Parse(value)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		k.complain(path, "this is no absolute URL", instead)
	case u.Scheme != "https" && u.Scheme != "http":
		k.complain(path, "this URL is neither https nor http", instead)
	case u.User != nil:
		k.complain(path, "there is a user name in this URL", "leave it out: credentials have settings of their own")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		k.complain(path, `this URL goes on behind its path`, `leave out everything from "?" or "#" on`)
	default:
		return strings.TrimRight(value, "/"), u
	}
	return value, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// signingToken reports whether token has the form that GitLab gives out
// (specs/githosts.md 2.1): whsec_ and, in base64, 24 to 64 bytes, as Standard
// Webhooks says; GitLab makes 32.
func signingToken(token string) bool {
	encoded, found := strings.CutPrefix(token, "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	return found && err == nil && len(key) >= 24 && len(key) <= 64
}

// store checks that one database is named, and fills in the defaults.
func (k *checker) store(s *Store) {
	k.positive("store.retention", s.Retention)
	if s.PayloadRetention == 0 {
		s.PayloadRetention = min(7*24*time.Hour, s.Retention)
	}
	k.positive("store.payload_retention", s.PayloadRetention)
	if s.PayloadRetention > s.Retention {
		k.complain("store.payload_retention", "a payload cannot outlive its delivery", "write a time that is not longer than store.retention")
	}
	p := s.Postgres
	if p == nil {
		if s.SQLite.Path == "" {
			s.SQLite.Path = "gatewright.db"
		}
		s.SQLite.Path = k.file("store.sqlite.path", s.SQLite.Path)
		return
	}
	if s.SQLite.Path != "" {
		k.complain("store.sqlite", "both a SQLite file and a PostgreSQL database are given", "write one of them")
	}
	k.requiredSecret("store.postgres.dsn", &p.DSN)
	if p.MaxConnections == 0 {
		p.MaxConnections = 20
	}
	if p.MaxConnections < 4 || p.MaxConnections > 1000 {
		k.complain("store.postgres.max_connections", fmt.Sprintf("%d connections are too few or too many", p.MaxConnections), "write a number from 4 to 1000, or leave it out")
	}
}
