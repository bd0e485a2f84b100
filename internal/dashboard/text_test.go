package dashboard

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// TestTexts holds that every text of the pages is there in both languages, with the same values to
// be filled in, and that none is there for nothing.
func TestTexts(t *testing.T) {
	used := map[string]bool{}
	files, err := filepath.Glob("*")
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile(`\.T\(("(?:[^"\\]|\\.)*")`)
	for _, file := range files {
		if !strings.HasSuffix(file, ".templ") && (!strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") || strings.HasSuffix(file, "_templ.go")) {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range call.FindAllStringSubmatch(string(source), -1) {
			text, err := strconv.Unquote(found[1])
			if err != nil {
				t.Fatal(err)
			}
			used[text] = true
		}
	}
	if len(used) < 100 {
		t.Fatalf("only %d texts found: the test no longer sees them", len(used))
	}
	for _, l := range navigation() {
		used[l.text] = true
	}
	for _, word := range wordsShown() {
		used[strings.ReplaceAll(word, "_", " ")] = true
	}
	value := regexp.MustCompile(`%[a-z]`)
	for _, text := range slices.Sorted(maps.Keys(used)) {
		translated, known := texts[text]
		if !known || translated == "" {
			t.Errorf("%q has no Chinese", text)
			continue
		}
		if in, out := value.FindAllString(text, -1), value.FindAllString(translated, -1); !slices.Equal(in, out) {
			t.Errorf("%q has the values %q, and in Chinese %q", text, in, out)
		}
	}
	for text := range texts {
		if !used[text] {
			t.Errorf("%q is on no page", text)
		}
	}
}

// wordsShown are the words of ours that pages take from records.
func wordsShown() []string {
	list := []string{"status", "comment", "release", "delivery", "run", "waits", "given_up", "written", "problem", "connected", "quiet", "exceeded", "passed", "failed",
		"success", "failure", "error", "pending", "neutral", "canceled", "running", "full", "incremental", "configuration", "credentials",
		"compared", "redelivered", "new", "unchanged", "matched", "ignored", "no_match", "held", "retry", "rollback"}
	add := func(word string) { list = append(list, word) }
	for _, s := range deliveryStates() {
		add(string(s))
	}
	for _, s := range codecheck.States() {
		add(string(s))
	}
	for _, s := range append(release.States(), release.Held) {
		add(string(s))
	}
	for _, k := range event.Kinds() {
		add(string(k))
	}
	for _, k := range view.SpanKinds() {
		add(string(k))
	}
	for _, a := range rules.ReleaseActions() {
		add(string(a))
	}
	for _, r := range release.Results() {
		add(string(r))
	}
	for _, r := range []rules.Result{rules.RuleMatched, rules.RuleSkipped, rules.RuleNotTried} {
		add(string(r))
	}
	for _, a := range store.ActionNames() {
		add(string(a))
	}
	for _, s := range store.ApprovalStates() {
		add(string(s))
	}
	return append(list, severities()...)
}

func TestPreferred(t *testing.T) {
	for accepted, want := range map[string]language{
		"": english, "de": english, "zh": chinese, "zh-CN,zh;q=0.9,en;q=0.8": chinese, "en-GB,zh;q=0.9": english, "de, zh-TW;q=0.5, en;q=0.4": chinese,
		"zh;q=0": english, "zh;q=x,en": english, ",;,": english, "*": english,
	} {
		if got := preferred(accepted); got != want {
			t.Errorf("%q: %s, want %s", accepted, got, want)
		}
	}
}

// TestScript holds that the script is as short as it was promised to be.
func TestScript(t *testing.T) {
	script, err := assetFiles.ReadFile("assets/live.js")
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(script), "\n"); lines > 150 {
		t.Errorf("the script has %d lines", lines)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]string{"999ms": "999 ms", "1500ms": "1.5 s", "59s": "59 s", "3m2s": "3 min 02 s", "25h": "1 d 1 h", "2h5m": "2 h 05 min"} {
		if got := took(mustDuration(t, text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
	for text, want := range map[string]string{"3s": "< 10 s", "59s": "50 s", "119s": "1 min", "30h": "30 h", "100h": "4 d"} {
		if got := rough(mustDuration(t, text)); got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func mustDuration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
