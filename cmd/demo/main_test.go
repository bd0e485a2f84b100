package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatewright/gatewright/internal/apptest"
	"github.com/gatewright/gatewright/internal/command"
)

// TestMain makes the test binary serve as the command gatewright-demo in scripts, so
// that they run the same code as the real one.
func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){"gatewright-demo": func() { os.Exit(command.Process(newRoot)) }})
}

type tests struct{ m *testing.M }

func (t tests) Run() int { return apptest.Main(t.m) }

// TestScripts runs the commands as a user types them.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}
