package release

import (
	"strconv"
	"testing"
	"time"
)

// TestLongRecords holds that the records are searched in one pass: an answer of the
// largest size (32 MiB, some 200,000 records) must not take a step's time.
func TestLongRecords(t *testing.T) {
	var now snapshot
	for i := range 200_000 {
		now.records = append(now.records, record{ID: text(strconv.Itoa(i + 1))})
	}
	began := time.Now()
	newer := now.executionsSince(Intent{LastExecutionID: "199999"})
	if len(newer) != 1 || newer[0].ID != "200000" {
		t.Errorf("executions %v", newer)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}
