package release

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestCodeArtsPipelineRows holds that each call, error and status word of
// specs/codearts-check.md 3.6 that a release uses has its case.
func TestCodeArtsPipelineRows(t *testing.T) {
	for _, row := range []string{
		"run", "run_choose_stages", "run_choose_jobs", "list_not_found", "stop_at_the_deadline", "retry", "pass", "refuse",
		"detail_completed", "detail_running", "detail_failed", "detail_canceled", "detail_paused", "detail_suspend", "detail_ignored",
		"detail_review_running", "detail_review_suspend", "detail_review_suspend_step",
		"run_pipeline_not_found", "run_project_not_found_in_200", "run_project_not_found_other", "run_project_not_found_devcloud",
		"run_queued", "run_queued_in_200", "run_no_permission", "run_not_the_owner",
	} {
		if files, err := filepath.Glob(filepath.Join("testdata", "cases", "codearts_"+row+".txtar")); err != nil || len(files) != 1 {
			t.Errorf("row %s has %d cases, %v", row, len(files), err)
		}
	}
}

// TestWords holds what each documented word means for a job, and that no other one is an end.
func TestWords(t *testing.T) {
	ends := map[string]bool{"COMPLETED": true, "FAILED": true, "CANCELED": true, "IGNORED": true, "SKIPPED": true, "UNSELECTED": true, "ASYNC_FAILED": true}
	for _, w := range []word{"INIT", "QUEUED", "RUNNING", "CANCELED", "COMPLETED", "FAILED", "SKIPPED", "IGNORED", "PAUSED", "SUSPEND",
		"ASYNC_RUNNING", "ASYNC_FAILED", "UNSELECTED", "REDISPATCH", "", "completed successfully", "2", "SUCCESS"} {
		s := statusIn(words, w)
		if s.Ended() != ends[string(w)] || s.Succeeded() != (w == "COMPLETED") {
			t.Errorf("%q is %s: ended %v, succeeded %v", w, s, s.Ended(), s.Succeeded())
		}
		if review := statusIn(reviewWords, w); review == StatusReleasing || review.Succeeded() != (w == "COMPLETED") {
			t.Errorf("a review that is %q is %s", w, review)
		}
	}
}

// FuzzCodeArtsPipeline holds what no answer may do: crash a decoder, give a run without an
// id, an endless text, or a review that can be decided without its ids.
func FuzzCodeArtsPipeline(f *testing.F) {
	files, err := filepath.Glob("testdata/cases/codearts_*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for line := range strings.Lines(string(archive.Files[section(archive, "exchanges")].Data)) {
			if reply, ok := strings.CutPrefix(strings.TrimSpace(line), "< 200 "); ok {
				f.Add([]byte(reply))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if records, err := decodeRuns(data); err == nil {
			p := pipelineOf(records)
			for _, r := range records {
				if r.ID == "" || len(r.ID) > maxText || len(r.Word) > maxTaskError+len("…") {
					t.Errorf("run %+v", r)
				}
				if !r.Status.Ended() && p.Status.Ended() {
					t.Errorf("%s goes on, and the pipeline is %s", r.ID, p.Status)
				}
			}
		}
		if decodeSuccess(data) && !json.Valid(data) {
			t.Errorf("invalid JSON was taken for a success")
		}
		run, err := decodeRun(data)
		if err != nil {
			return
		}
		run.purpose()
		waits := false
		for _, s := range run.stages() {
			for _, task := range s.tasks {
				waits = waits || task.Status == StatusToBeApproved
				job, step, _ := strings.Cut(task.ID, "/")
				if task.Status == StatusToBeApproved && (job == "" || step == "") {
					t.Errorf("review %+v", task)
				}
				if len(task.Error) > 2*maxTaskError+len("…: …") || len(task.Name) > 2*maxTaskError+len("…/…") {
					t.Errorf("task %+v", task)
				}
			}
		}
		if e := run.record(); e.Status == StatusToBeApproved && !waits || e.Status.Succeeded() && !strings.EqualFold(string(run.Status), "COMPLETED") {
			t.Errorf("run %+v is %s", run, e.Status)
		}
	})
}
