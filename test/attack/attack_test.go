package main

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/test/harness"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestAttack plays every attack once, on an embedded database.
func TestAttack(t *testing.T) {
	if testing.Short() {
		t.Skip("it plays every attack on the real program")
	}
	var out bytes.Buffer
	err := run(t.Context(), []string{"-database", harness.SQLite}, &out)
	t.Log("\n" + out.String())
	if err != nil {
		t.Fatal(err)
	}
}
