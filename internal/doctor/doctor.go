// Package doctor checks what an installation depends on outside of its own files: the
// clock, the credentials, what the rules name at the services, the tokens of the git
// hosts, the database, and the rights of files. It changes nothing anywhere.
package doctor

import (
	"context"
	"net/http"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/hooks"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// State is what became of one check.
type State string

const (
	// OK: nothing is wrong.
	OK State = "ok"
	// Wrong: something does not work; Finding.Advice says what to do.
	Wrong State = "wrong"
	// Unchecked: it could not be checked; Finding.Detail says why.
	Unchecked State = "unchecked"
)

// Finding is the result of one check.
type Finding struct {
	State State `json:"state"`
	// Subject is what was checked, such as `pipeline caf409b1-…`.
	Subject string `json:"subject"`
	// Detail is what was found, or why it could not be checked.
	Detail string `json:"detail"`
	// Advice is what to do; only where something is wrong.
	Advice string `json:"advice"`
}

// Hosts asks the git hosts, with the API tokens of the connections.
type Hosts interface {
	// Head reads the commit of the event's branch on the host of its connection.
	Head(ctx context.Context, ev event.Event) (sha string, err error)
	// CanReport reads whether statuses and comments can be written to the event's repository,
	// without writing any; told is false when its host does not say.
	CanReport(ctx context.Context, ev event.Event) (told bool, err error)
	// RightToReport is what it takes for that, as what to give the connection: "a token with …".
	RightToReport(connection string) string
}

// Account is how one account of Huawei Cloud is asked.
type Account struct {
	Name   string
	Config *config.HuaweiCloud
	// HTTP asks the endpoints of the services without credentials.
	HTTP *http.Client
	// ProjectID gives the IAM region project; it gets a token where there is a password.
	ProjectID func(ctx context.Context) (string, error)
	Checker   *codecheck.Checker
	Operator  *release.Operator
}

// Options say what is examined. All are mandatory but Webhooks and Now.
type Options struct {
	Config *config.Config
	Policy *rules.Policy
	// Files are the server file and those of the rules.
	Files []string
	// Accounts are the accounts of Huawei Cloud; the first one has the empty name.
	Accounts []Account
	// Repository is the repository of a connection with this full name, as its
	// deliveries describe it.
	Repository func(c config.Connection, fullName string) event.Repository
	Database   store.Options
	Hosts      Hosts
	// Webhooks compares the webhooks of the repositories that the rules name with what the server needs. Nil without
	// http.public_url.
	Webhooks func(ctx context.Context) []hooks.Entry
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// examination collects the findings.
type examination struct {
	Options
	findings []Finding
	// timed: our clock was compared with that of a service.
	timed bool
}

// Examine checks everything, in the order in which one thing depends on another.
func Examine(ctx context.Context, o Options) []Finding {
	if o.Now == nil {
		o.Now = time.Now
	}
	e := &examination{Options: o}
	accounts := make([]*account, len(o.Accounts))
	for i, a := range o.Accounts {
		accounts[i] = &account{examination: e, Account: a}
		accounts[i].endpoints(ctx)
	}
	if !e.timed {
		e.unchecked("clock", "no service told the time")
	}
	for _, a := range accounts {
		a.services(ctx)
	}
	e.connections(ctx)
	e.webhooks(ctx)
	e.database(ctx)
	e.fileRights()
	return e.findings
}

func (e *examination) ok(subject, detail string) {
	e.findings = append(e.findings, Finding{State: OK, Subject: subject, Detail: detail})
}

func (e *examination) wrong(subject, detail, advice string) {
	e.findings = append(e.findings, Finding{State: Wrong, Subject: subject, Detail: detail, Advice: advice})
}

func (e *examination) unchecked(subject, why string) {
	e.findings = append(e.findings, Finding{State: Unchecked, Subject: subject, Detail: why})
}
