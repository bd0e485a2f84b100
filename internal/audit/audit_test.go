package audit_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/audit"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)

// chain is a chain of n rows.
func chain(n int) []audit.Entry {
	var rows []audit.Entry
	var last audit.Entry
	for i := range n {
		last = audit.Seal(last, audit.Entry{Kind: audit.Action, Actor: "ann", Action: "rerun", RecordKind: "run", RecordID: fmt.Sprint("run-", i), Reason: "why: 1\n2", Details: "x"},
			noon.Add(time.Duration(i)*time.Second))
		rows = append(rows, last)
	}
	return rows
}

func verify(rows []audit.Entry, expected ...audit.Expected) audit.Result {
	v := audit.NewVerifier(expected...)
	for _, e := range rows {
		v.Add(e)
	}
	return v.Result()
}

// TestEncoding holds the encoding that docs/audit.md describes, byte by byte.
func TestEncoding(t *testing.T) {
	e := audit.Seal(audit.Entry{}, audit.Entry{Kind: audit.Action, Actor: "安", Action: "rerun", RecordKind: "run", RecordID: "r1", Reason: "a:b\n", Details: ""}, noon)
	want := "gatewright audit 1\n1:1\n16:1772366400123456\n6:action\n3:安\n5:rerun\n3:run\n2:r1\n4:a:b\n\n0:\n64:" + strings.Repeat("0", 64) + "\n"
	if got := string(e.Encode()); got != want {
		t.Errorf("encoded %q, want %q", got, want)
	}
	sum := sha256.Sum256([]byte(want))
	if e.Hash != hex.EncodeToString(sum[:]) {
		t.Errorf("hash %s", e.Hash)
	}
	next := audit.Seal(e, audit.Entry{Kind: audit.Login, Actor: "a\x00\xff", Action: "in"}, noon)
	if next.Seq != 2 || next.Prev != e.Hash || next.Actor != "a\uFFFD\uFFFD" {
		t.Errorf("next %+v", next)
	}
}

// TestVerify changes a chain in every way and wants the row named.
func TestVerify(t *testing.T) {
	good := chain(6)
	rebuilt := chain(6)
	rebuilt[3].Reason = "another"
	for i := 3; i < 6; i++ {
		rebuilt[i] = audit.Seal(rebuilt[i-1], rebuilt[i], rebuilt[i].At)
	}
	at := func(i int, change func(*audit.Entry)) []audit.Entry {
		rows := slices.Clone(good)
		change(&rows[i])
		return rows
	}
	swapped := slices.Clone(good)
	swapped[2], swapped[3] = swapped[3], swapped[2]
	renumbered := slices.Clone(swapped)
	renumbered[2].Seq, renumbered[3].Seq = 3, 4
	note := audit.Seal(good[5], audit.Entry{Kind: audit.Retention, Actor: "gatewright", Action: "remove", RecordKind: "audit", RecordID: "3", Details: good[2].Hash}, noon)
	falseNote := audit.Seal(good[5], audit.Entry{Kind: audit.Retention, Actor: "gatewright", Action: "remove", RecordKind: "audit", RecordID: "3", Details: good[1].Hash}, noon)
	for name, c := range map[string]struct {
		rows     []audit.Entry
		expected []audit.Expected
		seq      int64 // of the first problem; -1 for none
		says     string
	}{
		"good":                   {good, nil, -1, ""},
		"empty":                  {nil, nil, -1, ""},
		"changed actor":          {at(2, func(e *audit.Entry) { e.Actor = "bob" }), nil, 3, "it was changed"},
		"changed time":           {at(2, func(e *audit.Entry) { e.At = e.At.Add(time.Microsecond) }), nil, 3, "it was changed"},
		"changed reason":         {at(0, func(e *audit.Entry) { e.Reason = "" }), nil, 1, "it was changed"},
		"moved bytes":            {at(1, func(e *audit.Entry) { e.Reason, e.Details = e.Reason+"x", "" }), nil, 2, "it was changed"},
		"changed and resealed":   {at(2, func(e *audit.Entry) { e.Actor = "bob"; e.Hash = e.Sum() }), nil, 4, "it does not follow row 3"},
		"missing row":            {slices.Delete(slices.Clone(good), 2, 3), nil, 3, "it is missing"},
		"missing rows":           {slices.Delete(slices.Clone(good), 2, 4), nil, 3, "with those up to row 4"},
		"missing first row":      {good[1:], nil, 1, "no row says that retention removed it"},
		"swapped":                {swapped, nil, 3, "it is missing"},
		"swapped and renumbered": {renumbered, nil, 3, "it was changed"},
		"twice":                  {append(slices.Clone(good[:3]), good[2:]...), nil, 3, "it stands behind row 3"},
		"tail alone unnoticed":   {good[:4], nil, -1, ""},
		"tail by hash":           {good[:4], []audit.Expected{{Hash: good[5].Hash, Source: "--expect"}}, 0, "--expect gives the hash"},
		"tail by bundle":         {good[:4], []audit.Expected{{Seq: 6, Hash: good[5].Hash, Source: "b.json"}}, 6, "the log ends at row 4: rows at its end were removed"},
		"nothing left":           {nil, []audit.Expected{{Seq: 6, Hash: good[5].Hash, Source: "b.json"}}, 6, "the log ends at row 0"},
		"grown since":            {good, []audit.Expected{{Hash: good[3].Hash, Source: "--expect"}}, -1, ""},
		"rebuilt unnoticed":      {rebuilt, nil, -1, ""},
		"rebuilt":                {rebuilt, []audit.Expected{{Seq: 5, Hash: good[4].Hash, Source: "b.json"}}, 5, "the chain was rebuilt"},
		"begins elsewhere":       {[]audit.Entry{audit.Seal(audit.Entry{Hash: good[2].Hash}, good[0], noon)}, nil, 1, "it is not the first one"},
		"retention":              {append(slices.Clone(good[3:]), note), nil, -1, ""},
		"retention, kept bundle": {append(slices.Clone(good[3:]), note), []audit.Expected{{Seq: 5, Hash: good[4].Hash}}, -1, ""},
		"retention, old bundle":  {append(slices.Clone(good[3:]), note), []audit.Expected{{Seq: 2, Hash: good[1].Hash, Source: "b.json"}}, 2, "retention has removed it"},
		"false note":             {append(slices.Clone(good[3:]), falseNote), nil, 4, "retention has noted"},
		"more than the note":     {append(slices.Clone(good[4:]), note), nil, 1, "no row says that retention removed it"},
	} {
		t.Run(name, func(t *testing.T) {
			got := verify(c.rows, c.expected...)
			if c.seq < 0 {
				if len(got.Problems) > 0 {
					t.Fatalf("problems %+v", got.Problems)
				}
				return
			}
			if len(got.Problems) == 0 || got.Problems[0].Seq != c.seq || !strings.Contains(got.Problems[0].Text, c.says) {
				t.Errorf("problems %+v, want row %d: %s", got.Problems, c.seq, c.says)
			}
		})
	}
	for i := range good {
		good[i].Actor = "x"
	}
	if got := verify(append(good, slices.Repeat(good, 9)...)); len(got.Problems) != 20 || got.Omitted < 40 {
		t.Errorf("%d problems, %d omitted", len(got.Problems), got.Omitted)
	}
}

func TestCheck(t *testing.T) {
	for _, e := range []audit.Entry{{}, {Kind: audit.Action, Actor: "ann"}, {Action: "x", Actor: "ann"}, {Kind: audit.Action, Action: "x", Actor: " "}} {
		if e.Check() == nil {
			t.Errorf("%+v was accepted", e)
		}
	}
}
