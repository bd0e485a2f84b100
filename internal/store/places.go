package store

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/rules"
)

// Where the number of runs is limited that have an execution or are about to ask for one, a
// run waits in line for a place. It has one from GrantPlace on until it is saved, and from
// then on as long as it occupies a task. A save that does not occupy one gives the place up,
// and whoever makes such a save has GrantPlace called after the commit. GrantPlace is the
// only one that lets a run through, so that no run passes another by.

const (
	placeWaits   = "waits"
	placeGranted = "granted"
)

// placesLock is the key of the advisory lock under which places are granted.
const placesLock = 0x67772d706c616365 // "gw-place"

// rank is higher for runs that go first.
func rank(run codecheck.Run) int {
	switch run.Check.PriorityOf(run.Event) {
	case rules.PriorityHigh:
		return 3
	case rules.PriorityLow:
		return 1
	}
	return 2
}

// startsAt is before when a run waits for a newer commit; 0 for one that does not.
func startsAt(run codecheck.Run) int64 {
	if run.StartsAt.IsZero() {
		return 0
	}
	return micros(run.StartsAt)
}

// HasPlace reports whether a run occupies a task or was granted a place for that, and keeps
// that so until the transaction ends.
func (tx *Tx) HasPlace(ctx context.Context, id string) (has bool, err error) {
	err = tx.queryRow(ctx, `SELECT place = '`+placeGranted+`' OR occupied_task <> '' FROM runs WHERE id = $1`+tx.forUpdate(), id).Scan(&has)
	if err != nil {
		return false, fmt.Errorf("read place of run %q: %w", id, err)
	}
	return has, nil
}

// WaitForPlace puts a run that has not ended in line for a place.
func (tx *Tx) WaitForPlace(ctx context.Context, id string) error {
	_, err := tx.exec(ctx, `UPDATE runs SET place = '`+placeWaits+`', updated_at = $2 WHERE id = $1 AND state IN `+activeRuns, id, tx.now())
	if err != nil {
		return fmt.Errorf("let run %q wait for a place: %w", id, err)
	}
	return nil
}

// GiveUpPlace gives up the place that a run was granted and does not use; given is false when
// it has none.
func (tx *Tx) GiveUpPlace(ctx context.Context, id string) (given bool, err error) {
	changed, err := tx.exec(ctx, `UPDATE runs SET place = '', updated_at = $2 WHERE id = $1 AND place = '`+placeGranted+`'`, id, tx.now())
	if err != nil {
		return false, fmt.Errorf("give up place of run %q: %w", id, err)
	}
	return changed > 0, nil
}

// GrantPlace grants a place to the first run in an account's line, when fewer than limit of
// that account have one; 0 sets no limit. granted is that run with its state, and nil when none got one; again says that
// another call may grant one. One transaction grants one place: it then waits for the lock of
// one run only, and cannot be part of a deadlock.
func (tx *Tx) GrantPlace(ctx context.Context, account string, limit int) (granted map[string]codecheck.State, again bool, err error) {
	if tx.forUpdate() != "" {
		if _, err := tx.exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(placesLock)); err != nil {
			return nil, false, fmt.Errorf("lock places: %w", err)
		}
	}
	if limit > 0 {
		used, err := tx.UsedPlaces(ctx)
		if err != nil || used[account] >= limit {
			return nil, false, err
		}
	}
	line, err := tx.Line(ctx, account)
	if err != nil || len(line) == 0 {
		return nil, false, err
	}
	granted, err = statesByID[codecheck.State](ctx, tx, `UPDATE runs SET place = '`+placeGranted+`', placed_at = $2, updated_at = $2
		WHERE id = $1 AND place = '`+placeWaits+`' RETURNING id, state`, line[0], tx.now())
	return granted, true, err
}

// UsedPlaces is how many runs of each account occupy a task or were granted a place for that.
func (tx *Tx) UsedPlaces(ctx context.Context) (map[string]int, error) {
	used := map[string]int{}
	// By one statement, because a run goes from the one to the other.
	_, err := collect(ctx, tx, func(row scanner) (struct{}, error) {
		var account string
		var n int
		err := row.Scan(&account, &n)
		used[account] += n
		return struct{}{}, err
	}, `SELECT account, COUNT(*) FROM runs WHERE occupied_task <> '' GROUP BY account
		UNION ALL SELECT account, COUNT(*) FROM runs WHERE place = '`+placeGranted+`' AND place <> '' AND occupied_task = '' GROUP BY account`)
	if err != nil {
		return nil, fmt.Errorf("count places: %w", err)
	}
	return used, nil
}

// AccountsInLine lists the accounts of the runs that wait for a place.
func (tx *Tx) AccountsInLine(ctx context.Context) ([]string, error) {
	return collect(ctx, tx, func(row scanner) (account string, err error) {
		err = row.Scan(&account)
		return account, err
	}, `SELECT DISTINCT account FROM runs WHERE place = '`+placeWaits+`' AND place <> ''`)
}

// inLine is a run that waits for a place.
type inLine struct {
	id         string
	rank       int
	repository [2]string
	// turn is when a run of its repository got a place last, in microseconds.
	turn int64
}

const lineQuery = `SELECT r.id, r.priority, r.connection, r.repository,
	COALESCE((SELECT MAX(o.placed_at) FROM runs o WHERE o.connection = r.connection AND o.repository = r.repository AND o.placed_at > 0), 0)
	FROM runs r WHERE r.place = '` + placeWaits + `' AND r.place <> '' AND r.account = $1 ORDER BY r.created_at, r.id`

