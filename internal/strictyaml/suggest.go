package strictyaml

import (
	"fmt"
	"strings"
)

// Suggest says what to write instead of an unknown word: the nearest known one, or all of
// them when none is near.
func Suggest(unknown string, known []string) string { return suggest(unknown, known) }

// suggest says what to write instead of an unknown key: the nearest known one,
// or all of them when none is near.
func suggest(unknown string, known []string) string {
	for edits := range 3 {
		for _, k := range known {
			if edits < len(k) && near(strings.ToLower(unknown), k, edits) {
				return fmt.Sprintf("did you mean %q?", k)
			}
		}
	}
	if len(known) == 0 {
		return "remove it"
	}
	return "known here: " + strings.Join(known, ", ")
}

// near says that at most so many edits make b of a: letters that are inserted,
// removed, replaced, or swapped with their neighbour.
func near(a, b string, edits int) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	if a == "" || b == "" || edits == 0 {
		return len(a)+len(b) <= edits
	}
	swapped := len(a) > 1 && len(b) > 1 && a[0] == b[1] && a[1] == b[0]
	return near(a[1:], b, edits-1) || near(a, b[1:], edits-1) || near(a[1:], b[1:], edits-1) ||
		swapped && near(a[2:], b[2:], edits-1)
}
