// Package strictyaml decodes one YAML document into Go values and reports every
// complaint at once, each with file, line, column, what is wrong and what to
// write instead. Nothing is accepted silently: unknown and duplicate keys, wrong
// types, empty values, tags and further documents are all refused.
//
// A struct's keys are the names in its `yaml:"name"` tags; `yaml:",inline"`
// takes the fields of a nested struct into the same mapping, and a field with
// `yaml:"-"` cannot be written in a file. The option `hidden` accepts a key and
// never offers it as a suggestion.
package strictyaml

import (
	"fmt"
	"slices"
	"strings"
)

// Complaint is one thing that is wrong with a file.
type Complaint struct {
	File string `json:"file"`
	// Line and Column count from 1; 0 where the file as a whole is meant.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Path leads to the value, e.g. rules[2].gate.major; empty for the document.
	Path string `json:"path"`
	// Problem says what is wrong, Instead what to write; Instead may be empty.
	Problem string `json:"problem"`
	Instead string `json:"instead"`
}

// String returns `file:line: path: problem; instead`, without the parts that are
// empty.
func (c Complaint) String() string {
	var b strings.Builder
	b.WriteString(c.File)
	if c.Line > 0 {
		fmt.Fprintf(&b, ":%d", c.Line)
	}
	b.WriteString(": ")
	if c.Path != "" {
		b.WriteString(c.Path + ": ")
	}
	b.WriteString(c.Problem)
	if c.Instead != "" {
		b.WriteString("; " + c.Instead)
	}
	return b.String()
}

// Complaints is all that is wrong with one or several files. As an error it is
// one line a complaint.
type Complaints []Complaint

// Error returns the complaints one a line, sorted by file, line and column.
func (cs Complaints) Error() string {
	lines := make([]string, 0, len(cs))
	for _, c := range cs.Sorted() {
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}

// Err returns cs as an error, and nil when there are none.
func (cs Complaints) Err() error {
	if len(cs) == 0 {
		return nil
	}
	return cs
}

// Sorted returns a copy of cs by file, line and column; complaints of the same
// place keep their order.
func (cs Complaints) Sorted() Complaints {
	sorted := slices.Clone(cs)
	slices.SortStableFunc(sorted, func(a, b Complaint) int {
		if order := strings.Compare(a.File, b.File); order != 0 {
			return order
		}
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return sorted
}

// Document knows where the keys of a decoded file stand.
type Document struct {
	file      string
	positions map[string]position
}

type position struct{ line, column int }

// At returns where the value of a key path such as "rules[2].match.branch"
// stands; for a mapping or a list that is its key. A path that is not in the
// file gives its nearest parent that is, and at last the document's beginning.
func (d *Document) At(path string) (line, column int) {
	for {
		if p, ok := d.positions[path]; ok {
			return p.line, p.column
		}
		if path == "" {
			return 1, 1
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

// Complain returns a complaint about the value at path, for checks that are made
// after decoding.
func (d *Document) Complain(path, problem, instead string) Complaint {
	line, column := d.At(path)
	return Complaint{File: d.file, Line: line, Column: column, Path: path, Problem: problem, Instead: instead}
}

// Decode reads data, the contents of file, into the struct that into points to.
//
// The document is never nil. With complaints, into holds what could be read, so
// that further checks can be made on it; it must not be used for anything else.
// What a key does not give keeps the value that into had before.
//
// Fields may be strings, bools, integers, floats, time.Duration (as "45m"; a
// number without a unit is refused), pointers, structs, slices, maps with string
// keys, and types that implement Unmarshaler. Where a list of strings is wanted,
// one string is a list of one. Anchors, aliases and merge keys (<<) work.
//
// Bounded: 4 MiB of input, 100 levels, 10,000 keys in one mapping, a million
// values after aliases are followed.
func Decode(file string, data []byte, into any) (*Document, Complaints) {
	doc := &Document{file: file, positions: map[string]position{}}
	root, aliases, complaints := parse(file, data)
	if root == nil {
		return doc, complaints
	}
	d := &decoder{doc: doc, aliases: aliases, complaints: complaints}
	d.decodeRoot(root, into)
	return doc, d.complaints.Sorted()
}
