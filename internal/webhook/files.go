package webhook

import (
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/internal/event"
)

// commitFiles is what a push says of one commit.
type commitFiles struct {
	Added    []string `json:"added"`
	Removed  []string `json:"removed"`
	Modified []string `json:"modified"`
}

// pushedFiles are the files of a push that lists these of its total commits. The list is
// whole when all commits are in it and each says what it changes: GitHub leaves the lists of
// a very large commit empty, and no list has more elements than are read (object).
func pushedFiles(commits []commitFiles, total int) event.Files {
	var paths []string
	unknown := ""
	for _, c := range commits {
		paths = append(paths, slices.Concat(c.Added, c.Removed, c.Modified)...)
		switch most := max(len(c.Added), len(c.Removed), len(c.Modified)); {
		case most == 0:
			unknown = "the push lists no files of one of its commits"
		case most >= maxElements:
			unknown = fmt.Sprintf("the push lists %d files of one of its commits or more", maxElements)
		}
	}
	switch {
	case len(commits) == 0:
		unknown = "the push lists no commits"
	case len(commits) >= maxElements:
		unknown = fmt.Sprintf("the push lists %d commits or more", maxElements)
	case len(commits) < total:
		unknown = fmt.Sprintf("the push lists only the newest %d of its commits", len(commits))
	}
	files := event.NewFiles(paths, unknown)
	files.AskHost = !files.Complete
	return files
}

// settledFiles are the files of an event as far as its payload tells them, and whether its
// host can tell more: of a merge request, and of a branch that was somewhere before.
func settledFiles(ev event.Event) event.Files {
	switch {
	case ev.IgnoredReason != "":
		return event.Files{}
	case ev.Number > 0:
		return event.Files{Unknown: "the payload of a merge request does not list them", AskHost: true}
	case ev.Kind == event.MergeGroup:
		return event.Files{Unknown: "the payload of a merge group does not list them", AskHost: ev.Before != ""}
	case ev.Kind != event.Push:
		return event.Files{Unknown: "a tag has no commit before it to compare with"}
	case ev.Before == "":
		return event.Files{Unknown: "the branch is new, so that all of its files count"}
	case !ev.Files.Complete && ev.Files.Unknown == "":
		return event.Files{Unknown: "the push does not list them", AskHost: true}
	}
	return ev.Files
}
