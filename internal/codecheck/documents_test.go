package codecheck

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestListColumns reads the rows of the table SimpleTaskInfoV2 of 003_406115daee00d6ba.txt:
// task_id, task_name, creator_id, git_url, git_branch, created_at, last_check_time; total
// and tasks of the response; project_id, offset and limit of the request.
func TestListColumns(t *testing.T) {
	var asked string
	checker := testChecker(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		_, _ = io.WriteString(w, `{"tasks":[{"task_id":"435b58e00000000000000000d01c94a6","task_name":"CSharp_02201119","creator_id":"ecadebb50410000000000003d905e20",
			"git_url":"git@example.com:a/02201119.git","git_branch":"master","created_at":"2020-02-20 11:21:11","last_check_time":"2020-02-20 11:37:46"},
			{"task_id":"435b58e00000000000000000d01c94b7","task_name":"never checked","git_url":"https://example.com/a/b.git","git_branch":"master","last_check_time":null}],"total":2}`)
	}), Options{})
	got, err := checker.ListTasks(t.Context(), testProject)
	if err != nil {
		t.Fatal(err)
	}
	want := []ListedTask{
		{ID: "435b58e00000000000000000d01c94a6", Name: "CSharp_02201119", CreatorID: "ecadebb50410000000000003d905e20", URL: "git@example.com:a/02201119.git",
			Branch: "master", CreatedAt: "2020-02-20 11:21:11", LastCheckTime: "2020-02-20 11:37:46"},
		{ID: "435b58e00000000000000000d01c94b7", Name: "never checked", URL: "https://example.com/a/b.git", Branch: "master"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if want := "/v2/" + testProject + "/tasks?limit=100&offset=0"; asked != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// TestLanguages holds the row language of 002_027ac2077e514b6c.txt: each of the 21 goes as it
// is written, and so does one of the project's own.
func TestLanguages(t *testing.T) {
	languages := []string{"C#", "CSS", "C++", "PYTHON", "CANGJIE", "C", "SCALA", "GO", "KOTLIN", "JAVASCRIPT", "SQL", "ARKTS",
		"RUST", "JAVA", "SHELL", "FORTRAN", "PHP", "LUA", "JSON", "HTML", "TYPESCRIPT", "my Own"}
	checker := testChecker(t, http.NotFoundHandler(), Options{})
	check := testCheck()
	check.Languages = languages
	if got := checker.languages(check, nil); !slices.Equal(got, languages) {
		t.Errorf("languages %q", got)
	}
}

// TestNameAndBranchLimits holds the rows name (1 to 128 characters of the documented ones) and
// branch (1 to 200) of 002_027ac2077e514b6c.txt.
func TestNameAndBranchLimits(t *testing.T) {
	for _, name := range []string{"a", "支付-api.v2_1", strings.Repeat("ü", 300), "", "a b/c"} {
		if got := []rune(validName(name)); len(got) == 0 || len(got) > 128 {
			t.Errorf("name of %q has %d characters", name, len(got))
		} else if i := slices.IndexFunc(got, func(r rune) bool { return !validInName(r) }); i >= 0 {
			t.Errorf("name of %q has %q", name, got[i])
		}
	}
	checker := testChecker(t, http.NotFoundHandler(), Options{})
	for branch, ok := range map[string]bool{"": false, "m": true, strings.Repeat("分", 200): true, strings.Repeat("b", 201): false} {
		run := Run{Event: testEvent(), Check: testCheck()}
		run.Event.Branch = branch
		if err := checker.validate(run); (err == nil) != ok {
			t.Errorf("branch of %d bytes: %v", len(branch), err)
		}
	}
}
