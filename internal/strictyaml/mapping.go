package strictyaml

import (
	"fmt"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// entry is one key of a mapping with its value.
type entry struct {
	name  string
	key   ast.Node
	value ast.Node
}

// entries returns the keys of a mapping in the order of the file, those that
// come through a merge (<<) behind them. A key of the mapping itself wins over a
// merged one, an earlier merged one over a later. False when node is no mapping.
func (d *decoder) entries(node ast.Node, path string, depth int) ([]entry, bool) {
	pairs, ok := pairsOf(node)
	if !ok {
		return nil, false
	}
	var own []entry
	var merges []ast.Node
	seen := map[string]bool{}
	for _, pair := range pairs {
		if _, merge := pair.Key.(*ast.MergeKeyNode); merge {
			merges = append(merges, pair.Value)
			continue
		}
		key, name, ok := d.keyName(pair.Key, path)
		if !ok {
			continue
		}
		if seen[name] {
			place := join(path, name)
			d.remember(place, key)
			d.complain(place, fmt.Sprintf("key %q is given twice", name), "keep one of them")
			continue
		}
		seen[name] = true
		own = append(own, entry{name: name, key: key, value: pair.Value})
	}
	for _, merge := range merges {
		for _, e := range d.merged(merge, path, depth+1) {
			if !seen[e.name] {
				seen[e.name] = true
				own = append(own, e)
			}
		}
	}
	return own, true
}

// merged returns the entries of what stands behind a merge key: a mapping, or a
// list of them.
func (d *decoder) merged(node ast.Node, path string, depth int) []entry {
	place := join(path, "<<")
	d.locate(place, node)
	if d.exhausted(place, depth) {
		return nil
	}
	node, ok := d.resolve(node, place)
	if !ok {
		return nil
	}
	if list, ok := node.(*ast.SequenceNode); ok {
		var all []entry
		for _, item := range list.Values {
			all = append(all, d.merged(item, path, depth+1)...)
		}
		return all
	}
	entries, ok := d.entries(node, path, depth)
	if !ok {
		d.complain(place, "is "+string(kindOf(node)), "write an alias of a mapping: <<: *name")
	}
	d.values += len(entries)
	return entries
}

func pairsOf(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// keyName returns the key as text; false when it is none, with a complaint.
func (d *decoder) keyName(key ast.Node, path string) (ast.Node, string, bool) {
	if wrapped, ok := key.(*ast.MappingKeyNode); ok {
		key = wrapped.Value
	}
	resolved, ok := d.resolve(key, path)
	if !ok {
		return nil, "", false
	}
	if !scalar(resolved) && kindOf(resolved) != Null {
		d.complain(path, "has a key that is "+string(kindOf(resolved)), "write a word as the key")
		return nil, "", false
	}
	return key, nodeText(resolved), true
}

// locateEntry remembers where an entry stands and returns its path: a scalar
// stands where its value is, anything else where its key is.
func (d *decoder) locateEntry(path string, e entry) string {
	place := join(path, e.name)
	if scalar(e.value) {
		d.locate(place, e.value)
	} else {
		d.remember(place, e.key)
	}
	return place
}

// locate remembers that the value at path begins where node does.
func (d *decoder) locate(path string, node ast.Node) {
	if pairs, ok := pairsOf(node); ok && len(pairs) > 0 {
		if mapping, flow := node.(*ast.MappingNode); !flow || !mapping.IsFlowStyle {
			node = pairs[0].Key
		}
	}
	d.remember(path, node)
}

func (d *decoder) remember(path string, node ast.Node) {
	if node == nil {
		return
	}
	if tk := node.GetToken(); tk != nil && tk.Position != nil {
		d.doc.positions[path] = position{line: tk.Position.Line, column: tk.Position.Column}
	}
}

// join returns the path of a key; a key that is not a plain word is quoted.
func join(path, key string) string {
	plain := key != "" && !strings.ContainsFunc(key, func(r rune) bool {
		return !(r == '_' || r == '-' || r == '<' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z')
	})
	switch {
	case !plain:
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}
