package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Expired counts what Expire removed.
type Expired struct {
	// Payloads are deliveries that lost their bodies and nothing else.
	Payloads int
	Releases int
	Actions  int
	// Approvals are those of releases that were removed, and what logins said of people long ago.
	Approvals int
	Runs      int
	// Findings are runs that lost their findings, after they were removed.
	Findings   int
	Deliveries int
	EventKeys  int
	Heads      int
	// FormerHeads are commits that were a head once.
	FormerHeads int
	Tasks       int
	Refs        int
	Reports     int
	Commands    int
	Notices     int
	Trust       int
	// Hosts are repositories and refs that their hosts were asked about, and deliveries that
	// these were asked for.
	Hosts int
}

// Total is how many rows Expire removed or emptied.
func (e Expired) Total() int {
	return e.Payloads + e.Releases + e.Actions + e.Approvals + e.Runs + e.Findings + e.Deliveries + e.EventKeys + e.Heads + e.FormerHeads + e.Tasks + e.Refs + e.Reports + e.Commands + e.Notices + e.Trust + e.Hosts
}

// memoryAge is how long heads are kept after their last use, former heads after they were
// the head, refs after their last use, and tasks after they were saved, or longer while there are runs that used them. A head that was
// forgotten makes the next delivery of its branch the newest, however old it is; a task
// or a ref is found out again.
const memoryAge = 400 * 24 * time.Hour

// Expire removes what is old: the bodies of deliveries that came and ended more than
// payloadAge before now; releases, runs, deliveries and the keys of changes that
// ended more than age before. It removes at most batch rows in one transaction, so
// that webhooks never wait long, and goes on until nothing old is left or ctx is
// done; what was counted is removed also when there is an error.
//
// What has not ended stays, and what it refers to: a release while a release of its
// run is active, a run while it has a release or while an active run of its ref key may
// still read it, a delivery while it waits for its decision or has a run, its body while it waits for somebody who vouches for
// its commit. Heads, tasks
// and refs go after memoryAge.
//
// A delivery or a commit that was forgotten is new when it comes again, so age must
// be longer than a host sends a delivery again: three days on GitHub, which keeps
// them longest (specs/githosts.md 1.6).
func (s *Store) Expire(ctx context.Context, now time.Time, payloadAge, age time.Duration, batch int) (Expired, error) {
	var removed Expired
	old, oldPayload, oldMemory := micros(now.Add(-age)), micros(now.Add(-payloadAge)), micros(now.Add(-memoryAge))
	for _, step := range []struct {
		what   string
		count  *int
		before int64
		// table, key and time name the rows, old says which of them go, and remove
		// is what is done with them; more are its arguments from $2 on.
		table, key, time, old, remove string
		more                          []any
	}{
		{"releases", &removed.Releases, old, "releases", "id", "created_at", releaseIsOld, `DELETE FROM releases AS t`, nil},
		{"runs", &removed.Runs, old, "runs", "id", "created_at", runIsOld, `DELETE FROM runs AS t`, nil},
		{"findings", &removed.Findings, old, "findings", "run_id", "saved_at", findingsAreOld, `DELETE FROM findings AS t`, nil},
		{"deliveries", &removed.Deliveries, old, "deliveries", "id", "received_at", deliveryIsOld, `DELETE FROM deliveries AS t`, nil},
		{"actions", &removed.Actions, old, "actions", "id", "created_at", actionIsOld, `DELETE FROM actions AS t`, nil},
		{"approvals", &removed.Approvals, old, "approvals", "id", "created_at", approvalIsOld, `DELETE FROM approvals AS t`, nil},
		{"claims of people", &removed.Approvals, micros(now.Add(-ClaimsLast)), "login_claims", "subject", "updated_at", `t.updated_at < $1`, `DELETE FROM login_claims AS t`, nil},
		{"event keys", &removed.EventKeys, old, "event_keys", "key", "created_at", eventKeyIsOld, `DELETE FROM event_keys AS t`, nil},
		{
			"payloads", &removed.Payloads, oldPayload, "deliveries", "id", "received_at", payloadIsOld,
			`UPDATE deliveries AS t SET body = $2, codec = $3`, []any{[]byte{}, codecRemoved},
		},
		{"commands", &removed.Commands, old, "commands", "key", "created_at", `t.updated_at < $1 AND t.state = 'ended'`, `DELETE FROM commands AS t`, nil},
		{"notices", &removed.Notices, old, "notices", "key", "updated_at", `t.updated_at < $1 AND t.state <> 'waiting'`, `DELETE FROM notices AS t`, nil},
		{"reports", &removed.Reports, old, "reports", "key", "updated_at", reportIsOld, `DELETE FROM reports AS t`, nil},
		{"trust", &removed.Trust, old, "trust", "key", "updated_at", trustIsOld, `DELETE FROM trust AS t`, nil},
		{"heads", &removed.Heads, oldMemory, "heads", "ref_key", "used_at", headIsOld, `DELETE FROM heads AS t`, nil},
		{"former heads", &removed.FormerHeads, oldMemory, "former_heads", "key", "was_at", `t.was_at < $1`, `DELETE FROM former_heads AS t`, nil},
		{"tasks", &removed.Tasks, oldMemory, "tasks", "key", "updated_at", taskIsOld, `DELETE FROM tasks AS t`, nil},
		{"refs", &removed.Refs, oldMemory, "refs", "repository_key", "updated_at", `t.updated_at < $1`, `DELETE FROM refs AS t`, nil},
		{"host repositories", &removed.Hosts, oldMemory, "host_repositories", "key", "asked_at", `t.asked_at < $1 AND t.asked_at > 0`, `DELETE FROM host_repositories AS t`, nil},
		{"host refs", &removed.Hosts, oldMemory, "host_refs", "ref_key", "settled_at", hostRefIsOld, `DELETE FROM host_refs AS t`, nil},
		{"expected deliveries", &removed.Hosts, old, "expected_deliveries", "host_id", "asked_at", `t.asked_at < $1`, `DELETE FROM expected_deliveries AS t`, nil},
	} {
		find := `SELECT t.` + step.key + `, t.` + step.time + ` FROM ` + step.table + ` AS t
			WHERE t.` + step.time + ` < $1 AND t.` + step.time + ` >= $2 AND ` + step.old + ` ORDER BY t.` + step.time + ` LIMIT $3`
		// The condition is checked again, because a row can change in between.
		remove := step.remove + ` WHERE ` + step.old + ` AND t.` + step.key + ` IN `
		err := s.expire(ctx, find, remove, append([]any{step.before}, step.more...), batch, step.count)
		if err != nil {
			return removed, fmt.Errorf("expire %s: %w", step.what, err)
		}
	}
	return removed, nil
}

