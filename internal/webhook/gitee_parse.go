package webhook

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
)

// giteeText is a value that Gitee sends as a string, a number or null.
type giteeText string

func (t *giteeText) UnmarshalJSON(data []byte) error {
	switch {
	case bytes.Equal(data, []byte("null")):
		return nil
	case data[0] == '"':
		return json.Unmarshal(data, (*string)(t))
	case data[0] == '-' || data[0] >= '0' && data[0] <= '9':
		*t = giteeText(data)
		return nil
	}
	return errors.New("expected a text or a number")
}

type giteeUser struct {
	ID       giteeText `json:"id"`
	Login    giteeText `json:"login"`
	Username giteeText `json:"username"`
	UserName giteeText `json:"user_name"`
}

type giteeProject struct {
	ID                giteeText `json:"id"`
	PathWithNamespace giteeText `json:"path_with_namespace"`
	FullName          giteeText `json:"full_name"`
	HTMLURL           giteeText `json:"html_url"`
	GitHTTPURL        giteeText `json:"git_http_url"`
	CloneURL          giteeText `json:"clone_url"`
	Private           bool      `json:"private"`
	DefaultBranch     giteeText `json:"default_branch"`
}

// giteeRepo is a side of a merge request as older hooks describe it.
type giteeRepo struct {
	Project *giteeProject `json:"project"`
}

type giteeSide struct {
	Ref  giteeText     `json:"ref"`
	SHA  giteeText     `json:"sha"`
	Repo *giteeProject `json:"repo"`
}

// giteeEvent holds the fields of all hooks; each hook fills its own. Objects
// that can be null are pointers (specs/githosts.md 3.2, 3.3).
type giteeEvent struct {
	HookName giteeText     `json:"hook_name"`
	Project  *giteeProject `json:"project"`
	// Repository is the same as Project.
	Repository *giteeProject `json:"repository"`
	Sender     *giteeUser    `json:"sender"`
	User       *giteeUser    `json:"user"`

	Ref        giteeText `json:"ref"`
	Before     giteeText `json:"before"`
	After      giteeText `json:"after"`
	Deleted    bool      `json:"deleted"`
	HeadCommit *struct {
		ID giteeText `json:"id"`
	} `json:"head_commit"`

	// Commits are not read where they have another form: nothing but the files is taken from
	// them, and there null stands for none (specs/githosts.md 3.2).
	Commits            json.RawMessage `json:"commits"`
	TotalCommitsCount  json.RawMessage `json:"total_commits_count"`
	CommitsMoreThanTen json.RawMessage `json:"commits_more_than_ten"`

	Action       giteeText         `json:"action"`
	ActionDesc   giteeText         `json:"action_desc"`
	SourceBranch giteeText         `json:"source_branch"`
	TargetBranch giteeText         `json:"target_branch"`
	SourceRepo   *giteeRepo        `json:"source_repo"`
	TargetRepo   *giteeRepo        `json:"target_repo"`
	Author       *giteeUser        `json:"author"`
	PullRequest  *giteePullRequest `json:"pull_request"`

	NoteableType giteeText `json:"noteable_type"`
	Comment      *struct {
		ID        giteeText  `json:"id"`
		Body      giteeText  `json:"body"`
		User      *giteeUser `json:"user"`
		UpdatedAt giteeText  `json:"updated_at"`
	} `json:"comment"`
}

type giteePullRequest struct {
	Number    giteeText  `json:"number"`
	Title     giteeText  `json:"title"`
	State     giteeText  `json:"state"`
	User      *giteeUser `json:"user"`
	Draft     bool       `json:"draft"`
	Head      *giteeSide `json:"head"`
	Base      *giteeSide `json:"base"`
	UpdatedAt giteeText  `json:"updated_at"`
	Labels    []struct {
		Name giteeText `json:"name"`
	} `json:"labels"`
}

