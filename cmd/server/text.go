package main

import (
	"fmt"
	"time"
)

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

// pointInTime reads a time, or how long ago it was; empty gives the zero time.
func pointInTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: write a time such as 2026-03-01T12:00:00Z, or an age such as 2h", text)
}

// texts are states as text.
func texts[S ~string](states []S) []string {
	var list []string
	for _, state := range states {
		list = append(list, string(state))
	}
	return list
}
