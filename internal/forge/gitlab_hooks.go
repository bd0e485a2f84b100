package forge

import (
	"context"
	"net/http"
	"net/url"

	"github.com/xanzy/go-gitlab"
)

// gitlabHook is a webhook in GitLab's answers. The library knows neither how it is disabled nor the signing token
// (specs/githosts.md 0.6).
type gitlabHook struct {
	ID              laxText  `json:"id"`
	URL             laxText  `json:"url"`
	Push            laxText  `json:"push_events"`
	Tag             laxText  `json:"tag_push_events"`
	MergeRequest    laxText  `json:"merge_requests_events"`
	Note            laxText  `json:"note_events"`
	Verification    *laxText `json:"enable_ssl_verification"`
	BranchFilter    laxText  `json:"push_events_branch_filter"`
	FilterStrategy  laxText  `json:"branch_filter_strategy"`
	Template        laxText  `json:"custom_webhook_template"`
	AlertStatus     laxText  `json:"alert_status"`
	DisabledUntil   laxText  `json:"disabled_until"`
	TokenPresent    *laxText `json:"token_present"`
	SigningPresent  *laxText `json:"signing_token_present"`
	ConfidentialToo laxText  `json:"confidential_note_events"`
}

func (h gitlabHook) hook() Hook {
	found := Hook{ID: string(h.ID), URL: string(h.URL), Active: true, Insecure: h.Verification != nil && !h.Verification.on()}
	for _, event := range []struct {
		name string
		on   laxText
	}{{"push_events", h.Push}, {"tag_push_events", h.Tag}, {"merge_requests_events", h.MergeRequest}, {"note_events", h.Note}, {"confidential_note_events", h.ConfidentialToo}} {
		if event.on.on() {
			found.Events = append(found.Events, event.name)
		}
	}
	switch h.AlertStatus {
	case "disabled":
		found.Stopped = "for good"
	case "temporarily_disabled":
		found.Stopped = "for a while"
		if h.DisabledUntil != "" {
			found.Stopped = "until " + cut(string(h.DisabledUntil), 40)
		}
	}
	switch {
	case h.Template != "":
		found.Narrowed = "it sends a template of its own"
	case h.BranchFilter != "" && h.FilterStrategy != "all_branches":
		found.Narrowed = "it sends pushes to some branches only"
	}
	if h.TokenPresent != nil && h.SigningPresent != nil {
		found.WithoutSecret = !h.TokenPresent.on() && !h.SigningPresent.on()
	}
	return found
}

func (r gitlabClient) rightToHooks(o HookOwner) string {
	if o.Organization != "" {
		return "a token with the scope api, whose user is Owner of the group; GitLab has webhooks of groups with Premium"
	}
	return "a personal, group or project token with the scope api, whose user has the role Maintainer in the project"
}

// onHooks sends one request about webhooks, and a write again under the new name of a project that was renamed.
func (r gitlabClient) onHooks(ctx context.Context, method string, o HookOwner, rest string, body, out any) error {
	send := func(path string) error {
		req, err := r.client.NewRequest(method, path+"/hooks"+rest, body, []gitlab.RequestOptionFunc{gitlab.WithContext(ctx)})
		if err != nil {
			return &Error{message: "not sent", cause: err}
		}
		_, err = r.client.Do(req, out)
		return err
	}
	project := func(name string) error { return send("projects/" + gitlab.PathEscape(name)) }
	switch {
	case o.Organization != "":
		return send("groups/" + gitlab.PathEscape(o.Organization))
	case method == http.MethodGet:
		return project(o.Repository)
	}
	return r.renamed(ctx, o.Repository, project)
}

func (r gitlabClient) hooks(ctx context.Context, o HookOwner, page int) ([]Hook, bool, error) {
	var answers []gitlabHook
	query := struct {
		Page    int `url:"page"`
		PerPage int `url:"per_page"`
	}{page, hooksPerPage}
	if err := r.onHooks(ctx, http.MethodGet, o, "", query, &answers); err != nil {
		return nil, false, err
	}
	found, err := hooksOf(answers)
	return found, len(answers) == hooksPerPage, err
}

// saveHook sends a token even where the address stays: a new address takes the old one away. A GitLab that does not know
// signing tokens ignores them, which its answer shows (specs/githosts.md 2.1).
func (r gitlabClient) saveHook(ctx context.Context, o HookOwner, id string, s HookSettings) (Hook, error) {
	body := map[string]any{"url": s.URL, "token": s.Secret, "enable_ssl_verification": true, "push_events_branch_filter": ""}
	if s.SigningToken != "" {
		body["signing_token"] = s.SigningToken
	}
	for _, name := range s.Events {
		body[name] = true
	}
	method, rest := http.MethodPut, "/"+url.PathEscape(id)
	if id == "" {
		method, rest = http.MethodPost, ""
	} else {
		body["custom_webhook_template"] = ""
	}
	var answer gitlabHook
	if err := r.onHooks(ctx, method, o, rest, body, &answer); err != nil {
		return Hook{}, err
	}
	saved, err := answer.hook().bounded()
	if err == nil && s.SigningToken != "" && (answer.SigningPresent == nil || !answer.SigningPresent.on()) && s.Secret == "" {
		err = &Error{message: "the webhook is saved, but this GitLab took no signing token, which came with GitLab 19.0: give the connection a secret as well"}
	}
	return saved, err
}

func (r gitlabClient) deleteHook(ctx context.Context, o HookOwner, id string) error {
	return r.onHooks(ctx, http.MethodDelete, o, "/"+url.PathEscape(id), nil, nil)
}
