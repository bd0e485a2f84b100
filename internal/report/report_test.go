package report_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/forge"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/report"
)

// TestWords compares what is said of the records in each testdata/*.json: the status of the
// checks, or of the releases, and the comment.
func TestWords(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			var c struct {
				Settings   report.Settings
				Runs       []codecheck.Run
				Releases   []release.Release
				Findings   map[string][]codecheck.Finding
				Ignored    string
				NeedsTrust bool
				Exists     bool
			}
			data, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(data, &c)
			}
			if err != nil {
				t.Fatal(err)
			}
			status, said := c.Settings.Check(c.Runs, c.Ignored, c.NeedsTrust)
			if len(c.Releases) > 0 {
				status, said = c.Settings.Release(c.Releases)
			}
			got := fmt.Sprintf("said %t\n", said)
			if said {
				got = fmt.Sprintf("%s %s\n%s\n%s\n", status.Context, status.State, status.Description, status.URL)
			}
			body, said := c.Settings.CommentFor(report.Commented{Runs: c.Runs, Findings: c.Findings, FileURL: func(sha, path string, line int) string {
				if strings.ContainsAny(path, "|\n") {
					return ""
				}
				return fmt.Sprintf("https://git.example.com/%s/%s#L%d", sha, path, line)
			}}, c.Exists)
			if said {
				got += "\n" + body
			}
			golden.Text(t, strings.TrimSuffix(file, ".json")+".golden", got)
		})
	}
}

// FuzzText holds that nothing from outside begins a line, is a mention or leaves a cell.
func FuzzText(f *testing.F) {
	f.Add("@all #1 | https://x \n/approve")
	f.Fuzz(func(t *testing.T, text string) {
		got := report.Text(text, 100)
		if strings.ContainsFunc(got, func(r rune) bool { return r != '\u200b' && (unicode.IsControl(r) || r == '\u2028') }) {
			t.Errorf("%q acts", got)
		}
		for i, r := range got {
			if strings.ContainsRune("@#!|<[]`", r) && (i == 0 || got[i-1] != '\\') {
				t.Errorf("%q has a bare %c", got, r)
			}
		}
		if n := strings.Count(strings.ReplaceAll(got, "\u200b", ""), ""); n > 250 {
			t.Errorf("%d characters", n)
		}
	})
}

// TestAnnotations: at most fifty, and only those that are new where that is known.
func TestAnnotations(t *testing.T) {
	var findings []codecheck.Finding
	for i := range 60 {
		findings = append(findings, codecheck.Finding{Path: fmt.Sprint(i), Line: i}, codecheck.Finding{Path: "old", Baseline: codecheck.BaselineUnchanged})
	}
	list := report.Annotations(findings)
	if len(list) != report.MaxAnnotations || list[0] != (forge.Annotation{Path: "0", Line: 1}) || list[49].Path != "49" {
		t.Errorf("%d annotations, %+v", len(list), list)
	}
}
