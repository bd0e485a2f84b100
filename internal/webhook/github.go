package webhook

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/go-github/v60/github"

	"github.com/gatewright/gatewright/internal/event"
)

// githubHost is GitHub, on github.com or as an Enterprise Server.
func githubHost() host {
	return host{
		Kind: Kind{
			Name: string(event.GitHub), Title: "GitHub", URL: "https://github.com",
			MaxAge: func(string, bool) (time.Duration, string) {
				return 0, "GitHub does not say when a delivery was sent"
			},
			RepoType:  func(string) string { return "GitHub" },
			APIURL:    githubAPI,
			Apps:      true,
			SignsBody: func(bool) bool { return true },
		},
		ref:    "merge_request",
		verify: verifyGitHub,
		sign:   signGitHub,

		isPing:        func(header http.Header) bool { return header.Get("X-GitHub-Event") == "ping" },
		eventName:     inHeader("X-GitHub-Event"),
		kind:          githubKind,
		deliveryID:    func(_ Connection, header http.Header) string { return header.Get("X-GitHub-Delivery") },
		setDeliveryID: func(header http.Header, id string) { header.Set("X-GitHub-Delivery", id) },
		key:           bodyKey,
		keptHeaders: []string{
			"X-Github-Event", "X-Github-Delivery", "X-Github-Hook-Id",
			"X-Github-Hook-Installation-Target-Id", "X-Github-Hook-Installation-Target-Type",
			"X-Github-Enterprise-Host", "X-Github-Enterprise-Version",
		},

		forms:          true,
		payload:        jsonOrForm,
		withoutSecrets: nothingSecret,
		parse:          parseGitHub,
	}
}

// githubAPI: github.com has its API on a host of its own, an Enterprise Server below its
// address.
func githubAPI(address string) string {
	if u, err := url.Parse(address); err == nil && strings.EqualFold(u.Hostname(), "github.com") {
		return "https://api.github.com"
	}
	return address + "/api/v3"
}

// githubKind: a tag is announced as a push.
func githubKind(eventName string) event.Kind {
	switch eventName {
	case "push":
		return event.Push
	case "pull_request", "pull_request_review":
		return event.MergeRequest
	case "merge_group":
		return event.MergeGroup
	case "issue_comment", "pull_request_review_comment", "commit_comment":
		return event.Comment
	}
	return ""
}

// verifyGitHub demands X-Hub-Signature-256, an HMAC over the raw body, JSON or
// form; the older SHA-1 header is not used (specs/githosts.md 1.1). Gitea and Forgejo send
// GitHub's headers too, with a signature that is right for JSON, and events that mean
// something else (specs/githosts.md 4.2).
func verifyGitHub(c Connection, header http.Header, _ time.Time) (func([]byte) error, error) {
	if name := giteaDelivery(header); name != "" {
		return nil, refuse("this is a delivery of Gitea or Forgejo, because it has the header %s: give this connection the kind %s", name, event.Gitea)
	}
	signature := header.Get("X-Hub-Signature-256")
	if signature == "" {
		return nil, refuse("X-Hub-Signature-256 is missing: set a secret on the webhook")
	}
	encoded, ok := strings.CutPrefix(signature, "sha256=")
	if !ok {
		return nil, refuse("X-Hub-Signature-256 does not start with sha256=")
	}
	got, err := hex.DecodeString(encoded)
	if err != nil {
		return nil, refuse("X-Hub-Signature-256 is not hexadecimal")
	}
	if len(got) != sha256.Size {
		return nil, refuse("X-Hub-Signature-256 does not have 64 digits")
	}
	return func(body []byte) error {
		for _, secret := range c.Secrets {
			if secret != "" && hmac.Equal(got, hmacSHA256([]byte(secret), body)) {
				return nil
			}
		}
		return refuse("X-Hub-Signature-256 does not match the body: give the webhook and this connection the same secret")
	}, nil
}

func signGitHub(c Connection, header http.Header, body []byte, _ time.Time) ([]byte, error) {
	if name := giteaDelivery(header); name != "" {
		return nil, fmt.Errorf("sign delivery of %q: it is a delivery of Gitea or Forgejo, because it has the header %s, and this connection has the kind %s", c.Name, name, event.GitHub)
	}
	header.Del("X-Hub-Signature")
	header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(hmacSHA256([]byte(c.Secrets[0]), body)))
	return body, nil
}

