package standin_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/standin"
)

// TestFaultsOfAnAction: what the caller of a start gets, and whether it was done.
func TestFaultsOfAnAction(t *testing.T) {
	tests := []struct {
		name   string
		fault  standin.Fault
		acted  bool
		status int // 0: no answer
		body   string
	}{
		{"refused", standin.Fault{Kind: standin.FaultRefused}, false, 400, "SVCSTG.00100400"},
		{"dropped", standin.Fault{Kind: standin.FaultDropped}, false, 0, ""},
		{"lost", standin.Fault{Kind: standin.FaultLost}, true, 0, ""},
		{"server error", standin.Fault{Kind: standin.FaultStatus, Status: 500}, false, 500, "APIGW.0201"},
		{"server error after the act", standin.Fault{Kind: standin.FaultStatus, Status: 504, ActFirst: true}, true, 504, "Backend timeout"},
		{"page of a proxy", standin.Fault{Kind: standin.FaultReplaced, Body: "<html>log in</html>"}, true, 200, "<html>log in</html>"},
		{"empty answer", standin.Fault{Kind: standin.FaultReplaced}, true, 200, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, sample(t))
			if err := c.server.SetFaults(standin.Faults{Faults: []standin.Fault{test.fault}}); err != nil {
				t.Fatal(err)
			}
			res, raw, err := c.try(http.MethodPost, pipelines+"/"+pipeline+"/action?action_id=start", "{}", map[string]string{"X-Auth-Token": c.token, "Content-Type": "application/json"})
			switch {
			case test.status == 0:
				if !errors.Is(err, io.EOF) {
					t.Errorf("got %v, want no answer", err)
				}
			case err != nil || res.StatusCode != test.status || !strings.Contains(string(raw), test.body) || test.body == "" && len(raw) > 0:
				t.Errorf("got %v %s %v, want %d %q", res, raw, err, test.status, test.body)
			}
			calls := c.server.Calls()
			if last := calls[len(calls)-1]; last.Acted != test.acted || last.Lost != (test.status == 0) {
				t.Errorf("the journal says %+v", last)
			}
		})
	}
}

func TestFaultFieldsBelongToTheirKinds(t *testing.T) {
	c := serve(t, sample(t))
	c.putFaults(`{"faults":[{"kind":"lost","act_first":true}]}`, http.StatusBadRequest)
	c.putFaults(`{"faults":[{"kind":"status","body":"x"}]}`, http.StatusBadRequest)
}

// TestReleaseRegisterDelay: a start is carried out and shown later.
func TestReleaseRegisterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, simple(task("last")), standin.ReleaseSettings{RegisterDelay: 20 * time.Second})
		defer c.server.Close()
		count := func() any {
			_, _, records := c.send(http.MethodGet, pipelines+"/"+pipeline+"/records", "")
			return records["count"]
		}
		c.must("start", "{}")
		c.pass(19 * time.Second)
		if diff := cmp.Diff(map[string]int{"stage/only": 1, "build": 1, "gate": 1, "last": 1}, c.tasks()); diff != "" || c.status() != 1 || count() != 0.0 {
			t.Errorf("shown too early: %d, %v records %s", c.status(), count(), diff)
		}
		if code, _ := c.act("start", "{}"); code != http.StatusBadRequest {
			t.Errorf("a second start is answered %d", code)
		}
		c.pass(time.Second)
		if diff := cmp.Diff(map[string]int{"stage/only": 5, "build": 2, "gate": 5, "last": 1}, c.tasks()); diff != "" || c.status() != 5 || count() != 1.0 {
			t.Errorf("not shown: %d, %v records %s", c.status(), count(), diff)
		}
	})
}

// TestApprovalDelay: a decision is accepted and carried out later; until then the
// checkpoint accepts another one, and the first counts.
func TestApprovalDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, simple(task("last")), standin.ReleaseSettings{ApprovalDelay: 20 * time.Second})
		defer c.server.Close()
		c.must("start", "{}")
		c.pass(4 * time.Second)
		c.approve("gate", "agree")
		c.pass(10 * time.Second)
		if status := c.approve("gate", "refuse"); status != 5 {
			t.Errorf("the second decision: %d", status)
		}
		c.pass(11 * time.Second)
		if diff := cmp.Diff(map[string]int{"stage/only": 4, "build": 2, "gate": 2, "last": 4}, c.tasks()); diff != "" || c.status() != 4 {
			t.Errorf("not carried out: %d %s", c.status(), diff)
		}
		c.pass(20 * time.Second)
		if c.status() != 2 {
			t.Errorf("the second decision was carried out as well: %d", c.status())
		}
	})
}

// TestApprovalDelayEndsWithTheWait: a decision is for the checkpoint that waited
// when it was accepted, and not for the same one after a stop.
func TestApprovalDelayEndsWithTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newConsole(t, simple(task("last")), standin.ReleaseSettings{ApprovalDelay: 20 * time.Second})
		defer c.server.Close()
		c.must("start", "{}")
		c.pass(4 * time.Second)
		c.approve("gate", "agree")
		c.must("stop", "{}")
		c.pass(3 * time.Second)
		c.must("continue", "{}")
		c.pass(30 * time.Second)
		if c.status() != 5 {
			t.Errorf("the checkpoint waits again, and the status is %d", c.status())
		}
	})
}
