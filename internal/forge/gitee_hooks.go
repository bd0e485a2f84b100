package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// giteeHook is a webhook in Gitee's answers, which hold its password in the clear (specs/githosts.md 3.6): it is read as
// whether there is one, and nothing of it is kept.
type giteeHook struct {
	ID           laxText  `json:"id"`
	URL          laxText  `json:"url"`
	Password     hasText  `json:"password"`
	Encryption   *laxText `json:"encryption_type"`
	Push         laxText  `json:"push_events"`
	Tag          laxText  `json:"tag_push_events"`
	Issues       laxText  `json:"issues_events"`
	Note         laxText  `json:"note_events"`
	MergeRequest laxText  `json:"merge_requests_events"`
	ResultCode   laxText  `json:"result_code"`
}

// hasText is whether there is a text, of which nothing is kept.
type hasText bool

// UnmarshalJSON implements [json.Unmarshaler].
func (h *hasText) UnmarshalJSON(data []byte) error {
	*h = len(data) > 0 && string(data) != `""` && string(data) != "null"
	return nil
}

func (h giteeHook) hook() Hook {
	found := Hook{ID: string(h.ID), URL: string(h.URL), Active: true, WithoutSecret: !bool(h.Password), LastStatus: h.ResultCode.number()}
	for _, event := range []struct {
		name string
		on   laxText
	}{{"push_events", h.Push}, {"tag_push_events", h.Tag}, {"merge_requests_events", h.MergeRequest}, {"note_events", h.Note}, {"issues_events", h.Issues}} {
		if event.on.on() {
			found.Events = append(found.Events, event.name)
		}
	}
	if h.Encryption != nil {
		found.Mode = map[bool]string{true: giteeSigns, false: giteePassword}[h.Encryption.number() == 1]
	}
	return found
}

// The modes of a connection to Gitee.
const giteeSigns, giteePassword = "sign", "password"

func (r *giteeClient) rightToHooks(HookOwner) string {
	return "a token with the scopes projects and hook, of an administrator of the repository"
}

func (r *giteeClient) onHooks(ctx context.Context, method string, o HookOwner, rest string, body, out any) error {
	if o.Organization != "" {
		return &Error{message: "Gitee has no webhooks of organisations: name a repository"}
	}
	return r.call(ctx, method, o.Repository, "hooks"+rest, body, out)
}

func (r *giteeClient) hooks(ctx context.Context, o HookOwner, page int) ([]Hook, bool, error) {
	var answers []giteeHook
	if err := r.onHooks(ctx, http.MethodGet, o, fmt.Sprintf("?page=%d&per_page=%d", page, hooksPerPage), nil, &answers); err != nil {
		return nil, false, err
	}
	found, err := hooksOf(answers)
	return found, len(answers) == hooksPerPage, err
}

func (r *giteeClient) saveHook(ctx context.Context, o HookOwner, id string, s HookSettings) (Hook, error) {
	form := url.Values{"url": {s.URL}, "password": {s.Secret}, "encryption_type": {"1"}}
	if s.Mode == giteePassword {
		form.Set("encryption_type", "0")
	}
	for _, name := range s.Events {
		form.Set(name, strconv.FormatBool(true))
	}
	method, rest := http.MethodPatch, "/"+url.PathEscape(id)
	if id == "" {
		method, rest = http.MethodPost, ""
	}
	var answer giteeHook
	if err := r.onHooks(ctx, method, o, rest, form, &answer); err != nil {
		return Hook{}, err
	}
	return answer.hook().bounded()
}

func (r *giteeClient) deleteHook(ctx context.Context, o HookOwner, id string) error {
	return r.onHooks(ctx, http.MethodDelete, o, "/"+url.PathEscape(id), nil, nil)
}
