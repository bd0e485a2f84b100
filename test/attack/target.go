package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/webhook"
	"github.com/gatewright/gatewright/test/harness"
)

// repositories is how many each connection has: one for each attack, and the one that
// is the victim with it.
const repositories = 48

// settleWithin bounds how long what was sent may take until it has ended.
const settleWithin = time.Minute

// target is the server that is attacked, and what the attackers know of it: its
// address, and a valid secret.
type target struct {
	bench  *harness.Bench
	server *harness.Server
	client *http.Client
	// used is how many repositories of each connection were handed out.
	used map[string]int
	// seen is how many calls of the journal earlier outcomes had.
	seen int
	// ids counts the delivery ids and commits that were made up.
	ids int
}

func newTarget(ctx context.Context, program, database string) (*target, error) {
	bench, err := harness.New(ctx, harness.Options{Database: database, Binary: program, Repositories: repositories, LogLevel: "info"})
	if err != nil {
		return nil, err
	}
	server, err := bench.StartServer(ctx)
	if err != nil {
		return nil, errors.Join(err, bench.Close())
	}
	return &target{bench: bench, server: server, client: &http.Client{Timeout: 30 * time.Second}, used: map[string]int{}}, nil
}

// repository is one of a connection that was not used before.
func (t *target) repository(connection string) harness.Repository {
	list := t.bench.Repositories(connection)
	t.used[connection]++
	return list[t.used[connection]-1]
}

// commit makes up the hash of a commit.
func (t *target) commit() string {
	t.ids++
	return fmt.Sprintf("%040x", 0xa77ac0000+t.ids)
}

// request is a delivery that is about to be sent.
type request struct {
	connection string
	header     http.Header
	body       []byte
}

// sign signs a body with the valid secret of a connection, as a delivery of its own.
func (t *target) sign(connection string, host event.Host, name string, payload fields) (request, error) {
	body, err := json.Marshal(payload)
	if err != nil {
		return request{}, err
	}
	t.ids++
	id := fmt.Sprintf("a77ac000-0000-4000-8000-%012x", t.ids)
	header := http.Header{"Content-Type": {"application/json"}}
	switch host {
	case event.GitHub:
		header.Set("X-GitHub-Event", name)
		header.Set("X-GitHub-Delivery", id)
	case event.GitLab:
		header.Set("X-Gitlab-Event", name)
		header.Set("Idempotency-Key", id)
	case event.Gitee:
		header.Set("X-Gitee-Event", name)
	case event.Gitea:
		header.Set("X-Gitea-Event", name)
		header.Set("X-Gitea-Delivery", id)
		header.Set("X-GitHub-Event", name)
	}
	return t.resign(request{connection: connection, header: header, body: body}, host)
}

// resign signs what a request has become.
func (t *target) resign(r request, host event.Host) (request, error) {
	var err error
	r.body, err = webhook.Sign(webhook.Connection{Name: r.connection, Host: host, Secrets: []string{t.bench.SecretOf(r.connection)}}, r.header, r.body, time.Now())
	return r, err
}

// send sends a delivery and returns the answer's status and the delivery that it names.
func (t *target) send(ctx context.Context, r request) (status int, delivery string, err error) {
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url()+"/webhooks/"+r.connection, bytes.NewReader(r.body))
	if err != nil {
		return 0, "", err
	}
	post.Header = r.header.Clone()
	response, err := t.client.Do(post)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	if err != nil {
		return 0, "", err
	}
	var answer struct {
		Delivery string `json:"delivery"`
	}
	_ = json.Unmarshal(text, &answer) // a refusal names no delivery
	return response.StatusCode, answer.Delivery, nil
}

func (t *target) url() string { return "http://" + t.bench.Addrs()[0] }

// ends sends a delivery, waits until all that follows from it has ended, and returns
// what became of it. It must be accepted.
func (t *target) ends(ctx context.Context, r request) (outcome, error) {
	status, id, err := t.send(ctx, r)
	if err != nil {
		return outcome{}, err
	}
	if status != http.StatusAccepted && status != http.StatusOK {
		return outcome{}, fmt.Errorf("a signed delivery was answered %d", status)
	}
	return t.outcome(ctx, id)
}

// outcome is what became of a delivery, and what was done for its repository.
type outcome struct {
	delivery store.Delivery
	// runs and releases are how many followed from the delivery, and calls what was
	// done at the services since the last outcome.
	runs, releases int
	calls          []standin.Call
}

// outcome waits until everything has ended, and looks.
func (t *target) outcome(ctx context.Context, id string) (o outcome, err error) {
	seen := t.seen
	if err := t.settle(ctx); err != nil {
		return o, err
	}
	records, err := t.bench.Database.Records(ctx)
	if err != nil {
		return o, err
	}
	i := slices.IndexFunc(records.Deliveries, func(d store.Delivery) bool { return d.ID == id })
	if i < 0 {
		return o, fmt.Errorf("delivery %q is not stored", id)
	}
	o.delivery = records.Deliveries[i]
	runs := map[string]bool{}
	for _, run := range records.Runs {
		if run.DeliveryID == id {
			o.runs++
			runs[run.ID] = true
		}
	}
	for _, release := range records.Releases {
		if runs[release.RunID] {
			o.releases++
		}
	}
	o.calls = t.bench.Journal.Acted()[seen:]
	return o, nil
}

// settle waits until everything has ended, and takes the calls of the journal as seen.
func (t *target) settle(ctx context.Context) error {
	left, err := t.bench.Drain(ctx, settleWithin)
	if err != nil {
		return err
	}
	if !left.None() {
		return fmt.Errorf("after %s there is left: %+v", settleWithin, left)
	}
	if err := t.bench.Journal.Read(ctx); err != nil {
		return err
	}
	t.seen = len(t.bench.Journal.Acted())
	return nil
}

// made are the addresses for which tasks were created.
func (o outcome) made() []string {
	var addresses []string
	for _, call := range o.calls {
		if call.Operation == "create_task_v3" || call.Operation == "create_task_v2" {
			addresses = append(addresses, call.Address)
		}
	}
	return addresses
}

// started are the pipelines on which something was done.
func (o outcome) started() []string {
	var pipelines []string
	for _, call := range o.calls {
		if call.Operation == "operate_pipeline" {
			pipelines = append(pipelines, call.Pipeline)
		}
	}
	return pipelines
}

// String is what the outcome was, for a report.
func (o outcome) String() string {
	return fmt.Sprintf("%s (%s), %d runs, %d releases, tasks for %q, actions on %q", o.delivery.State, o.delivery.Reason, o.runs, o.releases, o.made(), o.started())
}

// idle reports whether nothing followed from a delivery.
func (o outcome) idle() bool { return o.runs == 0 && o.releases == 0 && len(o.calls) == 0 }
