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
	sshOnly := push
	sshOnly.Repository.HTTPSURL = ""
	const base = testProject + " github.com/acme/api "
	for want, got := range map[string]string{
		base + "main":              TaskKey(push, full),
		base + "feature/x":         TaskKey(merge, full),
		base + "main feature/x #7": TaskKey(merge, incremental),
	} {
		if got != want {
			t.Errorf("key %q, want %q", got, want)
		}
	}
	if TaskKey(sshOnly, full) != TaskKey(push, full) {
		t.Error("the same repository has two keys")
	}
}
