package tasks_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/huaweicloud"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/standin"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
	"github.com/gatewright/gatewright/internal/tasks"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

const project = "41b8df4bf53f4d51b8e6c5b32e8d2a07"

func repository(_, fullName string) event.Repository {
	return event.Repository{Host: event.GitHub, ID: "1", FullName: fullName, HTTPSURL: "https://github.com/" + fullName + ".git", SSHURL: "git@github.com:" + fullName + ".git"}
}

// inventory is that of testdata/rules.yaml, with these tasks in the project.
func inventory(t *testing.T, db storetest.Database, seeds []standin.TaskSeed) (tasks.Inventory, *standin.Server) {
	t.Helper()
	remote, err := standin.New(standin.Options{Projects: []standin.Project{{ID: project, Name: "payments"}}, Tasks: seeds,
		RegionProject: standin.RegionProject{ID: "0a1b2c3d4e5f60718293a4b5c6d7e8f9", Name: "cn-north-4"}, AccessKey: "ak", SecretKey: "sk"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(remote.Handler())
	t.Cleanup(func() { server.Close(); remote.Close() })
	auth, err := huaweicloud.NewSigner(huaweicloud.SignerOptions{AccessKey: "ak", SecretKey: "sk"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := huaweicloud.New(huaweicloud.Options{Service: "codecheck", Endpoint: server.URL, Auth: auth, HTTP: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	options := store.Options{Postgres: db.Postgres}
	if db.Postgres == "" {
		options.SQLite = filepath.Join(t.TempDir(), "test.db")
	}
	s, err := store.Open(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	checker, err := codecheck.New(codecheck.Options{Client: client, Memory: s, RepoType: func(string) string { return "GitHub" }})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("testdata/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	policy, complaints := rules.Load(rules.Source{Name: "rules.yaml", Data: data})
	if len(complaints) > 0 {
		t.Fatal(complaints)
	}
	return tasks.Inventory{Options: tasks.Options{Policy: policy, Connections: []string{"github"}, Repository: repository, Checkers: map[string]*codecheck.Checker{"": checker}, Store: s}}, remote
}

func TestPlan(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		address := func(name string) string { return "https://github.com/acme/" + name + ".git" }
		i, _ := inventory(t, db, []standin.TaskSeed{
			{Name: "acme-there", RepoURL: address("there"), Branch: "main"},
			{Name: "acme-polyglot", RepoURL: address("polyglot"), Branch: "main", Languages: []string{"GO", "java"}},
			{Name: "acme-other", RepoURL: address("other"), Branch: "main", Languages: []string{"GO"}},
			{Name: "acme-moved", RepoURL: address("moved"), Branch: "dev"},
			{ID: strings.Repeat("1", 32), Name: "two_1", RepoURL: address("two"), Branch: "main"},
			{ID: strings.Repeat("2", 32), Name: "two_2", RepoURL: "git@github.com:acme/two.git", Branch: "main"},
		})
		// A push to a branch that no rule names was received.
		pushed := event.Event{Connection: "github", Kind: event.Push, Branch: "topic", HeadSHA: strings.Repeat("a", 40), NewCode: true, Repository: repository("", "acme/there")}
		err := i.Store.Update(t.Context(), func(tx *store.Tx) error {
			_, err := tx.AdvanceHead(t.Context(), pushed, "d1")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		plan, err := i.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]tasks.State{}
		details := map[string]string{}
		for _, p := range plan {
			got[p.Repository+" "+p.Branch], details[p.Repository+" "+p.Branch] = p.State, p.Detail
		}
		want := map[string]tasks.State{
			"acme/there main": tasks.Exists, "acme/missing main": tasks.Missing, "acme/blocked main": tasks.Blocked, "acme/moved main": tasks.WrongBranch,
			"acme/polyglot main": tasks.Exists, "acme/other main": tasks.Languages,
			"acme/two main": tasks.Ambiguous, "acme/there next": tasks.Missing, "acme/there topic": tasks.Missing,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("plan (-want +got):\n%s", diff)
		}
		for subject, text := range map[string]string{"acme/other main": "the rule names JAVA, which the task does not check; it checks GO", "acme/missing main": "GO, JAVA", "acme/blocked main": "check.project.name", "acme/moved main": "branch dev",
			"acme/two main": "check.task_id"} {
			if !strings.Contains(details[subject], text) {
				t.Errorf("detail of %s: %q, without %q", subject, details[subject], text)
			}
		}
	})
}

func TestPrune(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db storetest.Database) {
		i, remote := inventory(t, db, []standin.TaskSeed{{ID: strings.Repeat("1", 32), Name: "mr", RepoURL: "https://github.com/acme/there.git", Branch: "main"}})
		merge := event.Event{Connection: "github", Kind: event.MergeRequest, Action: event.Opened, Number: 7, Branch: "main", SourceBranch: "topic",
			HeadSHA: strings.Repeat("a", 40), NewCode: true, Repository: repository("", "acme/there")}
		full, request := codecheck.Task{ID: strings.Repeat("2", 32), Branch: "main"}, codecheck.Task{ID: strings.Repeat("1", 32), Branch: "main", ParentID: strings.Repeat("2", 32)}
		for key, task := range map[string]codecheck.Task{"k1": full, "k2": request} {
			if err := i.Store.SaveTask(t.Context(), merge, key, task); err != nil {
				t.Fatal(err)
			}
		}
		advance := func(ev event.Event, id string) {
			t.Helper()
			err := i.Store.Update(t.Context(), func(tx *store.Tx) error {
				_, err := tx.AdvanceHead(t.Context(), ev, id)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		prune := func(remove bool) []tasks.Leftover {
			t.Helper()
			left, err := i.Prune(t.Context(), remove)
			if err != nil {
				t.Fatal(err)
			}
			return left
		}
		advance(merge, "d1")
		if left := prune(true); len(left) > 0 {
			t.Errorf("left over while it is open: %+v", left)
		}
		merge.Action = event.Closed
		advance(merge, "d2")
		want := []tasks.Leftover{{Connection: "github", Repository: "acme/there", Number: 7, TaskID: request.ID}}
		if diff := cmp.Diff(want, prune(false)); diff != "" {
			t.Errorf("shown (-want +got):\n%s", diff)
		}
		if acted := remote.Counts().Acted["delete_task"]; acted != 0 {
			t.Errorf("%d tasks were deleted without a word", acted)
		}
		want[0].Deleted = true
		if diff := cmp.Diff(want, prune(true)); diff != "" {
			t.Errorf("deleted (-want +got):\n%s", diff)
		}
		if acted := remote.Counts().Acted["delete_task"]; acted != 1 {
			t.Errorf("%d tasks were deleted", acted)
		}
		if left := prune(true); len(left) > 0 {
			t.Errorf("left over after all: %+v", left)
		}
		if _, known, err := i.Store.TaskByID(t.Context(), full.ID); !known || err != nil {
			t.Errorf("the branch's task is forgotten: %v", err)
		}
	})
}
