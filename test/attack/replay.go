package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/test/harness"
)

// replays are the attacks of somebody who captured deliveries that were genuine once.
func replays() []attack {
	return []attack{
		{"an old push once more, under a new id, after the retention", afterRetention},
		{"an old body under the id of a delivery to come", takenID},
		{"a push back to an earlier commit that the host never made", pushBack},
		{"a merge request from the year 9999", future},
		{"a push of a year ago", yearOld},
		{"a JSON body that is sent as a form", disguised},
		{"one byte changed, and no signature at all", tampered},
	}
}

// pushOf signs a push of GitHub.
func (t *target) pushOf(r harness.Repository, before, after string) (request, error) {
	name, payload := push(r, "main", before, after)
	return t.sign(r.Connection, event.GitHub, name, payload)
}

// renamed is the same request under another delivery id.
func (r request) renamed(id string) request {
	r.header = r.header.Clone()
	r.header.Set("X-GitHub-Delivery", id)
	return r
}

func afterRetention(ctx context.Context, t *target) (broken string, err error) {
	r := t.repository("github")
	a, b, c, d := t.commit(), t.commit(), t.commit(), t.commit()
	var first request
	for i, step := range [][2]string{{a, b}, {b, c}, {c, d}} {
		request, err := t.pushOf(r, step[0], step[1])
		if err != nil {
			return "", err
		}
		if i == 0 {
			first = request
		}
		o, err := t.ends(ctx, request)
		if err != nil {
			return "", err
		}
		if o.runs != 1 || len(o.started()) == 0 {
			return "the genuine push came to: " + o.String(), nil
		}
	}
	if err := t.forget(ctx); err != nil {
		return "", err
	}
	o, err := t.ends(ctx, first.renamed("a77ac000-0000-4000-9000-000000000001"))
	if err != nil {
		return "", err
	}
	if len(o.started()) > 0 {
		return "the first push once more came to: " + o.String(), nil
	}
	return "", nil
}

