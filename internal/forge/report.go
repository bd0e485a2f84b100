package forge

import "github.com/gatewright/gatewright/internal/event"

// Target is the commit that a status is of, and the merge request that a comment is on.
type Target struct {
	Connection string
	Repository event.Repository
	SHA        string
	Ref        string
	Number     int
}

// StatusState is what a status says.
type StatusState string

// The states of a status.
const (
	Pending  StatusState = "pending"
	Running  StatusState = "running"
	Success  StatusState = "success"
	Failure  StatusState = "failure"
	Errored  StatusState = "error"
	Canceled StatusState = "canceled"
	Neutral  StatusState = "neutral"
)

// Status is the status of a commit in one context.
type Status struct {
	Context     string
	State       StatusState
	Description string
	URL         string
	Annotations []Annotation
}

// Annotation is a finding at a line of a file.
type Annotation struct {
	Path     string
	Line     int
	Severity string
	Rule     string
	Message  string
}
