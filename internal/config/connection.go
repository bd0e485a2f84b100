package config

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/rules"
)

// Connection is one git host.
type Connection struct {
	// Name is used in the webhook URL, in rules, logs and metrics: 1 to 63 of
	// a-z, 0-9 and "-", the first not "-". Unique.
	Name string `yaml:"name"`
	// Kind is the kind of git host: one of the names of the kinds that Load was
	// given.
	Kind string `yaml:"kind"`
	// URL is the host's address, without a slash at its end. Every event must be
	// about a repository below it. Default: the public host of the kind.
	URL string `yaml:"url"`
	// Hosts are further names of the host that its payloads give, without scheme
	// and port. Default: none; the host of URL is always one.
	Hosts []string `yaml:"hosts,omitempty"`
	// CloneURL and SSHURL are the addresses of a repository that CodeArts Check is
	// told, and that its tasks are found by, with {repository} in the place of the
	// full name. Default: URL/{repository}.git, and git@HOST:{repository}.git with
	// the host of URL.
	CloneURL string `yaml:"clone_url,omitempty"`
	SSHURL   string `yaml:"ssh_url,omitempty"`
	// Repositories are patterns of the full names of the repositories that the
	// connection may speak of, as in rules; anything else is ignored. Default: every
	// repository of the host.
	Repositories []string `yaml:"repositories,omitempty"`
	// Secrets are the webhook secrets, any of which is accepted. At least one,
	// unless there are signing tokens. No other connection may have the same one.
	Secrets []WebhookSecret `yaml:"secrets,omitempty"`
	// SigningTokens are GitLab's whsec_ tokens (specs/githosts.md 2.1), any of
	// which is accepted.
	SigningTokens []WebhookSecret `yaml:"signing_tokens,omitempty"`
	// Mode is how Gitee authenticates its deliveries: sign or password. Default:
	// sign. Empty for the other hosts.
	Mode string `yaml:"mode,omitempty"`
	// MaxAge is how far the time of a Gitee or GitLab signature may be from now,
	// in both directions. Default: 1h for Gitee, its own documented limit, and 5m
	// for GitLab (specs/githosts.md 2.1, 3.1). Zero when there is no signed time:
	// GitHub, Gitea, GitLab without a signing token, Gitee with a password.
	MaxAge time.Duration `yaml:"max_age,omitempty"`
	// RepoType is what CodeArts Check calls this host when it creates a task
	// (specs/codearts-check.md 1.4 has the words). Default, by its section 7:
	// GitHub, Gitee, gitlab for gitlab.com, self_gitlab for another GitLab, GitPub for
	// Gitea.
	RepoType string `yaml:"repo_type"`
	// Allow are the addresses from which deliveries are accepted. Default: any.
	Allow []CIDR `yaml:"allow,omitempty"`
	// Token is the API token with which the host is asked, when a commit is confirmed, and told
	// what became of it. It needs the right to read repositories and merge requests, and to write
	// statuses and comments (docs/githosts.md). Optional.
	Token Secret `yaml:"token,omitempty"`
	// App is an installation of a GitHub App that is used in place of a token. Default: none.
	App *App `yaml:"app,omitempty"`
	// Clone is the account with which CodeArts Check itself reads the repositories, for
	// rules that say check.repository: temporary. Its token is sent to CodeArts Check, so
	// it is never that of the API. Default: none, which is enough for public repositories.
	Clone *Clone `yaml:"clone,omitempty"`
	// APIURL is the base URL of the host's API, without a slash at its end; the token is sent
	// nowhere else. Default, with a token or an App: https://api.github.com for github.com, otherwise
	// URL with /api/v3 (GitHub), /api/v4 (GitLab), /api/v5 (Gitee) or /api/v1
	// (Gitea).
	APIURL string `yaml:"api_url,omitempty"`
	// CAFile holds certificate authorities in PEM form that are trusted for the API beside
	// the system's. Default: none.
	CAFile string `yaml:"ca_file,omitempty"`
	// Proxy is the address of the HTTP proxy for calls to the API. Default: the one that the
	// environment names (HTTPS_PROXY, NO_PROXY).
	Proxy string `yaml:"proxy,omitempty"`
	// Report is what this host is told; what it leaves out is as in the file's report.
	Report *Report `yaml:"report,omitempty"`
	// Commands is on or off: whether commands in comments are carried out. Default: as the file's commands
	// say, and off without a token or an App.
	Commands string `yaml:"commands,omitempty"`
	// Confirm says when the host is asked whether a branch, tag or merge request has the
	// commit at hand, before we act on it. Default: auto.
	Confirm Confirm `yaml:"confirm"`

	ca []byte // the content of CAFile
	// signsBody: every delivery that is accepted proves its body.
	signsBody bool
}

