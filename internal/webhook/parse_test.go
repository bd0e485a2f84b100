package webhook_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/webhook"
)

const (
	signingToken = "whsec_dGVzdHRlc3R0ZXN0dGVzdHRlc3R0ZXN0dGVzdHRlc3Q="
	secret       = "a secret of this test"
)

// connection returns a connection for the host, with a secret that Sign and
// Verify use.
func connection(host event.Host) webhook.Connection {
	c := webhook.Connection{Name: "the-" + string(host), Host: host, Secrets: []string{secret}}
	if host == event.GitLab {
		c.SigningTokens = []string{signingToken}
	}
	return c
}

// recorded is one delivery in files: NAME.headers next to NAME.json or NAME.form.
type recorded struct {
	name   string // the files' path without its extension
	header http.Header
	body   []byte
}

// readRecorded reads every delivery below dir.
func readRecorded(t testing.TB, dir string) []recorded {
	t.Helper()
	var all []recorded
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		name, isHeaders := strings.CutSuffix(path, ".headers")
		if err != nil || !isHeaders {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		header, err := webhook.ReadHeaders(file)
		if err != nil {
			return err
		}
		body, err := os.ReadFile(name + ".json")
		if os.IsNotExist(err) {
			body, err = os.ReadFile(name + ".form")
		}
		all = append(all, recorded{name: name, header: header, body: body})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatalf("no delivery in %s", dir)
	}
	return all
}

// TestParse signs each case, verifies it, parses it and compares the event, or
// the error, with its golden file.
func TestParse(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, host := range webhook.Hosts() {
		c := connection(host)
		for _, r := range readRecorded(t, filepath.Join("testdata", string(host))) {
			t.Run(filepath.ToSlash(strings.TrimPrefix(r.name, "testdata/")), func(t *testing.T) {
				body, err := webhook.Sign(c, r.header, r.body, now)
				if err != nil {
					t.Fatal(err)
				}
				if err := webhook.Verify(c, r.header, body, now); err != nil {
					t.Fatal(err)
				}
				ev, err := webhook.Parse(c, r.header, body)
				var got any = ev
				if err != nil {
					got = map[string]string{"error": err.Error()}
				}
				golden.JSON(t, r.name+".golden", got)
			})
		}
	}
}

// TestParseUnknownHost: a connection that was never checked gives an error, not
// a guess.
func TestParseUnknownHost(t *testing.T) {
	if _, err := webhook.Parse(webhook.Connection{Name: "x", Host: "svn"}, http.Header{}, []byte(`{}`)); err == nil {
		t.Fatal("parsed a delivery of an unknown host")
	}
}

// TestParseGiteaAsGitHub: what Gitea sends has GitHub's headers, and is not read as
// GitHub's.
func TestParseGiteaAsGitHub(t *testing.T) {
	for _, r := range readRecorded(t, "testdata/gitea") {
		if r.header.Get("X-GitHub-Event") == "" || r.header.Get("X-Gitea-Event")+r.header.Get("X-Gogs-Event") == "" {
			continue
		}
		if _, err := webhook.Parse(connection(event.GitHub), r.header, r.body); err == nil || !strings.Contains(err.Error(), "the kind gitea") {
			t.Errorf("%s: error %v", r.name, err)
		}
	}
}

// fixtures are recorded deliveries that are next to the project and not
// part of it.
const fixtures = "../../../shared/fixtures"

// TestFixtures verifies and parses every recorded delivery: each is an event, or
// is ignored with a reason.
func TestFixtures(t *testing.T) {
	if _, err := os.Stat(fixtures); err != nil {
		t.Skipf("the recorded deliveries are not here: %v", err)
	}
	for _, host := range webhook.Hosts() {
		if _, err := os.Stat(filepath.Join(fixtures, string(host))); err != nil {
			t.Logf("no delivery of %s is recorded: %v", host, err)
			continue
		}
		for _, r := range readRecorded(t, filepath.Join(fixtures, string(host))) {
			t.Run(filepath.ToSlash(strings.TrimPrefix(r.name, fixtures+"/")), func(t *testing.T) {
				c := fixtureConnection(host, r)
				now, _ := webhook.SentAt(c, r.header)
				if !unsigned(r) {
					if err := webhook.Verify(c, r.header, r.body, now); err != nil {
						t.Error(err)
					}
				} else if err := webhook.Verify(c, r.header, r.body, now); err == nil {
					t.Error("verified a delivery that was recorded without a token")
				}
				ev, err := webhook.Parse(c, r.header, r.body)
				if err != nil {
					t.Fatal(err)
				}
				checkFixture(t, host, r, ev)
			})
		}
	}
}

// fixtureConnection has the secrets that the fixtures were made with.
func fixtureConnection(host event.Host, r recorded) webhook.Connection {
	c := webhook.Connection{Name: string(host), Host: host}
	switch {
	case host == event.GitHub:
		c.Secrets = []string{"It's a Secret to Everybody"}
	case host == event.Gitea:
		c.Secrets = []string{"gitea-secret"}
	case host == event.GitLab:
		c.Secrets = []string{"gitlab-secret-token"}
		c.SigningTokens = []string{signingToken}
	case bytes.Contains(r.body, []byte(`"sign": ""`)), !bytes.Contains(r.body, []byte(`"sign"`)):
		c.Mode, c.Secrets = webhook.ModePassword, []string{"Secret", "test12345"}
	default:
		c.Secrets = []string{"bBg5lrt03VixkX85CNqYIcecC0SIGASE"}
	}
	return c
}

