// Package event is the vocabulary of Gatewright: what a git host delivered and
// what that delivery says, in one shape for all hosts. It imports the standard
// library only, so that every other package may import it.
package event

import (
	"strings"
	"time"
)

// Host is the word for a kind of git host, as it stands in configuration, logs,
// metrics and JSON. Which kinds are supported, and everything that differs between
// them, is known by internal/webhook alone.
type Host string

// The words for the hosts that code outside of internal/webhook names: tests, the
// demo and the proofs.
const (
	GitHub Host = "github"
	GitLab Host = "gitlab"
	Gitee  Host = "gitee"
	// Gitea is Gitea or Forgejo.
	Gitea Host = "gitea"
)

// Kind says what sort of thing happened.
type Kind string

// The kinds that rules can ask for (`on:` in the rules file).
const (
	// Push is a branch that was created, moved or deleted.
	Push Kind = "push"
	// Tag is a tag that was created, moved or deleted.
	Tag Kind = "tag"
	// MergeRequest is a pull request of GitHub, Gitee or Gitea, or a GitLab merge request.
	MergeRequest Kind = "merge_request"
	// MergeGroup is a branch on which GitHub's merge queue has merged merge requests, to be checked
	// before the target branch becomes it. It is never released.
	MergeGroup Kind = "merge_group"
	// Comment is a remark on a merge request; one on anything else is ignored.
	Comment Kind = "comment"
)

// Kinds lists every kind, in the order in which help and documents show them.
func Kinds() []Kind { return []Kind{Push, Tag, MergeRequest, MergeGroup, Comment} }

// Action says what happened to the branch, tag or merge request, in our words.
type Action string

// Actions of pushes, tags and merge groups.
const (
	// Created is a branch or tag that did not exist before.
	Created Action = "created"
	// Updated is a branch or tag that moved, or new commits on a merge request.
	Updated Action = "updated"
	// Deleted is a branch or tag that is gone.
	Deleted Action = "deleted"
)

// Actions of merge requests; Updated (new commits) is one of them too.
const (
	// Opened is a new merge request.
	Opened Action = "opened"
	// Reopened is a closed merge request that was opened again.
	Reopened Action = "reopened"
	// Edited is a changed title, description or other text: no new code.
	Edited Action = "edited"
	// Retargeted is a changed target branch: the head is the same, what it
	// would be merged into is not.
	Retargeted Action = "retargeted"
	// Labeled is a changed set of labels.
	Labeled Action = "labeled"
	// Ready is a draft that was marked as ready.
	Ready Action = "ready"
	// Drafted is a merge request that was turned into a draft.
	Drafted Action = "drafted"
	// Approved and Unapproved are reviews given and taken back.
	Approved   Action = "approved"
	Unapproved Action = "unapproved"
	// Closed is a merge request closed without being merged.
	Closed Action = "closed"
	// Merged is a merge request whose commits are now on the target branch.
	Merged Action = "merged"
	// Commented is a new remark; the only action of a Comment that is read.
	Commented Action = "commented"
	// Other is anything else that a host announces (assigned, milestoned,
	// locked …). It never asks for a check.
	Other Action = "other"
)

// Repository is the repository that an event is about. For a merge request it
// is the target repository, the one whose webhook fired.
type Repository struct {
	Host Host `json:"host"`
	// ID is the host's own number of the repository, as text. It survives a
	// rename; the name does not.
	ID string `json:"id"`
	// FullName is the path of the repository on its host, in the host's own
	// spelling: owner/name, and for GitLab group/subgroup/name.
	FullName string `json:"full_name"`
	// HTTPSURL and SSHURL are its addresses as its connection has them; never an
	// address that a payload gave.
	HTTPSURL      string `json:"https_url"`
	SSHURL        string `json:"ssh_url"`
	Private       bool   `json:"private"`
	DefaultBranch string `json:"default_branch"`
}

