package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/evidence"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// demoApproval is what one person said of a held release.
type demoApproval struct {
	Release string `json:"release"`
	Commit  string `json:"commit"`
	// Person is an entry of people, Identity what they were recognised by, Via is page or comment.
	Person   string              `json:"person"`
	Identity string              `json:"identity"`
	Via      string              `json:"via"`
	State    store.ApprovalState `json:"state"`
	Reason   string              `json:"reason"`
}

// demoAudit is what came of the verification of the audit log.
type demoAudit struct {
	Rows int64 `json:"rows"`
	// Hash is that of the newest row.
	Hash     string `json:"hash"`
	Verified bool   `json:"verified"`
}

// demoEvidence is what came of the verification of the held release's bundle, by the public key of the demo.
type demoEvidence struct {
	Release  string `json:"release"`
	Root     string `json:"root"`
	Signed   bool   `json:"signed"`
	Verified bool   `json:"verified"`
	// Changed is the same for a copy of which one byte was changed.
	Changed demoChanged `json:"changed"`
}

type demoChanged struct {
	Verified bool `json:"verified"`
	// Part is the part of the bundle that was found to be changed, Problem says why.
	Part    string `json:"part"`
	Problem string `json:"problem"`
}

// tellHeld waits until the release of Gitea's mended merge request is held. Its author cannot approve it; two other
// people do, one on the page of the release and one by a comment on the merge request.
func tellHeld(ctx context.Context, d *demo.Demo, n *narrator, w *watcher) (held view.ReleaseDetail, story []told, err error) {
	err = watch(ctx, d, w, func(r demo.Records) bool {
		i := slices.IndexFunc(r.Releases, func(rel view.ReleaseDetail) bool { return rel.State == release.Held && rel.Hold.Unknown == "" })
		if i >= 0 {
			held = r.Releases[i]
		}
		return i >= 0
	})
	if err != nil {
		return held, nil, err
	}
	n.say(event.Gitea, "page", "%s shows the held release", pageOf(d, held.ID))
	approve := func(who demo.Person) error {
		said, err := say(ctx, d, n, event.Gitea, who, demo.MergeRequest, held.Commit, "/approve "+held.Commit)
		if err == nil {
			story = append(story, said)
			err = watch(ctx, d, w, func(r demo.Records) bool { return r.Decided() && r.Obeyed() })
		}
		return err
	}
	if err := approve(demo.Mona()); err != nil {
		return held, nil, err
	}
	if err := approveOnPage(ctx, pageOf(d, held.ID), held.ID, "read it, and tried it"); err != nil {
		return held, nil, fmt.Errorf("approve on the page: %w", err)
	}
	n.say(event.Gitea, "approval", "%s approves it on its page", demo.Opener().Login)
	return held, story, approve(demo.Ada())
}

// pageOf is the address of the page of a release.
func pageOf(d *demo.Demo, releaseID string) string { return d.Private() + "/releases/" + releaseID }

// bundleOf is the evidence of a release; nil until it is made.
func bundleOf(ctx context.Context, d *demo.Demo, releaseID string) (bundle []byte, err error) {
	err = d.Store().View(ctx, func(tx *store.Tx) (err error) {
		bundle, err = tx.Evidence(ctx, releaseID)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = nil
	}
	return bundle, err
}

// verifyEvidence verifies the bundle of a release, and a copy in which the name of a person who approved begins with another letter.
func verifyEvidence(ctx context.Context, d *demo.Demo, releaseID string) (e demoEvidence, err error) {
	key, err := evidence.PublicKey(d.EvidenceKey)
	if err != nil {
		return e, err
	}
	bundle, err := bundleOf(ctx, d, releaseID)
	if err != nil {
		return e, err
	}
	verified, err := evidence.Verify(bundle, key)
	if err != nil {
		return e, fmt.Errorf("verify the evidence of release %s: %w", releaseID, err)
	}
	e = demoEvidence{Release: verified.ReleaseID, Root: verified.Root, Signed: verified.Signed, Verified: len(verified.Problems) == 0}
	const person = `"person":"`
	name := bytes.Index(bundle, []byte(person+demo.Ada().Login))
	if name < 0 {
		return e, nil // The copy is not verified, which an expectation finds.
	}
	changed := bytes.Clone(bundle)
	changed[name+len(person)] = 'e'
	again, err := evidence.Verify(changed, key)
	if err != nil {
		return e, fmt.Errorf("verify the changed evidence of release %s: %w", releaseID, err)
	}
	e.Changed.Verified = len(again.Problems) == 0
	var parts, problems []string
	for _, p := range again.Problems {
		if !slices.Contains(parts, p.Part) {
			parts = append(parts, p.Part)
		}
		problems = append(problems, p.Text)
	}
	e.Changed.Part, e.Changed.Problem = strings.Join(parts, ", "), strings.Join(problems, "; ")
	return e, nil
}

// verifyAudit verifies the audit log, which must have the row that the bundle of a release names.
func verifyAudit(ctx context.Context, d *demo.Demo, releaseID string) (a demoAudit, err error) {
	bundle, err := bundleOf(ctx, d, releaseID)
	if err != nil {
		return a, err
	}
	point, err := evidence.Verify(bundle, nil)
	if err != nil {
		return a, fmt.Errorf("read the evidence of release %s: %w", releaseID, err)
	}
	verifier := audit.NewVerifier(audit.Expected{Seq: point.Audit.Seq, Hash: point.Audit.Hash, Source: "the evidence of release " + releaseID})
	if err := d.Store().View(ctx, func(tx *store.Tx) error { return tx.EachAudit(ctx, verifier.Add) }); err != nil {
		return a, err
	}
	result := verifier.Result()
	return demoAudit{Rows: result.Rows, Hash: result.Hash, Verified: len(result.Problems) == 0}, nil
}
