package strictyaml

import (
	"fmt"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Kind is what sort of value is in the file.
type Kind string

// The kinds of values. Complaints use the words.
const (
	Null  Kind = "nothing"
	Text  Kind = "text"
	Int   Kind = "a number"
	Float Kind = "a number with a fraction"
	Bool  Kind = "true or false"
	List  Kind = "a list"
	Map   Kind = "a mapping"
)

// Unmarshaler is a type that reads its own YAML, for values that may take more
// than one shape.
//
// UnmarshalYAMLNode is called on a pointer, for any value but an empty one,
// which is refused before. An error that Node.Decode or Node.Complain gave is
// reported as it is; any other becomes the problem of a complaint about the
// value.
type Unmarshaler interface {
	UnmarshalYAMLNode(Node) error
}

// Node is a value in the file.
type Node struct {
	d    *decoder
	node *yaml.Node
	// at is where complaints about the value point: see entryAt.
	at *yaml.Node
	// parent holds the value; nil for the root. key, or else index, says where.
	parent *Node
	key    string
	index  int
}

// Kind says what sort of value it is.
func (n Node) Kind() Kind {
	switch n.node.Kind {
	case yaml.MappingNode:
		return Map
	case yaml.SequenceNode:
		return List
	}
	switch n.node.ShortTag() {
	case "!!null":
		return Null
	case "!!int":
		return Int
	case "!!float":
		return Float
	case "!!bool":
		return Bool
	}
	return Text
}

// Scalar returns the text of a scalar, without quotes: as it is written, but for
// escapes. Empty for lists and mappings.
func (n Node) Scalar() string { return n.node.Value }

// Decode reads the value into what into points to, as a field of that type would
// be read. The error holds the complaints and is to be returned as it is.
func (n Node) Decode(into any) error {
	n.d = &decoder{file: n.d.file, keys: n.d.keys}
	n.decode(reflect.ValueOf(into).Elem())
	return n.d.complaints.Err()
}

// Mapping reads a mapping whose keys the file chooses. fresh makes the value of a key before
// it is read, with its defaults. The error holds the complaints and is to be returned as it is.
func Mapping[V any](n Node, fresh func() V) (map[string]V, error) {
	n.d = &decoder{file: n.d.file, keys: n.d.keys}
	if n.Kind() != Map {
		return nil, n.Complain("is "+string(n.Kind())+", not "+string(Map), "write {name: value}")
	}
	values := map[string]V{}
	for entries := n.node.Content; len(entries) > 0; entries = entries[2:] {
		key := Node{d: n.d, node: entries[0], at: entries[0], parent: &n, key: entries[0].Value}
		problem, instead := key.refused()
		_, twice := values[key.key]
		switch {
		case problem != "":
			key.complain(problem, instead)
		case !isScalar(key.node):
			n.complain("has a key that is "+string(key.Kind()), "write a word as the key")
		case twice:
			key.complain(fmt.Sprintf("key %q is given twice", key.key), "keep one of them")
		default:
			content, value := fresh(), key
			value.node, value.at = entries[1], entryAt(entries[0], entries[1])
			value.decode(reflect.ValueOf(&content).Elem())
			values[key.key] = content
		}
	}
	return values, n.d.complaints.Err()
}

// Complain returns an error that complains about the value.
func (n Node) Complain(problem, instead string) error {
	return Complaints{n.complaint(problem, instead)}
}

func (n Node) complaint(problem, instead string) Complaint {
	return Complaint{File: n.d.file, Line: n.at.Line, Column: n.at.Column, Path: n.path(), Problem: problem, Instead: instead}
}

// path returns the key path; a key that is not a plain word is quoted in it.
func (n *Node) path() string {
	if n.parent == nil {
		return ""
	}
	above := n.parent.path()
	switch plain := strings.Trim(n.key, plainKey) == ""; {
	case n.parent.node.Kind == yaml.SequenceNode:
		return fmt.Sprintf("%s[%d]", above, n.index)
	case !plain || n.key == "":
		return fmt.Sprintf("%s[%q]", above, n.key)
	case above == "":
		return n.key
	}
	return above + "." + n.key
}

const plainKey = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-<"

func isScalar(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() != "!!null"
}
