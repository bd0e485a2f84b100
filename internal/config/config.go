// Package config reads the server file: one strict YAML document that says where
// Gatewright listens, whose webhooks it takes, how it reaches Huawei Cloud and where
// its rules are.
package config

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Config is the server file with every default filled in and every secret read.
// Paths in it are usable as they are: a relative path of the file has been joined
// to the file's folder.
type Config struct {
	HTTP  HTTP  `yaml:"http"`
	Store Store `yaml:"store"`
	// Connections are the git hosts whose webhooks are accepted. At least one.
	Connections []Connection `yaml:"connections"`
	HuaweiCloud HuaweiCloud  `yaml:"huaweicloud"`
	// Accounts are further accounts of Huawei Cloud by their names. Rules choose one by
	// check.account and by the account of a release, and without these huaweicloud.
	// Default: none.
	Accounts Accounts `yaml:"accounts,omitempty"`
	// People are the humans who approve and act, each with all identities. Default: none.
	People People `yaml:"people,omitempty"`
	// Groups are groups of people, and of accounts of the git hosts. Default: none.
	Groups Groups `yaml:"groups,omitempty"`
	// Commands are those in comments on merge requests.
	Commands Commands `yaml:"commands"`
	// Report says what the git hosts are told, and Dashboard where the pages are.
	Report    Report    `yaml:"report"`
	Dashboard Dashboard `yaml:"dashboard,omitempty"`
	// MaxEventAge is how long before its receipt a change may have been made, by the
	// host's own time; an older one starts nothing unless a person replays it.
	// Default: 168h, which is 7 days.
	MaxEventAge time.Duration `yaml:"max_event_age"`
	// Recovery says how to look for what no webhook told.
	Recovery Recovery `yaml:"recovery"`
	// Rules is a rules file, or a folder of them. Default: rules.yaml.
	Rules     string    `yaml:"rules"`
	Log       Log       `yaml:"log"`
	Telemetry Telemetry `yaml:"telemetry"`

	doc      *strictyaml.Document
	warnings strictyaml.Complaints
}

// HTTP is the server's own address and its limits.
type HTTP struct {
	// Addr is the public address, host:port: webhooks and nothing else.
	// Default: ":8080".
	Addr string `yaml:"addr"`
	// PublicURL is the address at which the git hosts reach Addr, without a slash at its end: their webhooks send to
	// it, followed by /webhooks/NAME. https, but for the loopback. Default: empty; gatewright hooks needs it.
	PublicURL string `yaml:"public_url,omitempty"`
	// PrivateAddr is the address of /metrics, /healthz and /readyz, host:port.
	// Default: "127.0.0.1:8081". In a container write ":8081", so that the probes
	// reach it.
	PrivateAddr string `yaml:"private_addr"`
	// TLS serves Addr by TLS 1.2 or newer, PrivateTLS PrivateAddr. Default: plain HTTP.
	TLS        *TLS `yaml:"tls,omitempty"`
	PrivateTLS *TLS `yaml:"private_tls,omitempty"`
	// TrustedProxies are the proxies in front, whose X-Forwarded-For, X-Real-IP or
	// Forwarded says who the client is. Without them the client is whoever connects.
	// Default: none.
	TrustedProxies []CIDR `yaml:"trusted_proxies,omitempty"`
	// MaxConnections bounds the open connections of Addr; one client address, other
	// than a trusted proxy, may have an eighth of them. Default: 1024.
	MaxConnections int `yaml:"max_connections"`
	// MaxBody is the largest webhook that is accepted, at most LargestBody; a form
	// may be three times as large. Default: 25MiB, which is what GitHub and GitLab
	// send at most (specs/githosts.md 1.1, 2.1).
	MaxBody Size `yaml:"max_body"`
	// HeaderTimeout bounds the time in which a request's headers arrive.
	// Default: 5s.
	HeaderTimeout time.Duration `yaml:"header_timeout"`
	// ReadTimeout bounds the time in which a whole request arrives. Default: 30s,
	// since no host waits longer for its answer (specs/githosts.md 1.1).
	ReadTimeout time.Duration `yaml:"read_timeout"`
	// ShutdownGrace is how long a stop waits for what is in flight. Default: 20s.
	ShutdownGrace time.Duration `yaml:"shutdown_grace"`
	// PprofAddr is the loopback address that serves Go's profiles. Default: empty,
	// which serves none.
	PprofAddr string `yaml:"pprof_addr,omitempty"`
}

