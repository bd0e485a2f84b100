package strictyaml

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
)

// decoder walks a document and a Go value side by side. It does not stop at a
// complaint.
type decoder struct {
	doc        *Document
	aliases    map[*ast.AliasNode]ast.Node
	complaints Complaints
	// values counts what was decoded, aliases followed; stopped says that the
	// limit was complained about.
	values  int
	stopped bool
}

func (d *decoder) complain(path, problem, instead string) {
	d.complaints = append(d.complaints, d.doc.Complain(path, problem, instead))
}

func (d *decoder) decodeRoot(root ast.Node, into any) {
	d.locate("", root)
	d.decodeInto(root, into, "", 0)
}

func (d *decoder) decodeInto(node ast.Node, into any, path string, depth int) {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		panic(fmt.Sprintf("strictyaml: decode into %T: want a pointer that is not nil", into))
	}
	d.decode(node, target.Elem(), path, depth)
}

// decode reads node into target, which can be set.
func (d *decoder) decode(node ast.Node, target reflect.Value, path string, depth int) {
	if d.exhausted(path, depth) {
		return
	}
	node, ok := d.resolve(node, path)
	if !ok {
		return
	}
	if kindOf(node) == Null {
		d.complain(path, "has no value", "write "+wanted(target.Type())+", or remove the key")
		return
	}
	if u, ok := target.Addr().Interface().(Unmarshaler); ok {
		d.unmarshal(u, Node{d: d, node: node, path: path, depth: depth})
		return
	}
	if target.Type() == reflect.TypeFor[time.Duration]() {
		d.decodeDuration(node, target, path)
		return
	}

	switch target.Kind() {
	case reflect.Pointer:
		if target.IsNil() {
			target.Set(reflect.New(target.Type().Elem()))
		}
		d.decode(node, target.Elem(), path, depth+1)
	case reflect.Struct:
		d.decodeStruct(node, target, path, depth)
	case reflect.Map:
		d.decodeMap(node, target, path, depth)
	case reflect.Slice:
		d.decodeSlice(node, target, path, depth)
	default:
		d.decodeScalar(node, target, path)
	}
}

// exhausted says that nothing more is to be decoded, and complains once.
func (d *decoder) exhausted(path string, depth int) bool {
	d.values++
	if d.stopped {
		return true
	}
	switch {
	case depth > maxDepth:
		d.complain(path, "is nested too deep, or contains itself", "write the value out instead of the alias")
	case d.values > maxValues:
		d.complain(path, fmt.Sprintf("has more than %d values, aliases followed", maxValues), "use fewer aliases")
	default:
		return false
	}
	d.stopped = true
	return true
}

func (d *decoder) unmarshal(u Unmarshaler, node Node) {
	err := u.UnmarshalYAMLNode(node)
	var complaints Complaints
	switch {
	case err == nil:
	case errors.As(err, &complaints):
		d.complaints = append(d.complaints, complaints...)
	default:
		d.complain(node.path, err.Error(), "")
	}
}

// resolve takes anchors off and follows aliases. It returns false when there is
// nothing to decode; that has been complained about.
func (d *decoder) resolve(node ast.Node, path string) (ast.Node, bool) {
	for range maxDepth {
		switch n := node.(type) {
		case *ast.AnchorNode:
			node = n.Value
		case *ast.AliasNode:
			target, known := d.aliases[n]
			if !known {
				return nil, false
			}
			node = target
		case *ast.TagNode:
			d.complain(path, fmt.Sprintf("begins with %s, which YAML takes for a tag", n.Start.Value), "put the text in quotes, or remove the tag")
			return nil, false
		default:
			return node, true
		}
	}
	d.complain(path, "is an alias of itself", "write the value out instead of the alias")
	return nil, false
}

func (d *decoder) decodeSlice(node ast.Node, target reflect.Value, path string, depth int) {
	element := target.Type().Elem()
	list, ok := node.(*ast.SequenceNode)
	if !ok && element.Kind() == reflect.String && scalar(node) {
		one := reflect.MakeSlice(target.Type(), 1, 1)
		d.decode(node, one.Index(0), path, depth+1)
		target.Set(one)
		return
	}
	if !ok {
		d.wrongType(node, target.Type(), path)
		return
	}
	items := reflect.MakeSlice(target.Type(), len(list.Values), len(list.Values))
	for i, item := range list.Values {
		place := fmt.Sprintf("%s[%d]", path, i)
		d.locate(place, item)
		d.decode(item, items.Index(i), place, depth+1)
	}
	target.Set(items)
}

func (d *decoder) decodeMap(node ast.Node, target reflect.Value, path string, depth int) {
	entries, ok := d.entries(node, path, depth)
	if !ok {
		d.wrongType(node, target.Type(), path)
		return
	}
	values := reflect.MakeMapWithSize(target.Type(), len(entries))
	for _, entry := range entries {
		value := reflect.New(target.Type().Elem()).Elem()
		place := d.locateEntry(path, entry)
		d.decode(entry.value, value, place, depth+1)
		values.SetMapIndex(reflect.ValueOf(entry.name).Convert(target.Type().Key()), value)
	}
	target.Set(values)
}

