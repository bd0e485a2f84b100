package standin_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewright/gatewright/internal/standin"
)

// TestDocument: the switches, the fault kinds and the operations of docs/standin.md are those of
// the code, in the same order. A difference shows what to write.
func TestDocument(t *testing.T) {
	raw, err := os.ReadFile("../../docs/standin.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(raw)

	var switches, kinds, operations []string
	for _, s := range standin.Switches() {
		values := "a time"
		if s.Name == "token_length" {
			values = "36 to 100000"
		}
		if len(s.Values) > 0 {
			values = strings.Join(s.Values, ", ")
		}
		switches = append(switches, fmt.Sprintf("| `%s` | %s | %s | %s | %s |", s.Name, s.Default, values, s.Meaning, s.Document))
	}
	for _, kind := range standin.FaultKinds() {
		kinds = append(kinds, "| `"+string(kind)+"` ")
	}
	server, err := standin.New(sample(t))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, operation := range server.Operations() {
		operations = append(operations, "| `"+operation+"` ")
	}
	for heading, want := range map[string][]string{"Switches": switches, "Fault kinds": kinds, "Operations": operations} {
		if diff := cmp.Diff(want, rows(document, heading, want)); diff != "" {
			t.Errorf("%s of docs/standin.md (- code, + document):\n%s", heading, diff)
		}
	}
}

// rows are the rows of the first table under a heading, cut as short as those of want are.
func rows(document, heading string, want []string) []string {
	_, section, _ := strings.Cut(document, "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var found []string
	for line := range strings.SplitSeq(section, "\n") {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		if i := len(found); i < len(want) && strings.HasSuffix(want[i], "` ") {
			line = line[:strings.Index(line[3:], "`")+3] + "` "
		}
		found = append(found, line)
	}
	return found
}