// TLS is a server's certificate. The files are read again when they have changed.
type TLS struct {
	// Cert is the file of the certificate and its chain, Key that of its private key,
	// both in PEM form.
	Cert string `yaml:"cert"`
	Key  string `yaml:"key"`
}

// LargestBody is the largest HTTP.MaxBody. As a form it takes up to three times as
// much, and a body of more than 100 MiB could not be read back from the database.
const LargestBody = 32 * MiB

// Store is the database: a SQLite file, unless Postgres is given.
type Store struct {
	SQLite   SQLite    `yaml:"sqlite,omitempty"`
	Postgres *Postgres `yaml:"postgres,omitempty"`
	// Retention is how long what has ended is kept: deliveries, runs, releases.
	// Default: 720h, which is 30 days. A delivery that a host sends again after
	// that is new, so it should be longer than hosts offer that: three days on
	// GitHub (specs/githosts.md 1.6).
	Retention time.Duration `yaml:"retention"`
	// PayloadRetention is how long the bodies of deliveries are kept; without its
	// body a delivery can be shown and not be replayed. Default: 168h, which is 7
	// days, or Retention when that is shorter.
	PayloadRetention time.Duration `yaml:"payload_retention"`
}

// Postgres is a database on a server, for any number of processes.
type Postgres struct {
	// DSN is the connection string, postgres://user:password@host:5432/database.
	// It is a Secret, because it holds a password.
	DSN Secret `yaml:"dsn"`
	// MaxConnections bounds the connections of one process. Default: 20.
	MaxConnections int `yaml:"max_connections"`
}

// SQLite is a database in one file, for one process.
type SQLite struct {
	// Path is the file; it is made when it is missing. Default: gatewright.db.
	Path string `yaml:"path"`
}

