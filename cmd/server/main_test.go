package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gatewright/gatewright/internal/storetest"
)

// TestMain makes the test binary serve as the command gatewright in scripts, so
// that they go through the same run as the real one.
func TestMain(m *testing.M) {
	testscript.Main(tests{m}, map[string]func(){
		"gatewright": func() {
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			os.Exit(run(ctx, os.Args[1:], environment{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv}))
		},
	})
}

// tests runs the tests and stops the database server that they started.
type tests struct{ m *testing.M }

func (t tests) Run() int { return storetest.Main(t.m) }

// TestScripts runs the commands as a user types them.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", RequireExplicitExec: true})
}
