package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatewright/gatewright/internal/apptest"
)

func TestMain(m *testing.M) { apptest.ProgramMain(m, "gatewright", newRoot) }

func TestScripts(t *testing.T) {
	apptest.Scripts(t, map[string]func(*testscript.TestScript, bool, []string){"waitfile": waitFile})
}

// waitFile waits until a file, which may not be there yet, has a text.
func waitFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: waitfile FILE TEXT")
	}
	var text []byte
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		text, _ = os.ReadFile(ts.MkAbs(args[0]))
		if strings.Contains(string(text), args[1]) {
			return
		}
	}
	ts.Fatalf("%s never has %q:\n%s", args[0], args[1], text)
}
