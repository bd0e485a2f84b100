package codecheck

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// text is a JSON string, number or truth value, as text; null and everything
// else is the empty string. The service is inconsistent about the types of ids,
// lines and flags.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	*t = ""
	switch {
	case len(b) == 0 || b[0] == '{' || b[0] == '[' || string(b) == "null":
		return nil
	case b[0] == '"':
		return json.Unmarshal(b, (*string)(t))
	}
	*t = text(b)
	return nil
}

// number is a JSON number or a string that holds one; null, an empty string and
// an absent field are unset. Anything else is an error.
type number struct {
	n   int
	set bool
}

func (v *number) UnmarshalJSON(b []byte) error {
	*v = number{}
	var s text
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	trimmed := strings.TrimSpace(string(s))
	if trimmed == "" && (string(b) == "null" || b[0] == '"') {
		return nil
	}
	f, err := strconv.ParseFloat(trimmed, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return fmt.Errorf("read number: %.40q is not a number", b)
	}
	*v = number{n: int(f), set: true}
	return nil
}