// App is an installation of a GitHub App.
type App struct {
	// ID is the App's number, Installation that of its installation: the last part of the address
	// of the installation's page.
	ID           int64 `yaml:"id"`
	Installation int64 `yaml:"installation"`
	// PrivateKey is the App's RSA key in PEM form, with line breaks or with \n in their place.
	PrivateKey Secret `yaml:"private_key"`
}

// Key is the private key with line breaks.
func (a App) Key() string { return strings.ReplaceAll(a.PrivateKey.Value(), `\n`, "\n") }

// Clone is an account that may read repositories and nothing else.
type Clone struct {
	// Username goes with the token.
	Username string `yaml:"username"`
	Token    Secret `yaml:"token"`
}

// Confirm says when a commit is confirmed by its host.
type Confirm string

const (
	// ConfirmAuto, with a token or an App: before a run whose delivery need not prove its body, and before
	// every release. Otherwise: never.
	ConfirmAuto Confirm = "auto"
	// ConfirmAlways: before every run and every release. It needs a token or an App.
	ConfirmAlways Confirm = "always"
	// ConfirmNever: never.
	ConfirmNever Confirm = "never"
)

// ConfirmsRuns reports whether a commit is confirmed before it is checked.
func (c Connection) ConfirmsRuns() bool {
	return c.Confirm == ConfirmAlways || c.ConfirmsReleases() && !c.signsBody
}

// ConfirmsReleases reports whether a commit is confirmed before it is released.
func (c Connection) ConfirmsReleases() bool { return c.CallsHost() && c.Confirm != ConfirmNever }

// SignsBody reports whether every delivery that the connection accepts proves its body.
func (c Connection) SignsBody() bool { return c.signsBody }

// CallsHost reports whether the host's API is called: there is a token, or an App.
func (c Connection) CallsHost() bool { return c.Token.Set() || c.App != nil }

// RootCAs returns the certificate authorities for calls to the host's API; nil stands for
// the system's.
func (c Connection) RootCAs() (*x509.CertPool, error) { return rootCAs(c.ca) }

// Kind is what Load has to know of a kind of git host: which settings a connection
// to it has, and their defaults. It has the fields of webhook.Kind, so that one
// converts to the other.
type Kind struct {
	// Name is the word that the setting `kind` takes.
	Name string
	// Title is the name as people write it, for complaints.
	Title string
	// URL is the address of its public installation, without a slash at its end.
	URL string
	// CheckSigningToken returns what is wrong with a signing token, without showing
	// it. Nil when the kind has no signing tokens.
	CheckSigningToken func(token string) error
	// Modes are the words of the setting `mode`, the default first. Empty when the
	// kind has no modes.
	Modes []string
	// MaxAge returns the default of max_age for a connection of this mode, with
	// signing tokens or without. When its deliveries have no signed time, the limit
	// is zero and undated says why.
	MaxAge func(mode string, signingTokens bool) (limit time.Duration, undated string)
	// RepoType returns the default of repo_type for an installation at this address.
	RepoType func(url string) string
	// APIURL returns the base URL of the API of an installation at this address, both
	// without a slash at their end.
	APIURL func(url string) string
	// Apps: connections of this kind may have an App in place of a token.
	Apps bool
	// SignsBody reports whether every delivery that a connection accepts proves its body;
	// secrets says that it accepts secrets beside signing tokens.
	SignsBody func(secrets bool) bool
}

var namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

