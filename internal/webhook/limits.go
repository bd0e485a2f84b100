package webhook

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

// The limits of what a payload says, in bytes. They are above those of the hosts: git
// itself takes no ref that is longer than a path, and the hosts take 255 characters.
const (
	maxName   = 1024
	maxURL    = 2048
	maxID     = 64
	maxTitle  = 1024
	maxLabel  = 255
	maxLabels = 500
)

// bounded refuses an event whose names, refs or ids are longer than any host makes them:
// what they stand for cannot be told when they are cut. Its title and labels are cut
// instead, which the event's Cut says. A comment that is too long is left out.
func bounded(ev event.Event) (event.Event, error) {
	repo := ev.Repository
	for _, field := range []struct {
		name, value string
		most        int
	}{
		{"repository's id", repo.ID, maxID},
		{"repository's name", repo.FullName, maxName},
		{"repository's http address", repo.HTTPSURL, maxURL},
		{"repository's ssh address", repo.SSHURL, maxURL},
		{"default branch", repo.DefaultBranch, maxName},
		{"branch or tag", ev.Branch, maxName},
		{"source branch", ev.SourceBranch, maxName},
		{"author's name", ev.Author, maxName},
		{"sender's name", ev.Sender, maxName},
		{"time of the change", ev.UpdatedAt, maxID},
	} {
		if len(field.value) > field.most {
			return event.Event{}, fmt.Errorf("the %s has %d bytes, more than %d", field.name, len(field.value), field.most)
		}
	}
	// What is not a number as hosts give them names no account: that of one that was deleted is negative.
	for _, id := range []*string{&ev.AuthorID, &ev.SenderID, &ev.CommentID} {
		if *id != "" && !numericID(*id) {
			*id = ""
		}
	}
	if ev.CommentID == "" || len(ev.Comment) > event.MaxComment {
		ev.Comment = ""
	}
	if len(ev.Title) > maxTitle {
		ev.Title, ev.Cut = cut(ev.Title, maxTitle), append(ev.Cut, "title")
	}
	long := func(label string) bool { return len(label) > maxLabel }
	if len(ev.Labels) > maxLabels || slices.ContainsFunc(ev.Labels, long) {
		ev.Labels = slices.Clone(ev.Labels[:min(len(ev.Labels), maxLabels)])
		for i, label := range ev.Labels {
			ev.Labels[i] = cut(label, maxLabel)
		}
		ev.Cut = append(ev.Cut, "labels")
	}
	return ev, nil
}

// cut returns a text of at most so many bytes, with an ellipsis where it was cut.
func cut(text string, most int) string {
	const ellipsis = "…"
	if len(text) <= most {
		return text
	}
	// Half a character at the end goes too; a text that was not UTF-8 becomes it.
	return strings.ToValidUTF8(text[:most-len(ellipsis)], "") + ellipsis
}
