package webhook

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

type giteaUser struct {
	ID       int64  `json:"id"`
	Login    string `json:"login"`
	Username string `json:"username"`
}

type giteaRepository struct {
	ID            int64  `json:"id"`
	FullName      string `json:"full_name"`
	HTMLURL       string `json:"html_url"`
	CloneURL      string `json:"clone_url"`
	Private       bool   `json:"private"`
	DefaultBranch string `json:"default_branch"`
}

// giteaSide is a side of a pull request. Its repository is null when the fork was deleted;
// then the id is -1.
type giteaSide struct {
	// Label is the name of the branch; empty for a pull request that was pushed to
	// refs/for (AGit), for which nobody needs the right to write.
	Label  *string          `json:"label"`
	Ref    string           `json:"ref"`
	SHA    string           `json:"sha"`
	RepoID int64            `json:"repo_id"`
	Repo   *giteaRepository `json:"repo"`
}

type giteaLabel struct {
	Name string `json:"name"`
}

type giteaPullRequest struct {
	Number int        `json:"number"`
	Title  string     `json:"title"`
	State  string     `json:"state"`
	User   *giteaUser `json:"user"`
	// Draft is missing in older versions: then the title tells.
	Draft     *bool        `json:"draft"`
	Merged    bool         `json:"merged"`
	Head      *giteaSide   `json:"head"`
	Base      *giteaSide   `json:"base"`
	Labels    []giteaLabel `json:"labels"`
	UpdatedAt string       `json:"updated_at"`
}

type giteaCommit struct {
	ID string `json:"id"`
}

type giteaChange struct {
	From string `json:"from"`
}

// giteaEvent holds the fields of all events; each event fills its own
// (specs/githosts.md 4.2).
type giteaEvent struct {
	Repository *giteaRepository `json:"repository"`
	Sender     *giteaUser       `json:"sender"`
	Pusher     *giteaUser       `json:"pusher"`

	Ref    string `json:"ref"`
	Before string `json:"before"`
	After  string `json:"after"`
	// HeadCommit is null for a deletion, and missing in older versions.
	HeadCommit *giteaCommit `json:"head_commit"`
	// Commits are at most five, of so many; older versions do not say how many.
	Commits      []commitFiles `json:"commits"`
	TotalCommits *int          `json:"total_commits"`

	Action      string            `json:"action"`
	Number      int               `json:"number"`
	PullRequest *giteaPullRequest `json:"pull_request"`
	Changes     struct {
		Title *giteaChange `json:"title"`
		// Ref is the target branch.
		Ref *giteaChange `json:"ref"`
	} `json:"changes"`

	IsPull bool `json:"is_pull"`
	Issue  *struct {
		Number int          `json:"number"`
		Title  string       `json:"title"`
		Labels []giteaLabel `json:"labels"`
		// PullRequest is there when the issue is one.
		PullRequest *struct {
			Draft *bool `json:"draft"`
		} `json:"pull_request"`
	} `json:"issue"`
	Comment *struct {
		ID        int64      `json:"id"`
		Body      string     `json:"body"`
		User      *giteaUser `json:"user"`
		UpdatedAt string     `json:"updated_at"`
	} `json:"comment"`
}

// parseGitea reads the events that carry code or a remark on it; every other event is
// ignored by its name: create and delete are announced as pushes too.
func parseGitea(header http.Header, body []byte) (ev event.Event, said places, err error) {
	name := giteaEventName(header)
	if name == "" {
		return event.Event{}, places{}, errors.New("X-Forgejo-Event and X-Gitea-Event are missing")
	}
	if giteaKind(name) == "" {
		return ignoredKind(name), places{}, nil
	}
	payload, err := jsonOrForm(header, body)
	if err != nil {
		return event.Event{}, places{}, err
	}
	if payload, err = object(payload); err != nil {
		return event.Event{}, places{}, err
	}
	var e giteaEvent
	if err := json.Unmarshal(payload, &e); err != nil {
		return event.Event{}, places{}, fmt.Errorf("decode %s event: %w", name, err)
	}
	switch giteaKind(name) {
	case event.Push:
		ev, err = giteaPush(&e)
	case event.MergeRequest:
		ev, err = giteaMergeRequest(name, &e)
	case event.Comment:
		ev, err = giteaComment(&e)
	}
	return ev, e.places(), err
}

