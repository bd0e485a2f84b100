package main

import (
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
)

func TestMain(m *testing.M) { apptest.ProgramMain(m, "gatewright-demo", newRoot) }

func TestScripts(t *testing.T) { apptest.Scripts(t, nil) }