// parseGitHub reads the events that carry code or a remark on it; every other
// event is ignored by its name and its body is not read, because the
// library knows neither all events nor all their shapes (specs/githosts.md 1.4).
func parseGitHub(header http.Header, body []byte) (event.Event, places, error) {
	name := header.Get("X-GitHub-Event")
	if name == "" {
		return event.Event{}, places{}, errors.New("X-GitHub-Event is missing")
	}
	if other := giteaDelivery(header); other != "" {
		return event.Event{}, places{}, fmt.Errorf("it is a delivery of Gitea or Forgejo, because it has the header %s: read it as the kind %s", other, event.Gitea)
	}
	if githubKind(name) == "" {
		return ignoredKind(name), places{}, nil
	}
	payload, err := jsonOrForm(header, body)
	if err != nil {
		return event.Event{}, places{}, err
	}
	if payload, err = object(payload); err != nil {
		return event.Event{}, places{}, err
	}
	parsed, err := github.ParseWebHook(name, payload)
	if err != nil {
		return event.Event{}, places{}, fmt.Errorf("decode %s event: %w", name, err)
	}
	ev, said := ignoredKind(name), places{}
	switch e := parsed.(type) {
	case *github.PushEvent:
		said.target = []place{{e.GetRepo().GetHTMLURL(), e.GetRepo().GetCloneURL()}}
		ev, err = githubPush(e)
	case *github.PullRequestEvent:
		said = githubPlaces(e.GetRepo(), e.GetPullRequest())
		ev, err = githubPullRequest(e)
	case *github.PullRequestReviewEvent:
		said = githubPlaces(e.GetRepo(), e.GetPullRequest())
		ev, err = githubReview(e)
	case *github.MergeGroupEvent:
		said = githubPlaces(e.GetRepo(), nil)
		ev, err = githubMergeGroup(e)
	case *github.IssueCommentEvent:
		said = githubPlaces(e.GetRepo(), nil)
		ev, err = githubIssueComment(e)
	case *github.PullRequestReviewCommentEvent:
		said = githubPlaces(e.GetRepo(), e.GetPullRequest())
		ev, err = githubReviewComment(e)
	case *github.CommitCommentEvent:
		said = githubPlaces(e.GetRepo(), nil)
		ev, err = githubCommitComment(e)
	}
	return ev, said, err
}

// githubPlaces: a pull request, which may be nil, describes its target again.
func githubPlaces(repo *github.Repository, pr *github.PullRequest) places {
	at := func(r *github.Repository) place { return place{r.GetHTMLURL(), r.GetCloneURL()} }
	return places{
		target: []place{at(repo), at(pr.GetBase().GetRepo())},
		source: []place{at(pr.GetHead().GetRepo())},
	}
}

// githubPush reads a push of a branch or a tag: both are the event "push".
func githubPush(e *github.PushEvent) (event.Event, error) {
	ev := pushed(e.GetRef(), e.GetBefore(), e.GetAfter(), e.GetHeadCommit().GetID(), e.GetDeleted())
	repo := e.GetRepo()
	ev.Repository = event.Repository{
		Host:          event.GitHub,
		ID:            idText(repo.GetID()),
		FullName:      repo.GetFullName(),
		Private:       repo.GetPrivate(),
		DefaultBranch: repo.GetDefaultBranch(),
	}
	ev.PushedAt = githubTime(repo.GetPushedAt())
	var commits []commitFiles
	for _, c := range e.Commits {
		if c == nil {
			c = &github.HeadCommit{}
		}
		commits = append(commits, commitFiles{c.Added, c.Removed, c.Modified})
	}
	ev.Files = pushedFiles(commits, len(commits))
	if e.GetForced() {
		ev.Files = event.NewFiles(nil, "the push was forced, so that files of the commits which it removed count too")
	}
	ev.Sender = cmp.Or(e.GetSender().GetLogin(), e.GetPusher().GetLogin(), e.GetPusher().GetName())
	ev.SenderID = idText(e.GetSender().GetID())
	ev.Author, ev.AuthorID = ev.Sender, ev.SenderID
	if ev.Kind == event.Push && strings.HasPrefix(ev.Branch, event.MergeQueueBranches) {
		ev.IgnoredReason = "the branch is one of the merge queue: its merge_group event says what is to be checked"
	}
	return settlePush(ev)
}

