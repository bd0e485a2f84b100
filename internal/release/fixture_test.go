package release

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

const (
	projectID  = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	pipelineID = "caf409b1-10df-483a-b14d-7b05f7e12c88"
	// The CodeArts project of the pipelines of CodeArts Pipeline.
	codePipelineID = "5d1b8a5e0c6f4b8f9e2d7a3c4b5e6f70"
	codeProjectID  = "41b8df4bf53f4d51b8e6c5b32e8d2a07"
)

func fixedProject(context.Context) (string, error) { return projectID, nil }

// epoch is when every case begins.
func epoch() time.Time { return time.Date(2025, 7, 21, 6, 44, 24, 0, time.UTC) }

// clock is a time that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: epoch()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// newOperator returns an operator that speaks to the server at url.
func newOperator(t testing.TB, url string, c *clock) *Operator {
	t.Helper()
	client, err := huaweicloud.New(huaweicloud.Options{Service: "servicestage", Endpoint: url, Retries: -1, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	o, err := New(Options{Client: client, Pipeline: client, ProjectID: fixedProject, Now: c.Now})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// newRelease returns a release that is due for its first step at now.
func newRelease(action rules.ReleaseAction, now time.Time) Release {
	r := Release{
		ID: "rel-1", RunID: "run-1", Rule: "release-main", State: Starting,
		Plan:  rules.Release{Pipeline: pipelineID, Action: action, Timeout: time.Hour},
		Event: event.Event{HeadSHA: "1f2e3d4c5b6a79880716253443526170f1e2d3c4"},

		CreatedAt: now, Deadline: now.Add(time.Hour),
	}
	if action != rules.ReleaseStart {
		r.Plan.Task = "gate"
	}
	return r
}
