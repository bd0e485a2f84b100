package app_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/access"
	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/store"
)

// everybodyAnn says that everybody is Ann.
type everybodyAnn struct{}

func (everybodyAnn) PersonOf(string) string                      { return "ann" }
func (everybodyAnn) GroupsOf(_ string, claims []string) []string { return claims }

// orderServer takes orders as JSON from whom a proxy names, on the database of a service.
func orderServer(t *testing.T, s apptest.Service) *httptest.Server {
	t.Helper()
	orders, err := app.NewOrders(s.Store(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	guard, err := access.New(access.Options{
		Store: s.Store(), People: everybodyAnn{}, Log: zap.NewNop(), Metrics: access.NewMetrics(prometheus.NewRegistry()),
		Settings: func() access.Settings {
			return access.Settings{Roles: map[access.Role][]string{access.Viewer: {"viewers"}, access.Operator: {"operators"}, access.Approver: {"approvers"}}}
		},
		Proxy: &access.Proxy{UserHeader: "X-User", GroupsHeader: "X-Groups", NameHeader: "X-Name", Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	e := echo.New()
	guard.Register(e, func(echo.Context) bool { return false })
	e.POST("/orders", func(c echo.Context) error {
		u, _ := access.Current(c)
		var order access.Order
		if err := c.Bind(&order); err != nil {
			return err
		}
		result, err := orders.Do(c.Request().Context(), u, order)
		var conflict access.ConflictError
		var invalid access.InvalidError
		switch {
		case err == nil:
			return c.JSON(http.StatusOK, result)
		case errors.Is(err, access.ErrForbidden):
			return c.String(http.StatusForbidden, err.Error())
		case errors.Is(err, access.ErrNotFound):
			return c.String(http.StatusNotFound, err.Error())
		case errors.Is(err, access.ErrStale):
			return c.String(http.StatusPreconditionFailed, err.Error())
		case errors.As(err, &conflict):
			return c.String(http.StatusConflict, conflict.Message)
		case errors.As(err, &invalid):
			return c.String(http.StatusBadRequest, invalid.Message)
		}
		return err
	})
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	return server
}

// TestOrders: each action is carried out for those who may, with a reason, on the version that they saw, and
// otherwise not at all.
func TestOrders(t *testing.T) { apptest.Each(t, demo.Options{}, testOrders) }

func testOrders(t *testing.T, s apptest.Service) {
	server := orderServer(t, s)
	order := func(group string, o access.Order, want int, says string) (result access.Result) {
		t.Helper()
		body, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/orders", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Content-Type": "application/json", "X-User": "id1", "X-Groups": group} {
			request.Header.Set(name, value)
		}
		resp, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer []byte
		if answer, err = io.ReadAll(resp.Body); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want || !strings.Contains(string(answer), says) {
			t.Errorf("%s %s: %d %s, want %d and %q", group, o.Action, resp.StatusCode, answer, want, says)
		}
		_ = json.Unmarshal(answer, &result)
		return result
	}
	s.Push(t, event.GitHub, "a", demo.Change{Branch: "main", SHA: s.World.Clean})
	r := s.Until(t, "the push is released", apptest.Released)
	delivery, run, rel := r.Deliveries[0].ID, r.Runs[0].ID, r.Releases[0].ID
	version := func(kind store.RecordKind, id string) (v string) {
		t.Helper()
		if err := s.Store().View(t.Context(), func(tx *store.Tx) (err error) { v, err = tx.VersionOf(t.Context(), kind, id); return err }); err != nil {
			t.Fatal(err)
		}
		return v
	}
	const why = "the scanner was broken"
	// Bad orders.
	order("viewers", access.Order{Action: access.ActionRerun, Kind: "run", ID: run, Reason: why}, 403, "may not")
	order("approvers", access.Order{Action: access.ActionRerun, Kind: "run", ID: run, Reason: why}, 403, "may not")
	order("operators", access.Order{Action: access.ActionApprove, Kind: "release", ID: rel, Reason: why}, 403, "may not")
	order("operators", access.Order{Action: "drop_tables", Kind: "run", ID: run, Reason: why}, 403, "may not")
	order("operators", access.Order{Action: access.ActionRerun, Kind: "run", ID: run, Reason: " \n"}, 400, "say why")
	order("operators", access.Order{Action: access.ActionRerun, Kind: "run", ID: run, Reason: strings.Repeat("x", 3000)}, 400, "longer than 2000")
	order("operators", access.Order{Action: access.ActionRerun, Kind: "delivery", ID: delivery, Reason: why}, 400, "nothing that can be done with a delivery")
	order("operators", access.Order{Action: access.ActionResolve, Kind: "release", ID: rel, Reason: why, As: "fine"}, 400, "succeeded or failed")
	order("viewers", access.Order{Action: access.ActionApproveHeld, Kind: "release", ID: rel, Reason: why}, 400, "which commit")
	order("viewers", access.Order{Action: access.ActionApproveHeld, Kind: "release", ID: rel, Reason: why, Commit: s.World.Clean}, 409, "it has ended as succeeded")
	for _, kind := range []string{"run", "release"} {
		order("operators", access.Order{Action: access.ActionRerun, Kind: kind, ID: "0", Reason: why}, 404, "no such record")
	}
	order("operators", access.Order{Action: access.ActionReplay, Kind: "delivery", ID: "no\x00such", Reason: why}, 404, "no such record")
	order("operators", access.Order{Action: access.ActionOK, Kind: "delivery", ID: "0", Reason: why}, 404, "no such record")
	order("operators", access.Order{Action: access.ActionStop, Kind: "run", ID: run, Reason: why}, 409, "it has ended as passed")
	order("operators", access.Order{Action: access.ActionResolve, Kind: "release", ID: rel, Reason: why, As: "failed"}, 409, "only a release that is failed")
	order("operators", access.Order{Action: access.ActionOK, Kind: "delivery", ID: delivery, Reason: why}, 409, "does not wait")
	order("approvers", access.Order{Action: access.ActionApprove, Kind: "release", ID: rel, Reason: why}, 409, "")
	order("approvers", access.Order{Action: access.ActionRefuse, Kind: "release", ID: rel, Reason: why}, 409, "")
	order("operators", access.Order{Action: access.ActionPipelineContinue, Kind: "release", ID: rel, Reason: why}, 409, "")
	order("operators", access.Order{Action: access.ActionPipelineRetry, Kind: "release", ID: rel, Reason: why}, 409, "")
	order("operators", access.Order{Action: access.ActionPipelineStop, Kind: "release", ID: rel, Reason: why}, 409, "")
	order("operators", access.Order{Action: access.ActionRerun, Kind: "run", ID: run, Reason: why, IfMatch: "999"}, 412, "has changed")
	order("operators", access.Order{Action: access.ActionReplay, Kind: "delivery", ID: delivery, Reason: why, IfMatch: "1"}, 412, "has changed")
	if got := s.Until(t, "anything", func(demo.Records) bool { return true }); len(got.Runs) != 1 || len(got.Releases) != 2 {
		t.Fatalf("a bad order changed something: %+v", got)
	}
	// Good ones.
	seen := version(store.RecordDelivery, delivery)
	replayed := order("operators", access.Order{Action: access.ActionReplay, Kind: "delivery", ID: delivery, Reason: why, IfMatch: seen}, 200, "")
	if replayed.Action == "" || len(replayed.Deliveries) != 1 {
		t.Errorf("replayed: %+v", replayed)
	}
	s.Until(t, "the delivery is decided again", func(r demo.Records) bool {
		return len(r.Deliveries) == 1 && r.Deliveries[0].State != event.DeliveryReceived
	})
	order("operators", access.Order{Action: access.ActionReplay, Kind: "delivery", ID: delivery, Reason: why, IfMatch: seen}, 412, "has changed")
	s.Standin.SetScanDelay(apptest.EndlessScan)
	rerun := order("operators", access.Order{Action: access.ActionRerun, Kind: "run", ID: run, Reason: why, IfMatch: version(store.RecordRun, run)}, 200, "")
	if len(rerun.Runs) != 1 || rerun.Runs[0] == run {
		t.Fatalf("rerun: %+v", rerun)
	}
	order("operators", access.Order{Action: access.ActionStop, Kind: "run", ID: rerun.Runs[0], Reason: "enough"}, 200, rerun.Runs[0])
	s.Standin.SetScanDelay(apptest.ShortScan)
	rolledBack := order("operators", access.Order{Action: access.ActionPipelineRollback, Kind: "release", ID: rel, Reason: why, IfMatch: version(store.RecordRelease, rel)}, 200, "")
	if len(rolledBack.Releases) == 0 {
		t.Errorf("rolled back: %+v", rolledBack)
	}
	var actions []store.Action
	if err := s.Store().View(t.Context(), func(tx *store.Tx) (err error) {
		for _, id := range []string{delivery, run, rerun.Runs[0], rel} {
			of, err := tx.ActionsOf(t.Context(), id)
			if err != nil {
				return err
			}
			actions = append(actions, of...)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(actions) != 4 {
		t.Errorf("actions %+v", actions)
	}
	for _, a := range actions {
		if a.Actor != "ann" || a.Reason == "" || time.Since(a.At) > time.Hour {
			t.Errorf("action %+v", a)
		}
	}
}
