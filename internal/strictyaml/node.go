package strictyaml

import (
	"github.com/goccy/go-yaml/ast"
)

// Kind is what sort of value stands in the file.
type Kind string

// The kinds of values. The words stand in complaints.
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

// Node is a value in the file, as an Unmarshaler sees it: aliases are followed.
type Node struct {
	d     *decoder
	node  ast.Node
	path  string
	depth int
}

// Kind says what sort of value it is.
func (n Node) Kind() Kind { return kindOf(n.node) }

// Scalar returns the text of a scalar, without quotes: as it is written, but for
// escapes. Empty for lists and mappings.
func (n Node) Scalar() string { return nodeText(n.node) }

// Decode reads the value into what into points to, as a field of that type would
// be read. The error holds the complaints and is to be returned as it is.
func (n Node) Decode(into any) error {
	sub := &decoder{doc: n.d.doc, aliases: n.d.aliases, values: n.d.values, stopped: n.d.stopped}
	sub.decodeInto(n.node, into, n.path, n.depth)
	n.d.values, n.d.stopped = sub.values, sub.stopped
	return sub.complaints.Err()
}

// Complain returns an error that complains about the value.
func (n Node) Complain(problem, instead string) error {
	return Complaints{n.d.doc.Complain(n.path, problem, instead)}
}

func kindOf(node ast.Node) Kind {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return Map
	case *ast.SequenceNode:
		return List
	case *ast.IntegerNode:
		return Int
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return Float
	case *ast.BoolNode:
		return Bool
	case *ast.StringNode, *ast.LiteralNode, *ast.MergeKeyNode:
		return Text
	}
	return Null
}
