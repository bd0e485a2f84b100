package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// Order is the body of a request to do something to a record.
type Order struct {
	// Reason is kept with the action; mandatory.
	Reason string `json:"reason"`
}

// Decision is the body of a request to approve or refuse.
type Decision struct {
	Reason string `json:"reason"`
	// Task is the checkpoint, where several wait.
	Task string `json:"task,omitempty"`
	// Commit is the full commit; mandatory for a release that a rule holds.
	Commit string `json:"commit,omitempty"`
}

// HeldDecision is the body of a request to open the window and the freeze of a held release.
type HeldDecision struct {
	Reason string `json:"reason"`
	// Commit is the full commit; mandatory.
	Commit string `json:"commit"`
}

// Resolution is the body of a request to note what became of a release.
type Resolution struct {
	Reason string `json:"reason"`
	// As is succeeded or failed.
	As string `json:"as"`
}

// maxReason bounds a reason, in bytes.
const maxReason = 2000

// orderProblems are the statuses of an order that is not carried out.
var orderProblems = []int{http.StatusNotFound, http.StatusConflict, http.StatusPreconditionFailed, http.StatusRequestEntityTooLarge,
	http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusPreconditionRequired}

// orderRoutes are the routes by which people act on records.
func orderRoutes() (list []route) {
	add := func(kind, path string, action access.Action, summary string, body any, order func(body any) access.Order) {
		records := map[string]string{"delivery": "/deliveries", "run": "/runs", "release": "/releases"}[kind]
		list = append(list, route{method: http.MethodPost, path: records + "/:id/" + path, action: action, summary: summary, body: body, result: view.Done{},
			problems: orderProblems, ordered: true, handle: ordered(kind, action, body, order)})
	}
	simple := func(body any) access.Order { return access.Order{Reason: body.(*Order).Reason} }
	decides := func(body any) access.Order {
		d := body.(*Decision)
		return access.Order{Reason: d.Reason, Task: d.Task, Commit: d.Commit}
	}
	add("delivery", "replay", access.ActionReplay, "Have a stored delivery decided again", Order{}, simple)
	add("delivery", "ok", access.ActionOK, "Vouch for the commit of a merge request from a fork", Order{}, simple)
	add("run", "rerun", access.ActionRerun, "Check a commit once more", Order{}, simple)
	add("run", "stop", access.ActionStop, "Stop a run", Order{}, simple)
	add("release", "rerun", access.ActionRerun, "Release a commit once more", Order{}, simple)
	add("release", "approve", access.ActionApprove, "Approve the checkpoint that waits, or a release that is held", Decision{}, decides)
	add("release", "refuse", access.ActionRefuse, "Refuse the checkpoint that waits, or a release that is held", Decision{}, decides)
	add("release", "break-glass", access.ActionBreakGlass, "Open the window and the freeze of a release that is held", HeldDecision{}, func(body any) access.Order {
		d := body.(*HeldDecision)
		return access.Order{Reason: d.Reason, Commit: d.Commit}
	})
	add("release", "resolve", access.ActionResolve, "Note what really became of a release", Resolution{}, func(body any) access.Order {
		r := body.(*Resolution)
		return access.Order{Reason: r.Reason, As: r.As}
	})
	add("release", "pipeline/retry", access.ActionPipelineRetry, "Let a failed execution go on from the task that failed", Order{}, simple)
	add("release", "pipeline/continue", access.ActionPipelineContinue, "Let a paused execution go on", Order{}, simple)
	add("release", "pipeline/rollback", access.ActionPipelineRollback, "Undo an execution that failed or succeeded", Order{}, simple)
	add("release", "pipeline/stop", access.ActionPipelineStop, "Stop an execution", Order{}, simple)
	for i, r := range list {
		if r.action == access.ActionApprove || r.action == access.ActionRefuse {
			// Whether it is held decides who may: the handler looks.
			list[i].action = access.ActionView
		}
	}
	return list
}

// newBody makes an empty body of the type of a value.
func newBody(like any) any {
	switch like.(type) {
	case Decision:
		return new(Decision)
	case HeldDecision:
		return new(HeldDecision)
	case Resolution:
		return new(Resolution)
	}
	return new(Order)
}

// ordered makes the handler of an order.
func ordered(kind string, action access.Action, like any, order func(body any) access.Order) func(*API, echo.Context) error {
	return func(a *API, c echo.Context) error {
		user, _ := access.Current(c)
		body := newBody(like)
		if err := read(c, maxBody, body); err != nil {
			return err
		}
		o := order(body)
		o.Kind, o.ID, o.Action, o.Reason = kind, c.Param("id"), action, strings.TrimSpace(o.Reason)
		var err error
		if o.IfMatch, err = ifMatch(c); err != nil {
			return err
		}
		if o.Reason == "" || len(o.Reason) > maxReason {
			return invalid("reason: say why, in at most %d characters; it is kept with the action", maxReason)
		}
		if action == access.ActionResolve && o.As != "succeeded" && o.As != "failed" {
			return invalid("as: write succeeded or failed")
		}
		if err := a.chooseAction(c, &o); err != nil {
			return err
		}
		if !user.May(o.Action) {
			return access.ErrForbidden
		}
		done, err := a.opts.Orders.Do(c.Request().Context(), user, o)
		if err != nil {
			return err
		}
		return a.done(c, done)
	}
}

// chooseAction turns an approval or refusal into that of a held release, where a rule holds it, or held it and it has not acted.
func (a *API) chooseAction(c echo.Context, o *access.Order) error {
	held := map[access.Action]access.Action{access.ActionApprove: access.ActionApproveHeld, access.ActionRefuse: access.ActionRefuseHeld}[o.Action]
	if held == "" {
		return nil
	}
	return a.view(c, func(ctx context.Context, tx *store.Tx) error {
		r, err := tx.Release(ctx, o.ID)
		if err == nil && r.Hold != nil && (r.State == release.Held || r.State == release.Starting) {
			o.Action = held
		}
		return err
	})
}

// ifMatch is the version that the record must have; empty for any.
func ifMatch(c echo.Context) (string, error) {
	text := strings.TrimSpace(c.Request().Header.Get("If-Match"))
	switch {
	case text == "":
		return "", problem{http.StatusPreconditionRequired, "precondition_required", "send If-Match with the ETag of the record as you read it: nobody decides about something else than what was seen"}
	case text == "*":
		return "", nil
	}
	version, err := strconv.Unquote(text)
	if err != nil || version == "" || text[0] != '"' {
		return "", badRequest("If-Match: send one ETag as it was answered, with its quotation marks")
	}
	return version, nil
}

// done answers with what came of an order.
func (a *API) done(c echo.Context, result access.Result) error {
	var done view.Done
	// The order was carried out: what it is answered with is read even if the time is over.
	ctx := context.WithoutCancel(c.Request().Context())
	err := a.opts.Store.View(ctx, func(tx *store.Tx) (err error) {
		done, err = view.NewDone(ctx, tx, result.Action, result.Runs, result.Releases, result.Deliveries)
		return err
	})
	if err != nil {
		return err
	}
	return write(c, done)
}