// HuaweiCloud is how CodeArts Check and ServiceStage are reached.
type HuaweiCloud struct {
	// Region fills in the endpoints that are not given, by the pattern of the
	// public cloud (specs/codearts-check.md 6). Optional when they are given.
	Region    string    `yaml:"region,omitempty"`
	Endpoints Endpoints `yaml:"endpoints"`
	// InsecureHTTP allows http:// endpoints on other than loopback hosts.
	// Default: false.
	InsecureHTTP bool `yaml:"insecure_http"`
	// CAFile holds certificate authorities in PEM form that are trusted beside
	// the system's; private clouds often have their own. Default: none.
	CAFile string `yaml:"ca_file,omitempty"`
	// Proxy is the address of the HTTP proxy for all calls. Default: the one that the
	// environment names (HTTPS_PROXY, NO_PROXY).
	Proxy string `yaml:"proxy,omitempty"`
	// ProjectID is the id of the region's IAM project (32 hex digits), which
	// stands in ServiceStage's paths. It is not the CodeArts project. Default:
	// auth.access_key.project_id; with a password or an agency empty means that it is
	// taken from the token. An access key or a token of a file tells no id, so
	// rules with releases need it.
	ProjectID string `yaml:"project_id,omitempty"`
	Auth      Auth   `yaml:"auth"`
	// Pipelines are names of release pipelines, which rules and output then use, and their
	// ids. Default: none.
	Pipelines Pipelines `yaml:"pipelines,omitempty"`
	// Language is that of the services' messages, sent as X-Language: zh-cn or en-us
	// (specs/codearts-check.md 1). Default: none is sent, which the services take as zh-cn.
	Language string `yaml:"language,omitempty"`
	// Dialect is the edition of CodeArts Check's API, and with it what capabilities are
	// auto. Default: 2026.
	Dialect      Dialect      `yaml:"dialect"`
	Capabilities Capabilities `yaml:"capabilities"`
	// KeepMergeRequestTasks keeps the tasks that were created for merge requests at CodeArts
	// Check when these are closed or merged. Default: false, which deletes them.
	KeepMergeRequestTasks bool `yaml:"keep_merge_request_tasks"`
	// PullFailurePatterns are regular expressions (RE2) that find, in the last ten lines of
	// the failed step's log, that the code of a merge request could not be pulled; then the
	// other `ref` is tried. Default: see docs/behaviour.md; the texts are not documented.
	PullFailurePatterns []string `yaml:"pull_failure_patterns,omitempty"`
	// AccessPassed are the literals of `is_access` that mean that CodeArts Check's own gate
	// passed, without regard to case, for rules with codearts_gate: require. Default: 1,
	// true, success and pass; the literals are not documented (specs/codearts-check.md 2).
	AccessPassed []string `yaml:"access_passed,flow"`
	// MaxFindings is how many findings of a run are read and kept, the most severe first.
	// Default: 5000; 0 reads none.
	MaxFindings int `yaml:"max_findings"`
	// MaxRuns is how many runs have an execution at CodeArts Check, or are about to ask for
	// one, at the same time: the purchased concurrency. The others wait in line. Default: 0,
	// any number, because it is not documented whether the service queues.
	MaxRuns int `yaml:"max_runs"`
	// Timeout bounds one call. Default: 30s.
	Timeout time.Duration `yaml:"timeout"`
	// Limits bound the calls to each service.
	Limits Limits `yaml:"limits"`
	// Poll is how often a running check is looked at: every max until its usual end is near,
	// every min around that, and between both otherwise. Default: 3s to 15s, so that a check
	// of usual length is noticed within 3s and any other within 15s.
	Poll Poll `yaml:"poll"`
	// ReleasePoll is how often a running release is looked at. Default: 5s to 30s.
	ReleasePoll Poll `yaml:"release_poll"`

	ca []byte // the content of CAFile
}

// Endpoints are the base URLs of the services: absolute, https, without query and
// without a slash at their end. Default: by HuaweiCloud.Region.
type Endpoints struct {
	// IAM is needed only with a password or an agency.
	IAM          string `yaml:"iam,omitempty"`
	CodeCheck    string `yaml:"codecheck"`
	ServiceStage string `yaml:"servicestage"`
	// Pipeline is that of CodeArts Pipeline.
	Pipeline string `yaml:"pipeline,omitempty"`
}

// Limits are those of each service, for all replicas together: each replica that calls
// services takes an equal part. No limit is documented (specs/codearts-check.md 5.4).
type Limits struct {
	CodeCheck    Limit `yaml:"codecheck"`
	ServiceStage Limit `yaml:"servicestage"`
	Pipeline     Limit `yaml:"pipeline"`
}

// Limit bounds the calls to one service.
type Limit struct {
	// PerSecond is how many requests are sent in a second. Default: 0, any number.
	PerSecond float64 `yaml:"per_second"`
	// AtOnce is how many requests are in flight. Default: 16.
	AtOnce int `yaml:"at_once"`
}

// Auth is how calls are authorised: exactly one field is given.
type Auth struct {
	Password  *PasswordAuth  `yaml:"password,omitempty"`
	AccessKey *AccessKeyAuth `yaml:"access_key,omitempty"`
	Agency    *AgencyAuth    `yaml:"agency,omitempty"`
	// Token is the file of an IAM token of the region's project, which something else
	// renews before it expires. Only {file: PATH} is accepted.
	Token Secret `yaml:"token,omitempty"`
}