func (d *decoder) decodeStruct(node ast.Node, target reflect.Value, path string, depth int) {
	entries, ok := d.entries(node, path, depth)
	if !ok {
		d.wrongType(node, target.Type(), path)
		return
	}
	fields := map[string]reflect.Value{}
	offered := collectFields(target, fields)
	for _, entry := range entries {
		place := d.locateEntry(path, entry)
		field, known := fields[entry.name]
		if !known {
			d.remember(place, entry.key)
			d.complain(place, fmt.Sprintf("unknown key %q", entry.name), suggest(entry.name, offered))
			continue
		}
		d.decode(entry.value, field, place, depth+1)
	}
}

// collectFields puts the fields of a struct into fields, by key, and returns the
// keys to offer as suggestions, in the order of the struct.
func collectFields(target reflect.Value, fields map[string]reflect.Value) (offered []string) {
	for i := range target.NumField() {
		name, options, _ := strings.Cut(target.Type().Field(i).Tag.Get("yaml"), ",")
		switch {
		case strings.Contains(options, "inline"):
			offered = append(offered, collectFields(target.Field(i), fields)...)
		case name == "" || name == "-":
		default:
			fields[name] = target.Field(i)
			if !strings.Contains(options, "hidden") {
				offered = append(offered, name)
			}
		}
	}
	return offered
}

func (d *decoder) decodeDuration(node ast.Node, target reflect.Value, path string) {
	const write = "write a number with a unit: 30s, 45m or 2h30m"
	text := nodeText(node)
	if !scalar(node) {
		d.wrongType(node, target.Type(), path)
		return
	}
	duration, err := time.ParseDuration(text)
	switch {
	case kindOf(node) == Int || kindOf(node) == Float:
		d.complain(path, fmt.Sprintf("%s has no unit", text), write)
	case err != nil:
		d.complain(path, fmt.Sprintf("%q is not a duration", text), write)
	default:
		target.SetInt(int64(duration))
	}
}

func (d *decoder) decodeScalar(node ast.Node, target reflect.Value, path string) {
	kind, text := kindOf(node), nodeText(node)
	switch target.Kind() {
	case reflect.String:
		if kind == Text {
			target.SetString(text)
			return
		}
	case reflect.Bool:
		if n, ok := node.(*ast.BoolNode); ok {
			target.SetBool(n.Value)
			return
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if kind == Int {
			d.decodeInt(node.(*ast.IntegerNode), target, path)
			return
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if kind == Int {
			d.decodeUint(node.(*ast.IntegerNode), target, path)
			return
		}
	case reflect.Float32, reflect.Float64:
		if number, err := strconv.ParseFloat(text, 64); err == nil && (kind == Int || kind == Float) {
			target.SetFloat(number)
			return
		}
	default:
		panic(fmt.Sprintf("strictyaml: decode into %s: no such values in YAML", target.Type()))
	}
	d.wrongType(node, target.Type(), path)
}

func (d *decoder) decodeInt(node *ast.IntegerNode, target reflect.Value, path string) {
	var value int64
	switch v := node.Value.(type) {
	case int64:
		value = v
	case uint64:
		value = int64(v)
		if value < 0 {
			d.outOfRange(node, path)
			return
		}
	default:
		d.outOfRange(node, path)
		return
	}
	if target.OverflowInt(value) {
		d.outOfRange(node, path)
		return
	}
	target.SetInt(value)
}

func (d *decoder) decodeUint(node *ast.IntegerNode, target reflect.Value, path string) {
	value, ok := node.Value.(uint64)
	if signed, negative := node.Value.(int64); negative && signed >= 0 {
		value, ok = uint64(signed), true
	}
	if !ok || target.OverflowUint(value) {
		d.outOfRange(node, path)
		return
	}
	target.SetUint(value)
}

func (d *decoder) outOfRange(node ast.Node, path string) {
	d.complain(path, fmt.Sprintf("%s is out of range", nodeText(node)), "write a number that fits")
}

// wrongType complains that node is not of the type that is wanted. It shows the
// value of a scalar only where a scalar was wanted: text in the place of a
// mapping may well be a secret.
func (d *decoder) wrongType(node ast.Node, want reflect.Type, path string) {
	problem := "is " + string(kindOf(node))
	instead := "write " + wanted(want)
	wantScalar := want.Kind() < reflect.Array || want.Kind() == reflect.String
	if scalar(node) && wantScalar {
		problem = fmt.Sprintf("%q is text", nodeText(node))
		if kindOf(node) != Text {
			problem = nodeText(node) + " is " + string(kindOf(node))
		}
		if want.Kind() == reflect.String {
			problem = nodeText(node) + " is not text"
			instead = fmt.Sprintf("put it in quotes: %q", nodeText(node))
		}
	}
	d.complain(path, problem, instead)
}

func scalar(node ast.Node) bool {
	switch kindOf(node) {
	case Text, Int, Float, Bool:
		return true
	}
	return false
}

// wanted says in words what a value of type t looks like in YAML.
func wanted(t reflect.Type) string {
	if t == reflect.TypeFor[time.Duration]() {
		return "a duration such as 45m"
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[Unmarshaler]()) {
		return "a value"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Struct, reflect.Map:
		return "a mapping (key: value, or {})"
	case reflect.Slice:
		return "a list ([a, b])"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	}
	return "a whole number"
}