func (k *checker) connections(list []Connection) {
	if len(list) == 0 {
		k.complain("connections", "there is no connection, so no webhook can be accepted",
			"write at least one: - {name: github, kind: github, secrets: [{env: GITHUB_WEBHOOK_SECRET}]}")
	}
	first := map[string]int{}
	owners := map[string]webhookSecretPlace{}
	for i := range list {
		path := fmt.Sprintf("connections[%d]", i)
		c := &list[i]
		k.connection(path, c)
		k.owned(owners, i, path+".secrets", c.Secrets)
		k.owned(owners, i, path+".signing_tokens", c.SigningTokens)
		if !namePattern.MatchString(c.Name) {
			k.complain(path+".name", fmt.Sprintf("%q is not a valid name", c.Name),
				`write 1 to 63 of a-z, 0-9 and "-", the first not "-"`)
			continue
		}
		if before, taken := first[c.Name]; taken {
			line, _ := k.doc.At(fmt.Sprintf("connections[%d].name", before))
			k.complain(path+".name", fmt.Sprintf("the name %q is used by the connection in line %d", c.Name, line),
				"write another name: it is part of the webhook's URL")
			continue
		}
		first[c.Name] = i
	}
}

func (k *checker) connection(path string, c *Connection) {
	if c.URL != "" {
		c.URL, _ = k.url(path+".url", c.URL)
	}
	for i, name := range c.Hosts {
		if !hostPattern.MatchString(name) {
			k.complain(fmt.Sprintf("%s.hosts[%d]", path, i), fmt.Sprintf("%q is no host name", name), "write a name such as git.example.com, without scheme, port and path")
		}
	}
	k.cloneURL(path+".clone_url", c.CloneURL)
	k.sshURL(path+".ssh_url", c.SSHURL)
	k.repositories(path+".repositories", c.Repositories)
	k.webhookSecrets(path+".secrets", c.Secrets)
	k.webhookSecrets(path+".signing_tokens", c.SigningTokens)
	k.secret(path+".token", &c.Token)
	k.app(path+".app", c)
	k.clone(path+".clone", c)
	kind, known := k.kind(path+".kind", c.Kind)
	if !known {
		return
	}
	if c.URL == "" {
		c.URL = kind.URL
	}
	if len(c.Secrets) == 0 && (kind.CheckSigningToken == nil || len(c.SigningTokens) == 0) {
		k.complain(path+".secrets", "there is no secret, so anybody could send webhooks",
			"write secrets: [{env: NAME}], or [{file: PATH}]")
	}
	k.signingTokens(path+".signing_tokens", kind, c.SigningTokens)
	k.mode(path+".mode", kind, c)
	k.maxAge(path+".max_age", kind, c)
	k.repoType(path+".repo_type", kind, c)
	if c.App != nil && !kind.Apps {
		k.complain(path+".app", kind.Title+" has no Apps", "write token: {env: NAME}")
	}
	k.api(path, kind, c)
}

// app checks the App of a connection.
func (k *checker) app(path string, c *Connection) {
	if c.App == nil {
		return
	}
	if c.Token.Set() {
		k.complain(path, "there is a token too, and only one of the two can be used", "leave out token, or app")
	}
	for _, s := range []struct {
		key, where string
		value      int64
	}{{"id", "App ID on the App's settings page", c.App.ID}, {"installation", "the number at the end of the address of the installation's page", c.App.Installation}} {
		if s.value <= 0 && !k.complained(path+"."+s.key) {
			k.complain(path+"."+s.key, "the number is missing", "write "+s.where)
		}
	}
	k.requiredSecret(path+".private_key", &c.App.PrivateKey)
	if c.App.PrivateKey.Value() != "" && !isRSAKey(c.App.Key()) {
		k.complain(path+".private_key", "this is not an RSA key in PEM form", "name the .pem file that GitHub gave when the key was made")
	}
}

// isRSAKey reports whether text is an RSA private key in PEM form, in either of its two encodings.
func isRSAKey(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return true
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	_, isRSA := key.(*rsa.PrivateKey)
	return err == nil && isRSA
}