// githubMergeGroup reads what the merge queue asks for: the check of a branch that it has made, or
// that its branch is gone (merged, or taken out of the queue).
func githubMergeGroup(e *github.MergeGroupEvent) (event.Event, error) {
	group := e.GetMergeGroup()
	source, isBranch := strings.CutPrefix(group.GetHeadRef(), "refs/heads/")
	target, hasTarget := strings.CutPrefix(group.GetBaseRef(), "refs/heads/")
	if !isBranch || !hasTarget || source == "" || target == "" {
		return event.Event{}, errors.New("the merge group's branches are missing")
	}
	ev := event.Event{
		Kind:         event.MergeGroup,
		Repository:   githubRepository(e.GetRepo()),
		Branch:       target,
		SourceBranch: source,
		Before:       group.GetBaseSHA(),
		HeadSHA:      group.GetHeadSHA(),
		Author:       e.GetSender().GetLogin(),
		Sender:       e.GetSender().GetLogin(),
	}
	switch e.GetAction() {
	case "checks_requested":
		ev.Action, ev.NewCode = event.Created, true
		if ev.HeadSHA == "" {
			return event.Event{}, errors.New("the merge group's commit is missing")
		}
	case "destroyed":
		ev.Action, ev.Deleted, ev.HeadSHA, ev.Before = event.Deleted, true, "", ""
		ev.IgnoredReason = "the merge group is gone: nothing to check"
	default:
		ev.Action = event.Other
		ev.IgnoredReason = fmt.Sprintf("merge group action %s asks for no check", quote(e.GetAction()))
	}
	return checked(ev)
}

func githubPullRequest(e *github.PullRequestEvent) (event.Event, error) {
	if e.PullRequest == nil {
		return event.Event{}, errors.New("pull_request is missing")
	}
	ev := githubMergeRequest(e.GetRepo(), e.GetPullRequest(), e.GetSender())
	if ev.Number == 0 {
		ev.Number = e.GetNumber()
	}
	switch e.GetAction() {
	case "opened":
		ev.Action = event.Opened
	case "reopened":
		ev.Action = event.Reopened
	case "synchronize":
		ev.Action, ev.Before = event.Updated, e.GetBefore()
	case "edited":
		ev.Action = event.Edited
		if e.GetChanges().GetBase() != nil {
			ev.Action = event.Retargeted
		}
	case "labeled", "unlabeled":
		ev.Action = event.Labeled
	case "ready_for_review":
		ev.Action = event.Ready
	case "converted_to_draft":
		ev.Action = event.Drafted
	case "closed":
		ev.Action = event.Closed
		if e.GetPullRequest().GetMerged() {
			ev.Action = event.Merged
		}
	default:
		ev.Action = event.Other
	}
	return settleMergeRequest(ev, e.GetAction(), e.GetPullRequest().GetState() == "closed")
}

func githubReview(e *github.PullRequestReviewEvent) (event.Event, error) {
	if e.PullRequest == nil {
		return event.Event{}, errors.New("pull_request is missing")
	}
	ev := githubMergeRequest(e.GetRepo(), e.GetPullRequest(), e.GetSender())
	ev.Action = event.Other
	switch {
	case e.GetAction() == "submitted" && strings.EqualFold(e.GetReview().GetState(), "approved"):
		ev.Action = event.Approved
	case e.GetAction() == "dismissed":
		ev.Action = event.Unapproved
	}
	return settleMergeRequest(ev, "review "+e.GetAction(), e.GetPullRequest().GetState() == "closed")
}

// githubMergeRequest fills all but the action.
func githubMergeRequest(repo *github.Repository, pr *github.PullRequest, sender *github.User) event.Event {
	return event.Event{
		Kind:         event.MergeRequest,
		Repository:   githubRepository(repo),
		Branch:       pr.GetBase().GetRef(),
		SourceBranch: pr.GetHead().GetRef(),
		HeadSHA:      pr.GetHead().GetSHA(),
		Number:       pr.GetNumber(),
		Title:        pr.GetTitle(),
		Author:       pr.GetUser().GetLogin(),
		AuthorID:     idText(pr.GetUser().GetID()),
		Sender:       sender.GetLogin(),
		SenderID:     idText(sender.GetID()),
		Draft:        pr.GetDraft(),
		Fork:         githubFork(pr),
		Labels:       githubLabels(pr.Labels),
		UpdatedAt:    githubTime(pr.GetUpdatedAt()),
	}
}

