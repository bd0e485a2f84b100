package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// Delivery is a stored delivery and what became of it.
type Delivery struct {
	event.Delivery
	State event.DeliveryState
	// Reason says in a sentence why it is in its state; empty while received, unless it waits
	// for something.
	Reason string
	// Decision is what the rules said; nil unless they evaluated the event.
	Decision *rules.Decision
	// Said is what the delivery says, as far as lists are filtered by it.
	Said      Said
	UpdatedAt time.Time
	// Replayed: a person had it decided again.
	Replayed bool
	// Asked: its decision depends on more than it says, and Gathered is nil until that was found
	// out, or was given up. Delivery alone reads them, of a delivery that is not decided.
	Asked    bool
	Gathered *event.Gathered
	// PayloadRemoved: the body was removed after the payload retention.
	PayloadRemoved bool
}

// Said is what a delivery says, as far as lists are filtered by it. The zero value
// stands for a delivery that is not decided yet or cannot be read.
type Said struct {
	Kind       event.Kind
	Repository string // full name
	Branch     string
	Number     int
	SHA        string
	Actor      string
	// Rules are the names of the rules that matched.
	Rules []string
}

// SaidBy is what an event says, with the rules that it matched.
func SaidBy(ev event.Event, decision *rules.Decision) Said {
	said := Said{
		Kind: ev.Kind, Repository: ev.Repository.FullName, Branch: ev.Branch, Number: ev.Number, SHA: ev.HeadSHA, Actor: ev.Sender,
	}
	if decision != nil {
		for _, match := range decision.Matches {
			said.Rules = append(said.Rules, match.Rule)
		}
	}
	return said
}

// Packed is a delivery as it is stored. It is made outside a transaction, so that
// compressing does not lengthen the transaction.
type Packed struct {
	event.Delivery
	header string
	scope  string
	body   []byte
	codec  string
	// size is that of the body before it was compressed.
	size int
}

// Size is about how many bytes p takes in the database.
func (p Packed) Size() int { return len(p.body) + len(p.header) + 256 }

// Pack compresses a delivery, exact bytes kept.
func (s *Store) Pack(d event.Delivery) (Packed, error) {
	header, err := json.Marshal(d.Header)
	if err != nil {
		return Packed{}, fmt.Errorf("pack delivery %q: marshal header: %w", d.ID, err)
	}
	p := Packed{Delivery: d, header: string(header), size: len(d.Body)}
	if len(d.Scope) > 0 {
		scope, err := json.Marshal(d.Scope)
		if err != nil {
			return Packed{}, fmt.Errorf("pack delivery %q: marshal scope: %w", d.ID, err)
		}
		p.scope = string(scope)
	}
	p.body, p.codec = s.compress(d.Body)
	p.Body = nil
	return p, nil
}

// Stored is the row of one delivery that AddDeliveries was given.
type Stored struct {
	// ID and State are those of the row: of the earlier one for a duplicate.
	ID    string
	State event.DeliveryState
	// Duplicate: the same delivery was stored before, or is earlier in the list.
	Duplicate bool
	// SameHostID is the id of another delivery that the connection received under the
	// same id of the host, with another body; empty when there is none.
	SameHostID string
}

// insertRows is how many deliveries one statement stores at most: enough that its
// cost is shared. A statement stores a power of two of them, so that there are few
// different ones to prepare.
const insertRows = 32

// AddDeliveries stores new deliveries as received. It returns the row of each, in the
// order of the list.
func (tx *Tx) AddDeliveries(ctx context.Context, list []Packed) ([]Stored, error) {
	added := make(map[string]bool, len(list))
	sameHostID := map[string]string{}
	for rest := list; len(rest) > 0; {
		n := min(insertRows, 1<<(bits.Len(uint(len(rest)))-1))
		if err := tx.insertDeliveries(ctx, rest[:n], added); err != nil {
			return nil, fmt.Errorf("add deliveries: %w", err)
		}
		if err := tx.findSameHostID(ctx, rest[:n], sameHostID); err != nil {
			return nil, fmt.Errorf("add deliveries: %w", err)
		}
		rest = rest[n:]
	}
	answers := make([]Stored, len(list))
	for i, p := range list {
		if added[p.ID] {
			answers[i] = Stored{ID: p.ID, State: event.DeliveryReceived, SameHostID: sameHostID[p.ID]}
			continue
		}
		answers[i].Duplicate = true
		var codec string
		err := tx.queryRow(ctx, `SELECT id, state, codec FROM deliveries WHERE connection = $1 AND key = $2`, p.Connection, p.Key).Scan(&answers[i].ID, &answers[i].State, &codec)
		if err != nil {
			return nil, fmt.Errorf("read earlier delivery: %w", err)
		}
		if codec == codecRemoved {
			// The host sent it again, with the body that was removed.
			if _, err := tx.exec(ctx, `UPDATE deliveries SET body = $2, codec = $3, updated_at = $4, size = $5 WHERE id = $1`, answers[i].ID, p.body, p.codec, tx.now(), p.size); err != nil {
				return nil, fmt.Errorf("restore body: %w", err)
			}
		}
	}
	return answers, nil
}

