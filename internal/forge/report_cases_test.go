package forge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/forge"
)

// TestReportCases writes to each host, whose answers are as the case files say: those that the stand-in
// never gives. A file has a part `read` (set_status, the repository, the state, the number, the
// handle; or save_comment, read_comment or react, the repository, the number, the id), a part for each answer, and a part
// `want`: the requests in their order, and what came of them.
func TestReportCases(t *testing.T) {
	eachCase(t, "testdata/reports/*/*.txtar", 20, func(t *testing.T, c *hostCase) string {
		result := c.report(t)
		return strings.Join(append(c.asked, result), "\n")
	})
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