// forget restarts the server so that it removes everything that has ended, as it does
// after a month.
func (t *target) forget(ctx context.Context) error {
	for _, kept := range []time.Duration{time.Millisecond, 720 * time.Hour} {
		if err := t.server.Stop(); err != nil {
			return err
		}
		if err := t.bench.Retain(kept); err != nil {
			return err
		}
		var err error
		if t.server, err = t.bench.StartServer(ctx); err != nil {
			return err
		}
		if kept == time.Millisecond {
			if err := t.removed(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// removed waits until no delivery is stored.
func (t *target) removed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		records, err := t.bench.Database.Records(ctx)
		if err != nil {
			return err
		}
		if len(records.Deliveries) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d deliveries are still stored", len(records.Deliveries))
		case <-ticker.C:
		}
	}
}

func takenID(ctx context.Context, t *target) (broken string, err error) {
	r := t.repository("github")
	a, b, c := t.commit(), t.commit(), t.commit()
	old, err := t.pushOf(r, a, b)
	if err != nil {
		return "", err
	}
	if _, err := t.ends(ctx, old); err != nil {
		return "", err
	}
	fresh, err := t.pushOf(r, b, c)
	if err != nil {
		return "", err
	}
	if _, _, err := t.send(ctx, old.renamed(fresh.header.Get("X-GitHub-Delivery"))); err != nil {
		return "", err
	}
	return t.checked(ctx, fresh, "the genuine delivery of that id came to: ")
}

func pushBack(ctx context.Context, t *target) (broken string, err error) {
	r := t.repository("github")
	a, b, c, d := t.commit(), t.commit(), t.commit(), t.commit()
	for _, step := range [][2]string{{a, b}, {b, c}} {
		request, err := t.pushOf(r, step[0], step[1])
		if err != nil {
			return "", err
		}
		if o, err := t.ends(ctx, request); err != nil || o.runs != 1 {
			return "the genuine push came to: " + o.String(), err
		}
	}
	// The head is c; this says that the branch moved from d to b.
	back, err := t.pushOf(r, d, b)
	if err != nil {
		return "", err
	}
	o, err := t.ends(ctx, back)
	if err != nil {
		return "", err
	}
	if o.runs > 0 || len(o.started()) > 0 {
		return "it came to: " + o.String(), nil
	}
	next, err := t.pushOf(r, c, d)
	if err != nil {
		return "", err
	}
	if o, err = t.ends(ctx, next); err != nil {
		return "", err
	}
	if o.runs != 1 || len(o.started()) == 0 {
		return "the next genuine push came to: " + o.String(), nil
	}
	return "", nil
}

// mergeRequest is a merge request of GitHub that got a new commit.
func (t *target) mergeRequest(r harness.Repository, before, after, updated string) (request, error) {
	side := func(branch, sha string) fields {
		return fields{"ref": branch, "sha": sha, "repo": fields{"id": r.ID, "full_name": r.FullName, "html_url": web(r), "clone_url": r.URL}}
	}
	_, about := push(r, "main", before, after)
	return t.sign(r.Connection, event.GitHub, "pull_request", fields{
		"action": "synchronize", "number": 7, "before": before, "after": after, "repository": about["repository"], "sender": fields{"login": "mona", "id": 11},
		"pull_request": fields{
			"id": r.ID, "number": 7, "state": "open", "title": "Add a discount", "draft": false, "merged": false, "user": fields{"login": "mona", "id": 11},
			"labels": []any{}, "updated_at": updated, "head": side("topic-1", after), "base": side("main", none[:39]+"1"), "html_url": web(r) + "/pull/7",
		},
	})
}

func future(ctx context.Context, t *target) (broken string, err error) {
	r := t.repository("github")
	a, b, c := t.commit(), t.commit(), t.commit()
	far, err := t.mergeRequest(r, a, b, "9999-12-31T23:59:59Z")
	if err != nil {
		return "", err
	}
	if _, err := t.ends(ctx, far); err != nil {
		return "", err
	}
	fresh, err := t.mergeRequest(r, b, c, time.Now().UTC().Format(time.RFC3339))
	if err != nil {
		return "", err
	}
	return t.checked(ctx, fresh, "the next change came to: ")
}

func yearOld(ctx context.Context, t *target) (broken string, err error) {
	r := t.repository("github")
	name, payload := push(r, "main", none, t.commit())
	about(r, payload)["pushed_at"] = time.Now().AddDate(-1, 0, 0).Unix()
	if broken, err := t.nothing(ctx, r, name, payload); broken != "" || err != nil {
		return broken, err
	}
	name, payload = push(r, "main", none, t.commit())
	about(r, payload)["pushed_at"] = time.Now().Unix()
	request, err := t.sign(r.Connection, event.GitHub, name, payload)
	if err != nil {
		return "", err
	}
	return t.checked(ctx, request, "the genuine push came to: ")
}

// disguised: whoever can write a commit message must not be able to have a signed body
// read as another event.
func disguised(ctx context.Context, t *target) (broken string, err error) {
	r, victim := t.repository("github"), t.repository("github")
	inner, err := t.pushOf(victim, none, t.commit())
	if err != nil {
		return "", err
	}
	name, payload := push(r, "main", none, t.commit())
	payload["head_commit"] = fields{"message": "x&payload=" + url.QueryEscape(string(inner.body)) + "&y="}
	outer, err := t.sign(r.Connection, event.GitHub, name, payload)
	if err != nil {
		return "", err
	}
	outer.header.Set("Content-Type", "application/x-www-form-urlencoded")
	status, _, err := t.send(ctx, outer)
	if err != nil {
		return "", err
	}
	if status != http.StatusBadRequest {
		return fmt.Sprintf("it was answered %d, want 400", status), nil
	}
	// The control: a form as GitHub sends it.
	form := inner
	form.header = inner.header.Clone()
	form.header.Set("Content-Type", "application/x-www-form-urlencoded")
	form.body = []byte("payload=" + url.QueryEscape(string(inner.body)))
	if form, err = t.resign(form, event.GitHub); err != nil {
		return "", err
	}
	return t.checked(ctx, form, "the genuine form came to: ")
}

func tampered(ctx context.Context, t *target) (broken string, err error) {
	r := t.repository("github")
	genuine, err := t.pushOf(r, none, t.commit())
	if err != nil {
		return "", err
	}
	changed := genuine
	changed.body = append([]byte(" "), genuine.body...)
	bare := genuine
	bare.header = genuine.header.Clone()
	bare.header.Del("X-Hub-Signature-256")
	malformed := genuine
	malformed.header = genuine.header.Clone()
	malformed.header.Set("X-Hub-Signature-256", "sha256=zz")
	for _, forged := range []request{changed, bare, malformed} {
		status, _, err := t.send(ctx, forged)
		if err != nil {
			return "", err
		}
		if status != http.StatusUnauthorized {
			return fmt.Sprintf("it was answered %d, want 401", status), nil
		}
	}
	return t.checked(ctx, genuine, "the genuine delivery came to: ")
}