func (tx *Tx) insertDeliveries(ctx context.Context, chunk []Packed, added map[string]bool) error {
	var query strings.Builder
	query.WriteString(`INSERT INTO deliveries
		(id, connection, host, key, host_id, event, received_at, header, body, codec, state, updated_at, size, scope,
			reason, decision, kind, repository, branch, number, sha, actor, rule, replayed) VALUES `)
	args := make([]any, 0, len(chunk)*14)
	now := tx.now()
	for i, p := range chunk {
		if i > 0 {
			query.WriteByte(',')
		}
		n := len(args)
		fmt.Fprintf(&query, "($%d,$%d,$%d,$%d,$%d,$%d,$%d,$%d,$%d,$%d,$%d,$%d,$%d,$%d,'','','','','',0,'','','',FALSE)", n+1, n+2, n+3, n+4, n+5, n+6, n+7, n+8, n+9, n+10, n+11, n+12, n+13, n+14)
		args = append(args, p.ID, p.Connection, string(p.Host), p.Key, p.HostID, p.Event, micros(p.ReceivedAt), p.header, p.body, p.codec,
			string(event.DeliveryReceived), now, p.size, p.scope)
	}
	query.WriteString(` ON CONFLICT (connection, key) DO NOTHING RETURNING id`)
	rows, err := tx.query(ctx, query.String(), args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		added[id] = true
	}
	return rows.Err()
}

// sameHostIDQuery finds what is stored under one of n ids of the host.
func sameHostIDQuery(n int) string {
	return `SELECT connection, host_id, id FROM deliveries WHERE host_id <> '' AND host_id IN ` + placeholders(1, n)
}

// findSameHostID finds, for each stored delivery of the chunk, another one that has the
// host's id of it: by its key it is not the same delivery.
func (tx *Tx) findSameHostID(ctx context.Context, chunk []Packed, found map[string]string) error {
	hostIDs := make([]any, len(chunk))
	for i, p := range chunk {
		hostIDs[i] = p.HostID
	}
	rows, err := tx.query(ctx, sameHostIDQuery(len(chunk)), hostIDs...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var connection, hostID, id string
		if err := rows.Scan(&connection, &hostID, &id); err != nil {
			return err
		}
		for _, p := range chunk {
			if p.ID != id && p.Connection == connection && p.HostID == hostID {
				found[p.ID] = id
			}
		}
	}
	return rows.Err()
}

// Delivery reads one delivery. ErrNotFound when there is none; ErrCorrupt, with the
// delivery but for what cannot be read, when the row is damaged.
func (tx *Tx) Delivery(ctx context.Context, id string) (Delivery, error) {
	row := tx.queryRow(ctx, `SELECT `+deliveryColumns+`, body, gathered FROM deliveries WHERE id = $1`, id)
	var body []byte
	var gathered string
	d, codec, err := scanStoredDelivery(row, &body, &gathered)
	if errors.Is(err, sql.ErrNoRows) {
		return Delivery{}, fmt.Errorf("read delivery %q: %w", id, ErrNotFound)
	}
	if err != nil {
		return d, fmt.Errorf("read delivery %q: %w", id, err)
	}
	if d.Body, err = tx.store.decompress(body, codec); err != nil {
		return d, fmt.Errorf("read delivery %q: %w: %w", id, ErrCorrupt, err)
	}
	switch gathered {
	case "":
	case gatheredAsked:
		d.Asked = true
	default:
		d.Asked, d.Gathered = true, new(event.Gathered)
		if err := json.Unmarshal([]byte(gathered), d.Gathered); err != nil {
			return d, fmt.Errorf("read delivery %q: %w: unmarshal what was found out: %w", id, ErrCorrupt, err)
		}
	}
	return d, nil
}

// DeliveryWithoutBody reads one delivery but its body. The errors are those of Delivery.
func (tx *Tx) DeliveryWithoutBody(ctx context.Context, id string) (Delivery, error) {
	d, err := scanDelivery(tx.queryRow(ctx, `SELECT `+deliveryColumns+` FROM deliveries WHERE id = $1`, id))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return d, fmt.Errorf("read delivery %q: %w", id, err)
	}
	return d, nil
}

