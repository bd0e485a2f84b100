package webhook

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/xanzy/go-gitlab"

	"github.com/gatewright/gatewright/internal/event"
)

// gitlabMaxAge is what Standard Webhooks libraries use; GitLab states no limit
// (specs/githosts.md 2.1).
const gitlabMaxAge = 5 * time.Minute

// gitlabHost is GitLab, on gitlab.com or self-managed.
func gitlabHost() host {
	return host{
		Kind: Kind{
			Name: string(event.GitLab), Title: "GitLab", URL: "https://gitlab.com",
			CheckSigningToken: func(token string) error {
				_, err := signingKey(token)
				return err
			},
			MaxAge: func(_ string, signingTokens bool) (time.Duration, string) {
				if !signingTokens {
					return 0, "only a GitLab signature made with a signing token has a time"
				}
				return gitlabMaxAge, ""
			},
			RepoType: gitlabRepoType,
			APIURL:   func(address string) string { return address + "/api/v4" },
			// The secret token is sent as it is, and says nothing of the body.
			SignsBody: func(secrets bool) bool { return !secrets },
		},
		ref:    "merge_request",
		verify: verifyGitLab,
		sign:   signGitLab,
		sentAt: func(header http.Header) (time.Time, bool) {
			seconds, err := strconv.ParseInt(header.Get("Webhook-Timestamp"), 10, 64)
			return time.Unix(seconds, 0).UTC(), err == nil
		},

		isPing:        neverPing,
		eventName:     inHeader("X-Gitlab-Event"),
		kind:          gitlabKind,
		deliveryID:    gitlabDeliveryID,
		setDeliveryID: setGitLabDeliveryID,
		key:           bodyKey,
		keptHeaders: []string{
			"X-Gitlab-Event", "X-Gitlab-Instance", "X-Gitlab-Event-Uuid", "X-Gitlab-Webhook-Uuid",
			"Idempotency-Key", "Webhook-Id", "Webhook-Timestamp",
		},

		payload:        bodyItself,
		withoutSecrets: nothingSecret,
		parse:          parseGitLab,
	}
}

func gitlabRepoType(address string) string {
	if u, err := url.Parse(address); err == nil && strings.EqualFold(u.Hostname(), "gitlab.com") {
		return "gitlab"
	}
	return "self_gitlab"
}

func gitlabKind(eventName string) event.Kind {
	switch eventName {
	case "Push Hook":
		return event.Push
	case "Tag Push Hook":
		return event.Tag
	case "Merge Request Hook":
		return event.MergeRequest
	case "Note Hook", "Confidential Note Hook":
		return event.Comment
	}
	return ""
}

// gitlabDeliveryID: GitLab repeats its Idempotency-Key as webhook-id, and where
// the signing token is used only that one is covered by the signature.
func gitlabDeliveryID(c Connection, header http.Header) string {
	if len(c.SigningTokens) > 0 && header.Get("Webhook-Signature") != "" {
		return header.Get("Webhook-Id")
	}
	return cmp.Or(header.Get("Idempotency-Key"), header.Get("Webhook-Id"))
}

// setGitLabDeliveryID leaves webhook-id to Sign, which makes it the same as
// Idempotency-Key, as GitLab does.
func setGitLabDeliveryID(header http.Header, id string) {
	header.Set("Idempotency-Key", id)
	header.Set("X-Gitlab-Event-UUID", id)
	header.Del("Webhook-Id")
}

// verifyGitLab holds a delivery that carries webhook-signature to the signing
// tokens, where the connection has some, and every other to the secret token:
// the order that GitLab gives for moving from one to the other
// (specs/githosts.md 2.1).
func verifyGitLab(c Connection, header http.Header, now time.Time) (func([]byte) error, error) {
	_, signed := header["Webhook-Signature"]
	if signed && len(c.SigningTokens) > 0 {
		return verifyGitLabSignature(c, header, now)
	}
	if len(c.Secrets) == 0 {
		return nil, refuse("webhook-signature is missing: set the signing token on the webhook")
	}
	token := header.Get("X-Gitlab-Token")
	if token == "" {
		return nil, refuse("X-Gitlab-Token is missing: set a secret token on the webhook")
	}
	for _, secret := range c.Secrets {
		if sameSecret(secret, token) {
			return nil, nil
		}
	}
	return nil, refuse("X-Gitlab-Token is not this connection's secret: set it on the webhook")
}

