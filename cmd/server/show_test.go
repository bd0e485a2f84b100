package main

import (
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/view"
)

// TestAbout: what is not known of a record is left out.
func TestAbout(t *testing.T) {
	for want, s := range map[string]view.Subject{
		"":                                {Event: event.Comment},
		"comment 7 of acme/shop, by mona": {Event: event.Comment, Repository: "acme/shop", Number: 7, Actor: "mona"},
		"push of acme/shop, branch main, commit abc, by ada": {Event: event.Push, Repository: "acme/shop", Branch: "main", Commit: "abc", Actor: "ada"},
	} {
		if got := about(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