// EndDelivery writes what became of a delivery; decision may be nil.
func (tx *Tx) EndDelivery(ctx context.Context, id string, state event.DeliveryState, reason string, said Said, decision *rules.Decision) error {
	text := ""
	if decision != nil {
		encoded, err := json.Marshal(decision)
		if err != nil {
			return fmt.Errorf("end delivery %q: marshal decision: %w", id, err)
		}
		text = string(encoded)
	}
	changed, err := tx.exec(ctx, `UPDATE deliveries SET state = $2, reason = $3, decision = $4, updated_at = $5,
		kind = $6, repository = $7, branch = $8, number = $9, sha = $10, actor = $11, rule = $12, attempts = 0, gathered = '' WHERE id = $1`,
		id, string(state), reason, text, tx.now(),
		string(said.Kind), said.Repository, said.Branch, said.Number, said.SHA, said.Actor, strings.Join(said.Rules, ","))
	if err == nil && changed == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("end delivery %q: %w", id, err)
	}
	return nil
}

// Reopen makes a delivery wait for its decision again.
func (tx *Tx) Reopen(ctx context.Context, id string) error {
	return tx.EndDelivery(ctx, id, event.DeliveryReceived, "", Said{}, nil)
}

// StaleDeliveries lists the ids of deliveries that were received before a time and
// still wait for their decision, oldest first, at most limit of them. As far in the
// future counts as stale too: the clock was set back since.
func (tx *Tx) StaleDeliveries(ctx context.Context, before time.Time, limit int) ([]string, error) {
	return texts(ctx, tx, `SELECT id FROM deliveries WHERE state = $1 AND ((received_at < $2 AND updated_at < $2) OR updated_at > $3)
		ORDER BY received_at LIMIT $4`, string(event.DeliveryReceived), micros(before), tx.mirrored(before), limit)
}

// Undecided is a delivery that waits for its decision.
type Undecided struct {
	ID string
	// Size is that of its body.
	Size int64
	// Attempts is how often BeginDecision was called since its last end.
	Attempts int
}

