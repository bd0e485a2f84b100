package main

import "time"

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// texts are states as text.
func texts[S ~string](states []S) []string {
	var list []string
	for _, state := range states {
		list = append(list, string(state))
	}
	return list
}
