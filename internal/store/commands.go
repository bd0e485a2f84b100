package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
)

// Command is one that somebody gave in a comment on a merge request, and what became of it.
type Command struct {
	Connection string           `json:"connection"`
	Repository event.Repository `json:"repository"`
	Number     int              `json:"number"`
	// CommentID is the host's number of the comment, DeliveryID the delivery that announced it.
	CommentID  string `json:"comment_id"`
	DeliveryID string `json:"delivery_id"`
	// AuthorID is the host's number of the account that gave it, Author its login, as the payload
	// has them.
	AuthorID string `json:"author_id"`
	Author   string `json:"author"`
	// Digest stands for what the comment said when it was announced.
	Digest string `json:"digest"`
	// Confirmed: the host said that the author wrote this.
	Confirmed bool `json:"confirmed,omitempty"`
	// Name is the command, such as recheck; "unknown" for any other word.
	Name string `json:"name"`

	State   CommandState   `json:"state"`
	Outcome CommandOutcome `json:"outcome,omitempty"`
	// Reason says what was done, or why nothing was.
	Reason string `json:"reason,omitempty"`
	// React and Reply are the answer: a reaction, and the text where that is not possible or not enough.
	// Both are empty for none.
	React bool   `json:"react,omitempty"`
	Reply string `json:"reply,omitempty"`
	// Answered is how it was answered: reaction or reply; empty when it was not.
	Answered string `json:"answered,omitempty"`
	// Problem says why it was not carried out or answered yet, or could not be.
	Problem string `json:"problem,omitempty"`

	GivenAt   time.Time `json:"-"`
	UpdatedAt time.Time `json:"-"`
}

// CommandState is where a command stands.
type CommandState string

const (
	// CommandReceived: nothing was done for it.
	CommandReceived CommandState = "received"
	// CommandDecided: it was carried out or refused, and its host is to be told.
	CommandDecided CommandState = "decided"
	// CommandEnded: nothing more happens.
	CommandEnded CommandState = "ended"
)

// CommandOutcome is what became of a command; empty before.
type CommandOutcome string

const (
	// CommandDone: it was carried out. CommandRefused: it could not be. CommandDenied: its author may not
	// give it. CommandIgnored: it was not heard, because it is not a comment of a person on that merge request.
	CommandDone    CommandOutcome = "done"
	CommandRefused CommandOutcome = "refused"
	CommandDenied  CommandOutcome = "denied"
	CommandIgnored CommandOutcome = "ignored"
)

// CommandOutcomes lists the outcomes.
func CommandOutcomes() []CommandOutcome {
	return []CommandOutcome{CommandDone, CommandRefused, CommandDenied, CommandIgnored}
}

// Key identifies a command: a comment gives one.
func (c Command) Key() string {
	return c.Connection + " " + c.Repository.ID + " " + c.CommentID
}

// ConnectionOfCommand returns the connection in a command's key.
func ConnectionOfCommand(key string) string {
	connection, _, _ := strings.Cut(key, " ")
	return connection
}

// AddCommand stores a new command; added is false when its comment gave one already. One that was not heard is
// replaced when the delivery before said something else of the comment: it was not that comment's, or it was made up.
func (tx *Tx) AddCommand(ctx context.Context, c Command) (added bool, err error) {
	data, err := json.Marshal(c)
	if err != nil {
		return false, fmt.Errorf("add command: %w", err)
	}
	changed, err := tx.exec(ctx, `INSERT INTO commands (key, connection, author_id, delivery_id, state, confirmed, denied_on, data, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, FALSE, 0, $6, $7, $7) ON CONFLICT (key) DO NOTHING`,
		c.Key(), c.Connection, c.AuthorID, c.DeliveryID, string(c.State), string(data), tx.now())
	if err != nil {
		return false, fmt.Errorf("add command: %w", err)
	}
	if changed > 0 {
		return true, nil
	}
	before, err := tx.LockCommand(ctx, c.Key())
	if err != nil || before.Outcome != CommandIgnored || before.AuthorID == c.AuthorID && before.Digest == c.Digest {
		return false, err
	}
	_, err = tx.exec(ctx, `UPDATE commands SET author_id = $2, delivery_id = $3, state = $4, confirmed = FALSE, denied_on = 0, data = $5, created_at = $6, updated_at = $6 WHERE key = $1`,
		c.Key(), c.AuthorID, c.DeliveryID, string(c.State), string(data), tx.now())
	if err != nil {
		return false, fmt.Errorf("add command: %w", err)
	}
	return true, nil
}

const commandColumns = `data, created_at, updated_at`

func scanCommand(row scanner) (c Command, err error) {
	var data string
	var givenAt, updatedAt int64
	if err := row.Scan(&data, &givenAt, &updatedAt); err != nil {
		return c, err
	}
	err = json.Unmarshal([]byte(data), &c)
	c.GivenAt, c.UpdatedAt = fromMicros(givenAt), fromMicros(updatedAt)
	return c, err
}

