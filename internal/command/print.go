package command

import (
	"encoding/json"
	"io"
)

// WriteJSON prints a value as indented JSON, the only thing on its output.
func WriteJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// ShortSHA is the beginning of a commit hash or another long id, for people.
func ShortSHA(sha string) string { return sha[:min(len(sha), 8)] }
