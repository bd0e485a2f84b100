package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/internal/webhook"
)

// episode is one delivery of the story.
type episode struct {
	title string
	demo.Delivery
}

// told is an episode with its answer.
type told struct {
	episode
	demo.Sent
}

// chapters are the deliveries of the story; a chapter begins when all runs of the
// previous one have ended, so that each run finds what earlier ones left. In the last one the
// merge requests of all hosts are mended, and a webhook is lost, of which recovery learns.
func chapters(w *demo.World) [][]episode {
	var mended []episode
	for _, host := range webhook.Hosts() {
		mended = append(mended, episode{"merge request 7 with the mended commit", demo.Delivery{Host: host, Kind: "merge-request", ID: uuid.NewString(), Mend: true,
			Change: demo.Change{Branch: "main", SourceBranch: "feature/discount", Before: w.Bad, SHA: w.Mended, Number: demo.MergeRequest}}})
	}
	mended = append(mended, episode{"push that sets main back by one commit", demo.Delivery{Host: event.Gitea, Kind: "push", Dropped: true,
		Change: demo.Change{Branch: "main", Before: w.Clean, SHA: w.Parent}}})
	// What is sent again is the same to the byte, also in the next second.
	now := time.Now().UTC().Format(time.RFC3339)
	push := demo.Change{Branch: "main", Before: w.Parent, SHA: w.Clean, Time: now}
	request := demo.Change{Branch: "main", SourceBranch: "feature/discount", Before: w.Clean, SHA: w.Bad, Number: demo.MergeRequest, Time: now}
	scratch := demo.Change{Branch: "scratch", Before: w.Parent, SHA: w.Clean, Time: now}
	deleted := demo.Change{Branch: "old", Before: w.Parent, SHA: w.Clean, Time: now, Deleted: true}
	first := uuid.NewString()
	return [][]episode{{
		{"push of the clean commit to main", demo.Delivery{Host: event.GitHub, Kind: "push", ID: first, Change: push}},
		{"the same delivery once more", demo.Delivery{Host: event.GitHub, Kind: "push", ID: first, Change: push}},
		{"push of the clean commit to main", demo.Delivery{Host: event.GitLab, Kind: "push", ID: uuid.NewString(), Change: push}},
		{"push of the clean commit to main", demo.Delivery{Host: event.Gitee, Kind: "push", ID: uuid.NewString(), Change: push}},
		{"push of the clean commit to main", demo.Delivery{Host: event.Gitea, Kind: "push", ID: uuid.NewString(), Change: push}},
		{"a push with a wrong signature", demo.Delivery{Host: event.GitHub, Kind: "push", ID: uuid.NewString(), Change: push, WrongSecret: true}},
		{"push to a branch that no rule names", demo.Delivery{Host: event.GitHub, Kind: "push", ID: uuid.NewString(), Change: scratch}},
		{"a deleted branch", demo.Delivery{Host: event.GitLab, Kind: "push", ID: uuid.NewString(), Change: deleted}},
	}, {
		{"merge request 7 with the bad commit", demo.Delivery{Host: event.GitHub, Kind: "merge-request", ID: uuid.NewString(), Change: request}},
		{"merge request 7 with the bad commit", demo.Delivery{Host: event.GitLab, Kind: "merge-request", ID: uuid.NewString(), Change: request}},
		{"merge request 7 with the bad commit", demo.Delivery{Host: event.Gitee, Kind: "merge-request", ID: uuid.NewString(), Change: request}},
		{"merge request 7 with the bad commit", demo.Delivery{Host: event.Gitea, Kind: "merge-request", ID: uuid.NewString(), Change: request}},
	}, mended}
}

// story is what was told.
type story struct {
	deliveries []told
	forks      []demoFork
	// held is the id of the release that people approved.
	held string
}

// tellStory sends the deliveries and narrates until everything that they caused has
// ended. While recovery has not found the lost webhook yet, people approve a held release. At its end a merge request from a fork waits for somebody who vouches for its commit.
func tellStory(ctx context.Context, d *demo.Demo, n *narrator) (s story, err error) {
	w := newWatcher(n)
	for _, chapter := range chapters(d.World) {
		for _, e := range chapter {
			sent, err := d.Send(ctx, e.Delivery)
			if err != nil {
				return s, fmt.Errorf("%s: %w", e.title, err)
			}
			if e.Dropped {
				n.say(e.Host, "dropped", "%s: no webhook comes", e.title)
				continue
			}
			n.tellAnswer(e, sent)
			s.deliveries = append(s.deliveries, told{e, sent})
		}
		if err := watch(ctx, d, w, demo.Records.Judged); err != nil {
			return s, err
		}
	}
	held, approved, err := tellHeld(ctx, d, n, w)
	if err != nil {
		return s, err
	}
	s.held = held.ID
	err = watch(ctx, d, w, func(r demo.Records) bool {
		return r.Told() && slices.ContainsFunc(r.Deliveries, func(d view.DeliveryDetail) bool { return d.Recovered != event.NotRecovered })
	})
	if err != nil {
		return s, err
	}
	fork, vouched, err := tellFork(ctx, d, n, w)
	if err != nil {
		return s, err
	}
	asked, err := say(ctx, d, n, event.GitHub, demo.Mona(), demo.MergeRequest, d.World.Mended, "/recheck")
	if err != nil {
		return s, err
	}
	s.deliveries, s.forks = slices.Concat(s.deliveries, approved, vouched, []told{asked}), []demoFork{fork}
	if err := watch(ctx, d, w, func(r demo.Records) bool { return r.Told() && r.Obeyed() }); err != nil {
		return s, err
	}
	var unread error
	err = watch(ctx, d, w, func(demo.Records) bool {
		bundle, err := bundleOf(ctx, d, s.held)
		unread = err
		return err != nil || bundle != nil
	})
	return s, errors.Join(err, unread)
}

// say lets somebody write a comment on a merge request that has a commit.
func say(ctx context.Context, d *demo.Demo, n *narrator, host event.Host, who demo.Person, number int, commit, text string) (told, error) {
	delivery, err := d.Write(host, number, who, commit, text)
	if err != nil {
		return told{}, err
	}
	e := episode{fmt.Sprintf("%s comments %s on merge request %d", who.Login, text, number), delivery}
	sent, err := d.Send(ctx, e.Delivery)
	if err != nil {
		return told{}, fmt.Errorf("%s: %w", e.title, err)
	}
	n.tellAnswer(e, sent)
	return told{e, sent}, nil
}

// tellAnswer tells how the server answered a delivery.
func (n *narrator) tellAnswer(e episode, sent demo.Sent) {
	switch sent.Status {
	case http.StatusAccepted:
		n.say(e.Host, "delivery", "%s: accepted, durable as %s", e.title, sent.ID)
	case http.StatusOK:
		n.say(e.Host, "delivery", "%s: duplicate delivery", e.title)
	default:
		n.say(e.Host, "delivery", "%s: refused with %d: %s", e.title, sent.Status, sent.Message)
	}
}

// watchEvery is the interval at which the database is read for what to tell next.
const watchEvery = 25 * time.Millisecond

// watch tells what becomes of the deliveries until it is over.
func watch(ctx context.Context, d *demo.Demo, w *watcher, over func(demo.Records) bool) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		r, err := d.Records(ctx)
		if err != nil {
			return err
		}
		w.tell(r)
		if over(r) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the story did not end: %w", context.Cause(ctx))
		case <-ticker.C:
		}
	}
}
