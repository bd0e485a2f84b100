package config

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
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
	regionPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)+$`)
	idPattern     = regexp.MustCompile(`^[0-9a-f]{32}$`)
)

// checker goes through a decoded configuration once: it fills in what depends on
// other settings, reads the secrets, and collects what is wrong.
type checker struct {
	doc        *strictyaml.Document
	complaints strictyaml.Complaints
	warnings   strictyaml.Complaints
	dir        string
	env        func(string) (string, bool)
	readFile   func(string) ([]byte, error)
	kinds      []Kind
	// needed are the paths below which secrets are read; nil: everywhere.
	needed []string
}

// complain adds a complaint, unless there is one at the same path, above or below
// it: that one is the cause, and this one would only follow from it.
func (k *checker) complain(path, problem, instead string) {
	if !k.complained(path) {
		k.complaints = append(k.complaints, k.doc.Complain(path, problem, instead))
	}
}

// warn adds a warning: about what the file may say, and what is unsafe or has no effect.
func (k *checker) warn(path, problem, instead string) {
	k.warnings = append(k.warnings, k.doc.Complain(path, problem, instead))
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
	k.http(&c.HTTP)
	k.store(&c.Store)
	k.connections(c.Connections)
	k.accounts(c)
	k.people(c)
	k.groups(c)
	k.commands(c)
	k.report("report", &c.Report)
	for i := range c.Connections {
		own := c.Connections[i].Report
		if own != nil {
			k.report(fmt.Sprintf("connections[%d].report", i), own.or(defaultReport()))
		}
		c.Connections[i].Report = own.or(c.Report)
	}
	if c.Dashboard.URL != "" {
		c.Dashboard.URL, _ = k.url("dashboard.url", c.Dashboard.URL)
	}
	k.positive("max_event_age", c.MaxEventAge)
	k.recovery(c)
	c.Rules = k.file("rules", c.Rules)
	k.log(c.Log)
}

func (k *checker) recovery(c *Config) {
	r := c.Recovery
	if r.Grace < 0 || r.Grace > 24*time.Hour {
		k.complain("recovery.grace", fmt.Sprintf("%s is negative or longer than a day", r.Grace), "write a duration such as 2m; 0s recovers at once, before a webhook that is on its way")
	}
	if r.Share < 1 || r.Share > 80 {
		k.complain("recovery.share", fmt.Sprintf("%d percent is too little or too much: reports and checks need the rest", r.Share), "write a number from 1 to 80, or leave it out")
	}
	k.positive("recovery.missing_after", r.MissingAfter)
	if r.Interval == 0 && r.Release {
		k.warn("recovery.release", "it has no effect, because recovery.interval is off", "leave it out, or write an interval such as 10m")
	}
}

// contextPattern is what every host takes as the name of a status.
var contextPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,59}$`)

func (k *checker) report(path string, r *Report) {
	k.oneOf(path+".statuses", r.Statuses, "on", "off")
	k.oneOf(path+".comment", r.Comment, "always", "on_failure", "off")
	k.oneOf(path+".ignored", r.Ignored, "success", "neutral", "none")
	k.oneOf(path+".language", r.Language, "en", "zh")
	if !contextPattern.MatchString(r.Context) {
		k.complain(path+".context", fmt.Sprintf("%q is not the name of a status", r.Context), "write letters, digits, -, _, . and /, at most 60, such as gatewright")
	}
}

// or is r with what it does not say taken from others.
func (r *Report) or(others Report) *Report {
	if r == nil {
		return &others
	}
	return &Report{
		Statuses: cmp.Or(r.Statuses, others.Statuses), Context: cmp.Or(r.Context, others.Context), Comment: cmp.Or(r.Comment, others.Comment),
		Ignored: cmp.Or(r.Ignored, others.Ignored), Language: cmp.Or(r.Language, others.Language),
	}
}

func (k *checker) log(l Log) {
	k.oneOf("log.level", l.Level, "debug", "info", "warn", "error")
	k.oneOf("log.format", l.Format, "json", "console")
}

