package dashboard_test

import (
	"os"
	"testing"

	"github.com/gatewright/gatewright/internal/apptest"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }
