package rules

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Values come from strangers: they are shown on one line, without control
// characters, and no longer than these.
const (
	shownRunes  = 200
	shownValues = 10
)

// quote returns a value in quotes, escaped as in Go and cut when it is long.
func quote(value string) string {
	if utf8.RuneCountInString(value) <= shownRunes {
		return strconv.Quote(value)
	}
	cut := 0
	for i := range value {
		if cut == shownRunes {
			return strconv.Quote(value[:i]) + "…"
		}
		cut++
	}
	return strconv.Quote(value)
}

// quoteAll quotes the values with commas between them; of many, the first ones.
func quoteAll(values []string) string {
	shown := make([]string, 0, min(len(values), shownValues))
	for _, value := range values[:min(len(values), shownValues)] {
		shown = append(shown, quote(value))
	}
	text := strings.Join(shown, ", ")
	if more := len(values) - len(shown); more > 0 {
		text += " and " + strconv.Itoa(more) + " more"
	}
	return text
}

// plain returns a value as it is when that cannot be misread, else quoted.
func plain(value string) string {
	quoted := quote(value)
	if value == "" || strings.ContainsAny(value, " ") || quoted != `"`+value+`"` {
		return quoted
	}
	return value
}
