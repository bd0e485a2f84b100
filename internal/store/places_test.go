package store

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestInTurn: each case lists what waits, by age, as repository, rank and last turn, and the
// order in which it gets a place.
func TestInTurn(t *testing.T) {
	for _, test := range []struct{ name, waiting, want string }{
		{"nothing waits", "", ""},
		{"by age", "a 2 0, b 2 0, c 2 0", "a0 b1 c2"},
		{"by priority", "a 1 0, b 2 0, c 3 0", "c2 b1 a0"},
		{"in turn", "a 2 0, a 2 0, a 2 0, b 2 0, b 2 0, c 2 0", "a0 b3 c5 a1 b4 a2"},
		{"the longest ago first", "a 2 30, b 2 10, c 2 20, b 2 10", "b1 c2 a0 b3"},
		{"never before long ago", "a 2 30, b 2 0", "b1 a0"},
		{"a turn of a higher priority counts", "a 2 0, b 2 0, a 3 0", "a2 b1 a0"},
		{"and so does the order of those", "a 3 5, b 3 1, a 2 5, b 2 1, c 2 9", "b1 a0 c4 b3 a2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var waiting []inLine
			for i, text := range strings.Split(test.waiting, ", ") {
				var w inLine
				if _, err := fmt.Sscan(text, &w.repository[1], &w.rank, &w.turn); err != nil {
					continue
				}
				w.id = fmt.Sprint(w.repository[1], i)
				waiting = append(waiting, w)
			}
			if line := inTurn(waiting); !slices.Equal(line, strings.Fields(test.want)) {
				t.Errorf("order %v, want %s", line, test.want)
			}
		})
	}
}
