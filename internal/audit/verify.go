package audit

import (
	"fmt"
	"strconv"
)

// Expected is a hash that the chain had once, by the word of a log line, a bundle or a person.
type Expected struct {
	// Seq is the number of its row; 0 where only the hash is known.
	Seq  int64
	Hash string
	// Source says where it comes from, such as "--expect" or the name of a file.
	Source string
}

// Problem is what is wrong with one row, or with the chain as a whole (Seq is 0).
type Problem struct {
	Seq  int64  `json:"seq"`
	Text string `json:"problem"`
}

// maxProblems bounds what is told: behind a rebuilt part every row may be wrong.
const maxProblems = 20

// Verifier reads a chain row by row, in the order of their numbers, and in constant memory.
type Verifier struct {
	expected []Expected
	found    []bool

	problems []Problem
	omitted  int
	rows     int64
	first    Entry
	last     Entry
	// trimmed are the hashes of the last rows that were removed by retention, by their numbers,
	// by the word of rows of the chain itself.
	trimmed map[int64]string
}

// NewVerifier expects that the chain contains the rows that are given.
func NewVerifier(expected ...Expected) *Verifier {
	return &Verifier{expected: expected, found: make([]bool, len(expected)), trimmed: map[int64]string{}}
}

// Add reads the next row.
func (v *Verifier) Add(e Entry) {
	if sum := e.Sum(); sum != e.Hash {
		v.complain(e.Seq, "it was changed: its hash is "+e.Hash+", and what it says has "+sum)
	}
	switch {
	case v.rows == 0:
		v.first = e
	case e.Seq <= v.last.Seq:
		v.complain(e.Seq, fmt.Sprintf("it stands behind row %d: the order was changed", v.last.Seq))
	case e.Seq != v.last.Seq+1:
		v.complain(v.last.Seq+1, missing(v.last.Seq+1, e.Seq-1))
	case e.Prev != v.last.Hash:
		v.complain(e.Seq, fmt.Sprintf("it does not follow row %d: it says that the hash of that was %s, and it is %s: one of both was changed, put in or moved", v.last.Seq, e.Prev, v.last.Hash))
	}
	for i, x := range v.expected {
		if x.Hash == e.Hash && (x.Seq == 0 || x.Seq == e.Seq) {
			v.found[i] = true
		}
	}
	if e.Kind == Retention {
		if seq, err := strconv.ParseInt(e.RecordID, 10, 64); err == nil {
			v.trimmed[seq] = e.Details
		}
	}
	v.last = e
	v.rows++
}

func missing(from, to int64) string {
	if from == to {
		return "it is missing"
	}
	return fmt.Sprintf("it is missing, with those up to row %d", to)
}

func (v *Verifier) complain(seq int64, text string) {
	if len(v.problems) == maxProblems {
		v.omitted++
		return
	}
	v.problems = append(v.problems, Problem{Seq: seq, Text: text})
}

// Result is what came of the verification.
type Result struct {
	// Rows counts the rows; First and Last are the numbers of the oldest and the newest one, and Hash is
	// that of the newest. All are empty for an empty log.
	Rows  int64  `json:"rows"`
	First int64  `json:"first"`
	Last  int64  `json:"last"`
	Hash  string `json:"hash"`
	// Problems are what is wrong, in the order of the rows; Omitted counts those that are left out.
	Problems []Problem `json:"problems"`
	Omitted  int       `json:"omitted,omitempty"`
}

// Result ends the verification. The chain is intact when there are no problems.
func (v *Verifier) Result() Result {
	if v.rows > 0 {
		v.checkFirst()
	}
	for i, x := range v.expected {
		if !v.found[i] {
			v.complain(x.Seq, v.notFound(x))
		}
	}
	return Result{Rows: v.rows, First: v.first.Seq, Last: v.last.Seq, Hash: v.last.Hash, Problems: append([]Problem{}, v.problems...), Omitted: v.omitted}
}

// checkFirst checks that what is before the oldest row was removed by retention, and noted.
func (v *Verifier) checkFirst() {
	first, noted := v.first, v.trimmed[v.first.Seq-1]
	switch {
	case first.Seq == 1 && first.Prev != Genesis:
		v.complain(1, "it is not the first one: it follows the hash "+first.Prev)
	case first.Seq > 1 && noted == "":
		v.complain(1, missing(1, first.Seq-1)+", and no row says that retention removed it")
	case first.Seq > 1 && noted != first.Prev:
		v.complain(first.Seq, "it follows the hash "+first.Prev+", and retention has noted "+noted+" as the last hash that it removed")
	}
}

// notFound says why an expected row was not found.
func (v *Verifier) notFound(x Expected) string {
	what := fmt.Sprintf("%s knows it with the hash %s", x.Source, x.Hash)
	switch {
	case x.Seq > 0 && v.rows > 0 && x.Seq < v.first.Seq:
		if v.trimmed[x.Seq] == x.Hash {
			return what + ", and retention has removed it since: it cannot be compared any more"
		}
		return what + ", and retention has removed it"
	case x.Seq > v.last.Seq:
		return what + fmt.Sprintf(", and the log ends at row %d: rows at its end were removed", v.last.Seq)
	case x.Seq > 0:
		return what + ", and it has another one now: the chain was rebuilt"
	}
	return fmt.Sprintf("%s gives the hash %s, and no row has it: rows at the end were removed, the chain was rebuilt, or retention has removed that row", x.Source, x.Hash)
}
