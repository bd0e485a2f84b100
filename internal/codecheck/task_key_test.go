package codecheck

import (
	"testing"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

func TestTaskKey(t *testing.T) {
	push := testEvent()
	merge := push
	merge.Kind, merge.Number, merge.SourceBranch = event.MergeRequest, 7, "feature/x"
	full, incremental := testCheck(), testCheck()
	incremental.Scan = rules.ScanIncremental
	base := push.Connection + " " + push.Repository.ID + " " + testProject + " "
	for want, got := range map[string]string{
		base + "main":              TaskKey(push, full),
		base + "feature/x":         TaskKey(merge, full),
		base + "main feature/x #7": TaskKey(merge, incremental),
	} {
		if got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
	renamed, replaced, elsewhere := push, push, push
	renamed.Repository.FullName, renamed.Repository.HTTPSURL = "acme/shop", "https://github.com/acme/shop.git"
	replaced.Repository.ID = "2"
	elsewhere.Connection = "another"
	if TaskKey(renamed, full) != TaskKey(push, full) {
		t.Error("a renamed repository has another key")
	}
	if TaskKey(replaced, full) == TaskKey(push, full) || TaskKey(elsewhere, full) == TaskKey(push, full) {
		t.Error("another repository of the same name, or another connection, has the same key")
	}
}