// places: a pull request describes its target again.
func (e *giteaEvent) places() (said places) {
	said.target = e.Repository.places()
	if pr := e.PullRequest; pr != nil {
		said.target = append(said.target, pr.Base.orEmpty().Repo.places()...)
		said.source = pr.Head.orEmpty().Repo.places()
	}
	return said
}

// places are none for a repository that is not there.
func (r *giteaRepository) places() []place {
	if r == nil {
		return nil
	}
	return []place{{r.HTMLURL, r.CloneURL}}
}

// giteaPush reads a push of a branch or a tag: both are the event "push". There are no flags
// for created, deleted and forced, and no time of the push. The webhook's test button sends a
// push of the default branch from its commit to the same commit.
func giteaPush(e *giteaEvent) (event.Event, error) {
	commit := ""
	if e.HeadCommit != nil {
		commit = e.HeadCommit.ID
	}
	ev := pushed(e.Ref, e.Before, e.After, commit, false)
	ev.Repository = e.Repository.repository()
	ev.Sender, ev.SenderID = cmp.Or(e.Sender.login(), e.Pusher.login()), cmp.Or(e.Sender.id(), e.Pusher.id())
	ev.Author, ev.AuthorID = ev.Sender, ev.SenderID
	if e.TotalCommits != nil {
		ev.Files = pushedFiles(e.Commits, *e.TotalCommits)
		ev.Files.AskHost = false // It does not compare files.
	} else {
		ev.Files = event.NewFiles(nil, "the push does not say how many commits it has")
	}
	if ev.Branch != "" && e.After != "" && e.Before == e.After {
		ev.Action, ev.NewCode, ev.Deleted = event.Updated, false, false
		ev.IgnoredReason = "push changes nothing, as in a test delivery"
		return checked(ev)
	}
	return settlePush(ev)
}

func giteaMergeRequest(name string, e *giteaEvent) (event.Event, error) {
	ev, err := e.mergeRequest()
	if err != nil {
		return event.Event{}, err
	}
	hostAction := e.Action
	switch name {
	case "pull_request_approved", "pull_request_review_approved":
		ev.Action = event.Approved
	case "pull_request_rejected", "pull_request_review_rejected":
		ev.Action, hostAction = event.Other, "review rejected"
	default:
		ev.Action = giteaAction(e, ev.Draft)
	}
	return settleMergeRequest(ev, hostAction, e.PullRequest.State == "closed")
}

// giteaAction reads the action. `changes` says what an edit was about. A draft is one by its
// title, so that a changed title may make it ready; draft says that it is one now.
func giteaAction(e *giteaEvent, draft bool) event.Action {
	switch e.Action {
	case "opened":
		return event.Opened
	case "reopened":
		return event.Reopened
	case "synchronized", "synchronize":
		return event.Updated
	case "label_updated", "label_cleared":
		return event.Labeled
	case "closed":
		if e.PullRequest.Merged {
			return event.Merged
		}
		return event.Closed
	case "edited":
	default:
		return event.Other
	}
	wasDraft := draft
	if e.Changes.Title != nil {
		wasDraft = draftTitle(e.Changes.Title.From)
	}
	switch {
	case e.Changes.Ref != nil:
		return event.Retargeted
	case wasDraft && !draft:
		return event.Ready
	case draft && !wasDraft:
		return event.Drafted
	}
	return event.Edited
}

