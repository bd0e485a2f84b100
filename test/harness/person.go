package harness

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
)

// person does what the product leaves to people: it refuses the checkpoint of an
// execution that no release will decide any more, because the decision's effect is
// unknown or because the branch moved on, so that the pipeline is free again.
type person struct{ client *huaweicloud.Client }

func newPerson(endpoint, accessKey, secretKey string) (*person, error) {
	signer, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: accessKey, SecretKey: secretKey})
	if err != nil {
		return nil, err
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "servicestage", Endpoint: endpoint, Auth: signer})
	return &person{client}, err
}

// attend looks at the releases that have not ended or are unknown, and frees the
// pipelines that nothing else would.
func (p *person) attend(ctx context.Context, releases []release.Release) error {
	decided, ours, stuck := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, r := range releases {
		if r.Plan.Action != rules.ReleaseStart && !r.State.Ended() {
			decided[r.After] = true
		}
	}
	for _, r := range releases {
		switch {
		case r.State == release.Unknown:
			stuck[r.Plan.Pipeline] = true
		case r.State == release.AwaitingApproval && !decided[r.ID]:
			stuck[r.Plan.Pipeline] = true
		case r.Plan.Action == rules.ReleaseStart:
			ours[r.ExecutionID] = true
		}
	}
	for pipeline := range stuck {
		if err := p.free(ctx, pipeline, ours); err != nil {
			return fmt.Errorf("free pipeline %s: %w", pipeline, err)
		}
	}
	return nil
}

// free refuses the checkpoint of a pipeline's last execution, if it waits and a
// release of ours is not about to decide it.
func (p *person) free(ctx context.Context, pipeline string, ours map[string]bool) error {
	var records struct {
		Records []struct {
			ID     int64 `json:"id"`
			Status int   `json:"status"`
		} `json:"records"`
	}
	path := "/v3/" + regionProject + "/pipeline/pipelines/" + pipeline
	if err := p.client.Do(ctx, huaweicloud.Call{Operation: "list records", Method: http.MethodGet, Path: path + "/records", Safe: true}, &records); err != nil {
		return err
	}
	const waits = int(release.StatusToBeApproved)
	if len(records.Records) == 0 || records.Records[0].Status != waits || ours[strconv.FormatInt(records.Records[0].ID, 10)] {
		return nil
	}
	return p.client.Do(ctx, huaweicloud.Call{
		Operation: "refuse checkpoint", Method: http.MethodPost, Path: path + "/action", Query: url.Values{"action_id": {"approval"}},
		Body: map[string]string{"task_name": checkpoint, "approval_type": "refuse", "message": "a person looked"},
	}, nil)
}