func (k *checker) http(h *HTTP) {
	k.address("http.addr", h.Addr)
	if h.PublicURL != "" {
		value, u := k.url("http.public_url", h.PublicURL)
		if h.PublicURL = value; u != nil && plainOffLoopback(u) {
			k.complain("http.public_url", "webhooks would cross the network in the clear", "write the https:// address at which the git hosts reach this server")
		}
	}
	if k.address("http.private_addr", h.PrivateAddr) && h.PrivateAddr == h.Addr {
		k.complain("http.private_addr", "this is http.addr, which serves webhooks only", `write another port, such as "127.0.0.1:8081"`)
	}
	k.tls("http.tls", h.TLS)
	k.tls("http.private_tls", h.PrivateTLS)
	if h.MaxConnections < 64 || h.MaxConnections > 65536 {
		k.complain("http.max_connections", fmt.Sprintf("%d connections are too few or too many", h.MaxConnections), "write a number from 64 to 65536, or leave it out")
	}
	if h.MaxBody < KiB {
		k.complain("http.max_body", "no webhook fits into less than 1KiB", "write a size such as 25MiB")
	}
	if h.MaxBody > LargestBody {
		k.complain("http.max_body", fmt.Sprintf("%s is too large: in a form a body can take three times that, and at most 100MiB can be stored", h.MaxBody),
			fmt.Sprintf("write at most %s; GitHub and GitLab send up to 25MiB", LargestBody))
	}
	k.timeout("http.header_timeout", h.HeaderTimeout)
	k.timeout("http.read_timeout", h.ReadTimeout)
	k.timeout("http.shutdown_grace", h.ShutdownGrace)
	if h.PprofAddr == "" || !k.address("http.pprof_addr", h.PprofAddr) {
		return
	}
	if host, _, _ := net.SplitHostPort(h.PprofAddr); !loopback(host) {
		k.complain("http.pprof_addr", "profiles show the process's memory and are served on loopback only",
			`write "127.0.0.1:6060", or "" for none`)
	}
}

// tls checks that a certificate and its key can be read and belong together. Its
// complaints show nothing of the key.
func (k *checker) tls(path string, t *TLS) {
	if t == nil {
		return
	}
	t.Cert, t.Key = k.file(path+".cert", t.Cert), k.file(path+".key", t.Key)
	if k.complained(path) {
		return
	}
	cert, err := k.readFile(t.Cert)
	if err != nil {
		k.complain(path+".cert", fmt.Sprintf("the file cannot be read: %v", err), "write the path of a certificate in PEM form")
		return
	}
	key, err := k.readFile(t.Key)
	if err != nil {
		k.complain(path+".key", fmt.Sprintf("the file cannot be read: %v", err), "write the path of a private key in PEM form")
		return
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		k.complain(path, fmt.Sprintf("certificate and key cannot be used: %v", err), "write the paths of a certificate and of its private key, both in PEM form")
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
	if k.needed != nil && !slices.ContainsFunc(k.needed, func(above string) bool { return within(path, above) }) {
		return
	}
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

// caFile reads the certificate authorities of a file, whose path it joins; nil when no file
// is given.
func (k *checker) caFile(path string, file *string) []byte {
	if *file == "" {
		return nil
	}
	*file = k.join(*file)
	data, err := k.readFile(*file)
	if err != nil {
		k.complain(path, fmt.Sprintf("the file cannot be read: %v", err), "write the path of a file with certificates in PEM form")
		return nil
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		k.complain(path, "there is no certificate in this file", "write the path of a file with certificates in PEM form")
		return nil
	}
	return data
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

// timeout checks how long something may take, and warns of more than a day.
func (k *checker) timeout(path string, d time.Duration) {
	k.positive(path, d)
	if d > 24*time.Hour {
		k.warn(path, fmt.Sprintf("%v is longer than 24h, and until then nobody hears of what hangs", d), "write a shorter time such as 30s, or leave it out")
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
