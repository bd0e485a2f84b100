package config

import (
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"regexp"
	"slices"

	"github.com/gatewright/gatewright/internal/notify"
	"github.com/gatewright/gatewright/internal/rules"
)

// Notify is one target of notices.
type Notify struct {
	// Name identifies the target, in the log and for gatewright notify test.
	Name string `yaml:"name"`
	// Kind is webhook, email, dingtalk, wecom, feishu or slack.
	Kind notify.Kind `yaml:"kind"`
	// Events are those that it hears of. Default: all.
	Events []notify.Event `yaml:"events,flow,omitempty"`
	// Repositories are patterns of the full names of the repositories that it hears of, as in rules.
	// What is about no repository is always told. Default: all.
	Repositories []string `yaml:"repositories,flow,omitempty"`
	// Lang is the language, en or zh. Default: report.language.
	Lang notify.Lang `yaml:"lang"`
	// PerMinute is how many messages it gets in a minute; the last one carries all that wait. Default: 10; DingTalk
	// and WeCom take 20.
	PerMinute int `yaml:"per_minute"`
	// URL is the address of all kinds but email: a secret, because whoever knows it can write there.
	URL Secret `yaml:"url,omitempty"`
	// Secret signs: of a webhook whsec_ and base64, mandatory; of DingTalk and Feishu what the robot's page
	// shows, where it asks for signatures.
	Secret Secret `yaml:"secret,omitempty"`
	// Email is given for the kind email alone.
	Email *Email `yaml:"email,omitempty"`
}

// Email is how mail is sent.
type Email struct {
	// Server is the host:port of the mail server.
	Server string `yaml:"server"`
	// TLS is starttls, implicit, or, on the loopback alone, none. Default: starttls.
	TLS  string   `yaml:"tls"`
	From string   `yaml:"from"`
	To   []string `yaml:"to,flow"`
	// Username and Password log in. Default: without.
	Username string `yaml:"username,omitempty"`
	Password Secret `yaml:"password,omitempty"`
}

var targetPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

func (k *checker) notify(c *Config) {
	names := map[string]bool{}
	for i := range c.Notify {
		n, path := &c.Notify[i], fmt.Sprintf("notify[%d]", i)
		if n.Lang == "" {
			n.Lang = notify.Lang(c.Report.Language)
		}
		if n.PerMinute == 0 {
			n.PerMinute = 10
		}
		switch {
		case !targetPattern.MatchString(n.Name):
			k.complain(path+".name", fmt.Sprintf("%q is not the name of a target", n.Name), "write lower-case letters, digits and -, at most 40, such as on-call")
		case names[n.Name]:
			k.complain(path+".name", fmt.Sprintf("there are two targets %q", n.Name), "give each its own name")
		}
		names[n.Name] = true
		k.oneOf(path+".lang", string(n.Lang), "en", "zh")
		if n.PerMinute < 1 || n.PerMinute > 60 {
			k.complain(path+".per_minute", fmt.Sprintf("%d messages in a minute are too few or too many", n.PerMinute), "write a number from 1 to 60, or leave it out")
		}
		events := []string{}
		for _, e := range notify.Events() {
			events = append(events, string(e))
		}
		for j, e := range n.Events {
			k.oneOf(fmt.Sprintf("%s.events[%d]", path, j), string(e), events...)
		}
		rules.NewRepositories(n.Repositories, func(j int, problem, instead string) {
			k.complain(fmt.Sprintf("%s.repositories[%d]", path, j), problem, instead)
		})
		if k.oneOf(path+".kind", string(n.Kind), "webhook", "email", "dingtalk", "wecom", "feishu", "slack") {
			k.notifyTarget(path, n)
		}
	}
}

func (k *checker) notifyTarget(path string, n *Notify) {
	if n.Kind == notify.Email {
		if n.URL.Set() || n.Secret.Set() {
			k.complain(path, "mail has no url and no secret", "write email: {server: …, from: …, to: […]}")
		}
		if n.Email == nil {
			k.complain(path+".email", "nothing says how mail is sent", "write email: {server: smtp.example.com:587, from: gatewright@example.com, to: [team@example.com]}")
			return
		}
		k.email(path+".email", n.Email)
		return
	}
	if n.Email != nil {
		k.complain(path+".email", fmt.Sprintf("a target of the kind %s sends no mail", n.Kind), "write kind: email, or leave this out")
	}
	k.requiredSecret(path+".url", &n.URL)
	if value := n.URL.Value(); value != "" {
		// The complaint does not repeat the value.
		u, err := url.Parse(value)
		switch {
		case err != nil || u.Hostname() == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http":
			k.complain(path+".url", "what is found there is no address of a webhook", "write an https:// URL into it, without a user name")
		case plainOffLoopback(u):
			k.complain(path+".url", "notices would cross the network in the clear", "write an https:// URL into it")
		}
	}
	signs := slices.Contains([]notify.Kind{notify.Webhook, notify.DingTalk, notify.Feishu}, n.Kind)
	switch {
	case n.Kind == notify.Webhook:
		k.requiredSecret(path+".secret", &n.Secret)
		if value := n.Secret.Value(); value != "" {
			if _, err := notify.WebhookKey(value); err != nil {
				k.complain(path+".secret", "it cannot sign: "+err.Error(), `make one, such as by: echo "whsec_$(head -c 32 /dev/urandom | base64)"`)
			}
		}
	case n.Secret.Set() && !signs:
		k.complain(path+".secret", fmt.Sprintf("a target of the kind %s is not signed", n.Kind), "leave it out: its address is its secret")
	default:
		k.secret(path+".secret", &n.Secret)
	}
}

func (k *checker) email(path string, e *Email) {
	if e.TLS == "" {
		e.TLS = "starttls"
	}
	host, port, err := net.SplitHostPort(e.Server)
	if err != nil || host == "" || port == "" {
		k.complain(path+".server", fmt.Sprintf("%q is no mail server", e.Server), "write host:port, such as smtp.example.com:587")
	}
	if k.oneOf(path+".tls", e.TLS, "starttls", "implicit", "none") && e.TLS == "none" && !loopback(host) {
		k.complain(path+".tls", "mail would cross the network in the clear", "write starttls or implicit; none is for the loopback alone")
	}
	address := func(path, value string) {
		// An address alone, without a name and without anything that could end a line.
		if parsed, err := mail.ParseAddress(value); err != nil || parsed.Address != value {
			k.complain(path, fmt.Sprintf("%q is no mail address", value), "write an address such as team@example.com, without a name")
		}
	}
	address(path+".from", e.From)
	if len(e.To) == 0 {
		k.complain(path+".to", "nobody gets the mail", "write a list of addresses, such as [team@example.com]")
	}
	for i, to := range e.To {
		address(fmt.Sprintf("%s.to[%d]", path, i), to)
	}
	k.secret(path+".password", &e.Password)
	if (e.Username == "") == e.Password.Set() {
		k.complain(path, "a login needs both username and password", "write both, or neither")
	}
}
