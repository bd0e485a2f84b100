package forge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

const (
	// filesTimeout bounds one call of Files: a merge request of 3,000 files takes 30 requests.
	filesTimeout = 25 * time.Second
	// filesPerPage is the most that the hosts give at once, maxFilePages how many pages are
	// read: GitHub gives no more, 3,000 files (specs/githosts.md 1.7).
	filesPerPage = 100
	maxFilePages = 30
)

// changes are the files that a host lists.
type changes struct {
	// listed is how many they are; paths has the old and the new path of a renamed file.
	listed int
	paths  []string
	// head is the commit of the merge request that they are of.
	head string
	// unknown says why there may be others; empty when there are none.
	unknown string
}

// add adds a file by its path and its old one, which may be the same or empty. A file without
// a name could be any.
func (c *changes) add(path, old string) error {
	if path == "" {
		return errors.New("it has a file without a name")
	}
	c.listed++
	c.paths = append(c.paths, path, old)
	return nil
}

// Files reads the files that the event's merge request changes against its target, or that
// differ between the commits before and after a push. Where the host lists not all of them, or
// cannot tell which they are, they are incomplete and say why. The errors are as those of
// Head; one that passes, too, when the host has another commit of the merge request: the
// event is outdated, or a part of the host lags behind.
func (f *Forge) Files(ctx context.Context, ev event.Event) (event.Files, error) {
	const name = "read changed files"
	r, err := f.connected(ev.Connection, name)
	if err != nil {
		return event.Files{}, err
	}
	if !plain(ev.Repository.FullName) || ev.Number <= 0 && (!isCommit(ev.Before) || !isCommit(ev.HeadSHA)) {
		return event.Files{}, &Error{Operation: name, message: fmt.Sprintf("%.100q and %.100q in %.100q cannot be compared", ev.Before, ev.HeadSHA, ev.Repository.FullName)}
	}
	ctx, cancel := context.WithTimeout(ctx, filesTimeout)
	defer cancel()
	ctx = withOperation(ctx, operation{name, rightToRead})
	var list changes
	if ev.Number > 0 {
		list, err = r.mergeRequestFiles(ctx, ev.Repository.FullName, ev.Number)
	} else {
		list, err = r.compare(ctx, ev.Repository.FullName, ev.Before, ev.HeadSHA)
	}
	if err == nil && ev.Number > 0 && ev.HeadSHA != "" && list.head != ev.HeadSHA {
		err = &Error{message: fmt.Sprintf("the merge request has commit %.8s on its host, and not %.8s", list.head, ev.HeadSHA), retryable: true}
	}
	if err != nil {
		return event.Files{}, asError(name, err)
	}
	files := event.NewFiles(list.paths, list.unknown)
	files.FromHost = true
	return files, nil
}

// cutShort says in unknown that the host lists some of the files.
func (c *changes) cutShort() {
	c.unknown = fmt.Sprintf("the host lists %d changed files, and there are more, or may be", c.listed)
}

// forced is what changes.unknown says where the one commit does not come after the other.
const forced = "the push was forced, so that files of the commits which it removed count too"
