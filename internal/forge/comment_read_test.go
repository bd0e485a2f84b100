package forge_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/standin"
)

// TestReadComment: what a person wrote is read back by its number, with who wrote it and whether somebody
// changed it; and a reaction is there once, whatever of its answers is lost.
func TestReadComment(t *testing.T) {
	for _, host := range []event.Host{event.GitHub, event.GitLab, event.Gitee, event.Gitea} {
		t.Run(string(host), func(t *testing.T) {
			r := newReporting(t, host, nil, nil)
			number, err := r.server.AddComment(standin.NewHostComment{Host: string(host), Repository: "acme/store", Number: 7, Author: 11, Login: "mona", Text: "/recheck"})
			if err != nil {
				t.Fatal(err)
			}
			id := fmt.Sprint(number)
			read := func() forge.Comment {
				t.Helper()
				found, err := r.ReadComment(t.Context(), r.target(7), id)
				if err != nil {
					t.Fatal(err)
				}
				return found
			}
			want := forge.Comment{AuthorID: "11", Author: "mona", Number: 7, Text: "/recheck"}
			if diff := cmp.Diff(want, read()); diff != "" {
				t.Errorf("as it was written (-want +got):\n%s", diff)
			}
			if own, err := r.Account(t.Context(), "c"); own != "9001" || err != nil {
				t.Errorf("we are %q, error %v", own, err)
			}
			r.faults(standin.Fault{Kind: standin.FaultLost, Next: 1, Operations: []string{"github_react", "gitlab_react", "gitea_react"}})
			for i := range 3 {
				if done, err := r.React(t.Context(), r.target(7), id); done != (host != event.Gitee) && i > 0 || err != nil && i > 0 {
					t.Errorf("reaction %d: done %v, error %v", i, done, err)
				}
			}
			if got := r.server.Reports().Comments[0].Reactions; len(got) != 1 && host != event.Gitee || host == event.Gitee && got != nil {
				t.Errorf("reactions %q", got)
			}
			want.Text, want.Edited = "/approve", true
			if err := r.server.ChangeComment(number, want.Text); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, read()); diff != "" {
				t.Errorf("after it was changed (-want +got):\n%s", diff)
			}
			if err := r.server.ChangeComment(number, ""); err != nil {
				t.Fatal(err)
			}
			if _, err := r.ReadComment(t.Context(), r.target(7), id); !notFound(err) {
				t.Errorf("after it was deleted: %v", err)
			}
			if _, err := r.React(t.Context(), r.target(7), id); host != event.Gitee && !notFound(err) {
				t.Errorf("reacting to a deleted one: %v", err)
			}
			if slices.ContainsFunc([]string{"", "x", "1/2"}, func(id string) bool {
				_, err := r.ReadComment(t.Context(), r.target(7), id)
				return err == nil
			}) {
				t.Error("it read what can be no comment")
			}
		})
	}
}