// UndecidedWith returns those of the deliveries with these ids that wait for their
// decision, and the ids of others that wait, oldest first, which fill a batch up to
// limit. The others were received since a time and have bodies of at most size bytes, and
// no attempts, and wait for no host.
func (tx *Tx) UndecidedWith(ctx context.Context, ids []string, limit int, since time.Time, size int64) (own []Undecided, others []string, err error) {
	rows, err := tx.query(ctx, `SELECT id, size, attempts FROM deliveries WHERE id IN `+placeholders(1, len(ids))+` AND state = 'received' ORDER BY id`, anys(ids)...)
	if err != nil {
		return nil, nil, fmt.Errorf("read undecided deliveries: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var u Undecided
		if err := rows.Scan(&u.ID, &u.Size, &u.Attempts); err != nil {
			return nil, nil, fmt.Errorf("read undecided deliveries: %w", err)
		}
		own = append(own, u)
	}
	if err := rows.Err(); err != nil || len(own) == 0 || len(own) >= limit {
		return own, nil, err
	}
	oldest, err := texts(ctx, tx, `SELECT id FROM deliveries WHERE state = 'received' AND received_at >= $3 AND attempts = 0 AND gathered <> 'asked' AND size <= $2 ORDER BY received_at, id LIMIT $1`, limit, size, micros(since))
	if err != nil {
		return nil, nil, err
	}
	for _, id := range oldest {
		if len(own)+len(others) < limit && !slices.ContainsFunc(own, func(u Undecided) bool { return u.ID == id }) {
			others = append(others, id)
		}
	}
	return own, others, nil
}

// BeginDecision notes that the decision of a delivery begins; the note is removed when it
// ends (EndDelivery) or is given up (AbandonDecision), and stays when the process ends.
func (tx *Tx) BeginDecision(ctx context.Context, id string) error {
	return tx.addAttempts(ctx, id, 1)
}

// AbandonDecision takes BeginDecision back.
func (tx *Tx) AbandonDecision(ctx context.Context, id string) error {
	return tx.addAttempts(ctx, id, -1)
}

func (tx *Tx) addAttempts(ctx context.Context, id string, n int) error {
	if _, err := tx.exec(ctx, `UPDATE deliveries SET attempts = attempts + $2 WHERE id = $1 AND state = 'received'`, id, n); err != nil {
		return fmt.Errorf("note attempt at delivery %q: %w", id, err)
	}
	return nil
}

// LockUndecided returns which of the deliveries with these ids wait for their decision
// and are not being decided by another transaction, and keeps them from being decided
// by one before this transaction ends.
func (tx *Tx) LockUndecided(ctx context.Context, ids []string) (map[string]bool, error) {
	lock := tx.forUpdate()
	if lock != "" {
		lock += " SKIP LOCKED"
	}
	found, err := texts(ctx, tx, `SELECT id FROM deliveries WHERE id IN `+placeholders(1, len(ids))+` AND state = 'received'`+lock, anys(ids)...)
	locked := map[string]bool{}
	for _, id := range found {
		locked[id] = true
	}
	return locked, err
}

// Undecided reports whether a delivery of a connection that was received up to a
// time still waits for its decision.
func (tx *Tx) Undecided(ctx context.Context, connection string, until time.Time) (bool, error) {
	var waits bool
	err := tx.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM deliveries WHERE state = $1 AND received_at <= $2 AND connection = $3)`,
		string(event.DeliveryReceived), micros(until), connection).Scan(&waits)
	if err != nil {
		return false, fmt.Errorf("look for undecided deliveries: %w", err)
	}
	return waits, nil
}

// OldestUndecided is when the oldest delivery that waits for its decision was
// received; the zero time when none waits.
func (tx *Tx) OldestUndecided(ctx context.Context) (time.Time, error) {
	var oldest sql.NullInt64
	err := tx.queryRow(ctx, `SELECT MIN(received_at) FROM deliveries WHERE state = $1`, string(event.DeliveryReceived)).Scan(&oldest)
	if err != nil {
		return time.Time{}, fmt.Errorf("read oldest undecided delivery: %w", err)
	}
	if !oldest.Valid {
		return time.Time{}, nil
	}
	return fromMicros(oldest.Int64), nil
}

const deliveryColumns = `id, connection, host, key, host_id, event, received_at, header, scope, state, reason, decision,
	kind, repository, branch, number, sha, actor, rule, replayed, updated_at, codec`

func scanDelivery(row scanner) (Delivery, error) {
	d, _, err := scanStoredDelivery(row)
	return d, err
}

// scanStoredDelivery reads deliveryColumns, and more columns behind them.
func scanStoredDelivery(row scanner, more ...any) (d Delivery, codec string, err error) {
	var received, updated int64
	var header, scope, decision, matched string
	dest := append([]any{
		&d.ID, &d.Connection, &d.Host, &d.Key, &d.HostID, &d.Event, &received, &header, &scope, &d.State, &d.Reason, &decision,
		&d.Said.Kind, &d.Said.Repository, &d.Said.Branch, &d.Said.Number, &d.Said.SHA, &d.Said.Actor, &matched, &d.Replayed, &updated, &codec,
	}, more...)
	if err := row.Scan(dest...); err != nil {
		return Delivery{}, "", err
	}
	d.ReceivedAt, d.UpdatedAt, d.PayloadRemoved = fromMicros(received), fromMicros(updated), codec == codecRemoved
	if matched != "" {
		d.Said.Rules = strings.Split(matched, ",")
	}
	if err := json.Unmarshal([]byte(header), &d.Header); err != nil {
		return d, codec, fmt.Errorf("%w: unmarshal header: %w", ErrCorrupt, err)
	}
	if scope != "" {
		if err := json.Unmarshal([]byte(scope), &d.Scope); err != nil {
			return d, codec, fmt.Errorf("%w: unmarshal scope: %w", ErrCorrupt, err)
		}
	}
	if decision != "" {
		d.Decision = new(rules.Decision)
		if err := json.Unmarshal([]byte(decision), d.Decision); err != nil {
			return d, codec, fmt.Errorf("%w: unmarshal decision: %w", ErrCorrupt, err)
		}
	}
	return d, codec, nil
}

// ErrPayloadRemoved is returned for a delivery whose body was removed after the payload
// retention.
var ErrPayloadRemoved = errors.New("its payload was removed after store.payload_retention")

// ErrUndecided is returned for a delivery that waits for its decision already.
var ErrUndecided = errors.New("it is not decided yet")

// Replay makes a delivery wait for its decision again, because a person wants that.
// ErrNotFound, ErrPayloadRemoved
// or ErrUndecided when that cannot be; then nothing is changed.
func (tx *Tx) Replay(ctx context.Context, id string) error {
	var state event.DeliveryState
	var codec string
	err := tx.queryRow(ctx, `SELECT state, codec FROM deliveries WHERE id = $1`+tx.forUpdate(), id).Scan(&state, &codec)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		err = ErrNotFound
	case err != nil:
	case state == event.DeliveryReceived:
		err = ErrUndecided
	case codec == codecRemoved:
		err = ErrPayloadRemoved
	default:
		if _, err = tx.exec(ctx, `UPDATE deliveries SET replayed = TRUE WHERE id = $1`, id); err == nil {
			return tx.Reopen(ctx, id)
		}
	}
	return fmt.Errorf("replay delivery %q: %w", id, err)
}
