package event

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
)

// Key is the semantic key of e: two deliveries with the same key announce the
// same change, under whatever delivery ids they came. It covers the connection,
// the repository's id, the kind and action, the branch, tag or number, the
// commits before and after, and for merge requests the labels, the draft flag
// and the host's time of the change. Empty for an ignored event.
//
// Source: specs/githosts.md 1.1 and 3.1.
func (e Event) Key() string {
	if e.IgnoredReason != "" {
		return ""
	}
	labels := slices.Clone(e.Labels)
	slices.Sort(labels)
	repository := e.Repository.ID
	if repository == "" {
		repository = e.Repository.FullName
	}
	text, err := json.Marshal([]any{
		e.Connection, repository, e.Kind, e.Action, e.Branch, e.SourceBranch,
		strconv.Itoa(e.Number), e.Before, e.HeadSHA, labels, e.Draft, e.UpdatedAt,
	})
	if err != nil {
		// Strings, numbers and booleans always marshal.
		panic("event: marshal key: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Line names what moves: a branch, a tag or a merge request of one repository on
// one connection. Events of one line follow each other; the newest one's commit
// is the line's head.
func (e Event) Line() string {
	repository := e.Repository.ID
	if repository == "" {
		repository = e.Repository.FullName
	}
	line := e.Connection + " " + repository + " "
	if e.Number > 0 {
		return line + "merge_request " + strconv.Itoa(e.Number)
	}
	return line + string(e.Kind) + " " + e.Branch
}

// Gone reports whether the event ends its line: the branch or tag was deleted, the
// merge request closed or merged.
func (e Event) Gone() bool {
	return e.Deleted || (e.Kind == MergeRequest && (e.Action == Closed || e.Action == Merged))
}

// MovesHead reports whether the event tells the state of its line, wanted by a rule
// or not: a push, a tag or a merge request of a known repository with a commit, or
// its end. A comment does not.
func (e Event) MovesHead() bool {
	known := e.Repository.ID != "" || e.Repository.FullName != ""
	return known && e.Kind != Comment && e.Kind != "" && (e.HeadSHA != "" || e.Gone())
}
