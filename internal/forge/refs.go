package forge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

const (
	// refsTimeout bounds one call of Branches or MergeRequests.
	refsTimeout = 25 * time.Second
	// refsPerPage is the most that the hosts give at once, maxRefPages how many pages are read.
	refsPerPage = 100
	maxRefPages = 30
)

// Ref is a branch, or an open merge request, as its host lists it. What a host does not tell is the
// zero value.
type Ref struct {
	// Number is the merge request's; 0 for a branch.
	Number int
	// Branch is the branch, or the target of the merge request.
	Branch string
	// SHA is its newest commit, in full.
	SHA string

	// The rest is of merge requests alone. UpdatedAt is in RFC 3339.
	SourceBranch, Title, Author, UpdatedAt string
	// AuthorID is the host's number of the author's account, as text.
	AuthorID    string
	Draft, Fork bool
	Labels      []string
}

// Refs are the branches, or the open merge requests, of a repository.
type Refs struct {
	List []Ref
	// Complete: there are no others. A list is cut short at 3,000.
	Complete bool
	// MostInPush is the most branches that one push may change for the host to send webhooks for
	// it; 0 where no such limit is known.
	MostInPush int
}

// refLister lists from one connection. It stops after maxRefPages, and returns complete false then.
type refLister interface {
	repository(ctx context.Context, name string) (event.Repository, error)
	branches(ctx context.Context, repository string) (list []Ref, complete bool, err error)
	// mergeRequests lists those that are open.
	mergeRequests(ctx context.Context, repository string) (list []Ref, complete bool, err error)
}

// Repository reads a repository by its full name: the host's id of it, its name in the host's
// spelling, which is the new one where it was renamed, whether it is private, and its default
// branch. The errors are as those of Head.
func (f *Forge) Repository(ctx context.Context, connection, fullName string) (event.Repository, error) {
	const name = "read repository"
	c, err := f.connected(connection, name)
	if err != nil {
		return event.Repository{}, err
	}
	if !plain(fullName) {
		return event.Repository{}, &Error{Operation: name, message: fmt.Sprintf("%.100q cannot be the name of a repository", fullName)}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r, err := c.repository(withOperation(ctx, operation{name, rightToRead}), fullName)
	if err == nil && (r.ID == "" || r.ID == "0" || !plain(r.FullName)) {
		err = errors.New("it has no id or no name")
	}
	r.Host = c.kind
	return r, asError(name, err)
}

// Branches lists the branches of a repository with their newest commits. The errors are as those of
// Head.
func (f *Forge) Branches(ctx context.Context, connection, repository string) (Refs, error) {
	return f.refs(ctx, connection, "list branches", repository, refLister.branches)
}

// MergeRequests lists the open merge requests of a repository with their newest commits. The errors
// are as those of Head.
func (f *Forge) MergeRequests(ctx context.Context, connection, repository string) (Refs, error) {
	return f.refs(ctx, connection, "list merge requests", repository, refLister.mergeRequests)
}

func (f *Forge) refs(ctx context.Context, connection, name, repository string, read func(refLister, context.Context, string) ([]Ref, bool, error)) (Refs, error) {
	c, err := f.connected(connection, name)
	if err != nil {
		return Refs{}, err
	}
	if !plain(repository) {
		return Refs{}, &Error{Operation: name, message: fmt.Sprintf("%.100q cannot be the name of a repository", repository)}
	}
	ctx, cancel := context.WithTimeout(ctx, refsTimeout)
	defer cancel()
	list, complete, err := read(c, withOperation(ctx, operation{name, rightToRead}), repository)
	if err != nil {
		return Refs{}, asError(name, err)
	}
	refs := Refs{Complete: complete, MostInPush: c.mostInPush}
	seen := map[string]bool{}
	for _, r := range list {
		key := fmt.Sprint(r.Number)
		if r.Number == 0 {
			key = r.Branch
		}
		switch {
		case r.Branch == "" || r.Number < 0:
			return Refs{}, asError(name, errors.New("one of the list has no name"))
		case !isCommit(r.SHA):
			// A merge request that is being prepared has no commit yet.
			refs.Complete = false
		case !seen[key]: // a page may repeat what moved meanwhile
			seen[key] = true
			refs.List = append(refs.List, r)
		}
	}
	return refs, nil
}

// pages calls read for one page after the other, until it says that there is no other or maxRefPages
// are read.
func pages(read func(page int) (list []Ref, next bool, err error)) (all []Ref, complete bool, err error) {
	for page := 1; page <= maxRefPages; page++ {
		list, next, err := read(page)
		if err != nil {
			return nil, false, err
		}
		all = append(all, list...)
		if !next {
			return all, true, nil
		}
	}
	return all, false, nil
}