// UsesIAM reports whether tokens are got from IAM.
func (a Auth) UsesIAM() bool { return a.Password != nil || a.Agency != nil }

// AgencyAuth asks IAM for tokens of an agency (method assume_role; support.huaweicloud.com
// api-iam, iam_30_0003). Exactly one of Password and AccessKey says who acts by the agency:
// a user of the account that it delegates to, with the right Agent Operator.
type AgencyAuth struct {
	// Name is that of the agency.
	Name string `yaml:"name"`
	// Domain is the name of the account that delegates, whose projects are checked.
	Domain string `yaml:"domain"`
	// Project is the name of the region's project. Default: the region.
	Project   string         `yaml:"project"`
	Password  *PasswordAuth  `yaml:"password,omitempty"`
	AccessKey *AccessKeyAuth `yaml:"access_key,omitempty"`
}

// PasswordAuth asks IAM for tokens (specs/codearts-check.md 4.1).
type PasswordAuth struct {
	// User is an IAM user's name; a HUAWEI ID gets no token by password.
	User     string `yaml:"user"`
	Password Secret `yaml:"password"`
	// Domain is the name of the account that the user belongs to.
	Domain string `yaml:"domain"`
	// Project is the name of the region's project. Default: the region. Below an agency
	// it is not used: its token is one of the whole account.
	Project string `yaml:"project,omitempty"`
}

// AccessKeyAuth signs each call (specs/codearts-check.md 4.3).
type AccessKeyAuth struct {
	// ID is the access key (AK). It comes from where the secret key comes from.
	ID Secret `yaml:"id"`
	// Secret is the secret key (SK).
	Secret Secret `yaml:"secret"`
	// SecurityToken belongs to temporary keys. Optional.
	SecurityToken Secret `yaml:"security_token,omitempty"`
	// ProjectID is the id of the region's IAM project, sent as X-Project-Id. Default:
	// huaweicloud.project_id; where neither is given none is sent.
	ProjectID string `yaml:"project_id,omitempty"`
}

// Pipelines are the ids of pipelines by their names.
type Pipelines map[string]string

// UnmarshalYAMLNode reads a mapping of names to ids.
func (p *Pipelines) UnmarshalYAMLNode(node strictyaml.Node) (err error) {
	*p, err = strictyaml.Mapping(node, func() string { return "" })
	return err
}

// Accounts are accounts of Huawei Cloud by their names, each with the keys of huaweicloud and
// their defaults.
type Accounts map[string]*HuaweiCloud

// UnmarshalYAMLNode reads a mapping of names to accounts.
func (a *Accounts) UnmarshalYAMLNode(node strictyaml.Node) (err error) {
	*a, err = strictyaml.Mapping(node, defaultAccount)
	return err
}

// AccountNames returns the names of all accounts: first the empty one, of HuaweiCloud.
func (c *Config) AccountNames() []string {
	return append([]string{""}, slices.Sorted(maps.Keys(c.Accounts))...)
}

// Account returns the account with a name, HuaweiCloud for the empty one.
func (c *Config) Account(name string) (h *HuaweiCloud, found bool) {
	if name == "" {
		return &c.HuaweiCloud, true
	}
	h, found = c.Accounts[name]
	return h, found
}

// AccountPath is where the settings of an account stand in the server file.
func AccountPath(name string) string {
	if name == "" {
		return "huaweicloud"
	}
	return "accounts." + name
}

// Pipelines returns the ids of all accounts' pipelines by their names; not nil.
func (c *Config) Pipelines() Pipelines {
	all := Pipelines{}
	for _, name := range c.AccountNames() {
		account, _ := c.Account(name)
		maps.Copy(all, account.Pipelines)
	}
	return all
}

// Dialect is an edition of CodeArts Check's API.
type Dialect string

const (
	// Dialect2026 is the public cloud's: runs take `ref`, progress takes `job_id`.
	Dialect2026 Dialect = "2026"
	// Dialect2023 has neither; private clouds are taken to speak it
	// (specs/codearts-check.md 6, inferred).
	Dialect2023 Dialect = "2023"
)

