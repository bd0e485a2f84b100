package standin

import (
	"context"
	"errors"
)

// code is what a run looks at: a ref of a repository, and for a merge request
// the branch that it is compared with and how.
type code struct {
	url, head, target string
	mode              int
	credentials       repositoryCredentials
	// named says that the run itself named the repository.
	named bool
}

// repositoryCredentials are what a call named for a repository; both are empty when it did not.
type repositoryCredentials struct{ user, token string }

// temporary returns what a run with a temporary repository looks at.
func (k code) temporary(task *checkTask, body runTask) code {
	if body.GitURL != "" {
		k.url, k.credentials = body.GitURL, repositoryCredentials{}
	}
	if body.GitBranch != "" && task.parent == nil {
		k.head = "refs/heads/" + body.GitBranch
	}
	if body.GitURL != "" || body.Username != "" || body.AccessToken != "" {
		k.credentials = repositoryCredentials{body.Username, body.AccessToken}
	}
	k.named = body.GitURL != ""
	return k
}

// codeOf says what a run of task with ref looks at.
func (s *checkService) codeOf(t *checkTask, ref string) code {
	k := code{url: t.url, head: "refs/heads/" + t.branch, target: t.target, mode: t.family().mode, credentials: t.credentials}
	switch {
	case t.parent == nil:
	case t.mergeID == "":
		k.head = "refs/heads/" + t.source
	case ref == "pull" || ref == "" && t.pulls():
		k.head = "refs/pull/" + t.mergeID + "/head"
	default:
		k.head = "refs/merge-requests/" + t.mergeID + "/head"
	}
	return k
}

// errDenied ends the run of a repository that does not take the credentials.
var errDenied = errors.New("authentication failed")

// admits reports whether the repository takes the credentials that a call named for it. Where
// RepositoryUser is not set every repository does; a call that names a repository must then also
// name them.
func (s *checkService) admits(k code) error {
	want := repositoryCredentials{s.opts.RepositoryUser, s.opts.RepositoryToken}
	if want.user == "" || k.credentials == (repositoryCredentials{}) && !k.named || k.credentials == want {
		return nil
	}
	return errDenied
}

// failureLog is what log-detail says of a run that got no result.
func failureLog(code code, err error) string {
	switch {
	case errors.Is(err, errDenied):
		return "Cloning into 'source'...\nremote: HTTP Basic: Access denied\nfatal: Authentication failed for '" + code.url + "'"
	case errors.Is(err, errUnreachable):
		return "Cloning into 'source'...\nrepository not reachable"
	case errors.Is(err, context.DeadlineExceeded):
		return "the check took longer than " + scanTimeout.String()
	default:
		return "Cloning into 'source'...\n> git fetch origin " + code.head + "\n" + err.Error()
	}
}

// scanned is what a run found. For a merge request found holds the files that it
// changes, and base the same files on the target branch; otherwise base is nil.
type scanned struct{ found, base *report }

// scan clones what code names and scans it.
func (s *checkService) scan(ctx context.Context, code code) (scanned, error) {
	select {
	case s.scanning <- struct{}{}:
		defer func() { <-s.scanning }()
	case <-ctx.Done():
		return scanned{}, ctx.Err()
	}
	repository, err := openRemote(ctx, s.local, code.url)
	if err != nil {
		return scanned{}, err
	}
	defer repository.close()
	head, err := repository.head(code.head)
	if err != nil {
		return scanned{}, err
	}
	if code.target == "" {
		return s.remembered(scanKey{head: head}, func() (scanned, error) {
			objects, err := repository.clone(ctx, head)
			if err != nil {
				return scanned{}, err
			}
			found, err := scanCommit(ctx, objects, head, nil)
			return scanned{found: found}, err
		})
	}
	target, err := repository.head("refs/heads/" + code.target)
	if err != nil {
		return scanned{}, err
	}
	return s.remembered(scanKey{head: head, target: target, full: code.mode == modeFull}, func() (scanned, error) {
		objects, err := repository.clone(ctx, head, target)
		if err != nil {
			return scanned{}, err
		}
		var paths map[string]bool // all
		if code.mode != modeFull {
			if paths, err = changedPaths(ctx, objects, target, head); err != nil {
				return scanned{}, err
			}
		}
		found, err := scanCommit(ctx, objects, head, paths)
		if err != nil {
			return scanned{}, err
		}
		base, err := scanCommit(ctx, objects, target, paths)
		return scanned{found: found, base: base}, err
	})
}

// scansKept bounds the scans that are remembered.
const scansKept = 256

// remembered returns the scan for key, made by scan when it is not known yet.
func (s *checkService) remembered(key scanKey, scan func() (scanned, error)) (scanned, error) {
	s.mu.Lock()
	known, ok := s.scans[key]
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	made, err := scan()
	if err != nil {
		return scanned{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.scans[key]; !ok {
		s.scanOrder = append(s.scanOrder, key)
	}
	s.scans[key] = made
	if len(s.scanOrder) > scansKept {
		delete(s.scans, s.scanOrder[0])
		s.scanOrder = s.scanOrder[1:]
	}
	return made, nil
}
