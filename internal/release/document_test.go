package release

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
)

// document is the page "Operating a Release Task Based on the Release Task ID".
const document = "004_192d3ad45852e13d"

// TestDocumentRows holds that each row of the document has its case. The two headers are
// those of TestDocumentHeaders.
func TestDocumentRows(t *testing.T) {
	for _, row := range []string{
		"uri", "action_id_start", "action_id_stop", "action_id_retry", "action_id_approval", "action_id_continue", "action_id_rollback",
		"selected_tasks", "selected_tasks_absent", "task_name", "approval_type_agree", "approval_type_refuse", "message",
		"response_id_integer", "response_id_string", "response_pipeline_id", "response_status",
		"status_200", "status_400_start", "status_404_start", "status_500_start",
	} {
		if files, err := filepath.Glob(filepath.Join("testdata", "cases", document+"_"+row+".txtar")); err != nil || len(files) != 1 {
			t.Errorf("row %s has %d cases, %v", row, len(files), err)
		}
	}
}

// withToken authorizes by a token, as a password in the server file does.
type withToken string

func (token withToken) Authorize(_ context.Context, req *http.Request, _ []byte) error {
	req.Header.Set("X-Auth-Token", string(token))
	return nil
}

func (withToken) Expired(context.Context, *http.Request, error) bool { return false }

// TestDocumentHeaders holds the rows Content-Type and X-Auth-Token, for each of the six
// actions.
func TestDocumentHeaders(t *testing.T) {
	acted := map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if kind := r.Header.Get("Content-Type"); !strings.EqualFold(kind, "application/json;charset=UTF-8") {
			t.Errorf("Content-Type %q", kind)
		}
		if token := r.Header.Get("X-Auth-Token"); token != "a-token" {
			t.Errorf("X-Auth-Token %q", token)
		}
		acted[r.URL.Query().Get("action_id")] = true
		_, _ = w.Write([]byte(`{"id":286541,"status":4}`))
	}))
	defer server.Close()
	client, err := huaweicloud.New(huaweicloud.Options{Service: "servicestage", Endpoint: server.URL, Auth: withToken("a-token"), Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdle()
	s := serviceStage{client: client, project: projectID}
	ctx := t.Context()
	_, starts := s.start(ctx, pipelineID, nil)
	_, decides := s.decide(ctx, pipelineID, "gate", rules.ReleaseApprove, "")
	errs := []error{starts, decides}
	for _, action := range []rules.ReleaseAction{rules.ReleaseStop, rules.ReleaseRetry, rules.ReleaseContinue, rules.ReleaseRollback} {
		_, err := s.operate(ctx, pipelineID, action)
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	for _, action := range []string{"start", "stop", "retry", "approval", "continue", "rollback"} {
		if !acted[action] {
			t.Errorf("%s was not sent", action)
		}
	}
}
