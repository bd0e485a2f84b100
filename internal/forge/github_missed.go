package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/go-github/v60/github"
)

// kept: GitHub keeps deliveries for three days (specs/githosts.md 1.6).
func (githubClient) kept() (time.Duration, int) { return 3 * 24 * time.Hour, 0 }

func (r githubClient) attempts(ctx context.Context, o HookOwner, hook, cursor string) (list []attempt, next string, err error) {
	path, err := r.hooksPath(o)
	if err != nil {
		return nil, "", err
	}
	query := url.Values{"per_page": {strconv.Itoa(hooksPerPage)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	req, err := r.client.NewRequest(http.MethodGet, path+"/"+hook+"/deliveries?"+query.Encode(), nil)
	if err != nil {
		return nil, "", &Error{message: "not sent", cause: err}
	}
	var answers []struct {
		ID     laxText   `json:"id"`
		GUID   laxText   `json:"guid"`
		At     time.Time `json:"delivered_at"`
		Status laxText   `json:"status_code"`
	}
	resp, err := r.client.Do(ctx, req, &answers)
	if err != nil {
		return nil, "", githubError(err)
	}
	for _, a := range answers {
		list = append(list, attempt{HookDelivery{ID: string(a.ID), GUID: string(a.GUID), At: a.At}, succeeded(a.Status.number())})
	}
	return list, resp.Cursor, nil
}

// redeliver: 202 is an error to the library, and says that it will be done.
func (r githubClient) redeliver(ctx context.Context, o HookOwner, hook, delivery string) error {
	err := r.onHooks(ctx, http.MethodPost, o, fmt.Sprintf("/%s/deliveries/%s/attempts", hook, delivery), nil, nil)
	if accepted := (*github.AcceptedError)(nil); errors.As(err, &accepted) {
		return nil
	}
	return err
}

// testHook sends a ping. GitHub switches no webhook off.
func (r githubClient) testHook(ctx context.Context, o HookOwner, hook string) error {
	return r.onHooks(ctx, http.MethodPost, o, "/"+hook+"/pings", nil, nil)
}
