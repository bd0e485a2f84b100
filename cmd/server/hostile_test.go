package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/escape"
	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/view"
)

// hostile clears the screen, changes the order of text, and begins lines and cells.
const hostile = "a\x1b[2J\u009b1m\u202eb\nc\td\r\u2028\u2066\x7f\u200b"

// records are one of each kind, with text in every place for text.
func records(text string) []any {
	var delivery view.DeliveryDetail
	run := view.RunDetail{Defects: make([]codecheck.Defect, 2), Releases: make([]view.Release, 1)}
	rel := view.ReleaseDetail{Release: view.Release{Waiting: make([]string, 2), Actions: make([]release.Action, 1)}}
	delivery.Runs = make([]view.DeliveryRun, 1)
	delivery.Rules = make([]string, 2)
	found := view.Findings{Findings: make([]codecheck.Finding, 2)}
	for _, record := range []any{&delivery, &run, &rel, &found} {
		fill(reflect.ValueOf(record).Elem(), text)
	}
	// The texts of a decision are quoted when it is made, and of a set of words.
	delivery.Decision = nil
	return []any{delivery, run, rel, found}
}

// fill puts text into every string of a value.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(v.Field(i), text)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem(), text)
	}
}

// TestHostileText holds that text from outside can neither act on the terminal nor add a
// line, in what `show` and `list` print; and that JSON keeps it.
func TestHostileText(t *testing.T) {
	var printed bytes.Buffer
	harmless := records("x")
	for i, record := range records(hostile) {
		var shown, plain, asJSON bytes.Buffer
		showRecord(escape.NewWriter(&shown), record)
		showRecord(&plain, harmless[i])
		if got, want := strings.Count(shown.String(), "\n"), strings.Count(plain.String(), "\n"); got != want {
			t.Errorf("%T has %d lines, want %d:\n%s", record, got, want, shown.String())
		}
		if err := command.WriteJSON(escape.NewWriter(&asJSON), record); err != nil {
			t.Fatal(err)
		}
		again := reflect.New(reflect.TypeOf(record))
		if err := json.Unmarshal(asJSON.Bytes(), again.Interface()); err != nil {
			t.Errorf("%T is not JSON any more: %v", record, err)
		} else if diff := cmp.Diff(record, again.Elem().Interface()); diff != "" {
			t.Errorf("read back (-want +got):\n%s", diff)
		}
		for _, text := range []string{shown.String(), asJSON.String()} {
			if strings.ContainsFunc(text, func(r rune) bool {
				return r != '\n' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
			}) {
				t.Errorf("%q", text)
			}
		}
		printed.Write(shown.Bytes())
		if _, ok := record.(view.ReleaseDetail); ok {
			printed.Write(asJSON.Bytes())
		}
	}
	if row := tableRow([]string{hostile, "x"}); strings.Count(row, "\t") != 1 || strings.Contains(row, "\n") {
		t.Errorf("row %q", row)
	}
	golden.Text(t, filepath.Join("testdata", "hostile.golden"), printed.String())
}
