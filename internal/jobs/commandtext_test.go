package jobs

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatewright/gatewright/internal/golden"
)

// commentCases are the comments in testdata/commands.txtar with their prefixes.
func commentCases(t testing.TB) []txtar.File {
	t.Helper()
	archive, err := txtar.ParseFile("testdata/commands.txtar")
	if err != nil || len(archive.Files) < 20 {
		t.Fatalf("%d cases, error %v", len(archive.Files), err)
	}
	return archive.Files
}

// TestParseCommand compares what is found in each comment, with line ends of both kinds.
func TestParseCommand(t *testing.T) {
	var text strings.Builder
	for _, c := range commentCases(t) {
		prefix, _, _ := strings.Cut(c.Name, " ")
		got, found := parseCommand(prefix, string(c.Data))
		if other, again := parseCommand(prefix, strings.ReplaceAll(string(c.Data), "\n", "\r\n")); other != got || again != found {
			t.Errorf("%s: with CRLF it is %+v", c.Name, other)
		}
		if !found {
			fmt.Fprintf(&text, "%s: none\n", c.Name)
			continue
		}
		fmt.Fprintf(&text, "%s: %s, commit %q (full %t), reason %q\n", c.Name, got.name, got.commit, got.fullCommit(), got.reason)
	}
	golden.Text(t, "testdata/commands.golden", text.String())
}

// FuzzParseCommand: whatever somebody writes, a command that is found has a known name and bounded parts, nothing is
// found without the prefix at the start of a line, and none of our own answers has a command.
func FuzzParseCommand(f *testing.F) {
	cases := commentCases(f)
	for _, c := range cases {
		prefix, _, _ := strings.Cut(c.Name, " ")
		f.Add(prefix, string(c.Data))
	}
	if _, err := os.Stat("testdata/commands.golden"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, prefix, text string) {
		if prefix == "" || strings.ContainsAny(prefix, "\r\n") {
			return
		}
		c, found := parseCommand(prefix, text)
		if !found {
			return
		}
		if !strings.HasPrefix(text, prefix) && !strings.Contains(text, "\n"+prefix) {
			t.Errorf("%q has no line that begins with %q, and the command %+v", text, prefix, c)
		}
		if c.name != commandUnknown && !strings.Contains(strings.Join(Commands(), " "), c.name) || utf8.RuneCountInString(c.reason) > longestReason || strings.ContainsAny(c.reason, "\n\r\x1b") {
			t.Errorf("%q has the command %+v", text, c)
		}
		if c.fullCommit() && len(c.commit) != 40 && len(c.commit) != 64 {
			t.Errorf("%q is not a full commit hash", c.commit)
		}
	})
}