// clone checks the account with which CodeArts Check reads repositories.
func (k *checker) clone(path string, c *Connection) {
	if c.Clone == nil {
		return
	}
	k.given(path+".username", c.Clone.Username, "the user name is missing", "write the name that goes with the token on the git host")
	k.requiredSecret(path+".token", &c.Clone.Token)
	if c.Clone.Token.Set() && c.Clone.Token.Value() != "" && c.Clone.Token.Value() == c.Token.Value() {
		k.complain(path+".token", "this is the token of the host's API, and it would be sent to CodeArts Check", "make a token of its own that may only read repositories")
	}
}

// api checks how the host is asked. Without a token or an App it is not, and what says how has
// no effect.
func (k *checker) api(path string, kind Kind, c *Connection) {
	const instead = "write token: {env: NAME}, or leave this out"
	c.signsBody = kind.SignsBody(len(c.Secrets) > 0)
	if c.Confirm == "" {
		c.Confirm = ConfirmAuto
	}
	k.oneOf(path+".confirm", string(c.Confirm), string(ConfirmAuto), string(ConfirmAlways), string(ConfirmNever))
	if !c.CallsHost() {
		if c.Confirm == ConfirmAlways {
			k.complain(path+".confirm", "there is no token with which the host could be asked", instead)
		}
		for _, s := range []struct{ key, value string }{{"api_url", c.APIURL}, {"ca_file", c.CAFile}, {"proxy", c.Proxy}} {
			if s.value != "" {
				k.complain(path+"."+s.key, "the host's API is not called, because there is no token", instead)
			}
		}
		if c.Confirm == ConfirmAuto && !c.signsBody {
			k.warn(path, "nothing proves the bodies of "+kind.Title+"'s deliveries here, and without a token the host cannot be asked for the commit",
				"write token: {env: NAME}, or confirm: never if that is what you want")
		}
		return
	}
	if c.APIURL == "" && !k.complained(path+".url") {
		c.APIURL = kind.APIURL(c.URL)
	}
	if c.APIURL != "" {
		value, u := k.url(path+".api_url", c.APIURL)
		if c.APIURL = value; u != nil && plainOffLoopback(u) {
			k.complain(path+".api_url", "the token would cross the network in the clear", "write an https:// URL, or leave out the token")
		}
	}
	c.ca = k.caFile(path+".ca_file", &c.CAFile)
	if c.Proxy != "" {
		c.Proxy, _ = k.url(path+".proxy", c.Proxy)
	}
}

// placeholder is what the full name of a repository takes the place of.
const placeholder = "{repository}"

var (
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)
	// sshPattern is user@host:path or ssh://user@host:port/path, with the
	// placeholder replaced by x/y.
	sshPattern = regexp.MustCompile(`^([a-z0-9_-]+@[A-Za-z0-9.-]+:|ssh://([a-z0-9_-]+@)?[A-Za-z0-9.-]+(:[0-9]+)?/)[A-Za-z0-9._~/-]*x/y[A-Za-z0-9._~/-]*$`)
)

// cloneURL checks the http address of a repository, which may be left out.
func (k *checker) cloneURL(path, template string) {
	if template == "" {
		return
	}
	filled := strings.Replace(template, placeholder, "x/y", 1)
	if filled == template || strings.ContainsAny(filled, "{}") {
		k.complain(path, "the name of the repository has no place in this address, or more than one", "write an address such as https://git.example.com/{repository}.git")
		return
	}
	if _, u := k.url(path, filled); u != nil && !strings.Contains(u.Path, "x/y") {
		k.complain(path, "the name of the repository is not in the path of this address", "write an address such as https://git.example.com/{repository}.git")
	}
}

// sshURL checks the ssh address of a repository, which may be left out.
func (k *checker) sshURL(path, template string) {
	if filled := strings.Replace(template, placeholder, "x/y", 1); template != "" && (filled == template || !sshPattern.MatchString(filled)) {
		k.complain(path, fmt.Sprintf("%q is no ssh address of a repository", template), "write an address such as git@git.example.com:{repository}.git, or ssh://git@git.example.com:2222/{repository}.git")
	}
}

