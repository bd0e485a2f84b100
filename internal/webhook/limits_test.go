package webhook_test

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
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
		"address":          {"push.json", []string{"repository", "clone_url"}, "an address that cannot be read"},
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

// TestManyElements: a payload whose lists have millions of elements takes memory by its
// size, and what is read of it is the same.
func TestManyElements(t *testing.T) {
	const push = `{"ref":"refs/heads/main","after":"1111111111111111111111111111111111111111","repository":{"id":1,"full_name":"a/b"},"commits":[%s{"x":"],[\\\""}],"sender":{"login":"last"}}`
	body := []byte(fmt.Sprintf(push, strings.Repeat("{},", 2<<20)))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	ev, err := webhook.Parse(connection(event.GitHub), headers("X-GitHub-Event", "push"), body)
	runtime.ReadMemStats(&after)
	if err != nil || ev.Branch != "main" || ev.Sender != "last" {
		t.Errorf("event %+v, error %v", ev, err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("%d bytes of payload took %d bytes", len(body), took)
	}
	for name, body := range map[string]string{
		"members": `{"ref":"refs/heads/main",` + strings.Repeat(`"a":1,`, 1001) + `"b":1}`,
		"values":  `{"ref":"refs/heads/main","x":[` + strings.Repeat("["+strings.Repeat("0,", 900)+"0],", 999) + "[" + strings.Repeat(strings.Repeat("[", 9)+strings.Repeat("]", 9)+",", 999) + "0]," + `0],"y":[` + strings.Repeat("["+strings.Repeat("0,", 900)+"0],", 999) + `0]}`,
	} {
		if _, err := webhook.Parse(connection(event.GitHub), headers("X-GitHub-Event", "push"), []byte(body)); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	// What is not JSON is left to the decoder.
	for _, body := range []string{"{", "{]", `{"`, "{,,,}}", `{"a":[`, `{"\`} {
		if _, err := webhook.Parse(connection(event.GitHub), headers("X-GitHub-Event", "push"), []byte(body)); err == nil {
			t.Errorf("%s was read", body)
		}
	}
}
