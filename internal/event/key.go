package event

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
)

// Key is the semantic key of e: two deliveries with the same key announce the
// same change, whatever their delivery ids are. It covers the connection, the
// repository's id, the kind and action, the branch, tag or number, the commits
// before and after, and for merge requests the labels, the draft flag and the
// host's time of the change, and for a comment its number, its author's and its text: a delivery that says something else of
// a comment is not a repetition of the one before. Empty for an ignored event.
//
// Source: specs/githosts.md 1.1 and 3.1.
func (e Event) Key() string {
	if e.IgnoredReason != "" {
		return ""
	}
	labels := slices.Clone(e.Labels)
	slices.Sort(labels)
	parts := []any{
		e.Connection, e.Repository.ID, e.Kind, e.Action, e.Branch, e.SourceBranch,
		strconv.Itoa(e.Number), e.Before, e.HeadSHA, labels, e.Draft, e.UpdatedAt,
	}
	if e.CommentID != "" {
		parts = append(parts, e.CommentID, e.AuthorID, e.Comment)
	}
	text, err := json.Marshal(parts)
	if err != nil {
		// Strings, numbers and booleans always marshal.
		panic("event: marshal key: " + err.Error())
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// RefKey names the branch, tag or merge request of one repository on one connection
// that e speaks of. The newest commit known for it is its head.
func (e Event) RefKey() string {
	key := e.RepositoryKey() + " "
	if e.Number > 0 {
		return key + "merge_request " + strconv.Itoa(e.Number)
	}
	return key + string(e.Kind) + " " + e.CommitRef()
}

// RepositoryKey names the repository on its connection, by the host's own id: a renamed or
// transferred repository keeps it, and a new one under an old name has another. What is
// remembered of a repository is kept under it.
func (e Event) RepositoryKey() string { return e.Connection + " " + e.Repository.ID }

// EndsRef reports whether e ends its ref key: the branch or tag was deleted, the merge
// request closed or merged, the merge group gone.
func (e Event) EndsRef() bool {
	return e.Deleted || (e.Kind == MergeRequest && (e.Action == Closed || e.Action == Merged))
}

// SetsHead reports whether e tells the state of its ref key, whether a rule wants it
// or not: a push, a tag or a merge request of a known repository with a commit, or
// its end. A comment does not.
func (e Event) SetsHead() bool {
	return e.Repository.ID != "" && e.Kind != Comment && e.Kind != "" && (e.HeadSHA != "" || e.EndsRef())
}
