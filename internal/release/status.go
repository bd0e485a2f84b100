package release

import "fmt"

// Status is ServiceStage's number for where a pipeline, an execution, a stage or
// a task stands (specs/servicestage-release.md 3). 6, 8 and all above 14 are not
// documented. Release.Status holds the same number as an int.
type Status int

// The documented status values.
const (
	StatusInitial        Status = 1  // never run
	StatusSucceeded      Status = 2  // released
	StatusFailed         Status = 3  // release failed; can be retried or rolled back
	StatusReleasing      Status = 4  // moves
	StatusToBeApproved   Status = 5  // a checkpoint waits
	StatusPaused         Status = 7  // waits for `continue`
	StatusSkipped        Status = 9  // not run
	StatusRollingBack    Status = 10 // moves
	StatusRolledBack     Status = 11 // the release was undone
	StatusRollbackFailed Status = 12 // the release could not be undone
	StatusStopping       Status = 13 // moves, towards a pause
	StatusRestarting     Status = 14 // moves
)

// StatusNone is no status at all, and statusUnreadable one that is not a number.
const (
	StatusNone       Status = 0
	statusUnreadable Status = -1
)

// Statuses lists every documented status.
func Statuses() []Status {
	return []Status{
		StatusInitial, StatusSucceeded, StatusFailed, StatusReleasing, StatusToBeApproved, StatusPaused,
		StatusSkipped, StatusRollingBack, StatusRolledBack, StatusRollbackFailed, StatusStopping, StatusRestarting,
	}
}

// String is the documented name and the number, e.g. `releasing (4)`. A number
// that is not documented is called unknown.
func (s Status) String() string {
	name := "unknown"
	switch s {
	case StatusNone:
		return "no status"
	case statusUnreadable:
		return "unreadable status"
	case StatusInitial:
		name = "initialization successful"
	case StatusSucceeded:
		name = "release successful"
	case StatusFailed:
		name = "release failed"
	case StatusReleasing:
		name = "releasing"
	case StatusToBeApproved:
		name = "to be approved"
	case StatusPaused:
		name = "paused"
	case StatusSkipped:
		name = "skipped"
	case StatusRollingBack:
		name = "rolling back"
	case StatusRolledBack:
		name = "rollback successful"
	case StatusRollbackFailed:
		name = "rollback failed"
	case StatusStopping:
		name = "stopping"
	case StatusRestarting:
		name = "restarting"
	}
	return fmt.Sprintf("%s (%d)", name, int(s))
}

// Ended reports whether an execution with this status moves no further by
// itself or by an approval. An unknown status has not ended.
func (s Status) Ended() bool {
	switch s {
	case StatusSucceeded, StatusFailed, StatusSkipped, StatusRolledBack, StatusRollbackFailed:
		return true
	}
	return false
}

// Succeeded reports whether the execution released all that it was asked to.
func (s Status) Succeeded() bool { return s == StatusSucceeded }
