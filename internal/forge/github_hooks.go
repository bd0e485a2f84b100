package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// configuredHook is a webhook in the form that GitHub has, and Gitea took over from it.
type configuredHook struct {
	ID     laxText   `json:"id,omitempty"`
	Active *laxText  `json:"active"`
	Events []laxText `json:"events"`
	Config struct {
		URL         laxText `json:"url"`
		ContentType laxText `json:"content_type"`
		InsecureSSL laxText `json:"insecure_ssl"`
		Secret      laxText `json:"secret"`
	} `json:"config"`
	BranchFilter laxText `json:"branch_filter"`
	LastResponse struct {
		Code laxText `json:"code"`
	} `json:"last_response"`
}

func (h configuredHook) hook() Hook {
	found := Hook{
		ID: string(h.ID), URL: string(h.Config.URL), Active: h.Active == nil || h.Active.on(), Form: h.Config.ContentType != "json",
		Insecure: h.Config.InsecureSSL.on(), LastStatus: h.LastResponse.Code.number(),
	}
	for _, name := range h.Events {
		found.Events = append(found.Events, string(name))
	}
	return found
}

func (r githubClient) rightToHooks(o HookOwner) string {
	switch {
	case o.Organization != "" && r.app != nil:
		return "an App with the permission Organization webhooks: write, which its installation has accepted"
	case o.Organization != "":
		return "a fine-grained token with the organisation's permission Webhooks: write, or a classic one with the scope admin:org_hook, of an owner of the organisation"
	case r.app != nil:
		return "an App with the permission Webhooks: write, which its installation has accepted"
	}
	return "a fine-grained token with Webhooks: write, or a classic one with the scope admin:repo_hook, of an administrator of the repository"
}

// hooksPath is the path of an owner's webhooks.
func (r githubClient) hooksPath(o HookOwner) (string, error) {
	if o.Organization != "" {
		return "orgs/" + url.PathEscape(o.Organization) + "/hooks", nil
	}
	owner, repo, err := githubName(o.Repository)
	return "repos/" + owner + "/" + repo + "/hooks", err
}

// onHooks sends one request about webhooks, without the library's types: GitHub writes insecure_ssl as a text or as a
// number.
func (r githubClient) onHooks(ctx context.Context, method string, o HookOwner, rest string, body, out any) error {
	path, err := r.hooksPath(o)
	if err != nil {
		return err
	}
	req, err := r.client.NewRequest(method, path+rest, body)
	if err != nil {
		return &Error{message: "not sent", cause: err}
	}
	_, err = r.client.Do(ctx, req, out)
	return githubError(err)
}

func (r githubClient) hooks(ctx context.Context, o HookOwner, page int) ([]Hook, bool, error) {
	var answers []configuredHook
	if err := r.onHooks(ctx, http.MethodGet, o, fmt.Sprintf("?per_page=%d&page=%d", hooksPerPage, page), nil, &answers); err != nil {
		return nil, false, err
	}
	found, err := hooksOf(answers)
	for i := range found {
		found[i].WithoutSecret = answers[i].Config.Secret == ""
	}
	return found, len(answers) == hooksPerPage, err
}

// saveHook sends the whole config: GitHub replaces it, secret and all (specs/githosts.md 1.6).
func (r githubClient) saveHook(ctx context.Context, o HookOwner, id string, s HookSettings) (Hook, error) {
	body := map[string]any{
		"active": true, "events": s.Events,
		"config": map[string]string{"url": s.URL, "content_type": "json", "insecure_ssl": "0", "secret": s.Secret},
	}
	method, rest := http.MethodPatch, "/"+id
	if id == "" {
		body["name"] = "web"
		method, rest = http.MethodPost, ""
	}
	var answer configuredHook
	if err := r.onHooks(ctx, method, o, rest, body, &answer); err != nil {
		return Hook{}, err
	}
	return answer.hook().bounded()
}

func (r githubClient) deleteHook(ctx context.Context, o HookOwner, id string) error {
	return r.onHooks(ctx, http.MethodDelete, o, "/"+id, nil, nil)
}