// unsigned: the header dumps of one source were recorded from a webhook without
// a secret.
func unsigned(r recorded) bool { return strings.Contains(r.name, "gitlabbot_1711") }

// checkFixture compares the event with the raw payload, by the facts of
// specs/githosts.md 1.3, 2.3, 3.3 and 4.2 read in another way than the parsers do.
func checkFixture(t *testing.T, host event.Host, r recorded, ev event.Event) {
	t.Helper()
	var raw map[string]any
	if err := json.Unmarshal(r.body, &raw); err != nil {
		t.Fatal(err)
	}
	at := func(path string) string {
		var v any = raw
		for _, key := range strings.Split(path, ".") {
			object, _ := v.(map[string]any)
			v = object[key]
		}
		text, _ := v.(string)
		return text
	}
	kind := filepath.Base(filepath.Dir(r.name))
	newCode := map[event.Host]map[string]bool{
		event.GitHub: {"opened": true, "reopened": true, "synchronize": true},
		event.GitLab: {"open": true, "reopen": true, "update": at("object_attributes.oldrev") != ""},
		event.Gitee:  {"open": true, "reopen": true, "update": at("action_desc") == "source_branch_changed"},
		event.Gitea:  {"opened": true, "reopened": true, "synchronized": true},
	}
	action := at("action")
	if host == event.GitLab {
		action = at("object_attributes.action")
	}
	want := false
	switch kind {
	case "push", "tag_push":
		want = strings.Trim(at("after"), "0") != ""
	case "merge_request", "pull_request":
		want = newCode[host][action]
	case "merge_group":
		want = action == "checks_requested"
	}
	if ev.NewCode != want {
		t.Errorf("new code is %t, want %t", ev.NewCode, want)
	}
	switch kind {
	case "push", "tag_push", "merge_request", "pull_request":
		url := firstText(at("repository.clone_url"), at("project.git_http_url"), "https://github.com/"+at("repository.full_name")+".git")
		if ev.Repository.ID == "" || ev.Repository.FullName == "" || ev.Repository.HTTPSURL != url || ev.Branch == "" {
			t.Errorf("incomplete event: %+v", ev)
		}
		if ev.HeadSHA == "" && !ev.Deleted {
			t.Error("no head commit")
		}
	case "merge_group":
		if target := "refs/heads/" + ev.Branch; target != at("merge_group.base_ref") || "refs/heads/"+ev.SourceBranch != at("merge_group.head_ref") || want && ev.HeadSHA != at("merge_group.head_sha") {
			t.Errorf("event %+v", ev)
		}
	case "note", "issue_comment":
		if ev.Number > 0 {
			checkComment(t, host, r, ev)
		}
	default:
		if ev.IgnoredReason == "" {
			t.Errorf("not ignored: %+v", ev)
		}
	}
	if ev.Deleted != (kind == "merge_group" && action == "destroyed" || kind != "ping" && at("after") != "" && strings.Trim(at("after"), "0") == "") {
		t.Errorf("deleted is %t", ev.Deleted)
	}
	if ev.Deleted && ev.IgnoredReason == "" {
		t.Error("a deletion is not ignored")
	}
}

// checkComment compares the number, the author and the text of a recorded comment on a merge request.
func checkComment(t *testing.T, host event.Host, r recorded, ev event.Event) {
	t.Helper()
	type comment struct {
		ID       json.Number `json:"id"`
		Body     string      `json:"body"`
		Note     string      `json:"note"`
		AuthorID json.Number `json:"author_id"`
		User     struct {
			ID json.Number `json:"id"`
		} `json:"user"`
	}
	var raw struct {
		Comment    comment `json:"comment"`
		Attributes comment `json:"object_attributes"`
	}
	if err := json.Unmarshal(r.body, &raw); err != nil {
		t.Fatal(err)
	}
	want := raw.Comment
	if host == event.GitLab {
		want = raw.Attributes
		want.Body, want.User.ID = want.Note, want.AuthorID
	}
	if ev.CommentID != string(want.ID) || ev.AuthorID != string(want.User.ID) || ev.Comment != want.Body || ev.Comment == "" {
		t.Errorf("comment %q by %q reads %q, want %+v", ev.CommentID, ev.AuthorID, ev.Comment, want)
	}
}

func firstText(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}

// TestComments compares which comment on a merge request each delivery brings, by whom, and what it
// reads: githosts.md 1.3, 2.3, 3.3 and 4.2.
func TestComments(t *testing.T) {
	for _, host := range webhook.Hosts() {
		var text strings.Builder
		for _, r := range readRecorded(t, filepath.Join("testdata", string(host))) {
			ev, err := webhook.Parse(connection(host), r.header, signed(t, host, r))
			if err != nil || ev.Kind != event.Comment {
				continue
			}
			fmt.Fprintf(&text, "%s: comment %q on %d by %q, sent by %q: %.60q\n", filepath.Base(r.name), ev.CommentID, ev.Number, ev.AuthorID, ev.SenderID, ev.Comment)
		}
		golden.Text(t, filepath.Join("testdata", string(host), "comments.txt"), text.String())
	}
}
