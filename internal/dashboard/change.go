package dashboard

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// toChange leads from a delivery, run or release to the page of its change.
func (d *Dashboard) toChange(c echo.Context, p *page) ([]section, error) {
	delivery, record, err := d.find(c)
	if err != nil {
		return nil, err
	}
	address := "/changes/" + delivery
	if done := c.QueryParam("done"); done != "" {
		address += "?done=1"
	}
	if record != delivery {
		address += "#r-" + record
	}
	return nil, redirect(address)
}

// find returns the delivery and the record of the id in the address.
func (d *Dashboard) find(c echo.Context) (delivery, record string, err error) {
	ctx := c.Request().Context()
	err = d.opts.Store.View(ctx, func(tx *store.Tx) (err error) {
		delivery, record, err = view.FindDelivery(ctx, tx, c.Param("id"))
		return err
	})
	var ambiguous view.IDError
	if errors.As(err, &ambiguous) {
		// It says which ids begin so.
		err = failure{http.StatusNotFound, err.Error()}
	}
	return delivery, record, err
}

// change is the page of one change. Its address takes the id of any of its records.
func (d *Dashboard) change(c echo.Context, p *page) ([]section, error) {
	ctx := c.Request().Context()
	delivery, record, err := d.find(c)
	if err != nil {
		return nil, err
	}
	if record != delivery && c.QueryParam("live") == "" {
		return d.toChange(c, p)
	}
	var change view.Change
	var found []runFindings
	about := changeAbout{versions: map[string]string{}, evidence: map[string]bool{}, held: map[string][]string{}}
	err = d.opts.Store.View(ctx, func(tx *store.Tx) (err error) {
		if change, err = view.NewChange(ctx, tx, delivery, p.now); err != nil {
			return err
		}
		if err = about.read(ctx, tx, change); err != nil {
			return err
		}
		found, err = d.findings(c, tx, change)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.title = describe(p, change.Delivery.Subject)
	return []section{
		{id: "head", live: true, body: changeHead(p, change, about)},
		{id: "timeline", live: true, body: timeline(p, change)},
		{id: "runs", live: true, body: runs(p, change, about)},
		{id: "releases", live: true, body: releases(p, change, about)},
		{id: "findings", body: findings(p, found)},
		{id: "decision", live: true, body: decision(p, change.Decision, change.Delivery)},
		{id: "calls", live: true, body: calls(p, callsOf(p, change))},
		{id: "history", live: true, body: history(p, change)},
	}, nil
}

// changeAbout is what a page says of the records of a change beside the change itself.
type changeAbout struct {
	// versions are those of the records by their ids: an order is for what was seen.
	versions map[string]string
	// evidence has the releases of which there is a bundle, or will be.
	evidence map[string]bool
	// held are the checkpoints that a rule holds, by the release that started their execution: people decide about the
	// release that is held.
	held map[string][]string
}

func (about changeAbout) read(ctx context.Context, tx *store.Tx, c view.Change) error {
	version := func(kind store.RecordKind, id string) (err error) {
		about.versions[id], err = tx.VersionOf(ctx, kind, id)
		return err
	}
	if err := version(store.RecordDelivery, c.Delivery.ID); err != nil {
		return err
	}
	for _, r := range c.Runs {
		if err := version(store.RecordRun, r.ID); err != nil {
			return err
		}
	}
	for _, r := range c.Releases {
		if err := version(store.RecordRelease, r.ID); err != nil {
			return err
		}
		if h := r.Hold; r.State == release.Held && r.StartedBy != "" && (h.Wanted > 0 || h.Window != "") {
			about.held[r.StartedBy] = append(about.held[r.StartedBy], r.Checkpoint)
		}
		if r.State.Ended() {
			ids, err := tx.EvidenceIDs(ctx, r.ID, 1)
			if err != nil {
				return err
			}
			about.evidence[r.ID] = slices.Contains(ids, r.ID)
		}
	}
	return nil
}

// evidence downloads the bundle of a release, byte for byte.
func (d *Dashboard) evidence(c echo.Context, p *page) ([]section, error) {
	ctx, id := c.Request().Context(), c.Param("id")
	p.title = p.T("Evidence")
	var bundle []byte
	err := d.opts.Store.View(ctx, func(tx *store.Tx) (err error) {
		bundle, err = view.Evidence(ctx, tx, id)
		return err
	})
	switch {
	case errorIs(err, view.ErrNoEvidenceYet):
		return nil, failure{http.StatusConflict, p.T("The evidence of this release is not made yet: the server makes it within a minute of its end.")}
	case errorIs(err, store.ErrNotFound):
		return nil, failure{http.StatusNotFound, p.T("There is no evidence of this release: it is made when a release ends, and kept for evidence.retention.")}
	case err != nil:
		return nil, err
	}
	return nil, download{name: view.EvidenceDisposition(id), body: bundle}
}

// payload is the page of what the host sent.
func (d *Dashboard) payload(c echo.Context, p *page) ([]section, error) {
	ctx := c.Request().Context()
	var stored store.Delivery
	err := d.opts.Store.View(ctx, func(tx *store.Tx) (err error) {
		stored, err = tx.Delivery(ctx, c.Param("id"))
		return err
	})
	if err != nil {
		return nil, err
	}
	p.title = p.T("Payload")
	shown, err := view.NewPayload(stored)
	problem := ""
	switch {
	case errorIs(err, store.ErrPayloadRemoved):
		problem = p.T("It was removed after store.payload_retention.")
	case err != nil:
		problem = err.Error()
	}
	text, isCut, err := payloadText(shown.Body)
	if err != nil {
		return nil, err
	}
	return []section{{id: "payload", body: payload(p, stored.ID, shown, problem, text, isCut)}}, nil
}

// maxShownPayload bounds the text of a payload on its page, in bytes.
const maxShownPayload = 256 << 10

// payloadText is a payload as indented JSON, as far as it is shown.
func payloadText(body any) (text string, isCut bool, err error) {
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(body); err != nil {
		return "", false, fmt.Errorf("show payload: %w", err)
	}
	if written.Len() <= maxShownPayload {
		return written.String(), false, nil
	}
	return strings.ToValidUTF8(written.String()[:maxShownPayload], ""), true, nil
}

// maxShownFindings bounds the findings on a page.
const maxShownFindings = 200

// runFindings are the findings of a run that a filter lets pass.
type runFindings struct {
	view.Findings
	run   codecheck.Run
	shown []shownFinding
	// matched is how many the filter lets pass.
	matched int
}

type shownFinding struct {
	codecheck.Finding
	url string
}

// findings reads the findings of each run that has some of its own, as the query filters them: by
// severity, by new, and by a text in rule, path or message.
func (d *Dashboard) findings(c echo.Context, tx *store.Tx, change view.Change) (list []runFindings, err error) {
	severity, text, onlyNew := c.QueryParam("severity"), strings.ToLower(c.QueryParam("text")), c.QueryParam("new") != ""
	for _, run := range change.Runs {
		if run.Findings == nil || run.Findings.KeptWith != run.ID || run.Findings.Count == 0 {
			continue
		}
		f := runFindings{}
		if f.run, f.Findings, err = view.FindFindings(c.Request().Context(), tx, run.ID); err != nil {
			return nil, err
		}
		for _, finding := range f.Findings.Findings {
			if severity != "" && finding.Severity != severity || onlyNew && finding.Baseline != codecheck.BaselineNew ||
				text != "" && !strings.Contains(strings.ToLower(finding.Rule+"\n"+finding.Path+"\n"+finding.Message), text) {
				continue
			}
			if f.matched++; f.matched <= maxShownFindings {
				f.shown = append(f.shown, shownFinding{finding, safeURL(d.opts.FileURL(run.Connection, run.Repository, run.Commit, finding.Path, finding.Line))})
			}
		}
		list = append(list, f)
	}
	return list, nil
}

// safeURL is an address that a link may have: of a page, not of a script.
func safeURL(address string) string {
	if strings.HasPrefix(address, "https://") || strings.HasPrefix(address, "http://") {
		return address
	}
	return ""
}

// call is a request to a service or a git host, as far as it is kept.
type call struct {
	at        time.Time
	to, what  string
	execution string
	result    string
	detail    string
}

// callsOf are the calls that changed something, the earliest first.
func callsOf(p *page, c view.Change) (list []call) {
	for _, r := range c.Runs {
		if r.ExecutionID != "" && r.SharesRunID == "" && r.StartedAt != nil {
			what := p.T("run task %s", cmp.Or(r.Task.Name, r.Task.ID))
			if r.Ref != "" {
				what += ", ref " + string(r.Ref)
			}
			list = append(list, call{at: *r.StartedAt, to: "CodeArts Check", what: what, execution: r.ExecutionID, result: "accepted", detail: r.RefReason})
		}
	}
	for _, r := range c.Releases {
		for _, a := range r.Actions {
			detail := a.Detail
			if a.By != "" {
				detail = strings.TrimSpace(a.By + ": " + a.Reason + " " + detail)
			}
			list = append(list, call{at: a.At, to: targetText(r.Target), what: strings.TrimSpace(p.word(string(a.Name)) + " " + r.PipelineLabel() + " " + a.Task),
				execution: a.ExecutionID, result: string(a.Result), detail: detail})
		}
	}
	pipeline := func(id string) string {
		if i := slices.IndexFunc(c.Releases, func(r view.ReleaseDetail) bool { return r.Pipeline == id }); i >= 0 {
			return c.Releases[i].PipelineLabel()
		}
		return id
	}
	for _, r := range c.Reports {
		if r.Writes > 0 || r.Problem != "" {
			state := r.State
			switch {
			case r.GivenUp:
				state = "given_up"
			case r.Waits:
				state = "waits"
			}
			list = append(list, call{at: r.UpdatedAt, to: c.Delivery.Connection, what: strings.TrimSpace(p.word(r.Kind)+" "+pipeline(r.Pipeline)) + " × " + itoa(r.Writes), result: state, detail: r.Problem})
		}
	}
	slices.SortStableFunc(list, func(a, b call) int { return a.at.Compare(b.at) })
	return list
}

func targetText(target rules.ReleaseTarget) string {
	if strings.Contains(string(target), "codearts") {
		return "CodeArts Pipeline"
	}
	return "ServiceStage"
}

// offer is an action that a page offers for a record.
type offer struct {
	action   access.Action
	kind, id string
	// text is on the button, tasks are the checkpoints to choose from, outcomes what a resolution
	// can be.
	text     string
	tasks    []string
	outcomes []string
	// commit is what a decision of a held release is about, in full.
	commit string
	// version is that of the record as the page shows it.
	version string
}

// offers are the actions that the state of a record allows and that the user may do.
func (p *page) offers(about changeAbout, list ...offer) (allowed []offer) {
	if p.d.opts.Orders == nil {
		return nil
	}
	for _, o := range list {
		if o.version = about.versions[o.id]; p.user.May(o.action) {
			allowed = append(allowed, o)
		}
	}
	return allowed
}

func (p *page) deliveryOffers(c view.Change, about changeAbout) []offer {
	var list []offer
	d := c.Delivery
	if d.DecidedAt != nil && !d.PayloadRemoved {
		list = append(list, offer{action: access.ActionReplay, kind: "delivery", id: d.ID, text: p.T("Decide again")})
	}
	if c.Decision != nil && c.Decision.NeedsTrust != nil && len(c.Runs) == 0 {
		list = append(list, offer{action: access.ActionOK, kind: "delivery", id: d.ID, text: p.T("Vouch for the commit")})
	}
	return p.offers(about, list...)
}

func (p *page) runOffers(r view.RunDetail, about changeAbout) []offer {
	if !r.State.Ended() {
		return p.offers(about, offer{action: access.ActionStop, kind: "run", id: r.ID, text: p.T("Stop")})
	}
	return p.offers(about, offer{action: access.ActionRerun, kind: "run", id: r.ID, text: p.T("Check again")})
}

// decides says what the groups of the user let them do with a hold. Somebody without an account on the host of the
// commit, of whom a rule must know it, is told when they do it.
func (p *page) decides(h *view.Hold) (approves, refuses, opens bool) {
	if h == nil || p.d.opts.Groups == nil {
		return false, false, false
	}
	groups := p.d.opts.Groups(p.user.Person, p.user.Claims)
	in := func(names []string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return slices.Contains(groups, name) })
	}
	mayOpen := in(p.d.opts.Policy().BreakGlass())
	approves = in(h.Groups) && h.Missing > 0 && !slices.Contains(h.Approved, p.user.Person) && !slices.Contains(h.Excluded, p.user.Person)
	return approves, in(h.Groups) || mayOpen || h.Wanted == 0, mayOpen && h.Window+h.Freeze != ""
}

