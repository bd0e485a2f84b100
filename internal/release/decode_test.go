package release

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/golden"
)

// decodeAs reads data as what the name of its file begins with.
func decodeAs(name string, data []byte) (any, error) {
	kind, _, _ := strings.Cut(name, "_")
	switch kind {
	case "list":
		return decodeList[pipeline](data, "pipelines")
	case "records":
		return decodeList[record](data, "records")
	case "details":
		stages, err := decodeStages(data)
		var tasks []shownTask
		for _, s := range stages {
			for _, t := range s.tasks {
				tasks = append(tasks, shownTask{t.Name, t.Status, t.Error})
			}
		}
		return tasks, err
	case "answer":
		var a actionResponse
		err := json.Unmarshal(data, &a)
		return a, err
	}
	return nil, fmt.Errorf("no kind %q", kind)
}

// shownTask is what ServiceStage tells of a task.
type shownTask struct {
	Name   string
	Status Status
	Error  string
}

// TestDecode reads every file of testdata/decode and compares with the golden
// file of the same name.
func TestDecode(t *testing.T) {
	files, err := filepath.Glob("testdata/decode/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			value, err := decodeAs(name, data)
			got := fmt.Sprintf("%+v\n", value)
			if err != nil {
				got = "error: " + err.Error() + "\n"
			}
			golden.Text(t, strings.TrimSuffix(file, ".json")+".golden", got)
		})
	}
}

// FuzzDecode holds what no answer may do: crash a decoder, or give a task
// without a name or with an endless error text.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/decode/*.json")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("\v[]\u0085")) // white space in Unicode, not in JSON
	f.Fuzz(func(t *testing.T, data []byte) {
		if pipelines, err := decodeList[pipeline](data, "pipelines"); err == nil && !json.Valid(data) {
			t.Errorf("invalid JSON was read as %v", pipelines)
		}
		if records, err := decodeList[record](data, "records"); err == nil {
			v := snapshot{records: records}
			if newest, ok := v.newest(); ok != (len(records) > 0) {
				t.Errorf("newest of %d records is %v, %t", len(records), newest, ok)
			}
		}
		var answer actionResponse
		if err := json.Unmarshal(data, &answer); err == nil && len(answer.ID) > maxText {
			t.Errorf("an id of %d bytes was read", len(answer.ID))
		}
		if records, err := decodeList[record](data, "records"); err == nil {
			for _, r := range records {
				if len(r.ID) > maxText {
					t.Errorf("an id of %d bytes was read", len(r.ID))
				}
			}
			v := snapshot{records: records, listed: true}
			ids := []string{"286541", "286542"}
			if newer, is := v.newerThan(ids...); is && (string(newer.ID) == ids[0] || string(newer.ID) == ids[1]) {
				t.Errorf("execution %s is newer than itself", newer.ID)
			}
			if latest := v.latest(ids); latest != ids[0] && latest != ids[1] {
				t.Errorf("the latest of %q is %q", ids, latest)
			}
		}
		stages, _ := decodeStages(data)
		for _, stage := range stages {
			for _, task := range stage.tasks {
				if task.Name == "" || len(task.Error) > maxTaskError+len("…") {
					t.Errorf("task %+v", task)
				}
			}
		}
	})
}
