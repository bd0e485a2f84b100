package strictyaml

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// decoder is the state of walking a document and a Go value side by side. It does
// not stop at a complaint.
type decoder struct {
	file       string
	keys       map[reflect.Type]structKeys
	complaints Complaints
}

func (n Node) complain(problem, instead string) {
	n.d.complaints = append(n.d.complaints, n.complaint(problem, instead))
}

// decode reads the value into target, which can be set.
func (n Node) decode(target reflect.Value) {
	if problem, instead := n.refused(); problem != "" {
		n.complain(problem, instead)
		return
	}
	if n.Kind() == Null {
		n.complain("has no value", "write "+wanted(target.Type())+", or remove the key")
		return
	}
	if u, ok := target.Addr().Interface().(Unmarshaler); ok {
		n.unmarshal(u)
		return
	}
	switch target.Kind() {
	case reflect.Pointer:
		if target.IsNil() {
			target.Set(reflect.New(target.Type().Elem()))
		}
		n.decode(target.Elem())
	case reflect.Struct:
		n.decodeStruct(target)
	case reflect.Slice:
		n.decodeSlice(target)
	default:
		n.decodeScalar(target)
	}
}

const noAlias = "write the value out: anchors, aliases and merges are not supported; put text that begins with & or * in quotes"

// refused says what is wrong with a value that uses what YAML has and these files
// may not have; empty when it does not.
func (n Node) refused() (problem, instead string) {
	switch {
	case n.node.Kind == yaml.AliasNode:
		return "is an alias", noAlias
	case n.node.Anchor != "":
		return "has an anchor", noAlias
	case n.node.Kind == yaml.ScalarNode && n.node.ShortTag() == "!!merge":
		return "is a merge", noAlias
	case n.node.Style&yaml.TaggedStyle != 0 || n.node.Tag == "!":
		return fmt.Sprintf("begins with %s, which YAML takes for a tag", n.node.Tag), "put the text in quotes, or remove the tag"
	}
	return "", ""
}

func (n Node) unmarshal(u Unmarshaler) {
	err := u.UnmarshalYAMLNode(n)
	if complaints, ok := errors.AsType[Complaints](err); ok {
		n.d.complaints = append(n.d.complaints, complaints...)
	} else if err != nil {
		n.complain(err.Error(), "")
	}
}

func (n Node) decodeSlice(target reflect.Value) {
	if target.Type().Elem().Kind() == reflect.String && isScalar(n.node) {
		target.Set(reflect.MakeSlice(target.Type(), 1, 1))
		n.decode(target.Index(0))
		return
	}
	if n.Kind() != List {
		n.wrongType(target.Type())
		return
	}
	items := reflect.MakeSlice(target.Type(), len(n.node.Content), len(n.node.Content))
	for i, item := range n.node.Content {
		Node{d: n.d, node: item, at: item, parent: &n, index: i}.decode(items.Index(i))
	}
	target.Set(items)
}

func (n Node) decodeStruct(target reflect.Value) {
	if n.Kind() != Map {
		n.wrongType(target.Type())
		return
	}
	entries := n.node.Content
	if len(entries)/2 > maxKeys {
		n.complain(fmt.Sprintf("has more than %d keys", maxKeys), "remove what is not needed")
		return
	}
	known := n.d.keysOf(target.Type())
	given := make([]bool, target.NumField())
	for ; len(entries) > 0; entries = entries[2:] {
		key := Node{d: n.d, node: entries[0], at: entries[0], parent: &n, key: entries[0].Value}
		field, found := known.fields[key.key]
		problem, instead := key.refused()
		switch {
		case problem != "":
			key.complain(problem, instead)
		case !isScalar(key.node):
			n.complain("has a key that is "+string(key.Kind()), "write a word as the key")
		case !found:
			key.complain(fmt.Sprintf("unknown key %q", key.key), suggest(key.key, known.offered))
		case given[field]:
			key.complain(fmt.Sprintf("key %q is given twice", key.key), "keep one of them")
		default:
			given[field] = true
			value := key
			value.node, value.at = entries[1], entryAt(entries[0], entries[1])
			value.decode(target.Field(field))
		}
	}
}

// structKeys are the keys of a struct: the index of each one's field, and those
// to suggest, in the order of the struct.
type structKeys struct {
	fields  map[string]int
	offered []string
}

func (d *decoder) keysOf(t reflect.Type) structKeys {
	keys, known := d.keys[t]
	if known {
		return keys
	}
	keys.fields = map[string]int{}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name == "" || name == "-" {
			continue
		}
		keys.fields[name] = i
		if _, hidden := t.Field(i).Tag.Lookup("hidden"); !hidden {
			keys.offered = append(keys.offered, name)
		}
	}
	d.keys[t] = keys
	return keys
}

func (n Node) decodeScalar(target reflect.Value) {
	fits := false
	switch kind := n.Kind(); target.Kind() {
	case reflect.String:
		fits = kind == Text
	case reflect.Bool:
		fits = kind == Bool
	case reflect.Float32, reflect.Float64:
		fits = kind == Int || kind == Float
	default:
		// A whole number that fits into no type is a Float to the library.
		fits = kind == Int || kind == Float && !strings.ContainsAny(n.Scalar(), ".eE")
	}
	duration := target.Type() == reflect.TypeFor[time.Duration]()
	switch {
	case duration && isScalar(n.node):
		n.decodeDuration(target)
	case !fits || duration:
		n.wrongType(target.Type())
	case target.Kind() == reflect.String:
		target.SetString(n.Scalar())
	case n.node.Decode(target.Addr().Interface()) != nil:
		n.complain(n.Scalar()+" is out of range", "write a number that fits")
	}
}

func (n Node) decodeDuration(target reflect.Value) {
	const write = "write a number with a unit: 30s, 45m or 2h30m"
	duration, err := time.ParseDuration(n.Scalar())
	switch kind := n.Kind(); {
	case kind == Int || kind == Float:
		n.complain(n.Scalar()+" has no unit", write)
	case err != nil:
		n.complain(fmt.Sprintf("%q is not a duration", n.Scalar()), write)
	default:
		target.SetInt(int64(duration))
	}
}

// wrongType complains that the value is not of the type that is wanted. It shows
// a scalar only where a scalar was wanted: text in the place of a mapping may
// well be a secret.
func (n Node) wrongType(want reflect.Type) {
	problem, instead := "is "+string(n.Kind()), "write "+wanted(want)
	switch {
	case !isScalar(n.node) || want.Kind() == reflect.Struct || want.Kind() == reflect.Slice:
	case want.Kind() == reflect.String:
		problem, instead = n.Scalar()+" is not text", fmt.Sprintf("put it in quotes: %q", n.Scalar())
	case n.Kind() == Text:
		problem = fmt.Sprintf("%q is text", n.Scalar())
	default:
		problem = n.Scalar() + " is " + string(n.Kind())
	}
	n.complain(problem, instead)
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
	case reflect.Struct:
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
