package webhook_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// TestLimits: a payload that names something longer than any host does is refused with
// the reason, and a text that is only shown or compared is cut.
func TestLimits(t *testing.T) {
	const huge = 1 << 20
	for name, tc := range map[string]struct {
		file string
		path []string
		want string // of the refusal; empty: cut
	}{
		"branch":           {"push.json", []string{"ref"}, "branch or tag"},
		"repository":       {"push.json", []string{"repository", "full_name"}, "repository's name"},
		"address":          {"push.json", []string{"repository", "clone_url"}, "http address"},
		"sender":           {"push.json", []string{"sender", "login"}, "author's name"},
		"source branch":    {"pr_fork.json", []string{"pull_request", "head", "ref"}, "source branch"},
		"title":            {"pr_fork.json", []string{"pull_request", "title"}, ""},
		"commit":           {"push.json", []string{"after"}, "not a full commit hash"},
		"number as digits": {"push.json", []string{"repository", "id"}, "decode push event"},
	} {
		t.Run(name, func(t *testing.T) {
			body, err := os.ReadFile("testdata/github/" + tc.file)
			if err != nil {
				t.Fatal(err)
			}
			var payload map[string]any
			if err := json.Unmarshal(body, &payload); err != nil {
				t.Fatal(err)
			}
			object := payload
			for _, key := range tc.path[:len(tc.path)-1] {
				object = object[key].(map[string]any)
			}
			last := tc.path[len(tc.path)-1]
			if old, _ := object[last].(string); strings.HasPrefix(old, "refs/") {
				object[last] = old + strings.Repeat("é", huge)
			} else {
				object[last] = strings.Repeat("é", huge)
			}
			if body, err = json.Marshal(payload); err != nil {
				t.Fatal(err)
			}
			kind := map[bool]string{true: "push", false: "pull_request"}[tc.file == "push.json"]
			ev, err := webhook.Parse(connection(event.GitHub), headers("X-GitHub-Event", kind), body)
			switch {
			case tc.want != "":
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("error is %.200v, want one with %q", err, tc.want)
				}
			case err != nil:
				t.Errorf("refused: %.200v", err)
			case len(ev.Title) > 1024 || !utf8.ValidString(ev.Title) || !strings.HasSuffix(ev.Title, "…") || len(ev.Cut) != 1 || ev.Cut[0] != "title":
				t.Errorf("title is %.40q… of %d bytes, cut %q", ev.Title, len(ev.Title), ev.Cut)
			}
		})
	}
	labels := `{"object_kind":"merge_request","project":{"id":1,"path_with_namespace":"a/b"},"object_attributes":{"iid":1,"action":"open","target_branch":"main","last_commit":{"id":"` +
		strings.Repeat("1", 40) + `"}},"labels":[` + strings.Repeat(`{"title":"`+strings.Repeat("x", 300)+`"},`, 1000) + `{"title":"last"}]}`
	ev, err := webhook.Parse(connection(event.GitLab), headers("X-Gitlab-Event", "Merge Request Hook"), []byte(labels))
	if err != nil || len(ev.Labels) != 500 || len(ev.Labels[0]) != 255 || len(ev.Cut) != 1 || ev.Cut[0] != "labels" {
		t.Errorf("%d labels, cut %q, error %v", len(ev.Labels), ev.Cut, err)
	}
}
