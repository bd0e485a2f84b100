package app_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/demo"
	"github.com/gatewright/gatewright/internal/doctor"
	"github.com/gatewright/gatewright/internal/standin"
)

// TestDoctor plants one fault after the other into the demo's installation, which is
// running meanwhile.
func TestDoctor(t *testing.T) {
	t.Parallel()
	r := reloadingOf(apptest.OnSQLite(t))
	r.hash(t)
	// One pipeline is enough.
	r.edit(t, "rules.yaml", "pipeline: web", "pipeline: shop")
	shop := "shop (" + r.World.Pipeline + ")"
	database := filepath.Join(r.folder, "gatewright.db")
	projectID := "41b8df4bf53f4d51b8e6c5b32e8d2a07"
	otherID := strings.Repeat("f", 32)
	answer := func(operation, body string) func() {
		return func() {
			setFaults(t, r.Service, standin.Fault{Kind: standin.FaultReplaced, Operations: []string{operation}, Body: body})
		}
	}
	for _, test := range []struct {
		name  string
		spoil func()
		// wrong are the lines of what is wrong, "subject: detail | advice", each in
		// part; unchecked those that cannot be checked because of it.
		wrong, unchecked []string
	}{
		{"nothing", func() {}, nil, nil},
		{"no such project", func() { r.edit(t, "rules.yaml", projectID, otherID) },
			[]string{"project " + otherID + ": list tasks: CC.00050013|compare check.project.id"}, []string{"task of acme/shop main (github): the tasks of project " + otherID + " cannot be read"}},
		{"no member of the project", answer("list_tasks", `{"error_code":"CC.00050010","error_msg":"current user does not have permission"}`),
			[]string{"project " + projectID + ": list tasks: CC.00050010|a member of this CodeArts project"}, nil},
		{"a task that cannot be created", func() { r.edit(t, "rules.yaml", ", auth_id: 6f1d0c52-8a0e-4a57-9a4d-2f7d3c9be001", "") },
			[]string{"task of acme/shop main (gitlab): the task for branch|create the task", "task of acme/shop main (gitee): the task for branch|", "task of acme/shop main (gitea): the task for branch|"}, nil},
		{"no such pipeline", func() {
			r.edit(t, "rules.yaml", "pipeline: shop", "pipeline: 00000000-10df-483a-b14d-7b05f7e12c88")
		},
			[]string{"pipeline 00000000-10df-483a-b14d-7b05f7e12c88: show pipeline: SVCSTG.00100433|compare the pipeline's id in rule release-main"}, nil},
		{"no such checkpoint", func() { r.edit(t, "rules.yaml", r.World.Checkpoint, "k2m8qq") },
			[]string{`checkpoint k2m8qq of pipeline ` + shop + `: the pipeline has no task "k2m8qq"; it has|correct rule release-main`}, nil},
		{"no such stage", func() {
			r.edit(t, "rules.yaml", "action: start", "action: start\n        select: [{stage: 899tix, tasks: [ujgdh4]}]")
		},
			[]string{`the pipeline has no stage "899tix"|correct rule release-main`}, nil},
		{"no such task in the stage", func() {
			r.edit(t, "rules.yaml", "action: start", "action: start\n        select: [{stage: 899tih, tasks: [ax8hus]}]")
		},
			[]string{`the pipeline has no task "ax8hus"; it has ["ujgdh4"]|`}, nil},
		{"no right to pipelines", answer("show_pipeline", `{"error_code":"CC.00050010","error_msg":"no permission"}`),
			[]string{"pipeline " + shop + ": show pipeline: CC.00050010|servicestage:pipeline:get", "checkpoint "}, nil},
		{"pipelines without tasks", answer("show_pipeline", `{"id":"`+r.World.Pipeline+`","name":"release-shop"}`),
			nil, []string{"checkpoint k2m8qa of pipeline " + shop + ": the service shows the pipeline without its tasks"}},
		{"an endpoint that does not answer", func() {
			r.edit(t, "gatewright.yaml", `servicestage: "`+r.Endpoint(), `servicestage: "http://127.0.0.1:1`)
		},
			[]string{"endpoint http://127.0.0.1:1: does not answer|firewall"}, []string{"pipeline " + shop + ": http://127.0.0.1:1 does not answer", "checkpoint "}},
		{"a token of a git host", func() {
			r.write(t, "token", "a-token")
			r.edit(t, "gatewright.yaml", "token: {env: DEMO_GITHUB_API}", "token: {file: token}")
		}, []string{"token of connection github: |give the connection a token that may read this repository"}, nil},
		{"a secret that others read", func() {
			r.write(t, "shared", "a-webhook-secret")
			must(t, os.Chmod(filepath.Join(r.folder, "shared"), 0o644))
			r.edit(t, "gatewright.yaml", "{env: DEMO_GITHUB_SECRET}", "{file: shared}")
		}, []string{"file " + filepath.Join(r.folder, "shared") + ": everybody on this machine can read it|chmod o-rwx"}, nil},
		{"rules that others write", func() { must(t, os.Chmod(filepath.Join(r.folder, "rules.yaml"), 0o606)) },
			[]string{"file " + filepath.Join(r.folder, "rules.yaml") + ": everybody on this machine can change it|chmod o-w"}, nil},
		{"a database that others read", func() { must(t, os.Chmod(database, 0o644)) },
			[]string{"file " + database + ": everybody on this machine can read it|"}, nil},
		{"no database yet", func() { r.edit(t, "gatewright.yaml", "gatewright.db", "new.db") }, nil, nil},
		{"nowhere to make a database", func() { r.edit(t, "gatewright.yaml", "gatewright.db", "nowhere/new.db") },
			[]string{"database: " + filepath.Join(r.folder, "nowhere/new.db") + " is not there yet, and cannot be made|make the folder"}, nil},
		{"no database", func() {
			r.write(t, "text.db", strings.Repeat("this is a text and not a database\n", 100))
			r.edit(t, "gatewright.yaml", "gatewright.db", "text.db")
		}, []string{"database: |store"}, nil},
		{"a wrong key", func() {
			r.write(t, "key", "wrong-secret-key")
			r.edit(t, "gatewright.yaml", "{env: DEMO_SECRET_KEY}", "{file: key}")
		},
			[]string{"credentials: list tasks: APIGW.0301|huaweicloud.auth"}, []string{"project " + projectID + ": the credentials are refused", "task of acme/shop main (github): the tasks of project", "pipeline " + shop + ": the credentials"}},
		{"a pause of the credentials", func() { pauseFor(t, r, time.Hour) },
			[]string{"credentials: all replicas pause until |huaweicloud.auth"}, []string{"project " + projectID + ": the credentials are refused", "task of acme/shop main (github): the tasks of project", "pipeline " + shop + ": the credentials"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, rules := r.read(t, "gatewright.yaml"), r.read(t, "rules.yaml")
			test.spoil()
			findings := r.examine(t)
			expect(t, findings, doctor.Wrong, test.wrong, true)
			expect(t, findings, doctor.Unchecked, test.unchecked, false)
			for _, f := range findings {
				if f.State == doctor.Wrong && f.Advice == "" {
					t.Errorf("%s: it does not say what to do", f.Subject)
				}
			}
			setFaults(t, r.Service)
			r.write(t, "gatewright.yaml", server)
			r.write(t, "rules.yaml", rules)
			must(t, errors.Join(os.Chmod(database, 0o600), os.Chmod(filepath.Join(r.folder, "rules.yaml"), 0o600)))
		})
	}
	if len(r.Standin.Counts().Acted) != 0 {
		t.Errorf("something was done: %v", r.Standin.Counts().Acted)
	}
}

