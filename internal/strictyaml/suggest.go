package strictyaml

import (
	"fmt"
	"strings"
)

// suggest says what to write instead of an unknown key: the nearest known one,
// or all of them when none is near.
func suggest(unknown string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if distance := editDistance(strings.ToLower(unknown), k); distance < min(bestDistance, len(k)) {
			best, bestDistance = k, distance
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %q?", best)
	case len(known) == 0:
		return "remove it"
	}
	return "known here: " + strings.Join(known, ", ")
}

// editDistance counts the letters to insert, remove or replace, or to swap with
// their neighbour, to get from a to b. Keys are short: a long a counts as far.
func editDistance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replace := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
