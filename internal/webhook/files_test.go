package webhook_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/webhook"
)

// TestFiles compares what each delivery that the rules evaluate tells of the files that it
// changes: githosts.md 1.2, 2.2 and 3.2, and the page of GitHub's push event on commits whose
// lists are empty.
func TestFiles(t *testing.T) {
	for _, host := range webhook.Hosts() {
		var text strings.Builder
		for _, r := range readRecorded(t, filepath.Join("testdata", string(host))) {
			ev, err := webhook.Parse(connection(host), r.header, signed(t, host, r))
			if err != nil || ev.IgnoredReason != "" {
				continue
			}
			fmt.Fprintf(&text, "%s: %s\n", filepath.Base(r.name), describe(ev.Files))
		}
		golden.Text(t, filepath.Join("testdata", string(host), "files.txt"), text.String())
	}
}

func signed(t *testing.T, host event.Host, r recorded) []byte {
	body, err := webhook.Sign(connection(host), r.header, r.body, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func describe(f event.Files) string {
	switch {
	case f.Complete:
		return fmt.Sprintf("all of %q", f.Paths)
	case f.AskHost:
		return fmt.Sprintf("%q and perhaps more, which the host can tell: %s", f.Paths, f.Unknown)
	}
	return fmt.Sprintf("%q and perhaps more: %s", f.Paths, f.Unknown)
}

// TestManyFiles: a push of more than is read or kept says that there may be more, and takes
// no more memory than that.
func TestManyFiles(t *testing.T) {
	push := func(commits, files int, path string) event.Files {
		list := make([]string, files)
		for i := range list {
			list[i] = fmt.Sprintf("%s%d", path, i)
		}
		each := make([]any, commits)
		for i := range each {
			each[i] = map[string]any{"added": list}
		}
		body, err := json.Marshal(map[string]any{
			"ref": "refs/heads/main", "before": strings.Repeat("1", 40), "after": strings.Repeat("2", 40),
			"commits": each, "repository": map[string]any{"id": 1, "full_name": "a/b"},
		})
		if err != nil {
			t.Fatal(err)
		}
		ev, err := webhook.Parse(connection(event.GitHub), headers("X-GitHub-Event", "push"), body)
		if err != nil {
			t.Fatal(err)
		}
		return ev.Files
	}
	for name, tc := range map[string]struct {
		files event.Files
		paths int
		want  string
	}{
		"as many as are read":    {push(3, 999, "f"), 999, ""},
		"many commits":           {push(1000, 1, "f"), 1, "lists 1000 commits or more"},
		"more commits than read": {push(2048, 1, "f"), 1, "lists 1000 commits or more"},
		"many files":             {push(1, 1000, "f"), 1000, "lists 1000 files of one of its commits or more"},
		"long names":             {push(1, 2, strings.Repeat("x", 4096)), 0, "more of them, or longer ones, than are kept"},
		"much text":              {push(1, 500, strings.Repeat("x", 4000)), 131, "more of them, or longer ones, than are kept"},
	} {
		if len(tc.files.Paths) != tc.paths || tc.files.Complete != (tc.want == "") || tc.files.AskHost != (tc.want != "") || !strings.Contains(tc.files.Unknown, tc.want) {
			t.Errorf("%s: %d paths, complete %t, %q", name, len(tc.files.Paths), tc.files.Complete, tc.files.Unknown)
		}
	}
}
