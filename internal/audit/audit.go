// Package audit is the chain of the audit log: what a row says, its hash, and how a chain is
// verified. It touches no database. The encoding is described in docs/audit.md, so that others can
// verify a log without this program.
package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind says what a row is about.
type Kind string

const (
	// Action: a person, or Gatewright, did something to a record.
	Action Kind = "action"
	// Approval: a person approved or refused a held release.
	Approval Kind = "approval"
	// Release: a release was created, held, acted or ended, or its evidence was made.
	Release Kind = "release"
	// Configuration: another configuration came into force.
	Configuration Kind = "configuration"
	// Login and Token: somebody logged in or out, or a token was made or revoked.
	Login Kind = "login"
	Token Kind = "token"
	// Retention: rows at the beginning of the chain are removed, up to that with the number in
	// RecordID, whose hash is in Details.
	Retention Kind = "retention"
)

// Kinds lists every kind.
func Kinds() []Kind {
	return []Kind{Action, Approval, Release, Configuration, Login, Token, Retention}
}

// Entry is one row of the log.
type Entry struct {
	// Seq counts the rows from 1, without a gap.
	Seq int64
	// At is when it was written, in UTC, to the microsecond.
	At   time.Time
	Kind Kind
	// Actor is who did it: a person, or Gatewright.
	Actor string
	// Action is what was done, in one word.
	Action string
	// RecordKind and RecordID name the record that it was done to; empty for none.
	RecordKind, RecordID string
	// Reason is why, and Details is what else belongs to it: JSON, an id or a hash.
	Reason, Details string
	// Prev is the hash of the row before, [Genesis] for the first one. Hash is that of this row.
	Prev, Hash string
}

// Genesis is the Prev of the first row: 64 zeros.
const Genesis = "0000000000000000000000000000000000000000000000000000000000000000"

// Check says what is missing in an entry that is to be appended; nil for nothing.
func (e Entry) Check() error {
	switch {
	case e.Kind == "" || e.Action == "":
		return errors.New("an audit entry needs a kind and an action")
	case strings.TrimSpace(e.Actor) == "":
		return fmt.Errorf("an audit entry of kind %q needs an actor", e.Kind)
	}
	return nil
}

// Seal returns e as the row that follows prev; the zero Entry is before the first. The texts are
// stored as they are hashed: what is no UTF-8, and zero bytes, which PostgreSQL takes in no text,
// become U+FFFD.
func Seal(prev, e Entry, at time.Time) Entry {
	e.Seq, e.At, e.Prev = prev.Seq+1, at.UTC().Truncate(time.Microsecond), prev.Hash
	if e.Prev == "" {
		e.Prev = Genesis
	}
	for _, text := range []*string{(*string)(&e.Kind), &e.Actor, &e.Action, &e.RecordKind, &e.RecordID, &e.Reason, &e.Details} {
		*text = strings.ReplaceAll(strings.ToValidUTF8(*text, "\uFFFD"), "\x00", "\uFFFD")
	}
	e.Hash = e.Sum()
	return e
}

// header begins what is hashed of each row.
const header = "gatewright audit 1\n"

// Encode returns the bytes whose SHA-256 is the hash of the row: the header, and each field as the
// number of its bytes in decimal, ":", the bytes, "\n".
func (e Entry) Encode() []byte {
	b := []byte(header)
	for _, field := range []string{
		strconv.FormatInt(e.Seq, 10), strconv.FormatInt(e.At.UnixMicro(), 10), string(e.Kind), e.Actor, e.Action,
		e.RecordKind, e.RecordID, e.Reason, e.Details, e.Prev,
	} {
		b = strconv.AppendInt(b, int64(len(field)), 10)
		b = append(b, ':')
		b = append(b, field...)
		b = append(b, '\n')
	}
	return b
}

// Sum is the hash that the row should have: 64 hex digits in lower case.
func (e Entry) Sum() string {
	sum := sha256.Sum256(e.Encode())
	return hex.EncodeToString(sum[:])
}