// Line lists the ids of the runs of an account that wait for a place, in the order in which they get one:
// by priority, then the repository whose last turn is longest ago, then by age.
func (tx *Tx) Line(ctx context.Context, account string) ([]string, error) {
	waiting, err := collect(ctx, tx, func(row scanner) (w inLine, err error) {
		err = row.Scan(&w.id, &w.rank, &w.repository[0], &w.repository[1], &w.turn)
		return w, err
	}, lineQuery, account)
	if err != nil {
		return nil, err
	}
	return inTurn(waiting), nil
}

// inTurn orders what waits, which is given by age: each place that is granted is a turn of
// its repository, and counts for those that follow.
func inTurn(waiting []inLine) []string {
	slices.SortStableFunc(waiting, func(a, b inLine) int { return cmp.Compare(b.rank, a.rank) })
	turns := map[[2]string]int64{}
	for _, w := range waiting {
		turns[w.repository] = w.turn
	}
	line := make([]string, 0, len(waiting))
	for len(line) < len(waiting) {
		// The runs of one priority, for each repository.
		rest := waiting[len(line):]
		queues := map[[2]string][]string{}
		var repositories [][2]string
		for _, w := range rest {
			if w.rank != rest[0].rank {
				break
			}
			if queues[w.repository] == nil {
				repositories = append(repositories, w.repository)
			}
			queues[w.repository] = append(queues[w.repository], w.id)
		}
		slices.SortStableFunc(repositories, func(a, b [2]string) int { return cmp.Compare(turns[a], turns[b]) })
		for len(repositories) > 0 {
			for _, r := range repositories {
				// Later than every turn that has been.
				turns[r] = math.MaxInt64/2 + int64(len(line))
				line, queues[r] = append(line, queues[r][0]), queues[r][1:]
			}
			repositories = slices.DeleteFunc(repositories, func(r [2]string) bool { return len(queues[r]) == 0 })
		}
	}
	return line
}

// Waiting is what runs that have no execution wait for, and how many do.
type Waiting struct {
	Count int
	// Oldest is when the oldest of them was created, in microseconds.
	Oldest int64
}

// What runs wait for.
const (
	// WaitsForPlace: for one of the max_runs places.
	WaitsForPlace = "place"
	// WaitsForTask: for a run that occupies the same task.
	WaitsForTask = "task"
	// WaitsForShared: for the run whose execution it shares.
	WaitsForShared = "shared"
	// WaitsForQuiet: for a newer commit.
	WaitsForQuiet = "quiet"
)

// WaitReasons lists what runs wait for.
func WaitReasons() []string {
	return []string{WaitsForPlace, WaitsForTask, WaitsForShared, WaitsForQuiet}
}

// CountWaiting counts the runs that wait, by what they wait for.
func (tx *Tx) CountWaiting(ctx context.Context) (map[string]Waiting, error) {
	counts := map[string]Waiting{}
	_, err := collect(ctx, tx, func(row scanner) (struct{}, error) {
		var reason string
		var w Waiting
		err := row.Scan(&reason, &w.Count, &w.Oldest)
		counts[reason] = w
		return struct{}{}, err
	}, `SELECT reason, COUNT(*), MIN(created_at) FROM (SELECT created_at, CASE
			WHEN place = '`+placeWaits+`' THEN '`+WaitsForPlace+`'
			WHEN waits_for <> '' AND shares_run_id <> '' THEN '`+WaitsForShared+`'
			WHEN waits_for <> '' THEN '`+WaitsForTask+`'
			WHEN starts_at > $1 THEN '`+WaitsForQuiet+`'
			ELSE '' END AS reason
		FROM runs WHERE state IN `+sqlList([]codecheck.State{codecheck.Queued, codecheck.Starting})+`) AS waiting WHERE reason <> '' GROUP BY reason`, tx.now())
	return counts, err
}

// supersededInARow is how many runs of a branch must have been superseded since its last
// verdict before it counts as one without a verdict.
const supersededInARow = 3

// WithoutVerdict counts the branches, tags and merge requests that have an unfinished run and
// had at least three runs since their last verdict that were superseded. oldest is when the
// first of those was created, in microseconds; 0 when there are none.
func (tx *Tx) WithoutVerdict(ctx context.Context) (refs int, oldest int64, err error) {
	err = tx.queryRow(ctx, `SELECT COUNT(*), COALESCE(MIN(first), 0) FROM (
		SELECT active.ref_key, MIN(s.created_at) AS first
		FROM (SELECT DISTINCT ref_key FROM runs WHERE state IN `+activeRuns+`) AS active
		JOIN runs s ON s.ref_key = active.ref_key AND s.state = '`+string(codecheck.Superseded)+`' AND s.created_at > COALESCE(
			(SELECT MAX(v.created_at) FROM runs v WHERE v.ref_key = active.ref_key AND v.state IN `+sqlList([]codecheck.State{codecheck.Passed, codecheck.Failed})+`), 0)
		GROUP BY active.ref_key HAVING COUNT(*) >= $1) AS without`, supersededInARow).Scan(&refs, &oldest)
	if err != nil {
		return 0, 0, fmt.Errorf("count branches without a verdict: %w", err)
	}
	return refs, oldest, nil
}
