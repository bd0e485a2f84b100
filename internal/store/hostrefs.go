package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// HostRepository is a repository whose host is asked what no webhook told.
type HostRepository struct {
	// Key is that of the repository (event.Event.RepositoryKey), or NamedKey of one whose id is
	// not known yet.
	Key        string
	Connection string
	// ID is the host's; empty while it is not known.
	ID       string
	FullName string
	// Since is when its refs were read first, AskedAt when its host was asked last; zero before.
	Since, AskedAt time.Time
	// Problem is why that failed last; empty when it did not.
	Problem string
}

// NamedKey is the key of a repository that is known by its name alone.
func NamedKey(connection, fullName string) string {
	return connection + " name " + strings.ToLower(fullName)
}

const hostRepositoryColumns = `key, connection, repository_id, repository, since, asked_at, problem`

// HostRepositories lists all of them; those first that were asked about the longest time ago.
func (tx *Tx) HostRepositories(ctx context.Context) ([]HostRepository, error) {
	list, err := collect(ctx, tx, func(row scanner) (r HostRepository, err error) {
		var since, asked int64
		err = row.Scan(&r.Key, &r.Connection, &r.ID, &r.FullName, &since, &asked, &r.Problem)
		r.Since, r.AskedAt = timeOrZero(since), timeOrZero(asked)
		return r, err
	}, `SELECT `+hostRepositoryColumns+` FROM host_repositories ORDER BY asked_at, key`)
	if err != nil {
		return nil, fmt.Errorf("list host repositories: %w", err)
	}
	return list, nil
}

func timeOrZero(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return fromMicros(us)
}

func microsOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return micros(t)
}

// AddHostRepository adds a repository, unless it is known.
func (tx *Tx) AddHostRepository(ctx context.Context, r HostRepository) error {
	return tx.writeHostRepository(ctx, r, `NOTHING`)
}

// SaveHostRepository writes a repository.
func (tx *Tx) SaveHostRepository(ctx context.Context, r HostRepository) error {
	return tx.writeHostRepository(ctx, r, `UPDATE SET repository = excluded.repository, since = excluded.since, asked_at = excluded.asked_at, problem = excluded.problem`)
}

