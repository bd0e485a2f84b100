package view

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
	"github.com/gatewright/gatewright/internal/store"
)

// AuditRow is a row of the audit log.
type AuditRow struct {
	// Seq counts the rows from 1.
	Seq    int64      `json:"seq"`
	At     time.Time  `json:"at"`
	Kind   audit.Kind `json:"kind"`
	Actor  string     `json:"actor"`
	Action string     `json:"action"`
	// RecordKind and RecordID name the record that it was done to; empty for none.
	RecordKind string `json:"record_kind"`
	RecordID   string `json:"record_id"`
	Reason     string `json:"reason"`
	Details    string `json:"details"`
	// Prev is the hash of the row before, Hash that of this one (docs/audit.md).
	Prev string `json:"prev"`
	Hash string `json:"hash"`
}

// NewAuditRows are the views of stored rows.
func NewAuditRows(entries []audit.Entry) []AuditRow {
	rows := []AuditRow{}
	for _, e := range entries {
		rows = append(rows, AuditRow(e))
	}
	return rows
}

// AuditPage is a part of the audit log, the newest row first.
type AuditPage struct {
	Rows []AuditRow `json:"rows"`
	// Next is the cursor at which the next page begins: the number of a row. Empty on the last one. A page can be short
	// and not be the last.
	Next string `json:"next"`
	// NewestRow and NewestHash are the number and the hash of the newest row of the whole log; 0 and empty without one.
	NewestRow  int64  `json:"newest_row"`
	NewestHash string `json:"newest_hash"`
}

// auditWalk is how many rows are looked at for one page where a filter may leave out many.
const auditWalk = 20_000

// NewAuditPage reads a page of at most f.Limit rows, which must be 1 or more.
func NewAuditPage(ctx context.Context, tx *store.Tx, f store.AuditFilter) (AuditPage, error) {
	head, err := tx.AuditHead(ctx)
	if err != nil {
		return AuditPage{}, err
	}
	p := AuditPage{NewestRow: head.Seq, NewestHash: head.Hash}
	limit, from := f.Limit, head.Seq+1
	if f.Before > 0 {
		from = min(from, f.Before)
	}
	f.Limit++
	if f.RecordID == "" {
		f.From = max(from-auditWalk, 1)
	}
	entries, err := tx.AuditRows(ctx, f)
	if err != nil {
		return AuditPage{}, err
	}
	switch {
	case len(entries) > limit:
		entries = entries[:limit]
		p.Next = strconv.FormatInt(entries[limit-1].Seq, 10)
	case f.From > 1:
		p.Next = strconv.FormatInt(f.From, 10)
	}
	p.Rows = NewAuditRows(entries)
	return p, nil
}

// AuditParameters are those by which the audit log is filtered.
func AuditParameters() []Parameter {
	return []Parameter{
		{Name: "kind", About: "only rows of this kind: " + strings.Join(texts(audit.Kinds()), ", ")},
		{Name: "action", About: "only where this was done, such as approve"},
		{Name: "actor", About: "only what this person, or gatewright, did"},
		{Name: "record", About: "only rows about the record with this id"},
		{Name: "search", About: "only where the reason or the details hold this text, in upper or lower case"},
		{Name: "since", About: "not before this time, or not longer ago than this"},
		{Name: "until", About: "before this time, or longer ago than this"},
		{Name: "cursor", About: "go on after a page, with its next"},
		{Name: "limit", About: "at most this many rows", Number: true},
	}
}

// ParseAuditFilter reads the parameters of the audit log; each is given once at most. A page has at most maxLimit rows.
// Its errors are of the type ParameterError.
func ParseAuditFilter(values url.Values, maxLimit int, now time.Time) (f store.AuditFilter, err error) {
	f = store.AuditFilter{Kind: audit.Kind(values.Get("kind")), Action: values.Get("action"), Actor: values.Get("actor"), RecordID: values.Get("record"),
		Search: strings.TrimSpace(values.Get("search")), Limit: min(defaultLimit, maxLimit)}
	if f.Kind != "" && !slices.Contains(audit.Kinds(), f.Kind) {
		return f, ParameterError{"kind", fmt.Sprintf("%q: write one of %s", f.Kind, strings.Join(texts(audit.Kinds()), ", "))}
	}
	if len(f.Search) > maxSearch {
		return f, ParameterError{"search", fmt.Sprintf("write at most %d characters", maxSearch)}
	}
	if f.Since, err = PointInTime(values.Get("since"), now); err != nil {
		return f, ParameterError{"since", err.Error()}
	}
	if f.Until, err = PointInTime(values.Get("until"), now); err != nil {
		return f, ParameterError{"until", err.Error()}
	}
	if text := values.Get("limit"); text != "" {
		if f.Limit, err = strconv.Atoi(text); err != nil || f.Limit < 1 || f.Limit > maxLimit {
			return f, ParameterError{"limit", fmt.Sprintf("write a number from 1 to %d", maxLimit)}
		}
	}
	if text := values.Get("cursor"); text != "" {
		if f.Before, err = strconv.ParseInt(text, 10, 64); err != nil || f.Before < 1 {
			return f, ParameterError{"cursor", "this is not a cursor of the audit log: use the next of the page before"}
		}
	}
	return f, nil
}

// ErrNoEvidenceYet says that the evidence of a release is still to be made.
var ErrNoEvidenceYet = errors.New("the evidence of this release is not made yet: the server makes it within a minute of its end")

// Evidence is the bundle of a release, byte for byte. The error is ErrNoEvidenceYet, or store.ErrNotFound where none is
// kept and none will be made.
func Evidence(ctx context.Context, tx *store.Tx, releaseID string) ([]byte, error) {
	bundle, err := tx.Evidence(ctx, releaseID)
	if err == nil && bundle == nil {
		err = ErrNoEvidenceYet
	}
	return bundle, err
}

// EvidenceDisposition has a browser save the bundle of a release, as a file named by its id.
func EvidenceDisposition(releaseID string) string {
	return mime.FormatMediaType("attachment", map[string]string{"filename": "evidence-" + releaseID + ".json"})
}