func verifyGitLabSignature(c Connection, header http.Header, now time.Time) (func([]byte) error, error) {
	offered := strings.Fields(header.Get("Webhook-Signature"))
	if !slices.ContainsFunc(offered, isGitLabSignature) {
		return nil, refuse("webhook-signature is not v1, a comma and the base64 of 32 bytes")
	}
	if err := checkAge(c, header, now); err != nil {
		return nil, err
	}
	return func(body []byte) error {
		for _, token := range c.SigningTokens {
			key, err := signingKey(token)
			if err != nil {
				continue
			}
			want := []byte(gitlabSignature(key, header, body))
			for _, got := range offered {
				if hmac.Equal(want, []byte(got)) {
					return nil
				}
			}
		}
		return refuse("webhook-signature does not match the body: give the webhook and this connection the same signing token")
	}, nil
}

// isGitLabSignature reports whether one value of webhook-signature can be one.
func isGitLabSignature(value string) bool {
	encoded, v1 := strings.CutPrefix(value, "v1,")
	got, err := base64.StdEncoding.DecodeString(encoded)
	return v1 && err == nil && len(got) == sha256.Size
}

// gitlabSignature is one value of webhook-signature, for the id and the time
// that the header holds.
func gitlabSignature(key []byte, header http.Header, body []byte) string {
	prefix := header.Get("Webhook-Id") + "." + header.Get("Webhook-Timestamp") + "."
	return "v1," + base64.StdEncoding.EncodeToString(hmacSHA256(key, []byte(prefix), body))
}

// signingKey returns the key that a signing token stands for. The error never
// holds the token.
func signingKey(token string) ([]byte, error) {
	encoded, ok := strings.CutPrefix(token, "whsec_")
	if !ok {
		return nil, errors.New(`must start with "whsec_"`)
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`must be "whsec_" and the base64 of 24 to 64 bytes, as GitLab shows it once`)
	}
	return key, nil
}

func signGitLab(c Connection, header http.Header, body []byte, now time.Time) ([]byte, error) {
	for _, name := range []string{"X-Gitlab-Token", "Webhook-Timestamp", "Webhook-Signature"} {
		header.Del(name)
	}
	if len(c.Secrets) > 0 {
		header.Set("X-Gitlab-Token", c.Secrets[0])
	}
	if len(c.SigningTokens) == 0 {
		return body, nil
	}
	key, err := signingKey(c.SigningTokens[0])
	if err != nil {
		return nil, fmt.Errorf("sign delivery of %q: signing token: %w", c.Name, err)
	}
	if header.Get("Webhook-Id") == "" {
		header.Set("Webhook-Id", cmp.Or(header.Get("Idempotency-Key"), bodyKey(header.Get("X-Gitlab-Event"), body)))
	}
	header.Set("Webhook-Timestamp", strconv.FormatInt(now.Unix(), 10))
	header.Set("Webhook-Signature", gitlabSignature(key, header, body))
	return body, nil
}

// gitlabEnvelope is what tells GitLab's events apart, and what the library's
// structs lose of them (specs/githosts.md 2.4).
type gitlabEnvelope struct {
	ObjectKind string        `json:"object_kind"`
	EventName  string        `json:"event_name"`
	Project    gitlabProject `json:"project"`
	ProjectID  int64         `json:"project_id"`
	Attributes struct {
		TargetProjectID int64 `json:"target_project_id"`
	} `json:"object_attributes"`
	PushOpts struct {
		CI map[string]any `json:"ci"`
	} `json:"push_options"`
	MergeRequest struct {
		Draft bool `json:"draft"`
	} `json:"merge_request"`
}

type gitlabProject struct {
	ID                int64  `json:"id"`
	PathWithNamespace string `json:"path_with_namespace"`
	WebURL            string `json:"web_url"`
	GitHTTPURL        string `json:"git_http_url"`
	DefaultBranch     string `json:"default_branch"`
	// VisibilityLevel is 0 private, 10 internal, 20 public.
	VisibilityLevel *int `json:"visibility_level"`
}