// The conditions of a row t that ended before $1 and that nothing active needs. None of
// them names the states that it wants: SQLite would then walk the index of states
// instead of looking up the keys.
var (
	releaseIsOld = `t.updated_at < $1 AND t.state NOT IN ` + activeReleases + `
		AND NOT EXISTS (SELECT 1 FROM releases o WHERE o.run_id = t.run_id AND o.state IN ` + activeReleases + `)`
	// A run may read one that it shares its execution with or that it supersedes: they
	// begin within the same minute.
	runIsOld = `t.updated_at < $1 AND t.state NOT IN ` + activeRuns + `
		AND NOT EXISTS (SELECT 1 FROM releases o WHERE o.run_id = t.id)
		AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.ref_key = t.ref_key AND o.state IN ` + activeRuns + ` AND o.created_at < t.updated_at + 60000000)`
	findingsAreOld = `t.saved_at < $1 AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.id = t.run_id)`
	deliveryIsOld  = `t.updated_at < $1 AND t.state <> 'received'
		AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.delivery_id = t.id)`
	actionIsOld = `t.created_at < $1
		AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.id = t.record_id) AND NOT EXISTS (SELECT 1 FROM releases o WHERE o.id = t.record_id)
		AND NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.id = t.record_id)`
	approvalIsOld = `t.created_at < $1 AND NOT EXISTS (SELECT 1 FROM releases o WHERE o.id = t.release_id)`
	eventKeyIsOld = `t.created_at < $1
		AND NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.id = t.delivery_id)`
	// A host that is told nothing any more is found again by its marker.
	reportIsOld = `t.updated_at < $1 AND (t.version = t.done OR t.given_up)`
	trustIsOld  = `t.updated_at < $1 AND NOT EXISTS (SELECT 1 FROM deliveries o WHERE o.id = t.delivery_id)`
	// Somebody may still vouch for the commit of a delivery that waits for that: it is decided again then.
	payloadIsOld = `t.updated_at < $1 AND t.state <> 'received' AND t.codec <> '` + codecRemoved + `'
		AND NOT EXISTS (SELECT 1 FROM trust o WHERE o.delivery_id = t.id AND o.actor = '')`
	headIsOld    = `t.used_at < $1 AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.ref_key = t.ref_key AND o.state IN ` + activeRuns + `)`
	hostRefIsOld = `t.settled_at < $1 AND NOT EXISTS (SELECT 1 FROM host_repositories o WHERE o.key = t.repository_key)`
	taskIsOld    = `t.updated_at < $1 AND NOT EXISTS (SELECT 1 FROM runs o WHERE o.task_key = t.key)`
)

// expire finds old rows with a reader and removes them with the writer, until it finds
// less than a full batch. args are those of remove before the keys.
func (s *Store) expire(ctx context.Context, find, remove string, args []any, batch int, removed *int) error {
	var from int64
	for {
		var keys []any
		err := s.View(ctx, func(tx *Tx) (err error) {
			keys, from, err = tx.oldKeys(ctx, find, args[0], from, batch)
			return err
		})
		if err != nil || len(keys) == 0 {
			return err
		}
		var changed int64
		err = s.Update(ctx, func(tx *Tx) (err error) {
			changed, err = tx.exec(ctx, remove+placeholders(len(args)+1, len(keys)), slices.Concat(args, keys)...)
			return err
		})
		if err != nil {
			return err
		}
		*removed += int(changed)
		if changed == 0 || len(keys) < batch {
			return nil
		}
	}
}

// oldKeys reads rows of a key and a time, and returns the time of the last.
func (tx *Tx) oldKeys(ctx context.Context, query string, args ...any) (keys []any, last int64, err error) {
	rows, err := tx.query(ctx, query, args...)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key, &last); err != nil {
			return nil, 0, err
		}
		keys = append(keys, key)
	}
	return keys, last, rows.Err()
}

// placeholders is a list of n placeholders in brackets, the first of them $from.
func placeholders(from, n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("$%d", from+i)
	}
	return "(" + strings.Join(list, ",") + ")"
}
