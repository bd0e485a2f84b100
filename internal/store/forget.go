package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/codecheck"
)

// Memory names what is remembered: of one repository of a connection, given by its name
// or the host's id of it, and of one branch where that is not empty. For a merge request
// that is the target branch.
type Memory struct{ Connection, Repository, Branch string }

// RememberedTask is a task that earlier runs found or created.
type RememberedTask struct {
	Key, RepositoryKey, Repository string
	// RefKey is that of the merge request whose task it is; empty for the task of a branch.
	RefKey string
	Task   codecheck.Task
}

// RememberedHead is the head of one branch, tag or merge request.
type RememberedHead struct {
	RefKey, RepositoryKey, Repository string
	Head                              Head
}

// ofRepository is the condition of what belongs to the repository $2 of the connection $1.
const ofRepository = `substr(repository_key, 1, length($1) + 1) = $1 || ' ' AND (LOWER(repository) = LOWER($2) OR repository_key = $1 || ' ' || $2)`

// RememberedTasks lists the tasks of a repository.
func (tx *Tx) RememberedTasks(ctx context.Context, m Memory) ([]RememberedTask, error) {
	list, err := tx.rememberedTasks(ctx, ofRepository, m.Connection, m.Repository)
	return slices.DeleteFunc(list, func(r RememberedTask) bool { return m.Branch != "" && r.Task.Branch != m.Branch }), err
}

func (tx *Tx) rememberedTasks(ctx context.Context, condition string, arguments ...any) ([]RememberedTask, error) {
	list, err := collect(ctx, tx, func(row scanner) (r RememberedTask, err error) {
		var data string
		if err := row.Scan(&r.Key, &r.RepositoryKey, &r.Repository, &r.RefKey, &data); err != nil {
			return r, err
		}
		return r, json.Unmarshal([]byte(data), &r.Task)
	}, `SELECT key, repository_key, repository, ref_key, data FROM tasks WHERE `+condition+` ORDER BY key`, arguments...)
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", err)
	}
	return list, nil
}

// ForgetTask forgets one task.
func (tx *Tx) ForgetTask(ctx context.Context, r RememberedTask) error {
	if _, err := tx.exec(ctx, `DELETE FROM tasks WHERE key = $1`, r.Key); err != nil {
		return fmt.Errorf("forget task %q: %w", r.Key, err)
	}
	return nil
}

// ForgetTasks forgets tasks, and the ref that worked for their repositories.
func (tx *Tx) ForgetTasks(ctx context.Context, list []RememberedTask) error {
	for _, r := range list {
		if err := tx.ForgetTask(ctx, r); err != nil {
			return err
		}
		if _, err := tx.exec(ctx, `DELETE FROM refs WHERE repository_key = $1`, r.RepositoryKey); err != nil {
			return fmt.Errorf("forget ref of %q: %w", r.RepositoryKey, err)
		}
	}
	return nil
}

// RememberedHeads lists the heads of a repository.
func (tx *Tx) RememberedHeads(ctx context.Context, m Memory) ([]RememberedHead, error) {
	list, err := collect(ctx, tx, func(row scanner) (r RememberedHead, err error) {
		err = row.Scan(&r.RefKey, &r.Repository, &r.Head.SHA, &r.Head.Branch, &r.Head.Ended, &r.Head.Uncertain)
		return r, err
	}, `SELECT ref_key, repository, sha, branch, ended, uncertain FROM heads WHERE `+ofRepository+` ORDER BY ref_key`, m.Connection, m.Repository)
	if err != nil {
		return nil, fmt.Errorf("list heads: %w", err)
	}
	return slices.DeleteFunc(list, func(r RememberedHead) bool {
		// The head of a deleted branch keeps its name.
		return m.Branch != "" && r.Head.Branch != m.Branch && !strings.HasSuffix(r.RefKey, " "+m.Branch)
	}), nil
}

// OpenHeads lists the heads of all branches and merge requests that have not ended, with the
// keys of their repositories.
func (tx *Tx) OpenHeads(ctx context.Context) ([]RememberedHead, error) {
	list, err := collect(ctx, tx, func(row scanner) (r RememberedHead, err error) {
		err = row.Scan(&r.RefKey, &r.RepositoryKey, &r.Repository, &r.Head.SHA, &r.Head.Branch, &r.Head.Uncertain)
		return r, err
	}, `SELECT ref_key, repository_key, repository, sha, branch, uncertain FROM heads WHERE NOT ended ORDER BY ref_key`)
	if err != nil {
		return nil, fmt.Errorf("list heads: %w", err)
	}
	return list, nil
}

// ForgetHeads forgets heads, and the commits that were the heads before them.
func (tx *Tx) ForgetHeads(ctx context.Context, list []RememberedHead) error {
	for _, r := range list {
		if _, err := tx.exec(ctx, `DELETE FROM heads WHERE ref_key = $1`, r.RefKey); err != nil {
			return fmt.Errorf("forget head %q: %w", r.RefKey, err)
		}
		if _, err := tx.exec(ctx, `DELETE FROM former_heads WHERE substr(key, 1, length($1) + 1) = $1 || ' '`, r.RefKey); err != nil {
			return fmt.Errorf("forget former heads of %q: %w", r.RefKey, err)
		}
		if err := tx.ForgetHostRef(ctx, r.RefKey); err != nil {
			return err
		}
	}
	return nil
}