// parseGitLab goes by the body: the header of a system hook says only "System
// Hook", and a signing token covers the body but not the header.
func parseGitLab(header http.Header, body []byte) (ev event.Event, said places, err error) {
	body, err = object(body)
	if err != nil {
		return event.Event{}, places{}, err
	}
	var envelope gitlabEnvelope
	if err := json.Unmarshal(body, &envelope); err != nil {
		return event.Event{}, places{}, fmt.Errorf("decode event: %w", err)
	}
	said.target = []place{{envelope.Project.WebURL, envelope.Project.GitHTTPURL}}
	switch name := cmp.Or(envelope.ObjectKind, envelope.EventName); name {
	case "push", "tag_push":
		ev, err = gitlabPush(envelope, body)
	case "merge_request":
		ev, said.source, err = gitlabMergeRequest(envelope, body)
	case "note":
		ev, said.source, err = gitlabNote(envelope, body)
	case "":
		err = fmt.Errorf("the body of %s has neither object_kind nor event_name: a custom webhook template must keep GitLab's own fields", quote(header.Get("X-Gitlab-Event")))
	default:
		ev = ignoredKind(name)
	}
	return ev, said, err
}

// gitlabSource is where the source of a merge request is; it is missing when the
// fork was deleted.
func gitlabSource(source *gitlab.Repository) []place {
	if source == nil {
		return nil
	}
	return []place{{source.WebURL, source.GitHTTPURL}}
}

// gitlabPush reads a push of a branch or a tag. checkout_sha is the commit,
// where after is the object of an annotated tag; null on deletion.
func gitlabPush(envelope gitlabEnvelope, body []byte) (event.Event, error) {
	var e gitlab.PushEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return event.Event{}, fmt.Errorf("decode push: %w", err)
	}
	ev := pushed(e.Ref, e.Before, e.After, e.CheckoutSHA, false)
	ev.Repository = envelope.repository()
	ev.Sender, ev.Author = e.UserUsername, e.UserUsername
	ev.SenderID, ev.AuthorID = idText(int64(e.UserID)), idText(int64(e.UserID))
	var commits []commitFiles
	for _, c := range e.Commits {
		if c == nil {
			commits = append(commits, commitFiles{})
			continue
		}
		commits = append(commits, commitFiles{c.Added, c.Removed, c.Modified})
	}
	ev.Files = pushedFiles(commits, e.TotalCommitsCount)
	if skip, ok := envelope.PushOpts.CI["skip"]; ok && skip != nil && skip != false {
		ev.IgnoredReason = "push asks to skip checks: it was made with -o ci.skip"
	}
	return settlePush(ev)
}

func gitlabMergeRequest(envelope gitlabEnvelope, body []byte) (event.Event, []place, error) {
	var e gitlab.MergeEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return event.Event{}, nil, fmt.Errorf("decode merge request: %w", err)
	}
	mr := e.ObjectAttributes
	ev := event.Event{
		Kind:         event.MergeRequest,
		Action:       gitlabAction(&e),
		Repository:   envelope.repository(),
		Branch:       mr.TargetBranch,
		SourceBranch: mr.SourceBranch,
		HeadSHA:      mr.LastCommit.ID,
		Number:       mr.IID,
		Title:        mr.Title,
		Draft:        mr.Draft || mr.WorkInProgress || draftTitle(mr.Title),
		Fork:         mr.SourceProjectID != mr.TargetProjectID,
		Labels:       gitlabLabels(e.Labels),
		UpdatedAt:    mr.UpdatedAt,
	}
	if e.Labels == nil {
		ev.Labels = gitlabLabels(mr.Labels)
	}
	if ev.Action == event.Updated {
		ev.Before = mr.OldRev
	}
	ev.AuthorID = idText(int64(mr.AuthorID))
	if e.User != nil {
		ev.Sender, ev.SenderID = e.User.Username, idText(int64(e.User.ID))
		if mr.AuthorID != 0 && e.User.ID == mr.AuthorID {
			ev.Author = e.User.Username
		}
	}
	ev, err := settleMergeRequest(ev, mr.Action, mr.State == "closed" || mr.State == "merged")
	return ev, gitlabSource(mr.Source), err
}

