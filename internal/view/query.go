package view

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/store"
)

// Parameter is one way in which a list is narrowed: a parameter of the API, a flag of the command line.
type Parameter struct {
	Name string
	// About says what it selects.
	About string
	// Number: its value is a whole number.
	Number bool
	lists  []string
}

var (
	records   = []string{ListDeliveries, ListRuns, ListReleases, ListApprovals}
	pushed    = append(slices.Clone(records), ListMissing)
	withTimes = append(slices.Clone(records), ListActions)
	allLists  = append(slices.Clone(withTimes), ListMissing)
)

// parameters are those of all lists.
var parameters = []Parameter{
	{Name: "state", About: "only these states, separated by commas", lists: records},
	{Name: "connection", About: "only this connection", lists: pushed},
	{Name: "repository", About: "only this repository, by its full name", lists: pushed},
	{Name: "branch", About: "only this branch or tag, or merge requests into it", lists: pushed},
	{Name: "number", About: "only the merge request with this number", Number: true, lists: pushed},
	{Name: "rule", About: "only what this rule matched", lists: records},
	{Name: "commit", About: "only this commit; its first digits, 4 or more, are enough", lists: pushed},
	{Name: "actor", About: "only what this login, or of actions and approvals this person, caused", lists: withTimes},
	{Name: "action", About: "of actions: only these, separated by commas", lists: []string{ListActions}},
	{Name: "record", About: "of actions: only those of the record with this id", lists: []string{ListActions}},
	{Name: "search", About: "only where one of these holds this text, in upper or lower case: repository, branch, actor, rule; of deliveries the reason and the host's id; " +
		"of actions actor, reason and details. 7 or more digits of a commit find that commit", lists: withTimes},
	{Name: "since", About: "only from this time on: a duration back from now, such as 2h, or 2026-03-01T12:00:00Z", lists: withTimes},
	{Name: "until", About: "only before this time, in the same forms", lists: withTimes},
	{Name: "after", About: "of missing: only what has had no verdict for so long, such as 30m; default: recovery.missing_after, or 1h where the server file is not known", lists: []string{ListMissing}},
	{Name: "cursor", About: "go on after a page, with the cursor that it ended with", lists: allLists},
	{Name: "limit", About: "at most this many", Number: true, lists: allLists},
}

// Parameters are those that a list has; of an unknown list, or "", all.
func Parameters(list string) (of []Parameter) {
	for _, p := range parameters {
		if list == "" || slices.Contains(p.lists, list) {
			of = append(of, p)
		}
	}
	return of
}

// ParameterError is a parameter with a value that it does not take, or that the list does not have.
type ParameterError struct{ Name, Problem string }

func (e ParameterError) Error() string { return e.Name + ": " + e.Problem }

// States are the values of state that a list has, of actions those of action; none of missing.
func States(list string) []string {
	switch list {
	case ListDeliveries:
		return texts(event.DeliveryStates())
	case ListRuns:
		return texts(codecheck.States())
	case ListReleases:
		return texts(release.States())
	case ListApprovals:
		return texts(store.ApprovalStates())
	case ListActions:
		return texts(store.ActionNames())
	}
	return nil
}

func texts[S ~string](values []S) (list []string) {
	for _, value := range values {
		list = append(list, string(value))
	}
	return list
}

const (
	// defaultLimit is the size of a page that says none.
	defaultLimit = 50
	// maxSearch bounds the text of a search, in bytes.
	maxSearch = 200
)

// hexadecimal is what a commit's first digits look like; longHexadecimal is text that is one.
var (
	hexadecimal     = regexp.MustCompile(`^[0-9a-f]{4,64}$`)
	longHexadecimal = regexp.MustCompile(`^[0-9a-f]{7,64}$`)
)

// ParseFilter reads the parameters of a list. A page has at most maxLimit records. Its errors are of the type
// ParameterError.
func ParseFilter(list string, values url.Values, maxLimit int, now time.Time) (f store.Filter, err error) {
	fail := func(name, problem string, args ...any) (store.Filter, error) {
		return store.Filter{}, ParameterError{name, fmt.Sprintf(problem, args...)}
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		var known []string
		for _, p := range Parameters(list) {
			known = append(known, p.Name)
		}
		if !slices.Contains(known, name) {
			return fail(name, "the list of %s does not have this: it has %s", list, strings.Join(known, ", "))
		}
		if len(values[name]) > 1 {
			return fail(name, "give it once")
		}
	}
	f.Limit = min(defaultLimit, maxLimit)
	for _, number := range []struct {
		name    string
		least   int
		most    int
		problem string
		to      *int
	}{
		{"limit", 1, maxLimit, "write a number from 1 to " + strconv.Itoa(maxLimit), &f.Limit},
		{"number", 0, 1 << 52, "write the number of a merge request", &f.Number},
	} {
		text := values.Get(number.name)
		if text == "" {
			continue
		}
		if *number.to, err = strconv.Atoi(text); err != nil || *number.to < number.least || *number.to > number.most {
			return fail(number.name, "%s", number.problem)
		}
	}
	for _, name := range []string{"state", "action"} {
		for _, state := range strings.FieldsFunc(values.Get(name), func(r rune) bool { return r == ',' }) {
			if !slices.Contains(States(list), state) {
				return fail(name, "%q: write one or more of %s", state, strings.Join(States(list), ", "))
			}
			f.States = append(f.States, state)
		}
	}
	slices.Sort(f.States)
	f.States = slices.Compact(f.States)
	f.Connection, f.Repository, f.Branch, f.Rule = values.Get("connection"), values.Get("repository"), values.Get("branch"), values.Get("rule")
	f.Actor, f.Record, f.Search = values.Get("actor"), values.Get("record"), strings.TrimSpace(values.Get("search"))
	if f.Commit = strings.ToLower(values.Get("commit")); f.Commit != "" && !hexadecimal.MatchString(f.Commit) {
		return fail("commit", "%q: write 4 or more of a commit's hexadecimal digits", values.Get("commit"))
	}
	if len(f.Search) > maxSearch {
		return fail("search", "write at most %d characters", maxSearch)
	}
	if digits := strings.ToLower(f.Search); list != ListActions && f.Commit == "" && longHexadecimal.MatchString(digits) {
		f.Commit, f.Search = digits, ""
	}
	if f.Since, err = PointInTime(values.Get("since"), now); err != nil {
		return fail("since", "%v", err)
	}
	if f.Until, err = PointInTime(values.Get("until"), now); err != nil {
		return fail("until", "%v", err)
	}
	if text := values.Get("after"); text != "" {
		after, err := time.ParseDuration(text)
		if err != nil || after < 0 {
			return fail("after", "%q: write a duration such as 30m", text)
		}
		f.Until = now.Add(-after)
	}
	if f.After, err = ParseCursor(list, f, values.Get("cursor")); err != nil {
		return fail("cursor", "%v", err)
	}
	return f, nil
}

// PointInTime reads a time, or how long ago it was; empty gives the zero time.
func PointInTime(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if age, err := time.ParseDuration(text); err == nil {
		return now.Add(-age), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil && t.Year() > 0 && t.Year() < 10_000 {
			return t, nil
		}
	}
	return time.Time{}, errors.New(strconv.Quote(text) + ": write a time such as 2026-03-01T12:00:00Z, or an age such as 2h")
}
