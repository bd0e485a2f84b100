package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
)

// person refuses checkpoints that nobody decides any more: after a release ended as
// unknown, say, its pipeline waits for somebody. They go to the stand-in directly,
// past every fault of the network, and try again later when the stand-in itself is
// out of order.
type person struct {
	client *huaweicloud.Client
	// releases reads all releases as they stand.
	releases func(context.Context) ([]release.Release, error)
}

func newPerson(endpoint, secret string, releases func(context.Context) ([]release.Release, error)) (*person, error) {
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: accessKey, SecretKey: secret})
	if err != nil {
		return nil, err
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "servicestage", Endpoint: endpoint, Auth: signer, Retries: -1})
	return &person{client, releases}, err
}

// attend looks at the pipelines on which a release waits.
func (p *person) attend(ctx context.Context, open []release.Release) error {
	seen := map[string]bool{}
	for _, r := range open {
		pipeline := r.Plan.Pipeline
		if seen[pipeline] || r.Plan.Action != rules.ReleaseStart {
			continue
		}
		seen[pipeline] = true
		err := p.free(ctx, pipeline)
		var refused *huaweicloud.Error
		if errors.As(err, &refused) && refused.Retryable() {
			continue
		}
		if err != nil {
			return fmt.Errorf("attend to pipeline %s: %w", pipeline, err)
		}
	}
	return nil
}

// free refuses the checkpoint of a pipeline's last execution, if it waits forsaken.
// The releases are read after the execution was seen: whatever began it has left its
// intent there.
func (p *person) free(ctx context.Context, pipeline string) error {
	path := huaweicloud.Path("/v3/%s/pipeline/pipelines/%s", regionProject, pipeline)
	var answer struct {
		Records []struct {
			ID     json.Number    `json:"id"`
			Status release.Status `json:"status"`
		} `json:"records"`
	}
	call := huaweicloud.Call{Operation: "list records", Method: http.MethodGet, Path: path + "/records", Safe: true}
	if err := p.client.Do(ctx, call, &answer); err != nil {
		return err
	}
	if len(answer.Records) == 0 || answer.Records[0].Status != release.StatusToBeApproved {
		return nil
	}
	all, err := p.releases(ctx)
	if err != nil || !forsaken(answer.Records[0].ID.String(), pipeline, all) {
		return err
	}
	return p.client.Do(ctx, huaweicloud.Call{
		Operation: "refuse checkpoint", Method: http.MethodPost, Path: path + "/action", Query: url.Values{"action_id": {"approval"}},
		Body: map[string]string{"task_name": checkpoint, "approval_type": "refuse", "message": "nobody decides it any more"},
	}, nil)
}

// forsaken says that no release will decide the checkpoint of an execution: none has
// an action without an answer on the pipeline, and the approval that belongs to the
// release that started it has ended without one.
func forsaken(execution, pipeline string, all []release.Release) bool {
	owner := ""
	for _, r := range all {
		switch {
		case r.Plan.Pipeline != pipeline:
		case r.State == release.Starting && r.Intent != nil:
			return false
		case r.Plan.Action == rules.ReleaseStart && r.ExecutionID == execution:
			owner = r.ID
		}
	}
	for _, r := range all {
		theirs := r.Plan.Action != rules.ReleaseStart && r.After != "" && r.After == owner
		if theirs && (!r.State.Ended() || r.State == release.Succeeded) {
			return false
		}
	}
	return true
}
