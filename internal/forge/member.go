package forge

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/gatewright/gatewright/internal/event"
)

// User is an account of a host.
type User struct {
	// ID is the host's number of the account, as text; empty where the host names none, as when the
	// account was deleted.
	ID string
	// Login is its name there, which can pass to another account.
	Login string
}

// MergeRequest is what a host says of a merge request now.
type MergeRequest struct {
	// HeadSHA is the commit of its source branch, not of a test merge.
	HeadSHA string
	Author  User
	Open    bool
	// Fork: the source branch is not in the target's repository, or the host does not say where it
	// is, as when a fork was deleted.
	Fork                       bool
	SourceBranch, TargetBranch string
	// RepositoryID is the host's number of the target repository, as text; empty where it does not
	// tell.
	RepositoryID string
}

// memberReader reads who may do what in the repositories of one connection.
type memberReader interface {
	// writes reports whether an account may write to a repository. NotFound stands for an account
	// that has no rights there.
	writes(ctx context.Context, repository string, u User) (bool, error)
	// rightToReadMembers is what it takes.
	rightToReadMembers() string
}

const readsMember = "read rights of account"

// CanWrite reports whether the host says that the account may write to the repository: that it has the
// role write, maintain or admin there, on GitLab Developer or more. The host is asked each time.
// It is false for an account without an id, or one that the host does not know. Errors are as those
// of Head.
func (f *Forge) CanWrite(ctx context.Context, connection string, r event.Repository, u User) (bool, error) {
	c, err := f.connected(connection, readsMember)
	if err != nil {
		return false, err
	}
	if u.ID == "" {
		return false, nil
	}
	if !plain(r.FullName) || u.Login != "" && !plain(u.Login) {
		return false, &Error{Operation: readsMember, message: fmt.Sprintf("%.100q in %.100q cannot be an account and a repository", u.Login, r.FullName)}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	may, err := c.writes(withOperation(ctx, operation{readsMember, c.rightToReadMembers()}), r.FullName, u)
	if failure(err).NotFound() {
		return false, nil
	}
	return may && err == nil, asError(readsMember, err)
}

// MergeRequest reads the event's merge request. Errors are as those of Head.
func (f *Forge) MergeRequest(ctx context.Context, ev event.Event) (MergeRequest, error) {
	const name = "read merge request"
	c, err := f.connected(ev.Connection, name)
	if err != nil {
		return MergeRequest{}, err
	}
	if !plain(ev.Repository.FullName) || ev.Number <= 0 {
		return MergeRequest{}, &Error{Operation: name, message: fmt.Sprintf("%d in %.100q cannot be a merge request", ev.Number, ev.Repository.FullName)}
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	request, err := c.mergeRequest(withOperation(ctx, operation{name, rightToRead}), ev.Repository.FullName, ev.Number)
	if err == nil && !isCommit(request.HeadSHA) {
		err = errors.New("it has no commit hash where it should have one")
	}
	if err != nil {
		return MergeRequest{}, asError(name, err)
	}
	return request, nil
}

// user is an account of an answer. Its number is 0 where there is none.
func user(id int64, login string) User {
	if id <= 0 {
		return User{Login: login}
	}
	return User{strconv.FormatInt(id, 10), login}
}

// fromFork reports whether a source is not known to be the target's repository; 0 stands for a number
// that the host does not tell.
func fromFork(source, target int64) bool { return source <= 0 || source != target }

// mayWrite reports whether an answer about the rights of an account is about the one that was asked for,
// and lets it write. It is asked for by its name, which may have become that of another account.
func mayWrite(permission string, answered, asked User) (bool, error) {
	if answered.ID != asked.ID {
		return false, errors.New("it speaks of another account")
	}
	switch permission {
	case "write", "maintain", "admin", "owner":
		return true, nil
	}
	return false, nil
}

// idText is a host's number as text; empty for one that no host gives out.
func idText(id int64) string { return user(id, "").ID }
