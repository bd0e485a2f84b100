// Package strictyaml decodes one YAML document into Go values and reports every
// complaint at once, each with file, line, column, what is wrong and what to
// write instead. Nothing is accepted silently: unknown and duplicate keys, wrong
// types, empty values, anchors, aliases, merges, tags and further documents are
// all refused.
//
// A struct's keys are the names in its `yaml:"name"` tags; a field without one
// cannot be written in a file. A field with the tag `hidden` has a key that is
// accepted and never suggested.
package strictyaml

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
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
	text := c.Problem
	if c.Path != "" {
		text = c.Path + ": " + text
	}
	if c.Instead != "" {
		text += "; " + c.Instead
	}
	if c.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", c.File, c.Line, text)
	}
	return c.File + ": " + text
}

// Complaints is all that is wrong with one or several files. As an error it is
// one line per complaint.
type Complaints []Complaint

// Error returns the complaints, one per line, sorted by file, line and column.
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
		return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column)
	})
	return sorted
}

// Document knows where the values of a decoded file stand.
type Document struct {
	file string
	root *yaml.Node // nil when nothing could be read
}

// At returns where the value of a key path such as "rules[2].match.branch"
// stands; for a mapping or a list that is its key. A path that is not in the
// file gives its nearest parent that is, and at last the document's beginning.
func (d *Document) At(path string) (line, column int) {
	if d.root == nil {
		return 1, 1
	}
	node, at := d.root, d.root
	for _, step := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) }) {
		value, place := child(node, strings.Trim(step, `"`))
		if value == nil {
			break
		}
		node, at = value, place
	}
	return at.Line, at.Column
}

// child returns the value that a key or an index leads to, and where that stands;
// nil when the file does not have it.
func child(node *yaml.Node, step string) (value, at *yaml.Node) {
	switch node.Kind {
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(node.Content) {
			return node.Content[i], node.Content[i]
		}
	case yaml.MappingNode:
		for i := 0; i < len(node.Content); i += 2 {
			if node.Content[i].Value == step {
				return node.Content[i+1], entryAt(node.Content[i], node.Content[i+1])
			}
		}
	}
	return nil, nil
}

// entryAt is where an entry of a mapping stands: at its value when that is a
// scalar, else at its key.
func entryAt(key, value *yaml.Node) *yaml.Node {
	if isScalar(value) {
		return value
	}
	return key
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
// What a key does not give keeps the value that into had before. A complaint
// without a path says that nothing could be read.
//
// Fields may be strings, bools, integers, floats, time.Duration (as "45m"; a
// number without a unit is refused), pointers, structs, slices, and types that
// implement Unmarshaler. Where a list of strings is wanted, one string is a list
// of one.
//
// Bounded: 4 MiB of input, 100 levels of brackets or of indentation, 10,000 keys
// in one mapping.
func Decode(file string, data []byte, into any) (*Document, Complaints) {
	root, complaint := parse(data)
	doc := &Document{file: file, root: root}
	if complaint != nil {
		complaint.File = file
		return doc, Complaints{*complaint}
	}
	d := &decoder{file: file, keys: map[reflect.Type]structKeys{}}
	Node{d: d, node: root, at: root}.decode(reflect.ValueOf(into).Elem())
	return doc, d.complaints.Sorted()
}