// Event is what a delivery says. A field that a host does not send, or sends as
// null, is the zero value.
type Event struct {
	// Connection is the name of the connection that received the delivery.
	Connection string     `json:"connection"`
	Kind       Kind       `json:"kind"`
	Action     Action     `json:"action"`
	Repository Repository `json:"repository"`

	// Branch is the pushed branch, the pushed tag, or the target branch of a
	// merge request or a merge group; the short name, without refs/heads/ or refs/tags/.
	Branch string `json:"branch"`
	// SourceBranch is the branch that a merge request would merge, or that the merge queue
	// made; empty otherwise.
	SourceBranch string `json:"source_branch"`
	// Before is the commit before the event: the old tip of a branch or tag,
	// the old head of a merge request. Empty when there was none or the host
	// does not say; never a zero hash.
	Before string `json:"before"`
	// HeadSHA is the commit that the event is about, in full. Empty when the
	// branch or tag was deleted; never a zero hash. For an annotated tag it is
	// the tagged commit where the host names it.
	HeadSHA string `json:"head_sha"`

	// Number is the merge request's number within its repository; 0 when the
	// event is not about a merge request.
	Number int    `json:"number"`
	Title  string `json:"title"`
	// Author is the login of who wrote the merge request; for pushes, tags and
	// comments, of who did it. GitLab names a merge request's author by number
	// only: then it is empty unless the actor is the author.
	Author string `json:"author"`
	// Sender is the login of who caused the event.
	Sender string `json:"sender"`
	// AuthorID and SenderID are the host's numbers of those accounts, as text: a number stays with
	// its account, a login may pass to another. Empty where the payload has none, and, but for
	// comments, where nothing proves the payload.
	AuthorID string   `json:"author_id,omitempty"`
	SenderID string   `json:"sender_id,omitempty"`
	Draft    bool     `json:"draft"`
	Fork     bool     `json:"fork"`
	Labels   []string `json:"labels"`

	// NewCode says that the event brings commits that were not there before: a
	// branch or tag created or moved, a merge request opened, reopened or
	// pushed to. A changed label, title or target branch brings none.
	NewCode bool `json:"new_code"`
	// Deleted says that the branch or tag is gone.
	Deleted bool `json:"deleted"`

	// UpdatedAt is the host's own time of the change, as the host spells it;
	// it tells two changes of the same labels apart. Empty for pushes and tags.
	UpdatedAt string `json:"updated_at,omitempty"`
	// PushedAt is the host's own time of the last push to the repository, as the host
	// spells it, for pushes and tags of hosts that send it. It tells an old delivery
	// from a new one and not which of two pushes is newer: two branches share it.
	PushedAt string `json:"pushed_at,omitempty"`

	// CommentID is the host's number of a comment on a merge request, by which its API reads that
	// comment, as text; empty of every other event, and of remarks on lines where the host counts
	// those apart. Comment is what the payload says that it reads; a longer one than
	// [MaxComment] is left out. It is for finding a command, and is not stored.
	CommentID string `json:"comment_id,omitempty"`
	Comment   string `json:"-"`

	// Files are the files that the event changes. They are for the decision alone, which says
	// what it compared, and are not stored with what follows from it.
	Files Files `json:"-"`
	// Origin is what is known of where a merge request comes from, for the decision alone, too.
	Origin Origin `json:"-"`

	// Cut names the fields that are shorter than the host sent them: title, labels.
	Cut []string `json:"cut,omitempty"`

	// IgnoredReason says why the event is not evaluated by the rules; empty when
	// it is. An ignored event may have any of the other fields empty.
	IgnoredReason string `json:"ignored_reason"`

	// Recovered is that of its delivery.
	Recovered Recovery `json:"recovered,omitempty"`
}

// Recovery says how we heard of what no webhook told in its time.
type Recovery string

const (
	// NotRecovered: by its webhook.
	NotRecovered Recovery = ""
	// Compared: by reading the branch or merge request from its host. The delivery is ours, and
	// its body an Event.
	Compared Recovery = "compared"
	// Redelivered: by its webhook, which its host sent again because we asked for it.
	Redelivered Recovery = "redelivered"
)

// MaxComment is the longest comment that is looked at, in bytes.
const MaxComment = 16 << 10

// ChangedAt is the host's own time of the change, and whether the host sent one that
// can be read. The times of commits do not count: an old commit may be pushed today.
func (e Event) ChangedAt() (time.Time, bool) {
	if e.UpdatedAt != "" {
		return HostTime(e.UpdatedAt)
	}
	return HostTime(e.PushedAt)
}

// HostTime reads a time as one of the hosts writes it.
func HostTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05 MST", "2006-01-02 15:04:05 -0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// MergeQueueBranches is what the names of the branches begin with that GitHub's merge queue makes.
// A rule asks for their check by merge_group.
const MergeQueueBranches = "gh-readonly-queue/"

// CommitRef is the branch or tag that has the event's commit: of a merge request and a merge
// group the source branch.
func (e Event) CommitRef() string {
	if e.Number > 0 || e.Kind == MergeGroup {
		return e.SourceBranch
	}
	return e.Branch
}

// Ignored returns an event that is not evaluated by the rules, and why.
func Ignored(reason string) Event { return Event{IgnoredReason: reason} }

// ZeroHash reports whether sha is a commit hash that means "none": the empty
// string, or nothing but zeros in any length (SHA-1 has 40, SHA-256 has 64).
func ZeroHash(sha string) bool { return strings.Trim(sha, "0") == "" }

// Delivery is one webhook request as it was received.
type Delivery struct {
	// ID is ours: a UUIDv7, so that ids sort by time of receipt.
	ID         string
	Connection string
	Host       Host
	// Key recognises the same delivery sent twice on the same connection: the
	// host's own delivery id, where it has one, and a hash of the body.
	Key string
	// HostID is the delivery id that the host gave; empty when it gives none.
	HostID string
	// Event is the host's own name of the event, from the header.
	Event      string
	ReceivedAt time.Time
	// Header holds the request's headers that are worth keeping, with canonical
	// names and without the secret ones.
	Header map[string][]string
	// Scope are the patterns of the repositories that the secret which verified it may
	// speak of; nil when that is every repository of the connection.
	Scope []string
	// Body is the request's body, byte for byte, but for a Gitee password,
	// which is blanked out before anything is stored.
	Body []byte
	// Recovered says how we heard of it, if not by its webhook. The store notes Redelivered by
	// itself.
	Recovered Recovery
}

// DeliveryState is where a delivery stands.
type DeliveryState string

// The states of a delivery. All but Received are end states; Failed can be
// processed again.
const (
	// DeliveryReceived waits to be decided.
	DeliveryReceived DeliveryState = "received"
	// DeliveryDecided has a decision, if only that no rule matched.
	DeliveryDecided DeliveryState = "decided"
	// DeliveryIgnored is authentic and nothing that we act upon.
	DeliveryIgnored DeliveryState = "ignored"
	// DeliveryDuplicate announces a change that another delivery announced.
	DeliveryDuplicate DeliveryState = "duplicate"
	// DeliveryFailed could not be read or decided.
	DeliveryFailed DeliveryState = "failed"
)

// DeliveryStates lists every state of a delivery.
func DeliveryStates() []DeliveryState {
	return []DeliveryState{DeliveryReceived, DeliveryDecided, DeliveryIgnored, DeliveryDuplicate, DeliveryFailed}
}
