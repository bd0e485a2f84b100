package webhook

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

// Parse translates a verified delivery into an event and binds it to its connection.
// header needs no signature; a form body needs its Content-Type.
//
// It returns an event with an IgnoredReason and a nil error for what is authentic
// but not for the rules to decide, and an error for what cannot be read as the
// event that it claims to be, names what no host can name, or is about a repository that
// is not the connection's. The repository's addresses are made from the connection and
// its full name. The event's Labels are never nil. Parse needs no validated connection:
// its name and host are enough.
func Parse(c Connection, header http.Header, body []byte) (event.Event, error) {
	h, known := hostOf(c.Host)
	if !known {
		return event.Event{}, fmt.Errorf("read delivery of %q: unknown host %q", c.Name, c.Host)
	}
	var ev event.Event
	var said places
	var err error
	if h.isPing(header) {
		ev = event.Ignored("ping: the host tests the connection")
	} else {
		ev, said, err = h.parse(header, body)
	}
	if err == nil {
		err = bind(c, h, &ev, said)
	}
	if err == nil {
		ev, err = bounded(ev)
	}
	if err != nil {
		return event.Event{}, fmt.Errorf("read delivery of %q: %w", c.Name, err)
	}
	ev.Connection = c.Name
	ev.Files = settledFiles(ev)
	if ev.Labels == nil {
		ev.Labels = []string{}
	}
	return ev, nil
}

// pushed returns the part of a push that is the same for every host. commit is the
// commit that the host names in addition to after; it is used for tags, because
// after is the tag object when a tag is annotated. deleted is the host's flag,
// where it has one.
func pushed(ref, before, after, commit string, deleted bool) event.Event {
	ev := event.Event{Before: before, HeadSHA: after}
	if branch, ok := strings.CutPrefix(ref, "refs/heads/"); ok {
		ev.Kind, ev.Branch = event.Push, branch
	} else if tag, ok := strings.CutPrefix(ref, "refs/tags/"); ok {
		ev.Kind, ev.Branch, ev.HeadSHA = event.Tag, tag, cmp.Or(commit, after)
	} else if ref != "" {
		return event.Ignored(fmt.Sprintf("ref %s is neither a branch nor a tag", quote(ref)))
	}
	switch {
	case deleted || after != "" && event.ZeroHash(after):
		ev.Action, ev.Deleted, ev.HeadSHA = event.Deleted, true, ""
	case event.ZeroHash(before):
		ev.Action, ev.NewCode = event.Created, true
	default:
		ev.Action, ev.NewCode = event.Updated, true
	}
	if event.ZeroHash(ev.Before) {
		ev.Before = ""
	}
	return ev
}

// settlePush checks that a push is complete and gives a deletion its reason.
func settlePush(ev event.Event) (event.Event, error) {
	switch {
	case ev.Kind == "" && ev.IgnoredReason != "":
		return ev, nil
	case ev.Branch == "":
		return event.Event{}, errors.New("ref is missing")
	case ev.Deleted && ev.Kind == event.Tag:
		ev.IgnoredReason = "tag was deleted: nothing to check"
	case ev.Deleted:
		ev.IgnoredReason = "branch was deleted: nothing to check"
	case ev.HeadSHA == "":
		return event.Event{}, errors.New("the pushed commit is missing")
	}
	return checked(ev)
}

// settleMergeRequest checks that a merge request is complete, tells whether its
// action brings new code, and gives the reason when there is nothing to check.
// hostAction is the host's own word for the action; closed says that the merge
// request is closed or merged now.
func settleMergeRequest(ev event.Event, hostAction string, closed bool) (event.Event, error) {
	if ev.Number <= 0 {
		return event.Event{}, errors.New("the merge request's number is missing")
	}
	switch ev.Action {
	case event.Opened, event.Reopened, event.Updated:
		ev.NewCode = true
	}
	switch ev.Action {
	case event.Opened, event.Reopened, event.Updated, event.Retargeted, event.Labeled, event.Ready, event.Drafted:
		if closed {
			ev.IgnoredReason = "merge request is closed: nothing to check"
		} else if ev.HeadSHA == "" {
			ev.IgnoredReason = "merge request has no head commit: nothing to check"
		} else if ev.Branch == "" {
			return event.Event{}, errors.New("the merge request's target branch is missing")
		}
	case event.Edited:
		ev.IgnoredReason = "merge request text was edited: its code is the same"
	case event.Approved:
		ev.IgnoredReason = "merge request was approved: its code is the same"
	case event.Unapproved:
		ev.IgnoredReason = "merge request lost an approval: its code is the same"
	case event.Closed:
		ev.IgnoredReason = "merge request was closed: nothing to check"
	case event.Merged:
		ev.IgnoredReason = "merge request was merged: nothing to check"
	default:
		if hostAction == "" {
			ev.IgnoredReason = "merge request names no action, as in a test delivery"
			break
		}
		ev.IgnoredReason = fmt.Sprintf("merge request action %s brings no new code", quote(hostAction))
	}
	return checked(ev)
}

// settleComment ignores what is not a new comment on a merge request: one on a
// commit, an issue or a snippet names no branch that could be checked.
func settleComment(ev event.Event, fresh bool) (event.Event, error) {
	ev.Action = event.Commented
	switch {
	case !fresh:
		ev.Action, ev.IgnoredReason = event.Other, "comment is not new: it was edited or deleted, or written by the host"
	case ev.Number == 0:
		ev.IgnoredReason = "comment is not on a merge request: nothing to check"
	}
	return checked(ev)
}

// checked refuses an event that does not name its repository, or whose commits
// are not full hashes: they go into calls and comparisons as they are.
func checked(ev event.Event) (event.Event, error) {
	if ev.Repository.ID == "" || ev.Repository.FullName == "" {
		return event.Event{}, errors.New("the repository's id or name is missing")
	}
	if !numericID(ev.Repository.ID) {
		return event.Event{}, fmt.Errorf("the repository's id %s is not a number", quote(ev.Repository.ID))
	}
	for _, sha := range []string{ev.Before, ev.HeadSHA} {
		if sha != "" && !fullHash(sha) {
			return event.Event{}, fmt.Errorf("%s is not a full commit hash", quote(sha))
		}
	}
	return ev, nil
}

// numericID reports whether an id is a number as every host gives them, written in one
// way: it is the key of what is remembered of a repository.
func numericID(id string) bool {
	return len(id) <= 20 && id[0] != '0' && strings.Trim(id, "0123456789") == ""
}

// fullHash reports whether sha is a whole SHA-1 or SHA-256 in hexadecimal, and
// not the zero hash.
func fullHash(sha string) bool {
	return (len(sha) == 40 || len(sha) == 64) &&
		strings.Trim(sha, "0123456789abcdef") == "" && !event.ZeroHash(sha)
}

// ignoredKind is an event of the host that the rules cannot ask for.
func ignoredKind(name string) event.Event {
	return event.Ignored(fmt.Sprintf("event %s is not one that rules can ask for", quote(name)))
}

// draftTitle reports whether the title marks a draft, for hosts and versions
// that have no flag for it.
func draftTitle(title string) bool {
	title = strings.ToLower(strings.TrimSpace(title))
	for _, prefix := range []string{"draft:", "[draft]", "(draft)", "wip:", "[wip]"} {
		if strings.HasPrefix(title, prefix) {
			return true
		}
	}
	return false
}

// quote quotes a host's word, cut to a length that fits a log line.
func quote(word string) string { return fmt.Sprintf("%.60q", word) }

// idText is a host's number as text; empty for 0, which no host gives out.
func idText(id int64) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatInt(id, 10)
}
