package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// sender sends deliveries as the hosts do, and records what was acknowledged.
type sender struct {
	client *http.Client
	server *server
	secret string
}

// answerTimeout is how long a sender waits for its answer, as GitHub does.
// A delivery that got none is sent again, under the same id, until giveUp.
const (
	answerTimeout = 10 * time.Second
	retryAfter    = 300 * time.Millisecond
	giveUp        = 40 * time.Second
)

func newSender(s *server, secret string) *sender {
	return &sender{client: &http.Client{Timeout: answerTimeout}, server: s, secret: secret}
}

// step is one announcement of a change, at a time of the round.
type step struct {
	at       time.Duration
	change   *change
	delivery string
}

// story is what a repository sends in a round: a push to main, a merge request, and a
// push to stable, which is released by the same pipeline; by chance also the first
// push once more, under the same id and under another, and a second push to main. It
// returns the changes and the steps in order.
func story(r *repository, random *rand.Rand, length time.Duration, now time.Time) (changes []*change, steps []step) {
	commit := func() string {
		var hash [20]byte
		for i := range hash {
			hash[i] = byte(random.UintN(256))
		}
		return hex.EncodeToString(hash[:])
	}
	at := now.UTC().Format(time.RFC3339)
	push := func(branch, before string) *change {
		return &change{repository: r, kind: event.Push, branch: branch, before: before, sha: commit(), at: at}
	}
	first := push(mainBranch, commit())
	second := push(mainBranch, first.sha)
	stable := push(stableBranch, "")
	request := &change{repository: r, kind: event.MergeRequest, branch: mainBranch, before: first.before, sha: commit(), at: at}

	known := newID()
	others := []step{{change: request, delivery: newID()}, {change: stable, delivery: newID()}}
	if random.IntN(2) == 0 {
		others = append(others, step{change: first, delivery: known})
	}
	if random.IntN(2) == 0 {
		others = append(others, step{change: first, delivery: newID()})
	}
	random.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	steps = append([]step{{change: first, delivery: known}}, others...)
	if random.IntN(2) == 0 {
		steps = append(steps, step{change: second, delivery: newID()})
	}
	times := make([]time.Duration, len(steps))
	for i := range times {
		times[i] = rand.N(length)
	}
	slices.Sort(times)
	for i := range steps {
		steps[i].at = times[i]
		if !slices.Contains(changes, steps[i].change) {
			changes = append(changes, steps[i].change)
		}
	}
	return changes, steps
}

// tell sends the steps of several repositories, those of one repository one after
// the other. It returns when all are acknowledged or given up. An error is one of
// the proof itself.
func (s *sender) tell(ctx context.Context, stories [][]step) error {
	var (
		sending sync.WaitGroup
		mu      sync.Mutex
		failed  error
	)
	start := time.Now()
	for _, steps := range stories {
		sending.Go(func() {
			for _, step := range steps {
				err := s.server.pause(ctx, time.Until(start.Add(step.at)))
				if err == nil {
					err = s.announce(ctx, step)
				}
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
			}
		})
	}
	sending.Wait()
	return failed
}

// announce sends one delivery until it is acknowledged or given up.
func (s *sender) announce(ctx context.Context, st step) error {
	for end := time.Now().Add(giveUp); time.Now().Before(end); {
		status, id, err := s.send(ctx, st)
		switch {
		case err != nil || status >= 500:
		case status >= 300:
			return fmt.Errorf("send delivery to %s: refused with %d", st.change.repository.host, status)
		default:
			st.change.acknowledged++
			if id != "" {
				st.change.ids = append(st.change.ids, id)
			}
			return nil
		}
		if err := s.server.pause(ctx, retryAfter); err != nil {
			return err
		}
	}
	return nil
}

// send sends a delivery once and returns how it was answered: id is the server's
// for a delivery that was new to it.
func (s *sender) send(ctx context.Context, st step) (status int, id string, err error) {
	body, err := st.change.body(st.delivery)
	if err != nil {
		return 0, "", err
	}
	host := st.change.repository.host
	header := st.change.headers(st.delivery)
	body, err = webhook.Sign(webhook.Connection{Name: string(host), Host: host, Secrets: []string{webhookSecret(s.secret, host)}}, header, body, time.Now())
	if err != nil {
		return 0, "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.server.addr+"/webhooks/"+string(host), bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	request.Header = header
	response, err := s.client.Do(request)
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
	if err := json.Unmarshal(text, &answer); err != nil {
		return 0, "", err
	}
	return response.StatusCode, answer.Delivery, nil
}