// gitlabAction reads the action. An "update" brings new code exactly when it
// has oldrev; otherwise `changes` says what it was about, and where it was about
// several things the one that matters most to a check counts. The action is
// missing in test deliveries (specs/githosts.md 2.3).
func gitlabAction(e *gitlab.MergeEvent) event.Action {
	switch e.ObjectAttributes.Action {
	case "open":
		return event.Opened
	case "reopen":
		return event.Reopened
	case "close":
		return event.Closed
	case "merge":
		return event.Merged
	case "approved", "approval":
		return event.Approved
	case "unapproved", "unapproval":
		return event.Unapproved
	case "update":
	default:
		return event.Other
	}
	changes := e.Changes
	wasDraft := changes.Draft.Previous || draftTitle(changes.Title.Previous)
	isDraft := changes.Draft.Current || draftTitle(changes.Title.Current)
	switch {
	case e.ObjectAttributes.OldRev != "":
		return event.Updated
	case changes.TargetBranch.Previous != changes.TargetBranch.Current:
		return event.Retargeted
	case wasDraft && !isDraft:
		return event.Ready
	case isDraft && !wasDraft:
		return event.Drafted
	case len(changes.Labels.Previous)+len(changes.Labels.Current) > 0:
		return event.Labeled
	case changes.Title.Previous != changes.Title.Current, changes.Description.Previous != changes.Description.Current:
		return event.Edited
	}
	return event.Other
}

// gitlabNote reads a remark on anything; the library's struct for merge
// requests holds what is needed of all of them. The note's action is missing
// before GitLab 16.11, where only new notes were announced.
func gitlabNote(envelope gitlabEnvelope, body []byte) (event.Event, []place, error) {
	var e gitlab.MergeCommentEvent
	if err := json.Unmarshal(body, &e); err != nil {
		return event.Event{}, nil, fmt.Errorf("decode note: %w", err)
	}
	note := e.ObjectAttributes
	ev := event.Event{
		Kind:       event.Comment,
		Repository: envelope.repository(),
		UpdatedAt:  note.UpdatedAt,
	}
	ev.AuthorID = idText(int64(note.AuthorID))
	if e.User != nil {
		ev.Sender, ev.Author = e.User.Username, e.User.Username
		ev.SenderID = idText(int64(e.User.ID))
	}
	switch note.NoteableType {
	case "MergeRequest":
		mr := e.MergeRequest
		if mr.IID <= 0 {
			return event.Event{}, nil, errors.New("merge_request is missing")
		}
		ev.Number, ev.Title, ev.HeadSHA = mr.IID, mr.Title, mr.LastCommit.ID
		ev.CommentID, ev.Comment = idText(int64(note.ID)), note.Note
		ev.Branch, ev.SourceBranch = mr.TargetBranch, mr.SourceBranch
		ev.Fork = mr.SourceProjectID != mr.TargetProjectID
		ev.Draft = envelope.MergeRequest.Draft || mr.WorkInProgress || draftTitle(mr.Title)
		ev.Labels = gitlabLabels(mr.Labels)
	case "Commit":
		ev.HeadSHA = note.CommitID
	}
	ev, err := settleComment(ev, (note.Action == "" || note.Action == "create") && !note.System)
	return ev, gitlabSource(e.MergeRequest.Source), err
}

// repository is the project whose webhook fired. GitLab before 10.8 sends its id
// outside of project: as project_id, and for a merge request only as the id of the
// target project.
func (e gitlabEnvelope) repository() event.Repository {
	p := e.Project
	return event.Repository{
		Host:          event.GitLab,
		ID:            idText(cmp.Or(p.ID, e.ProjectID, e.Attributes.TargetProjectID)),
		FullName:      p.PathWithNamespace,
		Private:       p.VisibilityLevel != nil && *p.VisibilityLevel == 0,
		DefaultBranch: p.DefaultBranch,
	}
}

func gitlabLabels(labels []*gitlab.EventLabel) []string {
	var titles []string
	for _, label := range labels {
		if label != nil {
			titles = append(titles, label.Title)
		}
	}
	return titles
}
