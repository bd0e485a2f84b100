package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/command"
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

// TestArguments: a missing or second argument is refused with what to write.
func TestArguments(t *testing.T) {
	for line, want := range map[string]string{
		"show": "the id of one delivery, run or release", "show 01 02": "the id of one delivery, run or release",
		"rejudge": "the id of one run", "list": "deliveries, runs, releases, approvals, actions or missing", "list runs releases": "deliveries, runs, releases, approvals, actions or missing",
	} {
		var stderr bytes.Buffer
		env := command.Environment{Stdout: io.Discard, Stderr: &stderr}
		if code := command.Run(t.Context(), newRoot(env), strings.Fields(line), env); code != command.Usage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit code %d, %s", line, code, &stderr)
		}
	}
}
