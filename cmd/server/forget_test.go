package main

import (
	"encoding/json"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/event"
)

// TestForget forgets the task and the head of a repository beside a running server.
func TestForget(t *testing.T) { apptest.Each(t, demo.Options{}, testForget) }

func testForget(t *testing.T, d apptest.Service) {
	d.Push(t, event.GitHub, "1", demo.Change{Branch: "main", Before: d.World.Parent, SHA: d.World.Clean})
	pushed := d.Until(t, "all is done", apptest.Released).Deliveries[0]
	forget := func(wantCode, want int, args ...string) {
		t.Helper()
		code, stdout, stderr := gatewright(t, d, append([]string{"forget"}, args...)...)
		var found struct {
			Forgotten []forgotten `json:"forgotten"`
		}
		if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != wantCode || len(found.Forgotten) != want {
			t.Errorf("forget %q: exit code %d, want %d with %d; error %v\n%s%s", args, code, wantCode, want, err, stdout, stderr)
		}
	}
	of := []string{"--connection", pushed.Connection, "--repository", pushed.Repository, "--json"}
	for _, kind := range []string{"task", "head"} {
		forget(command.No, 0, append([]string{kind, "--branch", "another"}, of...)...)
		forget(command.No, 0, kind, "--connection", "another", "--repository", pushed.Repository, "--json")
		forget(command.OK, 1, append([]string{kind, "--dry-run"}, of...)...)
		forget(command.OK, 1, append([]string{kind, "--branch", "main"}, of...)...)
		forget(command.No, 0, append([]string{kind}, of...)...)
	}
}