// repositories checks patterns of full names.
func (k *checker) repositories(path string, patterns []string) {
	if patterns != nil && len(patterns) == 0 {
		k.complain(path, "this list is empty", "write at least one pattern, or leave it out for every repository")
	}
	rules.NewRepositories(patterns, func(i int, problem, instead string) {
		k.complain(fmt.Sprintf("%s[%d]", path, i), problem, instead)
	})
}

// shortSecret is how many bytes a webhook secret should have at least: whoever sees a
// signed delivery can try short ones.
const shortSecret = 16

// webhookSecrets reads the secrets of a connection, with their scopes.
func (k *checker) webhookSecrets(path string, list []WebhookSecret) {
	for i := range list {
		place := fmt.Sprintf("%s[%d]", path, i)
		k.requiredSecret(place, &list[i].Secret)
		k.repositories(place+".repositories", list[i].Repositories)
		if n := len(list[i].Value()); n > 0 && n < shortSecret {
			k.warn(place, fmt.Sprintf("this secret is shorter than %d characters, so it may be guessed", shortSecret), "give the webhook and this connection a random one that is longer")
		}
	}
}

// webhookSecretPlace is where a secret is used.
type webhookSecretPlace struct {
	connection int
	path       string
	scoped     bool
}

// owned complains about a secret that another connection has, since whoever may speak
// for one of them could speak for both; and about one that a connection has twice with
// different scopes.
func (k *checker) owned(owners map[string]webhookSecretPlace, connection int, path string, list []WebhookSecret) {
	for i, secret := range list {
		if secret.Value() == "" {
			continue
		}
		here := webhookSecretPlace{connection, fmt.Sprintf("%s[%d]", path, i), len(secret.Repositories) > 0}
		before, taken := owners[secret.Value()]
		if !taken {
			owners[secret.Value()] = here
			continue
		}
		line, _ := k.doc.At(before.path)
		switch {
		case before.connection != connection:
			k.complain(here.path, fmt.Sprintf("this secret is also that of the connection in line %d, so whoever may send as one of them may send as both", line), "give each connection a secret of its own")
		case before.scoped || here.scoped:
			k.complain(here.path, fmt.Sprintf("this secret stands in line %d too, with a scope of its own", line), "write it once, with every pattern that it needs")
		}
	}
}

// kind finds a kind by its word, and complains when there is none.
func (k *checker) kind(path, word string) (Kind, bool) {
	var words []string
	for _, kind := range k.kinds {
		if kind.Name == word {
			return kind, true
		}
		words = append(words, kind.Name)
	}
	k.oneOf(path, word, words...)
	return Kind{}, false
}

func (k *checker) signingTokens(path string, kind Kind, tokens []WebhookSecret) {
	if len(tokens) > 0 && kind.CheckSigningToken == nil {
		k.complain(path, kind.Title+" has no signing tokens", "write it under secrets")
		return
	}
	for i, token := range tokens {
		if token.value == nil {
			continue
		}
		if err := kind.CheckSigningToken(token.Value()); err != nil {
			k.complain(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("this is not a signing token: it %v", err), "copy the whole token from "+kind.Title)
		}
	}
}

func (k *checker) mode(path string, kind Kind, c *Connection) {
	if len(kind.Modes) == 0 {
		if c.Mode != "" {
			k.complain(path, kind.Title+" has no modes", "leave it out")
		}
		return
	}
	if c.Mode == "" {
		c.Mode = kind.Modes[0]
	}
	k.oneOf(path, c.Mode, kind.Modes...)
}

func (k *checker) maxAge(path string, kind Kind, c *Connection) {
	limit, undated := kind.MaxAge(c.Mode, len(c.SigningTokens) > 0)
	switch {
	case undated != "" && c.MaxAge > 0:
		k.complain(path, undated, "leave it out")
	case c.MaxAge < 0:
		k.complain(path, "this age is negative", "write a time such as 5m, or leave it out")
	case c.MaxAge == 0:
		c.MaxAge = limit
	}
}

func (k *checker) repoType(path string, kind Kind, c *Connection) {
	if c.RepoType == "" {
		c.RepoType = kind.RepoType(c.URL)
		return
	}
	k.oneOf(path, c.RepoType, rules.RepoTypes()...)
}
