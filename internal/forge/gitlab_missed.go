package forge

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const (
	// gitlabEventsPerPage is the most that GitLab gives at once of the events of a webhook.
	gitlabEventsPerPage = 20
	// gitlabResends is how many resends and tests of a webhook GitLab takes in a minute
	// (specs/githosts.md 2.6).
	gitlabResends = 5
)

// kept: GitLab keeps the events of a webhook for seven days (specs/githosts.md 2.6).
func (gitlabClient) kept() (time.Duration, int) { return 7 * 24 * time.Hour, gitlabResends }

// attempts asks for all of them: the filters by status know no connection that failed.
func (r gitlabClient) attempts(ctx context.Context, o HookOwner, hook, cursor string) (list []attempt, next string, err error) {
	page := 1
	if cursor != "" {
		if page, err = strconv.Atoi(cursor); err != nil {
			return nil, "", err
		}
	}
	query := struct {
		Page    int `url:"page"`
		PerPage int `url:"per_page"`
	}{page, gitlabEventsPerPage}
	var answers []struct {
		ID      laxText        `json:"id"`
		Headers map[string]any `json:"request_headers"`
		Status  laxText        `json:"response_status"`
		At      time.Time      `json:"created_at"`
	}
	if err := r.onHooks(ctx, http.MethodGet, o, "/"+hook+"/events", query, &answers); err != nil {
		return nil, "", err
	}
	for _, a := range answers {
		guid, _ := a.Headers["Idempotency-Key"].(string) // older than 17.4 there is none, and no resend
		list = append(list, attempt{HookDelivery{ID: string(a.ID), GUID: guid, At: a.At}, succeeded(a.Status.number())})
	}
	if len(answers) == gitlabEventsPerPage {
		next = strconv.Itoa(page + 1)
	}
	return list, next, nil
}

func (r gitlabClient) redeliver(ctx context.Context, o HookOwner, hook, delivery string) error {
	return r.onHooks(ctx, http.MethodPost, o, fmt.Sprintf("/%s/events/%s/resend", hook, delivery), nil, nil)
}

// testHook tests with a push: every repository that is not empty has one to show.
func (r gitlabClient) testHook(ctx context.Context, o HookOwner, hook string) error {
	return r.onHooks(ctx, http.MethodPost, o, "/"+hook+"/test/push_events", nil, nil)
}