// giteaComment reads a remark on an issue or a pull request, and a review that neither
// approves nor rejects, which is how remarks on lines arrive.
func giteaComment(e *giteaEvent) (event.Event, error) {
	ev := event.Event{Repository: e.Repository.repository(), Sender: e.Sender.login(), SenderID: e.Sender.id()}
	if e.PullRequest != nil {
		var err error
		if ev, err = e.mergeRequest(); err != nil {
			return event.Event{}, err
		}
	}
	ev.Kind, ev.Author, ev.AuthorID = event.Comment, ev.Sender, ev.SenderID
	if e.Comment == nil && e.PullRequest != nil {
		return settleComment(ev, e.Action == "reviewed")
	}
	if e.Issue == nil || e.Comment == nil {
		return event.Event{}, errors.New("issue or comment is missing")
	}
	if e.PullRequest == nil {
		ev.Title, ev.Labels, ev.Draft = e.Issue.Title, giteaLabels(e.Issue.Labels), draftTitle(e.Issue.Title)
		if pr := e.Issue.PullRequest; pr != nil && pr.Draft != nil {
			ev.Draft = *pr.Draft
		}
		if e.IsPull || e.Issue.PullRequest != nil {
			ev.Number = e.Issue.Number
		}
	}
	if e.Comment.User.login() != "" {
		ev.Author, ev.AuthorID = e.Comment.User.login(), e.Comment.User.id()
	}
	if ev.Number > 0 {
		ev.CommentID, ev.Comment = idText(e.Comment.ID), e.Comment.Body
	}
	ev.UpdatedAt = giteaTime(e.Comment.UpdatedAt)
	return settleComment(ev, e.Action == "created")
}

// mergeRequest fills all but the action.
func (e *giteaEvent) mergeRequest() (event.Event, error) {
	pr := e.PullRequest
	if pr == nil {
		return event.Event{}, errors.New("pull_request is missing")
	}
	head, base := pr.Head.orEmpty(), pr.Base.orEmpty()
	draft := draftTitle(pr.Title)
	if pr.Draft != nil {
		draft = *pr.Draft
	}
	return event.Event{
		Kind:         event.MergeRequest,
		Repository:   e.Repository.repository(),
		Branch:       base.Ref,
		SourceBranch: head.branch(),
		HeadSHA:      head.SHA,
		Number:       cmp.Or(pr.Number, e.Number),
		Title:        pr.Title,
		Author:       pr.User.login(),
		AuthorID:     pr.User.id(),
		Sender:       e.Sender.login(),
		SenderID:     e.Sender.id(),
		Draft:        draft,
		Fork:         head.Label != nil && *head.Label == "" || head.repositoryID() <= 0 || head.repositoryID() != base.repositoryID(),
		Labels:       giteaLabels(pr.Labels),
		UpdatedAt:    giteaTime(pr.UpdatedAt),
	}, nil
}

func (s *giteaSide) orEmpty() giteaSide {
	if s == nil {
		return giteaSide{}
	}
	return *s
}

// branch is the name of the branch; ref is refs/pull/N/head when there is none (any more).
func (s giteaSide) branch() string {
	if strings.HasPrefix(s.Ref, "refs/pull/") && s.Label != nil {
		return cmp.Or(*s.Label, s.Ref)
	}
	return s.Ref
}

func (s giteaSide) repositoryID() int64 {
	if s.Repo != nil {
		return s.Repo.ID
	}
	return s.RepoID
}

func (r *giteaRepository) repository() event.Repository {
	if r == nil {
		return event.Repository{Host: event.Gitea}
	}
	return event.Repository{
		Host:          event.Gitea,
		ID:            idText(r.ID),
		FullName:      r.FullName,
		Private:       r.Private,
		DefaultBranch: r.DefaultBranch,
	}
}

func (u *giteaUser) login() string {
	if u == nil {
		return ""
	}
	return cmp.Or(u.Login, u.Username)
}

func (u *giteaUser) id() string {
	if u == nil {
		return ""
	}
	return idText(u.ID)
}

func giteaLabels(labels []giteaLabel) []string {
	var names []string
	for _, label := range labels {
		names = append(names, label.Name)
	}
	return names
}

// giteaTime is a time as Gitea spells it; older versions send that of the year 1 for none.
func giteaTime(text string) string {
	if strings.HasPrefix(text, "0001-") {
		return ""
	}
	return text
}
