package event_test

import (
	"testing"

	"github.com/gatewright/gatewright/internal/event"
)

func TestZeroHash(t *testing.T) {
	for sha, want := range map[string]bool{
		"": true,
		"0000000000000000000000000000000000000000":                         true,
		"0000000000000000000000000000000000000000000000000000000000000000": true,
		"0000000000000000000000000000000000000001":                         false,
		"1f2e3d4": false,
	} {
		if got := event.ZeroHash(sha); got != want {
			t.Errorf("ZeroHash(%q) = %v", sha, got)
		}
	}
}

func base() event.Event {
	return event.Event{
		Connection: "github", Kind: event.MergeRequest, Action: event.Labeled, Repository: event.Repository{ID: "1", FullName: "acme/api"},
		Branch: "main", SourceBranch: "dev", Before: "a", HeadSHA: "b", Number: 7, Labels: []string{"x", "y"}, UpdatedAt: "2026-03-01T12:00:00Z",
	}
}

// TestKey holds that each part of a change makes another key, and what does not.
func TestKey(t *testing.T) {
	same := map[string]func(*event.Event){
		"nothing":             func(*event.Event) {},
		"the order of labels": func(e *event.Event) { e.Labels = []string{"y", "x"} },
		"the title":           func(e *event.Event) { e.Title = "other" },
		"a renamed repo":      func(e *event.Event) { e.Repository.FullName = "acme/renamed" },
	}
	other := map[string]func(*event.Event){
		"connection":  func(e *event.Event) { e.Connection = "github-2" },
		"kind":        func(e *event.Event) { e.Kind = event.Push },
		"action":      func(e *event.Event) { e.Action = event.Updated },
		"repository":  func(e *event.Event) { e.Repository.ID = "2" },
		"branch":      func(e *event.Event) { e.Branch = "dev" },
		"before":      func(e *event.Event) { e.Before = "c" },
		"head":        func(e *event.Event) { e.HeadSHA = "c" },
		"number":      func(e *event.Event) { e.Number = 8 },
		"labels":      func(e *event.Event) { e.Labels = nil },
		"draft":       func(e *event.Event) { e.Draft = true },
		"time":        func(e *event.Event) { e.UpdatedAt = "2026-03-01T12:00:01Z" },
		"branch join": func(e *event.Event) { e.Branch, e.SourceBranch = "maind", "ev" },
	}
	want := base().Key()
	for name, change := range same {
		e := base()
		change(&e)
		if e.Key() != want {
			t.Errorf("%s makes another key", name)
		}
	}
	for name, change := range other {
		e := base()
		change(&e)
		if e.Key() == want {
			t.Errorf("another %s makes the same key", name)
		}
	}
	if key := event.Ignored("why").Key(); key != "" {
		t.Errorf("an ignored event has the key %q", key)
	}
}

func TestLine(t *testing.T) {
	push := base()
	push.Kind, push.Number = event.Push, 0
	tag := push
	tag.Kind = event.Tag
	request := base()
	retargeted := base()
	retargeted.Branch = "release"
	if push.RefKey() == tag.RefKey() || push.RefKey() == request.RefKey() {
		t.Error("a branch, a tag and a merge request share a line")
	}
	if request.RefKey() != retargeted.RefKey() {
		t.Error("a merge request changes its line with its target")
	}
}