// examine runs the doctor on the files of the demo.
func (r reloading) examine(t *testing.T) []doctor.Finding {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	findings, err := app.Examine(ctx, r.ServerFile(), func(name string) (string, bool) {
		value, ok := r.Secrets[name]
		return value, ok
	})
	if err != nil {
		t.Fatal(err)
	}
	return findings
}

// expect compares the findings of one state; all: there must be no others.
func expect(t *testing.T, findings []doctor.Finding, state doctor.State, wants []string, all bool) {
	t.Helper()
	var got []string
	for _, f := range findings {
		if f.State == state {
			got = append(got, f.Subject+": "+f.Detail+"|"+f.Advice)
		}
	}
	for _, want := range wants {
		line, advice, _ := strings.Cut(want, "|")
		found := false
		for _, text := range got {
			detail, advised, _ := strings.Cut(text, "|")
			found = found || strings.Contains(detail, line) && strings.Contains(advised, advice)
		}
		if !found {
			t.Errorf("no %s %q in\n%s", state, want, strings.Join(got, "\n"))
		}
	}
	if all && len(got) != len(wants) {
		t.Errorf("%d are %s, want %d:\n%s", len(got), state, len(wants), strings.Join(got, "\n"))
	}
}

// TestDoctorOfTheDemo holds that the demo's configuration passes, with no finding that
// is wrong, also before the service was ever started.
func TestDoctorOfTheDemo(t *testing.T) {
	t.Parallel()
	r := reloadingOf(apptest.OnSQLite(t))
	r.hash(t)
	for _, stopped := range []bool{false, true} {
		if stopped {
			must(t, r.StopService())
		}
		findings := r.examine(t)
		expect(t, findings, doctor.Wrong, nil, true)
		var ok []string
		for _, f := range findings {
			if f.State == doctor.OK {
				ok = append(ok, f.Subject)
			}
		}
		for _, want := range []string{"endpoint " + r.Endpoint(), "clock", "credentials", "project 41b8df4bf53f4d51b8e6c5b32e8d2a07",
			"task of acme/shop main (github)", "task of acme/shop main (gitlab)", "task of acme/shop main (gitee)", "task of acme/shop main (gitea)",
			"pipeline shop (" + r.World.Pipeline + ")", "checkpoint k2m8qa of pipeline shop (" + r.World.Pipeline + ")", "pipeline web (" + r.World.FailingPipeline + ")",
			"database", "file rights"} {
			if !strings.Contains(strings.Join(ok, "\n"), want) {
				t.Errorf("not ok: %s, only\n%s", want, strings.Join(ok, "\n"))
			}
		}
	}
}

// TestDoctorOfDatabases examines each kind of database, and a server that is not there.
func TestDoctorOfDatabases(t *testing.T) {
	apptest.Each(t, demo.Options{}, func(t *testing.T, s apptest.Service) {
		r := reloadingOf(s)
		r.hash(t)
		expect(t, r.examine(t), doctor.OK, []string{"database: can be written"}, false)
		if r.Secrets["DEMO_DSN"] == "" {
			return
		}
		r.Secrets["DEMO_DSN"] = "postgres://gatewright:hush-hush@127.0.0.1:1/gatewright"
		findings := r.examine(t)
		expect(t, findings, doctor.Wrong, []string{"database: open store|section store"}, true)
		for _, f := range findings {
			if strings.Contains(f.Detail, "hush-hush") {
				t.Errorf("the password is shown: %s", f.Detail)
			}
		}
	})
}
