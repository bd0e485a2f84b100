package strictyaml

import (
	"encoding/json"
	"fmt"

	"go.yaml.in/yaml/v4"
)

// Encode writes v as YAML that Decode reads back into the same value: the keys
// of the `yaml` tags, with `omitempty` respected, and durations as Go writes them
// (45m0s). A type with a method MarshalYAML() (any, error) is written as what that
// returns, one with MarshalText as that text.
func Encode(v any) ([]byte, error) {
	return yaml.Dump(v, yaml.WithCompactSeqIndent(false), yaml.WithLineWidth(-1), yaml.WithQuotePreference(yaml.QuoteDouble))
}

// JSON writes v as Encode does, but as JSON. An empty list is [].
func JSON(v any) (json.RawMessage, error) {
	var node yaml.Node
	if err := node.Encode(v); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return appendJSON(nil, &node)
}

func appendJSON(data []byte, node *yaml.Node) ([]byte, error) {
	if node.Kind == yaml.ScalarNode {
		var value any
		if err := node.Decode(&value); err != nil {
			return nil, err
		}
		scalar, err := json.Marshal(value)
		return append(data, scalar...), err
	}
	brackets, separators := "[]", ","
	if node.Kind == yaml.MappingNode {
		brackets, separators = "{}", ",:"
	}
	data = append(data, brackets[0])
	for i, child := range node.Content {
		if i > 0 {
			data = append(data, separators[i%len(separators)])
		}
		var err error
		if data, err = appendJSON(data, child); err != nil {
			return nil, err
		}
	}
	return append(data, brackets[1]), nil
}