// Capabilities are what CodeArts Check got at different times: each auto, on or off. Default:
// auto, which is what the dialect has. Source: specs/codearts-check.md 1.4, 1.5, 1.8, 1.12.
type Capabilities struct {
	// Ref: runs of merge requests send `ref` (2025-08).
	Ref string `yaml:"ref"`
	// JobID: progress is asked for one execution (2025-11). With auto it is not relied on:
	// an end counts only when it is certainly that of our execution. With on it is.
	JobID string `yaml:"job_id"`
	// CreateV3: missing tasks are created by V3 (2025-11), else by V2.
	CreateV3 string `yaml:"create_v3"`
	// BranchTasks: the branch tasks and the details of a task can be read (2025-09).
	BranchTasks string `yaml:"branch_tasks"`
	// CheckTimes: the times of the last check, in a task's summary, change with every check,
	// so that a summary which still has those of before is not judged by. Auto is on.
	CheckTimes string `yaml:"check_times"`
}

// UnmarshalYAMLNode reads the year, with quotes or without.
func (d *Dialect) UnmarshalYAMLNode(node strictyaml.Node) error {
	*d = Dialect(node.Scalar())
	return nil
}

// Poll bounds an adaptive interval.
type Poll struct {
	Min time.Duration `yaml:"min"`
	Max time.Duration `yaml:"max"`
}

// Report is what a git host is told of a commit and of a merge request, with the token of its
// connection; nothing without one.
type Report struct {
	// Statuses writes a status for each commit that is checked or released: on or off.
	// Default: on.
	Statuses string `yaml:"statuses"`
	// Context is what the names of the statuses begin with: CONTEXT/check, and
	// CONTEXT/release/PIPELINE for each pipeline. Letters, digits, "-", "_", "." and "/", at
	// most 60. Default: gatewright.
	Context string `yaml:"context"`
	// Comment says when a merge request gets a comment, which is edited later: always,
	// on_failure or off. Default: on_failure, when a check has failed.
	Comment string `yaml:"comment"`
	// Ignored is the status of a commit of which a rule says ignore: success, neutral (success
	// where the host knows no neutral) or none. Default: success, so that a required check
	// does not wait for ever.
	Ignored string `yaml:"ignored"`
	// Language is that of the words, en or zh. Default: en.
	Language string `yaml:"language"`
}

// Recovery is how the git hosts are asked what no webhook told, with the tokens of their connections.
type Recovery struct {
	// Interval is how often they are asked, beside the start and the end of a time in which
	// deliveries were refused: at least 1s, or off. Default: 10m.
	Interval Interval `yaml:"interval"`
	// Grace is for how long a webhook may still come before what it would tell is recovered.
	// Default: 2m.
	Grace time.Duration `yaml:"grace"`
	// Release lets what was recovered start and approve releases. Default: false.
	Release bool `yaml:"release"`
	// Share is how much of each host's limit of requests may be used, in percent, from 1 to 80.
	// Default: 20.
	Share int `yaml:"share"`
	// MissingAfter is after how long a branch or merge request that a rule covers is told to have no
	// verdict. Default: 1h.
	MissingAfter time.Duration `yaml:"missing_after"`
}

// Interval is a duration, or off, which is 0.
type Interval time.Duration

// String returns the duration as Go writes it, or off.
func (i Interval) String() string {
	if i == 0 {
		return "off"
	}
	return time.Duration(i).String()
}

// MarshalText returns String.
func (i Interval) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalYAMLNode reads a duration or the word off.
func (i *Interval) UnmarshalYAMLNode(node strictyaml.Node) error {
	text := node.Scalar()
	if text == "off" {
		*i = 0
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return node.Complain(fmt.Sprintf("%q is not a duration", text), "write a duration such as 10m, or off")
	}
	if *i = Interval(d); d < time.Second {
		return node.Complain(fmt.Sprintf("%s is too often", text), "write a duration of 1s or more, such as 10m, or off")
	}
	return nil
}

