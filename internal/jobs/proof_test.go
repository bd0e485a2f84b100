package jobs_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/evidence"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/jobs"
	"github.com/gatewright/gatewright/internal/notify"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
)

// eventually waits until done reports true.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

// TestProof follows a release through the audit log and its evidence bundle, with what a person did.
func TestProof(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		ctx := t.Context()
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))
		p.leave(t, func(l *lost) {
			r := l.newRelease("release")
			r.State, r.StartedAt = release.Starting, time.Time{}
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		q, _ := p.start(t, jobs.Options{EvidenceKey: func() ed25519.PrivateKey { return key }})
		p.untilState(t, "release", "succeeded")
		var bundle []byte
		eventually(t, "evidence", func() bool {
			p.view(t, func(tx *store.Tx) (err error) { bundle, err = tx.Evidence(ctx, "release"); return err })
			return bundle != nil
		})
		got, err := evidence.Verify(bundle, key.Public().(ed25519.PublicKey))
		if err != nil || len(got.Problems) > 0 || !got.Trusted || got.ReleaseID != "release" || got.Audit.Seq == 0 {
			t.Fatalf("bundle %+v, error %v", got, err)
		}
		r := p.release(t, "release")
		content := parts(t, bundle)
		for part, wants := range map[string][]string{
			evidence.Release: {r.ExecutionID, r.Event.HeadSHA, `"state":"succeeded"`}, evidence.Calls: {`"call":"start"`, r.ExecutionID, `"result":"accepted"`},
			evidence.Verdict: {`"passed":true`}, evidence.Run: {r.RunID}, evidence.Rule: {`"sha256":"`}, evidence.Findings: {`"count":0`}, evidence.Audit: {`"action":"ended"`, `"action":"start"`},
		} {
			for _, want := range wants {
				if !strings.Contains(content[part], want) {
					t.Errorf("part %s lacks %s: %s", part, want, content[part])
				}
			}
		}
		if content[evidence.Approvals] != "[]" {
			t.Errorf("approvals %s", content[evidence.Approvals])
		}
		if _, err := p.RerunRelease(ctx, "release", ann); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := q.RecordConfiguration(ctx, "hash2", "rules2"); err != nil {
				t.Fatal(err)
			}
		}
		v := audit.NewVerifier(audit.Expected{Seq: got.Audit.Seq, Hash: got.Audit.Hash, Source: "bundle"})
		var said []string
		p.view(t, func(tx *store.Tx) error {
			return tx.EachAudit(ctx, func(e audit.Entry) {
				v.Add(e)
				if e.RecordID == "release" || e.Kind == audit.Configuration {
					said = append(said, string(e.Kind)+" "+e.Action)
				}
			})
		})
		if result := v.Result(); len(result.Problems) > 0 {
			t.Errorf("audit %+v", result)
		}
		want := []string{"release start", "release ended", "release evidence", "action rerun", "configuration in_force"}
		if !slices.Equal(said, want) {
			t.Errorf("audit log %q, want %q", said, want)
		}
	})
}

// parts are the contents of a bundle's parts.
func parts(t *testing.T, bundle []byte) map[string]string {
	t.Helper()
	var whole struct {
		Parts []struct {
			Name    string
			Content json.RawMessage
		}
	}
	if err := json.Unmarshal(bundle, &whole); err != nil {
		t.Fatal(err)
	}
	content := map[string]string{}
	for _, p := range whole.Parts {
		content[p.Name] = string(p.Content)
	}
	return content
}

// ears note the messages that they get, and refuse the first tries, or with refuseNew the first one of each message.
type ears struct {
	sync.Mutex
	refuse    int
	refuseNew bool
	messages  map[string][]notify.Message
	tries     []string
}

func (e *ears) Send(_ context.Context, t notify.Target, m notify.Message) error {
	e.Lock()
	defer e.Unlock()
	first := !slices.Contains(e.tries, m.ID)
	e.tries = append(e.tries, m.ID)
	if e.refuseNew && first {
		return errors.New("it answered 500")
	}
	if e.refuse > 0 {
		e.refuse--
		return errors.New("it answered 500")
	}
	if e.messages == nil {
		e.messages = map[string][]notify.Message{}
	}
	e.messages[t.Name] = append(e.messages[t.Name], m)
	return nil
}

// notices counts those of an event that its target has; the caller holds the lock.
func (e *ears) notices(of notify.Event) (n int) {
	for _, m := range e.messages[string(of)] {
		n += len(m.Notices)
	}
	return n
}