// githubFork reports whether the code comes from another repository. GitHub
// sends head.repo as null when the fork was deleted; where both repositories
// are missing, the owners in the labels (owner:branch) decide.
func githubFork(pr *github.PullRequest) bool {
	head, base := pr.GetHead(), pr.GetBase()
	switch {
	case head.GetRepo() != nil:
		return head.GetRepo().GetID() != base.GetRepo().GetID()
	case base.GetRepo() != nil:
		return true
	}
	headOwner, _, _ := strings.Cut(head.GetLabel(), ":")
	baseOwner, _, _ := strings.Cut(base.GetLabel(), ":")
	return headOwner != baseOwner
}

// githubIssueComment reads a remark on an issue or a pull request; the host
// sends no head commit with it (specs/githosts.md 1.3).
func githubIssueComment(e *github.IssueCommentEvent) (event.Event, error) {
	issue := e.GetIssue()
	if issue == nil {
		return event.Event{}, errors.New("issue is missing")
	}
	ev := event.Event{
		Kind:       event.Comment,
		Repository: githubRepository(e.GetRepo()),
		Title:      issue.GetTitle(),
		Author:     e.GetComment().GetUser().GetLogin(),
		AuthorID:   idText(e.GetComment().GetUser().GetID()),
		Sender:     e.GetSender().GetLogin(),
		SenderID:   idText(e.GetSender().GetID()),
		Draft:      issue.GetDraft(),
		Labels:     githubLabels(issue.Labels),
		UpdatedAt:  githubTime(e.GetComment().GetUpdatedAt()),
	}
	if issue.IsPullRequest() {
		ev.Number = issue.GetNumber()
		ev.CommentID, ev.Comment = idText(e.GetComment().GetID()), e.GetComment().GetBody()
	}
	return settleComment(ev, e.GetAction() == "created")
}

func githubReviewComment(e *github.PullRequestReviewCommentEvent) (event.Event, error) {
	if e.PullRequest == nil {
		return event.Event{}, errors.New("pull_request is missing")
	}
	ev := githubMergeRequest(e.GetRepo(), e.GetPullRequest(), e.GetSender())
	ev.Kind = event.Comment
	ev.Author, ev.AuthorID = e.GetComment().GetUser().GetLogin(), idText(e.GetComment().GetUser().GetID())
	ev.UpdatedAt = githubTime(e.GetComment().GetUpdatedAt())
	return settleComment(ev, e.GetAction() == "created")
}

func githubCommitComment(e *github.CommitCommentEvent) (event.Event, error) {
	return settleComment(event.Event{
		Kind:       event.Comment,
		Repository: githubRepository(e.GetRepo()),
		HeadSHA:    e.GetComment().GetCommitID(),
		Author:     e.GetComment().GetUser().GetLogin(),
		AuthorID:   idText(e.GetComment().GetUser().GetID()),
		Sender:     e.GetSender().GetLogin(),
		SenderID:   idText(e.GetSender().GetID()),
		UpdatedAt:  githubTime(e.GetComment().GetUpdatedAt()),
	}, e.GetAction() == "created")
}

func githubRepository(repo *github.Repository) event.Repository {
	name := repo.GetFullName()
	if owner := repo.GetOwner().GetLogin(); name == "" && owner != "" && repo.GetName() != "" {
		name = owner + "/" + repo.GetName()
	}
	return event.Repository{
		Host:          event.GitHub,
		ID:            idText(repo.GetID()),
		FullName:      name,
		Private:       repo.GetPrivate(),
		DefaultBranch: repo.GetDefaultBranch(),
	}
}

func githubLabels(labels []*github.Label) []string {
	var names []string
	for _, label := range labels {
		names = append(names, label.GetName())
	}
	return names
}

// githubTime spells a time as GitHub does.
func githubTime(t github.Timestamp) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