// LockCommand reads a command that no other transaction changes before this one ends. The error wraps
// [ErrNotFound] when there is none.
func (tx *Tx) LockCommand(ctx context.Context, key string) (Command, error) {
	c, err := scanCommand(tx.queryRow(ctx, `SELECT `+commandColumns+` FROM commands WHERE key = $1`+tx.forUpdate(), key))
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return c, fmt.Errorf("read command: %w", err)
	}
	return c, nil
}

// Command reads a command. The error wraps [ErrNotFound] when there is none.
func (s *Store) Command(ctx context.Context, key string) (c Command, err error) {
	err = s.View(ctx, func(tx *Tx) error {
		c, err = scanCommand(tx.queryRow(ctx, `SELECT `+commandColumns+` FROM commands WHERE key = $1`, key))
		return err
	})
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return c, fmt.Errorf("read command: %w", err)
	}
	return c, nil
}

// SaveCommand saves a command. One that is denied and answered notes the day, of which an author has
// one on a connection: first is false, and nothing is saved, when there is one already.
func (tx *Tx) SaveCommand(ctx context.Context, c Command) (first bool, err error) {
	data, err := json.Marshal(c)
	if err != nil {
		return false, fmt.Errorf("save command: %w", err)
	}
	day := int64(0)
	if c.Outcome == CommandDenied && c.State == CommandDecided {
		day = tx.now() / (24 * time.Hour).Microseconds()
	}
	changed, err := tx.exec(ctx, `UPDATE commands SET state = $2, data = $3, updated_at = $4, confirmed = $8, denied_on = CASE WHEN $5 > 0 THEN $5 ELSE denied_on END
		WHERE key = $1 AND ($5 = 0 OR NOT EXISTS (SELECT 1 FROM commands o WHERE o.key <> $1 AND o.connection = $6 AND o.author_id = $7 AND o.denied_on = $5))`,
		c.Key(), string(c.State), string(data), tx.now(), day, c.Connection, c.AuthorID, c.Confirmed)
	if err != nil {
		return false, fmt.Errorf("save command: %w", err)
	}
	return changed > 0, nil
}

// CommandsSince counts the commands that an author gave on a connection since a time, by the word of the host: what a
// delivery alone says is not held against them.
func (tx *Tx) CommandsSince(ctx context.Context, connection, authorID string, since time.Time) (n int, err error) {
	if err := tx.queryRow(ctx, `SELECT COUNT(*) FROM commands WHERE connection = $1 AND author_id = $2 AND created_at >= $3 AND confirmed`, connection, authorID, micros(since)).Scan(&n); err != nil {
		return 0, fmt.Errorf("count commands: %w", err)
	}
	return n, nil
}

// CommandOf returns the command of a delivery; found is false when it has none.
func (tx *Tx) CommandOf(ctx context.Context, deliveryID string) (c Command, found bool, err error) {
	list, err := collect(ctx, tx, scanCommand, `SELECT `+commandColumns+` FROM commands WHERE delivery_id = $1`, deliveryID)
	if err != nil || len(list) == 0 {
		return c, false, err
	}
	return list[0], true, nil
}

// Commands lists all commands, the oldest first, for tests and the demo.
func (tx *Tx) Commands(ctx context.Context) ([]Command, error) {
	return collect(ctx, tx, scanCommand, `SELECT `+commandColumns+` FROM commands ORDER BY created_at, key`)
}

// StaleCommands lists the commands that have not ended and were not saved since a time.
func (tx *Tx) StaleCommands(ctx context.Context, since time.Time, limit int) ([]Command, error) {
	return collect(ctx, tx, scanCommand, `SELECT `+commandColumns+` FROM commands WHERE state <> 'ended' AND updated_at <= $1 ORDER BY updated_at LIMIT $2`, micros(since), limit)
}

// ReleasesAwaiting lists the releases of a commit whose execution waits for approval, the oldest first.
func (tx *Tx) ReleasesAwaiting(ctx context.Context, connection, repositoryID, sha string) ([]release.Release, error) {
	all, err := records[release.Release](ctx, tx, `SELECT data FROM releases WHERE sha = $1 AND connection = $2 AND rerun_as = '' AND state = $3 ORDER BY created_at, id`,
		sha, connection, string(release.AwaitingApproval))
	var waiting []release.Release
	for _, r := range all {
		if r.Event.Repository.ID == repositoryID && !r.Plan.Action.Decides() {
			waiting = append(waiting, r)
		}
	}
	return waiting, err
}

// NewestRuns are those of the latest commit of a merge request that has any: of each rule the newest.
func (tx *Tx) NewestRuns(ctx context.Context, refKey string) ([]codecheck.Run, error) {
	runs, err := tx.LatestRuns(ctx, refKey)
	var newest []codecheck.Run
	for _, run := range runs {
		newest = append(slices.DeleteFunc(newest, func(other codecheck.Run) bool { return other.Rule == run.Rule }), run)
	}
	return newest, err
}