// TestNotices tells each target what it wants once, in no more messages than it takes.
func TestNotices(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		ctx := t.Context()
		const failing = 6
		p.leave(t, func(l *lost) {
			for i := range failing {
				r := l.newRelease(fmt.Sprint("failing", i))
				r.State, r.StartedAt = release.Starting, time.Time{}
				l.check(l.services.ChangePipeline(r.Plan.Pipeline, standin.PipelineChange{Fail: map[string]int{"deploy": -1}}))
				_, err := l.tx.AddRelease(l.ctx, r)
				l.check(err)
			}
			r := l.newRelease("waits")
			r.State, r.StartedAt = release.Starting, time.Time{}
			r.Plan.Pipeline = gateID(number(r.Event))
			_, err := l.tx.AddRelease(l.ctx, r)
			l.check(err)
		})
		heard := &ears{refuse: 1}
		targets := []notify.Target{
			{Name: "few", PerMinute: 2, Events: []notify.Event{notify.Failed}},
			{Name: "waits", PerMinute: 60, Events: []notify.Event{notify.ApprovalWanted}},
			{Name: "deaf", PerMinute: 60, Hears: func(string) bool { return false }},
		}
		q, _ := p.start(t, jobs.Options{Notifier: heard, Targets: func() []notify.Target { return targets }})
		_ = q
		for i := range failing {
			p.untilState(t, fmt.Sprint("failing", i), "failed")
		}
		p.untilState(t, "waits", "awaiting_approval")
		eventually(t, "all notices", func() bool {
			sent := 0
			p.view(t, func(tx *store.Tx) error {
				list, err := tx.Notices(ctx)
				for _, n := range list {
					if n.State == store.NoticeSent {
						sent++
					}
				}
				return err
			})
			heard.Lock()
			defer heard.Unlock()
			// The target that gets two messages in a minute may have to wait for the rest.
			return sent == failing+1 || len(heard.messages["few"]) >= 1 && len(heard.messages["waits"]) == 1
		})
		heard.Lock()
		defer heard.Unlock()
		if n := len(heard.messages["few"]); n > 2 || len(heard.messages["deaf"]) > 0 {
			t.Errorf("%d messages to one that takes 2, %d to one that wants none", n, len(heard.messages["deaf"]))
		}
		if n := heard.messages["waits"][0].Notices; len(n) != 1 || n[0].RecordID != "waits" || n[0].Event != notify.ApprovalWanted {
			t.Errorf("notices %+v", n)
		}
		ids := map[string]bool{}
		for _, list := range heard.messages {
			for _, m := range list {
				if ids[m.ID] {
					t.Errorf("message %s was taken twice", m.ID)
				}
				ids[m.ID] = true
			}
		}
	})
}

// TestNoticeOfEach tells once of each event, and a message that is refused is sent again with the same id.
func TestNoticeOfEach(t *testing.T) {
	eachPeople(t, func(t *testing.T, p people) {
		ctx := t.Context()
		late := func(l *lost, id string, state release.State) release.Release {
			r := l.newRelease(id)
			r.State, r.Deadline = state, l.at.Add(time.Minute)
			return r
		}
		p.leave(t, func(l *lost) {
			unknown := late(l, "unknown", release.Starting)
			unknown.Intent = &release.Intent{SentAt: l.at, Action: rules.ReleaseStart}
			expired := late(l, "expired", release.Held)
			expired.Hold = &release.Hold{Since: l.at, Until: expired.Deadline}
			for _, r := range []release.Release{unknown, expired} {
				_, err := l.tx.AddRelease(l.ctx, r)
				l.check(err)
			}
			ev := l.push("github")
			l.check(l.tx.AddHostRepository(l.ctx, store.HostRepository{Key: ev.RepositoryKey(), Connection: "github", ID: ev.Repository.ID, FullName: ev.Repository.FullName}))
			l.check(l.tx.SaveHostRef(l.ctx, store.HostRef{RefKey: ev.RefKey(), RepositoryKey: ev.RepositoryKey(), Connection: "github", Repository: ev.Repository.FullName,
				Kind: ev.Kind, Branch: ev.Branch, SHA: ev.HeadSHA, SettledAt: l.at, Since: l.at, Covered: true}))
		})
		if err := p.store.SavePause(ctx, huaweicloud.Pause{Key: "credentials abc", Reason: "the key is refused", Since: p.clock.now(), Until: p.clock.now().Add(time.Hour), Refusals: 3}); err != nil {
			t.Fatal(err)
		}
		all := []notify.Event{notify.Unknown, notify.Expired, notify.MissingVerdict, notify.CredentialFailing}
		var targets []notify.Target
		for _, e := range all {
			targets = append(targets, notify.Target{Name: string(e), PerMinute: 60, Events: []notify.Event{e}})
		}
		heard := &ears{refuseNew: true}
		p.start(t, jobs.Options{Notifier: heard, Targets: func() []notify.Target { return targets }, MissingAfter: time.Minute, ReconcileEvery: 100 * time.Millisecond,
			RefusedTokens: func() map[string]string { return map[string]string{"gitlab": "the host refuses the token"} }})
		eventually(t, "each target has its notice", func() bool {
			heard.Lock()
			defer heard.Unlock()
			return len(heard.messages) == len(all) && heard.notices(notify.CredentialFailing) == 2
		})
		heard.Lock()
		defer heard.Unlock()
		for _, e := range all {
			messages, want := heard.messages[string(e)], 1
			if e == notify.CredentialFailing {
				want = 2 // that of Huawei Cloud, and that of a git host
			}
			if heard.notices(e) != want || messages[0].Notices[0].Event != e || messages[0].Notices[0].Reason == "" {
				t.Errorf("%s: messages %+v", e, messages)
				continue
			}
			tries := 0
			for _, id := range heard.tries {
				if id == messages[0].ID {
					tries++
				}
			}
			if tries < 2 {
				t.Errorf("%s: message %s was sent %d times, and refused before", e, messages[0].ID, tries)
			}
		}
	})
}