// Dashboard is where people see more.
type Dashboard struct {
	// URL is the address that statuses and comments link to, without a slash at its end.
	// Default: empty, for no links.
	URL string `yaml:"url,omitempty"`
}

// Log is what is logged, to standard error.
type Log struct {
	// Level is debug, info, warn or error. Default: info.
	Level string `yaml:"level"`
	// Format is json or console. Default: json.
	Format string `yaml:"format"`
}

// Telemetry is what is measured.
type Telemetry struct {
	// Metrics serves /metrics. Default: true.
	Metrics bool `yaml:"metrics"`
}

// Load reads the server file from data. file is its path: complaints name it, and
// relative paths in the document count from its folder. kinds are the kinds of git
// hosts that a connection can have, at least one. env looks up an environment
// variable (os.LookupEnv) and readFile reads a file (os.ReadFile); both are asked
// only for what the document names. Load touches nothing else: the rules are not
// read and the database is not opened.
//
// It returns either the whole configuration or every complaint at once. No complaint
// shows the value of a secret.
func Load(file string, data []byte, kinds []Kind, env func(string) (string, bool), readFile func(string) ([]byte, error)) (*Config, strictyaml.Complaints) {
	return load(file, data, kinds, env, readFile, nil)
}

// Needs says which secrets a command needs.
type Needs struct {
	// Database is the connection string of the database.
	Database bool
	// Connection names the connection whose webhook secrets are needed; empty: none.
	Connection string
}

// paths returns where the secrets stand.
func (n Needs) paths(c *Config) []string {
	paths := []string{}
	if n.Database {
		paths = append(paths, "store.postgres.dsn")
	}
	for i, connection := range c.Connections {
		if connection.Name == n.Connection {
			at := fmt.Sprintf("connections[%d].", i)
			paths = append(paths, at+"secrets", at+"signing_tokens")
		}
	}
	return paths
}

// LoadFor is Load for a command that needs only some secrets. The others are not looked
// up, have no value, and are not missed.
func LoadFor(needs Needs, file string, data []byte, kinds []Kind, env func(string) (string, bool), readFile func(string) ([]byte, error)) (*Config, strictyaml.Complaints) {
	return load(file, data, kinds, env, readFile, &needs)
}

func load(file string, data []byte, kinds []Kind, env func(string) (string, bool), readFile func(string) ([]byte, error), needs *Needs) (*Config, strictyaml.Complaints) {
	c := defaults()
	doc, complaints := strictyaml.Decode(file, data, c)
	if unreadable(complaints) {
		return nil, complaints
	}
	k := &checker{
		doc:        doc,
		complaints: complaints,
		dir:        filepath.Dir(file),
		env:        env,
		readFile:   readFile,
		kinds:      kinds,
	}
	if needs != nil {
		k.needed = needs.paths(c)
	}
	k.config(c)
	if len(k.complaints) > 0 {
		return nil, k.complaints.Sorted()
	}
	c.doc, c.warnings = doc, k.warnings.Sorted()
	return c, nil
}

// unreadable says that the document as a whole is wrong: all else would only follow
// from that.
func unreadable(complaints strictyaml.Complaints) bool {
	return slices.ContainsFunc(complaints, func(c strictyaml.Complaint) bool { return c.Path == "" })
}

// Warnings returns what the file may say and what is unsafe or has no effect, each with
// its place and what to write instead.
func (c *Config) Warnings() strictyaml.Complaints { return slices.Clone(c.warnings) }

// Complain returns a complaint about the setting at path, for checks of what the file
// means together with what it names.
func (c *Config) Complain(path, problem, instead string) strictyaml.Complaint {
	return c.doc.Complain(path, problem, instead)
}

