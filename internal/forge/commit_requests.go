package forge

import (
	"context"
	"fmt"
)

// MergeRequestRef is a merge request that a commit came from, as its host tells it. What a host does
// not tell is the zero value.
type MergeRequestRef struct {
	Number int
	// AuthorID is the host's number of the account that opened it, as text, Author its login; empty
	// where the host says that nobody is it.
	AuthorID, Author string
	// Branch is the target.
	Branch string
	// MergedSHA is the commit that the merge made on the target branch, in full; empty where it is not
	// merged, or the host does not say it.
	MergedSHA string
	// State is open, closed or merged.
	State string
}

// MergeRequestsOf reads the merge requests that a commit, in full, came from. The errors are as those
// of Head.
func (f *Forge) MergeRequestsOf(ctx context.Context, connection, repository, sha string) ([]MergeRequestRef, error) {
	const name = "list merge requests of commit"
	if _, err := f.connected(connection, name); err != nil {
		return nil, err
	}
	return nil, &Error{Operation: name, message: fmt.Sprintf("%.100q cannot be asked yet", connection)}
}
