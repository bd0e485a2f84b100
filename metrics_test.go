package gatewright_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMetricsOfDocuments holds that each metric which the README or a document names exists.
func TestMetricsOfDocuments(t *testing.T) {
	var code strings.Builder
	err := filepath.WalkDir("internal", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		code.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`gatewright_[a-z_]+")
	found := 0
	for _, document := range append(documents, "README.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names.FindAllString(string(text), -1) {
			found++
			if name = strings.TrimPrefix(name, "`"); !strings.HasSuffix(name, "_") && !strings.Contains(code.String(), `"`+name+`"`) {
				t.Errorf("%s names the metric %s, which does not exist", document, name)
			}
		}
	}
	if found == 0 {
		t.Error("no document names a metric")
	}
}