func (p *page) releaseOffers(r view.ReleaseDetail, about changeAbout) []offer {
	var list []offer
	of := func(action access.Action, text string) {
		list = append(list, offer{action: action, kind: "release", id: r.ID, text: text})
	}
	ofHeld := func(action access.Action, text string) {
		list = append(list, offer{action: action, kind: "release", id: r.ID, text: text, commit: r.Commit})
	}
	approves, refuses, opens := p.decides(r.Hold)
	switch state := string(r.State); state {
	case "held":
		if approves {
			ofHeld(access.ActionApproveHeld, p.T("Approve"))
		}
		if refuses {
			ofHeld(access.ActionRefuseHeld, p.T("Refuse"))
		}
		if opens {
			ofHeld(access.ActionBreakGlass, p.T("Break the glass"))
		}
	case "starting":
		if refuses && len(r.Actions) == 0 {
			ofHeld(access.ActionRefuseHeld, p.T("Refuse"))
		}
	case "awaiting_approval":
		held := about.held[r.ID]
		tasks := slices.DeleteFunc(slices.Clone(r.Waiting), func(task string) bool { return slices.Contains(held, task) })
		for _, decision := range []struct {
			action access.Action
			text   string
		}{{access.ActionApprove, p.T("Approve")}, {access.ActionRefuse, p.T("Refuse")}} {
			if len(tasks) > 0 || len(held) == 0 {
				list = append(list, offer{action: decision.action, kind: "release", id: r.ID, text: decision.text, tasks: tasks})
			}
		}
		of(access.ActionPipelineStop, p.T("Stop the pipeline"))
	case "paused":
		of(access.ActionPipelineContinue, p.T("Continue"))
		of(access.ActionPipelineStop, p.T("Stop the pipeline"))
	case "running":
		of(access.ActionPipelineStop, p.T("Stop the pipeline"))
	case "failed", "unknown", "expired":
		if !slices.ContainsFunc(r.History, func(a view.Action) bool { return a.Name == store.ActionResolve }) {
			list = append(list, offer{action: access.ActionResolve, kind: "release", id: r.ID, text: p.T("Resolve"), outcomes: []string{"succeeded", "failed"}})
		}
		if state == "failed" && r.ExecutionID != "" {
			of(access.ActionPipelineRetry, p.T("Retry"))
			of(access.ActionPipelineRollback, p.T("Roll back"))
		}
	case "succeeded":
		if r.Checkpoint == "" && r.ExecutionID != "" {
			of(access.ActionPipelineRollback, p.T("Roll back"))
		}
	}
	if r.State.Ended() {
		of(access.ActionRerun, p.T("Release again"))
	}
	return p.offers(about, list...)
}
