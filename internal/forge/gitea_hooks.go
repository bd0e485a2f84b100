package forge

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// giteaPerPage is the most that Gitea gives at once, unless it is set otherwise.
const giteaPerPage = 50

func (r giteaClient) rightToHooks(o HookOwner) string {
	if o.Organization != "" {
		return "a token with the scope write:organization, of an owner of the organisation"
	}
	return "a token with the scope write:repository, of an administrator of the repository"
}

func (r giteaClient) onHooks(ctx context.Context, method string, o HookOwner, rest string, body, out any) error {
	if o.Organization != "" {
		return r.send(ctx, method, r.base+"/orgs/"+url.PathEscape(o.Organization)+"/hooks"+rest, body, out)
	}
	return r.call(ctx, method, o.Repository, "hooks"+rest, body, out)
}

// hooks: a page may be shorter than asked for, so that only an empty one is the last.
func (r giteaClient) hooks(ctx context.Context, o HookOwner, page int) ([]Hook, bool, error) {
	var answers []configuredHook
	if err := r.onHooks(ctx, http.MethodGet, o, fmt.Sprintf("?page=%d&limit=%d", page, giteaPerPage), nil, &answers); err != nil {
		return nil, false, err
	}
	found, err := hooksOf(answers)
	for i := range found {
		if filter := answers[i].BranchFilter; filter != "" && filter != "*" {
			found[i].Narrowed = "it sends pushes to some branches only"
		}
	}
	return found, len(answers) > 0, err
}

// saveHook: what Gitea is not sent of events, filter and Authorization header it takes away, so that the header is read
// first. Whether certificates are checked is a setting of the installation.
func (r giteaClient) saveHook(ctx context.Context, o HookOwner, id string, s HookSettings) (Hook, error) {
	body := map[string]any{
		"active": true, "events": s.Events, "branch_filter": "*",
		"config": map[string]string{"url": s.URL, "content_type": "json", "secret": s.Secret},
	}
	method, rest := http.MethodPatch, "/"+url.PathEscape(id)
	if id == "" {
		body["type"] = "gitea"
		method, rest = http.MethodPost, ""
	} else {
		var now struct {
			Authorization laxText `json:"authorization_header"`
		}
		if err := r.onHooks(ctx, http.MethodGet, o, rest, nil, &now); err != nil {
			return Hook{}, err
		}
		body["authorization_header"] = string(now.Authorization)
	}
	var answer configuredHook
	if err := r.onHooks(ctx, method, o, rest, body, &answer); err != nil {
		return Hook{}, err
	}
	return answer.hook().bounded()
}

func (r giteaClient) deleteHook(ctx context.Context, o HookOwner, id string) error {
	return r.onHooks(ctx, http.MethodDelete, o, "/"+url.PathEscape(id), nil, nil)
}