func (tx *Tx) writeHostRepository(ctx context.Context, r HostRepository, conflict string) error {
	_, err := tx.exec(ctx, `INSERT INTO host_repositories (`+hostRepositoryColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (key) DO `+conflict,
		r.Key, r.Connection, r.ID, r.FullName, microsOrZero(r.Since), microsOrZero(r.AskedAt), r.Problem)
	if err != nil {
		return fmt.Errorf("save host repository %q: %w", r.Key, err)
	}
	return nil
}

// ForgetHostRepository removes a repository; its refs stay.
func (tx *Tx) ForgetHostRepository(ctx context.Context, key string) error {
	if _, err := tx.exec(ctx, `DELETE FROM host_repositories WHERE key = $1`, key); err != nil {
		return fmt.Errorf("forget host repository %q: %w", key, err)
	}
	return nil
}

// KnownRepositories lists the repositories that deliveries spoke of, with the name that the newest
// used.
func (tx *Tx) KnownRepositories(ctx context.Context) ([]HostRepository, error) {
	list, err := collect(ctx, tx, func(row scanner) (r HostRepository, err error) {
		var newest int64
		err = row.Scan(&r.Key, &r.FullName, &newest)
		r.Connection, r.ID, _ = strings.Cut(r.Key, " ")
		return r, err
	}, `SELECT repository_key, repository, MAX(updated_at) AS newest FROM heads GROUP BY repository_key, repository ORDER BY newest DESC`)
	if err != nil {
		return nil, fmt.Errorf("list known repositories: %w", err)
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(r HostRepository) bool {
		before := seen[r.Key]
		seen[r.Key] = true
		return before
	}), nil
}

// HostRef is a branch, or an open merge request, as its host had it when it was asked last.
type HostRef struct {
	RefKey, RepositoryKey  string
	Connection, Repository string
	Kind                   event.Kind
	// Branch is the branch, or the target of the merge request.
	Branch string
	Number int
	// SHA is the commit up to which nothing more is to be recovered, since SettledAt.
	SHA       string
	SettledAt time.Time
	// Found is another commit that the host has had since FoundAt, empty for a ref that is gone;
	// FoundAt is zero for none.
	Found   string
	FoundAt time.Time
	// First: it was there when its repository was read first.
	First bool
	// Covered: a rule asks for a check of it. Since is when its commit was first seen there. Answered: there
	// was a verdict on that, or a decision that there is nothing to check.
	Covered  bool
	Since    time.Time
	Answered bool
}

const hostRefColumns = `ref_key, repository_key, connection, repository, kind, branch, number, sha, settled_at, found_sha, found_at, first, covered, since, answered`

func scanHostRef(row scanner) (r HostRef, err error) {
	var settled, found, since int64
	err = row.Scan(&r.RefKey, &r.RepositoryKey, &r.Connection, &r.Repository, &r.Kind, &r.Branch, &r.Number, &r.SHA, &settled, &r.Found, &found, &r.First, &r.Covered, &since, &r.Answered)
	r.SettledAt, r.FoundAt, r.Since = fromMicros(settled), timeOrZero(found), fromMicros(since)
	return r, err
}

// HostRefs lists those of a repository, by their ref keys.
func (tx *Tx) HostRefs(ctx context.Context, repositoryKey string) (map[string]HostRef, error) {
	list, err := collect(ctx, tx, scanHostRef, `SELECT `+hostRefColumns+` FROM host_refs WHERE repository_key = $1`, repositoryKey)
	if err != nil {
		return nil, fmt.Errorf("list host refs of %q: %w", repositoryKey, err)
	}
	refs := make(map[string]HostRef, len(list))
	for _, r := range list {
		refs[r.RefKey] = r
	}
	return refs, nil
}

// FoundRefs returns since when each repository has refs at other commits than those that are settled, the
// longest; by the repositories' keys.
func (tx *Tx) FoundRefs(ctx context.Context) (map[string]time.Time, error) {
	found := map[string]time.Time{}
	_, err := collect(ctx, tx, func(row scanner) (struct{}, error) {
		var key string
		var at int64
		err := row.Scan(&key, &at)
		found[key] = fromMicros(at)
		return struct{}{}, err
	}, `SELECT repository_key, MIN(found_at) FROM host_refs WHERE found_at > 0 GROUP BY repository_key`)
	if err != nil {
		return nil, fmt.Errorf("list found refs: %w", err)
	}
	return found, nil
}

// SaveHostRef writes one.
func (tx *Tx) SaveHostRef(ctx context.Context, r HostRef) error {
	_, err := tx.exec(ctx, `INSERT INTO host_refs (`+hostRefColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
		ON CONFLICT (ref_key) DO UPDATE SET repository = excluded.repository, branch = excluded.branch, sha = excluded.sha, settled_at = excluded.settled_at,
			found_sha = excluded.found_sha, found_at = excluded.found_at, covered = excluded.covered, since = excluded.since, answered = excluded.answered`,
		r.RefKey, r.RepositoryKey, r.Connection, r.Repository, string(r.Kind), r.Branch, r.Number, r.SHA, micros(r.SettledAt), r.Found, microsOrZero(r.FoundAt),
		r.First, r.Covered, micros(r.Since), r.Answered)
	if err != nil {
		return fmt.Errorf("save host ref %q: %w", r.RefKey, err)
	}
	return nil
}

// ForgetHostRef removes one that its host has no longer.
func (tx *Tx) ForgetHostRef(ctx context.Context, refKey string) error {
	if _, err := tx.exec(ctx, `DELETE FROM host_refs WHERE ref_key = $1`, refKey); err != nil {
		return fmt.Errorf("forget host ref %q: %w", refKey, err)
	}
	return nil
}

// KnownHead is a head with the time at which it was told last.
type KnownHead struct {
	Head
	At time.Time
}

// HeadsOf returns the heads of these ref keys, as far as they are known, and has them kept: their
// host has them.
func (tx *Tx) HeadsOf(ctx context.Context, refKeys []string) (map[string]KnownHead, error) {
	heads := make(map[string]KnownHead, len(refKeys))
	for keys := range slices.Chunk(refKeys, 500) {
		_, err := collect(ctx, tx, func(row scanner) (h KnownHead, err error) {
			var key string
			err = row.Scan(&key, &h.DeliveryID, &h.SHA, &h.Branch, &h.Ended, &h.savedAt)
			h.At = fromMicros(h.savedAt)
			heads[key] = h
			return h, err
		}, `SELECT ref_key, delivery_id, sha, branch, ended, updated_at FROM heads WHERE ref_key IN `+placeholders(1, len(keys)), anys(keys)...)
		if err != nil {
			return nil, fmt.Errorf("read heads: %w", err)
		}
	}
	return heads, nil
}

// KeepHeads notes that the heads of a repository's refs are in use, so that they are kept.
func (tx *Tx) KeepHeads(ctx context.Context, repositoryKey string) error {
	_, err := tx.exec(ctx, `UPDATE heads SET used_at = $2 WHERE used_at < $3 AND ref_key IN (SELECT ref_key FROM host_refs WHERE repository_key = $1)`,
		repositoryKey, tx.now(), tx.now()-(24*time.Hour).Microseconds())
	if err != nil {
		return fmt.Errorf("keep heads of %q: %w", repositoryKey, err)
	}
	return nil
}

// Uncover notes that no rule asks for checks of the refs of these repositories.
func (tx *Tx) Uncover(ctx context.Context, repositoryKeys []string) error {
	for keys := range slices.Chunk(repositoryKeys, 500) {
		if _, err := tx.exec(ctx, `UPDATE host_refs SET covered = FALSE WHERE covered AND repository_key IN `+placeholders(1, len(keys)), anys(keys)...); err != nil {
			return fmt.Errorf("uncover refs: %w", err)
		}
	}
	return nil
}

// CoveredRepositories lists the keys of the repositories of which refs are covered.
func (tx *Tx) CoveredRepositories(ctx context.Context) ([]string, error) {
	return texts(ctx, tx, `SELECT DISTINCT repository_key FROM host_refs WHERE covered`)
}

// answered holds for a host ref h whose commit has a verdict, or of which the rules said that there is
// nothing to check, and nothing was checked since: a merge request may have waited for somebody who vouches for it.
const answered = `(EXISTS (SELECT 1 FROM runs r WHERE r.sha = h.sha AND r.ref_key = h.ref_key AND r.state IN ('passed', 'failed'))
	OR EXISTS (SELECT 1 FROM deliveries d WHERE d.sha = h.sha AND d.connection = h.connection AND d.number = h.number AND d.branch = h.branch
		AND d.repository = h.repository AND d.state IN ('decided', 'ignored') AND d.decision <> '' AND d.rule = '')
		AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.sha = h.sha AND r.ref_key = h.ref_key))`

// NoteAnswered notes which refs of a repository have an answer, because the records that show it are
// removed one day.
func (tx *Tx) NoteAnswered(ctx context.Context, repositoryKey string) error {
	if _, err := tx.exec(ctx, `UPDATE host_refs AS h SET answered = TRUE WHERE h.repository_key = $1 AND NOT h.answered AND `+answered, repositoryKey); err != nil {
		return fmt.Errorf("note verdicts of %q: %w", repositoryKey, err)
	}
	return nil
}

// missing holds for a host ref h that a rule covers and that has had no answer since $1. A branch that
// was there when its repository was read first waits for its next push.
// One whose host cannot be asked about it is not known to be there still.
const missing = `h.covered AND NOT h.answered AND h.since <= $1 AND (h.number > 0 OR NOT h.first) AND NOT ` + answered + `
	AND EXISTS (SELECT 1 FROM host_repositories p WHERE p.key = h.repository_key AND p.problem = '')`

// MissingVerdicts lists the branches and merge requests that a rule covers and whose commits have had no
// verdict since a time, the oldest first, at most limit.
func (tx *Tx) MissingVerdicts(ctx context.Context, since time.Time, limit int) ([]HostRef, error) {
	list, err := collect(ctx, tx, scanHostRef, `SELECT `+hostRefColumns+` FROM host_refs AS h WHERE `+missing+` ORDER BY since, ref_key LIMIT $2`, micros(since), limit)
	if err != nil {
		return nil, fmt.Errorf("list missing verdicts: %w", err)
	}
	return list, nil
}

// CountMissing counts them by their connections.
func (tx *Tx) CountMissing(ctx context.Context, since time.Time) (map[string]int, error) {
	return tx.countByConnection(ctx, `SELECT connection, COUNT(*) FROM host_refs AS h WHERE `+missing+` GROUP BY connection`, micros(since))
}

// CountHostProblems counts the repositories whose hosts could not be asked about them when that was
// tried last, by their connections; with 0 for a connection whose repositories have none.
func (tx *Tx) CountHostProblems(ctx context.Context) (map[string]int, error) {
	return tx.countByConnection(ctx, `SELECT connection, SUM(CASE WHEN problem = '' THEN 0 ELSE 1 END) FROM host_repositories WHERE repository_id <> '' GROUP BY connection`)
}

func (tx *Tx) countByConnection(ctx context.Context, query string, args ...any) (map[string]int, error) {
	counts := map[string]int{}
	_, err := collect(ctx, tx, func(row scanner) (struct{}, error) {
		var connection string
		var n int
		err := row.Scan(&connection, &n)
		counts[connection] = n
		return struct{}{}, err
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("count by connection: %w", err)
	}
	return counts, nil
}

// maxAsks bounds how often a host is asked for one delivery.
const maxAsks = 12

// ExpectDelivery notes that a host is asked to send a delivery, again by its id of it or as a test, and
// reports whether it is to be asked: the first time, and then each time after twice as long as before, beginning
// with gap.
func (tx *Tx) ExpectDelivery(ctx context.Context, connection, hostID string, gap time.Duration) (ask bool, err error) {
	n, err := tx.exec(ctx, `INSERT INTO expected_deliveries AS e (connection, host_id, asked_at, asks) VALUES ($1, $2, $3, 1)
		ON CONFLICT (connection, host_id) DO UPDATE SET asked_at = excluded.asked_at, asks = e.asks + 1
		WHERE e.asks < $5 AND e.asked_at + $4 * (CAST(1 AS BIGINT) << (e.asks - 1)) <= $3`,
		connection, hostID, tx.now(), gap.Microseconds(), maxAsks)
	if err != nil {
		return false, fmt.Errorf("expect delivery %q: %w", hostID, err)
	}
	return n > 0, nil
}

// TakeExpected reports whether a delivery is expected that was asked for since a time, and expects it no
// longer. late: it is one that was asked for before.
func (tx *Tx) TakeExpected(ctx context.Context, connection, hostID string, since time.Time) (expected, late bool, err error) {
	n, err := tx.exec(ctx, `DELETE FROM expected_deliveries WHERE connection = $1 AND host_id = $2 AND asked_at >= $3`, connection, hostID, micros(since))
	if err != nil {
		return false, false, fmt.Errorf("take expected delivery %q: %w", hostID, err)
	}
	if n > 0 {
		return true, false, nil
	}
	err = tx.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM expected_deliveries WHERE connection = $1 AND host_id = $2)`, connection, hostID).Scan(&late)
	if err != nil {
		return false, false, fmt.Errorf("look for expected delivery %q: %w", hostID, err)
	}
	return false, late, nil
}

// NoteRedelivered notes of a delivery that its host sent it because it was asked to.
func (tx *Tx) NoteRedelivered(ctx context.Context, id string) error {
	if _, err := tx.exec(ctx, `UPDATE deliveries SET recovered = $2 WHERE id = $1`, id, string(event.Redelivered)); err != nil {
		return fmt.Errorf("note redelivered %q: %w", id, err)
	}
	return nil
}

// ReceivedHostIDs returns which of the host's ids of deliveries of a connection were received and did
// not fail.
func (tx *Tx) ReceivedHostIDs(ctx context.Context, connection string, hostIDs []string) (map[string]bool, error) {
	received := map[string]bool{}
	for ids := range slices.Chunk(hostIDs, 200) {
		list, err := texts(ctx, tx, `SELECT host_id FROM deliveries WHERE host_id <> '' AND host_id IN `+placeholders(2, len(ids))+` AND connection = $1 AND state <> 'failed'`,
			append([]any{connection}, anys(ids)...)...)
		if err != nil {
			return nil, fmt.Errorf("look for deliveries: %w", err)
		}
		for _, id := range list {
			received[id] = true
		}
	}
	return received, nil
}