// parseGitee goes by hook_name of the body; a header that names another event
// is an error, because nothing signs either of them.
func parseGitee(header http.Header, body []byte) (ev event.Event, said places, err error) {
	if _, err := giteePayload(header, body); err != nil {
		return event.Event{}, places{}, err
	}
	body, err = object(body)
	if err != nil {
		return event.Event{}, places{}, err
	}
	var e giteeEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return event.Event{}, places{}, fmt.Errorf("decode event: %w", err)
	}
	announced := giteeHookName(header.Get("X-Gitee-Event"))
	name := cmp.Or(giteeHookName(string(e.HookName)), announced)
	if announced != "" && announced != name {
		return event.Event{}, places{}, fmt.Errorf("the header says %s and the body says %s", quote(announced), quote(name))
	}
	switch name {
	case "push_hooks", "tag_push_hooks":
		ev, err = giteePush(&e)
	case "merge_request_hooks":
		ev, err = giteeMergeRequest(&e)
	case "note_hooks":
		ev, err = giteeNote(&e)
	case "":
		err = errors.New("hook_name is missing")
	default:
		ev = ignoredKind(name)
	}
	return ev, e.places(), err
}

// places: the repository stands in the payload under two names, and a merge request
// describes both of its sides in two ways.
func (e *giteeEvent) places() (said places) {
	said.target = append(e.Project.places(), e.Repository.places()...)
	if e.TargetRepo != nil {
		said.target = append(said.target, e.TargetRepo.Project.places()...)
	}
	if e.SourceRepo != nil {
		said.source = e.SourceRepo.Project.places()
	}
	if pr := e.PullRequest; pr != nil {
		said.target = append(said.target, pr.Base.orEmpty().Repo.places()...)
		said.source = append(said.source, pr.Head.orEmpty().Repo.places()...)
	}
	return said
}

// places returns nothing for a project that is not there.
func (p *giteeProject) places() []place {
	if p == nil {
		return nil
	}
	return []place{{string(p.HTMLURL), string(p.GitHTTPURL)}, {clone: string(p.CloneURL)}}
}

func giteePush(e *giteeEvent) (event.Event, error) {
	var commit giteeText
	if e.HeadCommit != nil {
		commit = e.HeadCommit.ID
	}
	ev := pushed(string(e.Ref), string(e.Before), string(e.After), string(commit), e.Deleted)
	ev.Repository = e.repository()
	ev.Sender, ev.SenderID = cmp.Or(e.Sender.login(), e.User.login()), cmp.Or(e.Sender.id(), e.User.id())
	ev.Author, ev.AuthorID = ev.Sender, ev.SenderID
	ev.Files = e.files()
	return settlePush(ev)
}

// files are those of a push. It lists the newest commits, and says of more than ten of them
// that there are more.
func (e *giteeEvent) files() event.Files {
	var commits []commitFiles
	if json.Unmarshal(e.Commits, &commits) != nil {
		return event.Files{}
	}
	total, _ := strconv.Atoi(strings.Trim(string(e.TotalCommitsCount), `"`))
	if string(e.CommitsMoreThanTen) == "true" {
		total = max(total, len(commits)+1)
	}
	return pushedFiles(commits, total)
}

func giteeMergeRequest(e *giteeEvent) (event.Event, error) {
	ev, err := e.mergeRequest()
	if err != nil {
		return event.Event{}, err
	}
	ev.Action = giteeAction(e)
	hostAction := string(e.Action)
	if hostAction == "update" {
		hostAction += " " + string(e.ActionDesc)
	}
	state := e.PullRequest.State
	return settleMergeRequest(ev, hostAction, state == "closed" || state == "merged")
}

// giteeAction reads the action. action_desc counts only with "update": in
// other actions it is null or left over (specs/githosts.md 3.3).
func giteeAction(e *giteeEvent) event.Action {
	switch e.Action {
	case "open":
		return event.Opened
	case "reopen":
		return event.Reopened
	case "close":
		return event.Closed
	case "merge":
		return event.Merged
	case "approved":
		return event.Approved
	case "update":
		switch e.ActionDesc {
		case "source_branch_changed":
			return event.Updated
		case "target_branch_changed":
			return event.Retargeted
		case "update_label":
			return event.Labeled
		}
	}
	return event.Other
}

