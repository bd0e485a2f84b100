package forge_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
)

// TestReportCases writes to each host, whose answers are as the case files say: those that the stand-in
// never gives. A file has a part `read` (set_status, the repository, the state, the number, the
// handle; or save_comment, read_comment or react, the repository, the number, the id), a part for each answer, and a part
// `want`: the requests in their order, and what came of them.
func TestReportCases(t *testing.T) {
	files, err := filepath.Glob("testdata/reports/*/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d case files, error %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(file, "testdata/reports/"), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := newCase(t, event.Host(filepath.Base(filepath.Dir(file))), archive)
			result := c.report(t)
			got := strings.Join(append(c.asked, result), "\n")
			want := &archive.Files[len(archive.Files)-1]
			if want.Name != "want" {
				t.Fatal("the last part is not want")
			}
			if *update {
				want.Data = []byte(got + "\n")
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got != strings.TrimSpace(string(want.Data)) {
				t.Errorf("got  %s\nwant %s", got, want.Data)
			}
		})
	}
}

// report writes, and says what came of it in one line.
func (c *hostCase) report(t *testing.T) string {
	f := newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: c.host, APIURL: c.url, Token: token}}})
	words := append(strings.Fields(c.read), "", "", "")
	target := forge.Target{Connection: "c", Repository: event.Repository{FullName: words[1]}, SHA: "1f2e3d4c5b6a79881726354453627180a1b2c3d4", Ref: "topic"}
	var result string
	var err error
	switch words[0] {
	case "set_status":
		target.Number = number(t, words[3])
		result, err = f.SetStatus(t.Context(), target, status(forge.StatusState(words[2])), words[4])
	case "save_comment":
		target.Number = number(t, words[2])
		result, err = f.SaveComment(t.Context(), target, marker, "text", words[3])
	case "read_comment":
		target.Number = number(t, words[2])
		var found forge.Comment
		found, err = f.ReadComment(t.Context(), target, words[3])
		result = fmt.Sprintf("%+v", found)
	case "react":
		target.Number = number(t, words[2])
		var done bool
		done, err = f.React(t.Context(), target, words[3])
		result = fmt.Sprint(done)
	}
	if c.elsewhere > 0 {
		t.Errorf("another host got %d requests", c.elsewhere)
	}
	if err != nil {
		return failed(t, err)
	}
	return fmt.Sprintf("result %q", result)
}

func number(t *testing.T, word string) int {
	t.Helper()
	n := 0
	for _, digit := range word {
		if digit < '0' || digit > '9' {
			t.Fatalf("%q is not a number", word)
		}
		n = 10*n + int(digit-'0')
	}
	return n
}
