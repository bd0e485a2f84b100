package release

import "fmt"

// Status is ServiceStage's number for where a pipeline, an execution, a stage or
// a task stands (specs/servicestage-release.md 3). 6, 8 and all above 14 are not
// documented. Release.Status holds the same number as an int. The words of CodeArts
// Pipeline are mapped to them, and to some below 0 that are ours.
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

// StatusNone means that there is no status, and statusUnreadable one that is not known, or no number
// where that is wanted.
const (
	StatusNone       Status = 0
	statusUnreadable Status = -1
)

// What CodeArts Pipeline knows and ServiceStage does not. ServiceStage never sends a
// number below 0 that is taken for one of these.
const (
	StatusCanceled  Status = -2 // stopped for good; can be retried
	StatusSuspended Status = -3 // waits for a person, at no manual review; can be stopped
)

// Statuses lists every documented status.
func Statuses() []Status {
	return []Status{
		StatusInitial, StatusSucceeded, StatusFailed, StatusReleasing, StatusToBeApproved, StatusPaused,
		StatusSkipped, StatusRollingBack, StatusRolledBack, StatusRollbackFailed, StatusStopping, StatusRestarting,
	}
}

// String is the documented name and the number, e.g. `releasing (4)`.
func (s Status) String() string {
	switch s {
	case StatusNone:
		return "no status"
	case statusUnreadable:
		return "unreadable status"
	}
	if s < 0 {
		return s.Name()
	}
	return fmt.Sprintf("%s (%d)", s.Name(), int(s))
}

// Name is the documented name; "unknown" for a number that is not documented.
func (s Status) Name() string {
	switch s {
	case StatusInitial:
		return "initialization successful"
	case StatusSucceeded:
		return "release successful"
	case StatusFailed:
		return "release failed"
	case StatusReleasing:
		return "releasing"
	case StatusToBeApproved:
		return "to be approved"
	case StatusPaused:
		return "paused"
	case StatusSkipped:
		return "skipped"
	case StatusRollingBack:
		return "rolling back"
	case StatusRolledBack:
		return "rollback successful"
	case StatusRollbackFailed:
		return "rollback failed"
	case StatusStopping:
		return "stopping"
	case StatusRestarting:
		return "restarting"
	case StatusCanceled:
		return "canceled"
	case StatusSuspended:
		return "suspended"
	}
	return "unknown"
}

// Ended reports whether an execution with this status moves no further by
// itself or by an approval. An unknown status has not ended.
func (s Status) Ended() bool {
	switch s {
	case StatusSucceeded, StatusFailed, StatusSkipped, StatusRolledBack, StatusRollbackFailed, StatusCanceled:
		return true
	}
	return false
}

// Succeeded reports whether the execution released all that it was asked to.
func (s Status) Succeeded() bool { return s == StatusSucceeded }