func giteeNote(e *giteeEvent) (event.Event, error) {
	ev := event.Event{Repository: e.repository()}
	if e.NoteableType == "PullRequest" {
		var err error
		if ev, err = e.mergeRequest(); err != nil {
			return event.Event{}, err
		}
	}
	ev.Kind, ev.UpdatedAt = event.Comment, ""
	ev.Sender, ev.SenderID = e.Sender.login(), e.Sender.id()
	ev.Author, ev.AuthorID = ev.Sender, ev.SenderID
	if e.Comment != nil {
		ev.UpdatedAt = string(e.Comment.UpdatedAt)
		if e.Comment.User.login() != "" {
			ev.Author, ev.AuthorID = e.Comment.User.login(), e.Comment.User.id()
		}
		if ev.Number > 0 {
			ev.CommentID, ev.Comment = string(e.Comment.ID), string(e.Comment.Body)
		}
	}
	return settleComment(ev, e.Action == "comment")
}

// mergeRequest fills all but the action. The head is pull_request.head.sha;
// merge_commit_sha is a test merge, even while the pull request is open.
func (e *giteeEvent) mergeRequest() (event.Event, error) {
	pr := e.PullRequest
	if pr == nil {
		return event.Event{}, errors.New("pull_request is missing")
	}
	number, err := strconv.Atoi(string(pr.Number))
	if err != nil || number <= 0 {
		return event.Event{}, errors.New("pull_request.number is missing or not a number")
	}
	head, base := pr.Head.orEmpty(), pr.Base.orEmpty()
	repository := e.repository()
	source := head.Repo
	if e.SourceRepo != nil && e.SourceRepo.Project != nil {
		source = e.SourceRepo.Project
	}
	var labels []string
	for _, label := range pr.Labels {
		labels = append(labels, string(label.Name))
	}
	return event.Event{
		Kind:         event.MergeRequest,
		Repository:   repository,
		Branch:       cmp.Or(string(e.TargetBranch), string(base.Ref)),
		SourceBranch: cmp.Or(string(e.SourceBranch), string(head.Ref)),
		HeadSHA:      string(head.SHA),
		Number:       number,
		Title:        string(pr.Title),
		Author:       cmp.Or(pr.User.login(), e.Author.login()),
		AuthorID:     cmp.Or(pr.User.id(), e.Author.id()),
		Sender:       e.Sender.login(),
		SenderID:     e.Sender.id(),
		Draft:        pr.Draft || draftTitle(string(pr.Title)),
		Fork:         source == nil || string(source.ID) != repository.ID,
		Labels:       labels,
		UpdatedAt:    string(pr.UpdatedAt),
	}, nil
}

// repository is the repository whose webhook fired. full_name is a display name
// and is only used when the path is missing.
func (e *giteeEvent) repository() event.Repository {
	p := e.Project
	if p == nil {
		p = e.Repository
	}
	if p == nil {
		return event.Repository{Host: event.Gitee}
	}
	return event.Repository{
		Host:          event.Gitee,
		ID:            string(p.ID),
		FullName:      cmp.Or(string(p.PathWithNamespace), string(p.FullName)),
		Private:       p.Private,
		DefaultBranch: string(p.DefaultBranch),
	}
}

func (s *giteeSide) orEmpty() giteeSide {
	if s == nil {
		return giteeSide{}
	}
	return *s
}

func (u *giteeUser) login() string {
	if u == nil {
		return ""
	}
	return cmp.Or(string(u.Login), string(u.Username), string(u.UserName))
}

func (u *giteeUser) id() string {
	if u == nil {
		return ""
	}
	return string(u.ID)
}