// Redacted returns the effective file as YAML: every default filled in, every path
// joined, every secret as <secret>. What is empty or off and has no default is left
// out.
func (c *Config) Redacted() ([]byte, error) { return strictyaml.Encode(c) }

// JSON returns what Redacted does as JSON: the keys of the file, durations as Go
// writes them (1h0m0s), sizes as in 25MiB.
func (c *Config) JSON() (json.RawMessage, error) { return strictyaml.JSON(c) }

// RulesPath returns where the server file says that its rules are, also of a file
// that has other things wrong with it, so that both can be judged at once. Empty when
// the file cannot be read as YAML.
func RulesPath(file string, data []byte) string {
	content := struct {
		Rules string `yaml:"rules"`
	}{Rules: defaults().Rules}
	if _, complaints := strictyaml.Decode(file, data, &content); unreadable(complaints) {
		return ""
	}
	if content.Rules == "" || filepath.IsAbs(content.Rules) {
		return content.Rules
	}
	return filepath.Join(filepath.Dir(file), content.Rules)
}

// LogSettings returns what the server file says about the log, also of a file that has
// other things wrong with it, so that they can be logged. What it does not say, or not
// rightly, has its default.
func LogSettings(file string, data []byte) Log {
	content := struct {
		Log Log `yaml:"log"`
	}{Log: defaults().Log}
	doc, _ := strictyaml.Decode(file, data, &content)
	k := &checker{doc: doc}
	k.log(content.Log)
	if k.complained("log.level") {
		content.Log.Level = defaults().Log.Level
	}
	if k.complained("log.format") {
		content.Log.Format = defaults().Log.Format
	}
	return content.Log
}

// Connection returns the connection of that name, and whether there is one.
func (c *Config) Connection(name string) (Connection, bool) {
	for _, conn := range c.Connections {
		if conn.Name == name {
			return conn, true
		}
	}
	return Connection{}, false
}

// defaults is the file that says nothing. What depends on other settings is filled
// in by the checker.
func defaults() *Config {
	return &Config{
		HTTP: HTTP{
			Addr:           ":8080",
			PrivateAddr:    "127.0.0.1:8081",
			MaxConnections: 1024,
			MaxBody:        25 * MiB,
			HeaderTimeout:  5 * time.Second,
			ReadTimeout:    30 * time.Second,
			ShutdownGrace:  20 * time.Second,
		},
		Store:       Store{Retention: 30 * 24 * time.Hour},
		HuaweiCloud: *defaultAccount(),
		Commands:    defaultCommands(),
		Report:      defaultReport(),
		MaxEventAge: 7 * 24 * time.Hour,
		Recovery:    Recovery{Interval: Interval(10 * time.Minute), Grace: 2 * time.Minute, Share: 20, MissingAfter: time.Hour},

		Rules:     "rules.yaml",
		Log:       Log{Level: "info", Format: "json"},
		Telemetry: Telemetry{Metrics: true},
	}
}

func defaultReport() Report {
	return Report{Statuses: "on", Context: "gatewright", Comment: "on_failure", Ignored: "success", Language: "en"}
}

func defaultAccount() *HuaweiCloud {
	return &HuaweiCloud{
		Pipelines:    Pipelines{},
		Dialect:      Dialect2026,
		Capabilities: Capabilities{Ref: "auto", JobID: "auto", CreateV3: "auto", BranchTasks: "auto", CheckTimes: "auto"},
		AccessPassed: []string{"1", "true", "success", "pass"},
		MaxFindings:  5000,
		Timeout:      30 * time.Second,
		Limits:       Limits{CodeCheck: Limit{AtOnce: 16}, ServiceStage: Limit{AtOnce: 16}, Pipeline: Limit{AtOnce: 16}},
		Poll:         Poll{Min: 3 * time.Second, Max: 15 * time.Second},
		ReleasePoll:  Poll{Min: 5 * time.Second, Max: 30 * time.Second},
	}
}
