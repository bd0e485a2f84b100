package rules

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // the container image has no time zones of its own

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Window is the times at which held releases may act. It is open exactly while a clock in its
// time zone shows one of its hours on one of its days: what a change to or from summer time skips
// is not open, and what it repeats is open twice. Hours over midnight belong to the day on which
// they begin.
type Window struct {
	Name string
	zone *time.Location
	// weekdays are the days that are open, from Sunday; except and also are the days, counted from
	// 1970-01-01, that are closed or open whatever their weekday.
	weekdays     [7]bool
	except, also map[int]bool
	hours        []hours
	// bounds are the seconds of the day at which hours begin or end, with the day's end, sorted.
	bounds []int
	// lastDay is the last of except and also.
	lastDay int
}

// hours are seconds of the day, from 0 to 86400; to is less than from where they go over midnight.
type hours struct{ from, to int }

const secondsOfDay = 24 * 60 * 60

// Zone is the window's time zone.
func (w Window) Zone() *time.Location { return w.zone }

// Open reports whether the window is open at t, and until when that stays so: zero for ever. The
// result is in the window's time zone.
func (w Window) Open(t time.Time) (open bool, until time.Time) {
	return w.openAt(t), w.change(t)
}

// Next returns the next opening at or after t; where the window is open at t, what is left of this
// one. to is zero where it never closes again. found is false where it never opens. The results
// are in the window's time zone.
func (w Window) Next(t time.Time) (from, to time.Time, found bool) {
	from = t.In(w.zone)
	if !w.openAt(t) {
		if from = w.change(t); from.IsZero() {
			return time.Time{}, time.Time{}, false
		}
	}
	return from, w.change(from), true
}

// clock returns what a clock in the time zone shows at t: the day, counted from 1970-01-01, and the
// second of it.
func (w Window) clock(t time.Time) (day, second int) {
	_, offset := t.In(w.zone).Zone()
	wall := t.Unix() + int64(offset)
	second = int((wall%secondsOfDay + secondsOfDay) % secondsOfDay)
	return int((wall - int64(second)) / secondsOfDay), second
}

func (w Window) openAt(t time.Time) bool {
	day, second := w.clock(t)
	return slices.ContainsFunc(w.hours, func(h hours) bool {
		if h.from < h.to {
			return h.from <= second && second < h.to && w.openOn(day)
		}
		return second >= h.from && w.openOn(day) || second < h.to && w.openOn(day-1)
	})
}

func (w Window) openOn(day int) bool {
	if w.except[day] || w.also[day] {
		return w.also[day]
	}
	const thursday = 4 // 1970-01-01
	return w.weekdays[((day+thursday)%7+7)%7]
}

// change returns when the window opens or closes next after t; zero for never.
func (w Window) change(t time.Time) time.Time {
	open := w.openAt(t)
	// Behind the last date each week is as the one before, but for the few hours that a change of
	// the clocks takes away.
	const days = 30
	day, _ := w.clock(t)
	last := max(day, w.lastDay) + days
	for at := w.step(t); day <= last; at = w.step(at) {
		if w.openAt(at) != open {
			return at
		}
		day, _ = w.clock(at)
	}
	return time.Time{}
}

// step returns the next time after t at which hours begin or end, or the clocks change.
func (w Window) step(t time.Time) time.Time {
	_, second := w.clock(t)
	i, found := slices.BinarySearch(w.bounds, second)
	if found {
		i++
	}
	next := time.Unix(t.Unix()+int64(w.bounds[i]-second), 0).In(w.zone)
	if _, end := t.In(w.zone).ZoneBounds(); !end.IsZero() && end.Before(next) {
		return end
	}
	return next
}

// windowSpecs are `windows:` as they are written, by their names.
type windowSpecs map[string]*windowSpec

// UnmarshalYAMLNode reads a mapping of names to windows.
func (w *windowSpecs) UnmarshalYAMLNode(node strictyaml.Node) (err error) {
	*w, err = strictyaml.Mapping(node, func() *windowSpec { return nil })
	return err
}

type windowSpec struct {
	// TimeZone is a name of the IANA time zone database.
	TimeZone string `yaml:"time_zone"`
	// Weekdays are the days that are open; absent: all.
	Weekdays *weekdays `yaml:"weekdays,flow,omitempty"`
	// Hours are open on these days, such as 09:00-17:30; absent: the whole day.
	Hours []string `yaml:"hours,flow,omitempty"`
	// Except and Also are days that are closed or open whatever their weekday: dates, or the first
	// and the last of several.
	Except []string `yaml:"except,flow,omitempty" json:",omitempty"`
	Also   []string `yaml:"also,flow,omitempty" json:",omitempty"`
}

// weekdays is a list of days and of spans of days, or the word none.
type weekdays []string

const noWeekdays = "none"

// dayNames are the weekdays as they are written, in the order of a week.
func dayNames() []string { return []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} }

// UnmarshalYAMLNode reads the word none, a day such as mon, a span such as mon-fri, or a list of
// these. It keeps the single days, in the order of a week.
func (w *weekdays) UnmarshalYAMLNode(node strictyaml.Node) error {
	const instead = "write days such as [mon, tue], spans such as mon-fri, or none where only the dates of also are open"
	var words []string
	if err := node.Decode(&words); err != nil {
		return err
	}
	if len(words) == 1 && words[0] == noWeekdays {
		*w = weekdays{}
		return nil
	}
	if len(words) == 0 {
		return node.Complain("names no day", instead)
	}
	open := make([]bool, 7)
	for _, word := range words {
		first, last, span := strings.Cut(word, "-")
		if !span {
			last = first
		}
		from, to := slices.Index(dayNames(), first), slices.Index(dayNames(), last)
		if from < 0 || to < 0 || span && from == to {
			return node.Complain(quote(word)+" is not a weekday", instead)
		}
		for day := from; ; day = (day + 1) % 7 {
			if open[day] {
				return node.Complain(dayNames()[day]+" is given twice", "keep one of them")
			}
			open[day] = true
			if day == to {
				break
			}
		}
	}
	*w = weekdays{}
	for i, name := range dayNames() {
		if open[i] {
			*w = append(*w, name)
		}
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAMLNode reads.
func (w weekdays) MarshalYAML() (any, error) {
	if len(w) == 0 {
		return noWeekdays, nil
	}
	return []string(w), nil
}

// windowPath is where a window stands in its file.
func windowPath(name string) string { return "windows." + name }

// addWindows checks the windows of a file, and adds them to those of the others.
func (l *loader) addWindows(d *decodedFile) {
	for _, name := range slices.Sorted(maps.Keys(d.content.Windows)) {
		spec := d.content.Windows[name]
		switch first := l.windowsIn[name]; {
		case !legalName(name):
			l.complain(d, fmt.Sprintf("windows[%q]", name), quote(name)+" is not a name for a window", "write lower-case letters, digits, - and _, at most 63, beginning with a letter or digit")
			continue
		case first != nil:
			l.complain(d, windowPath(name), fmt.Sprintf("is the name of a window of %s too", first.name), "give each window its own name")
			continue
		}
		l.windowsIn[name] = d
		l.windows[name] = l.window(d, windowPath(name), name, spec)
		l.windowSpecs[name] = spec
	}
}

// window checks a window and compiles it, with the defaults filled in.
func (l *loader) window(d *decodedFile, path, name string, spec *windowSpec) Window {
	w := Window{Name: name, except: map[int]bool{}, also: map[int]bool{}}
	if spec == nil { // the key without a value
		spec = &windowSpec{}
	}
	w.zone = l.zone(d, path+".time_zone", spec.TimeZone)
	if spec.Weekdays == nil {
		all := weekdays(dayNames())
		spec.Weekdays = &all
	}
	for _, day := range *spec.Weekdays {
		w.weekdays[(slices.Index(dayNames(), day)+1)%7] = true
	}
	if len(*spec.Weekdays) == 0 && len(spec.Also) == 0 {
		l.complain(d, path, "is never open", "write weekdays such as mon-fri, or dates under also")
	}
	w.hours = l.hours(d, path+".hours", spec)
	for _, h := range w.hours {
		w.bounds = append(w.bounds, h.from, h.to)
	}
	w.bounds = append(w.bounds, secondsOfDay)
	slices.Sort(w.bounds)
	l.days(d, path+".except", spec.Except, w.except)
	l.days(d, path+".also", spec.Also, w.also)
	for day := range w.except {
		w.lastDay = max(w.lastDay, day)
	}
	for day := range w.also {
		w.lastDay = max(w.lastDay, day)
		if w.except[day] {
			l.complain(d, path+".also", dateOf(day)+" is in except too", "remove it from one of them")
			break
		}
	}
	return w
}

// zone reads the name of a time zone; UTC where that is none.
func (l *loader) zone(d *decodedFile, path, name string) *time.Location {
	const instead = "write a name of the IANA time zone database, such as Asia/Shanghai, Europe/Berlin or UTC"
	if name == "" {
		l.complain(d, path, "is missing", instead)
		return time.UTC
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		l.complain(d, path, quote(name)+" is not a time zone", instead)
		return time.UTC
	}
	return zone
}

// hours reads the hours of a window, sorted; the whole day where none are given.
func (l *loader) hours(d *decodedFile, path string, spec *windowSpec) []hours {
	const instead = "write hours such as 09:00-17:30, 22:00-06:00 for a night, or 00:00-24:00"
	if spec.Hours == nil {
		spec.Hours = []string{"00:00-24:00"}
	}
	if len(spec.Hours) == 0 {
		l.complain(d, path, "is an empty list", instead+", or remove the key for the whole day")
	}
	var read []hours
	for i, text := range spec.Hours {
		at := fmt.Sprintf("%s[%d]", path, i)
		from, to, span := strings.Cut(text, "-")
		h := hours{secondOf(from), secondOf(to)}
		switch {
		case !span || h.from < 0 || h.to < 0 || h.from == secondsOfDay:
			l.complain(d, at, quote(text)+" are not hours of a day", instead)
			continue
		case h.from == h.to:
			l.complain(d, at, quote(text)+" are no time at all", instead)
			continue
		case h.to == 0:
			h.to = secondsOfDay
		}
		if slices.ContainsFunc(read, h.overlap) {
			l.complain(d, at, quote(text)+" overlaps other hours", "write them as one")
		}
		read = append(read, h)
	}
	return read
}

// overlap reports whether a time of the day is in both, where each day is open.
func (h hours) overlap(other hours) bool {
	in := func(h hours, second int) bool {
		if h.from < h.to {
			return h.from <= second && second < h.to
		}
		return second >= h.from || second < h.to
	}
	return in(h, other.from) || in(other, h.from)
}

// secondOf reads a time of the day such as 09:30, to 24:00; less than 0 for anything else.
func secondOf(text string) int {
	if len(text) != 5 || text[2] != ':' {
		return -1
	}
	hour, err := strconv.ParseUint(text[:2], 10, 8)
	minute, err2 := strconv.ParseUint(text[3:], 10, 8)
	second := int(hour*60+minute) * 60
	if err != nil || err2 != nil || minute > 59 || second > secondsOfDay {
		return -1
	}
	return second
}

// mostDays bounds a span of dates.
const mostDays = 366

// days reads dates and spans of dates into a set.
func (l *loader) days(d *decodedFile, path string, dates []string, into map[int]bool) {
	const instead = "write dates such as 2026-10-10, or the first and the last of several: 2026-10-01..2026-10-07"
	if dates != nil && len(dates) == 0 {
		l.complain(d, path, "is an empty list", instead+", or remove the key")
	}
	for i, text := range dates {
		at := fmt.Sprintf("%s[%d]", path, i)
		first, last, span := strings.Cut(text, "..")
		if !span {
			last = first
		}
		from, to := dayOf(first), dayOf(last)
		switch {
		case from < 0 || to < 0:
			l.complain(d, at, quote(text)+" is not a date", instead)
		case from > to:
			l.complain(d, at, quote(text)+" ends before it begins", instead)
		case to-from >= mostDays:
			l.complain(d, at, fmt.Sprintf("%s are more than %d days", quote(text), mostDays), "write several, or leave the days out of weekdays")
		default:
			for day := from; day <= to; day++ {
				if into[day] {
					l.complain(d, at, dateOf(day)+" is given twice", "keep one of them")
					break
				}
				into[day] = true
			}
		}
	}
}

// dayOf reads a date and returns the days from 1970-01-01; less than 0 for anything else.
func dayOf(text string) int {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return -1
	}
	return int(t.Unix() / secondsOfDay)
}

func dateOf(day int) string {
	return time.Unix(int64(day)*secondsOfDay, 0).UTC().Format(time.DateOnly)
}

// checkWindowName checks the window that a hold names.
func (l *loader) checkWindowName(d *decodedFile, path string, hold *holdSpec) {
	if hold.Window == "" {
		return
	}
	w, known := l.windows[hold.Window]
	if !known {
		l.complain(d, path, "there is no window "+quote(hold.Window), l.suggestWindow(hold.Window))
		return
	}
	l.usedWindows[hold.Window] = true
	if longest := w.longestClosed(); hold.Expires == nil && longest > defaultExpires {
		l.warn(d, path, fmt.Sprintf("%s is closed for %s at a time, and the release expires after %s", quote(hold.Window), longest, defaultExpires),
			fmt.Sprintf("write expires, such as %s, or %s if that is meant", (longest+defaultExpires).Truncate(time.Hour), defaultExpires))
	}
}

func (l *loader) suggestWindow(name string) string {
	if len(l.windows) == 0 {
		return "write windows: {" + name + ": {time_zone: …, weekdays: …, hours: …}} at the top of a rules file"
	}
	return strictyaml.Suggest(name, slices.Sorted(maps.Keys(l.windows)))
}

// longestClosed is the longest time of an ordinary week for which the window is closed, without
// its dates; 0 where it is not open in an ordinary week.
func (w Window) longestClosed() (longest time.Duration) {
	w.zone, w.except, w.also, w.lastDay = time.UTC, nil, nil, 0
	_, closes, found := w.Next(time.Unix(0, 0))
	for range 7 * (len(w.hours) + 1) {
		if !found || closes.IsZero() {
			return longest
		}
		opens, next, again := w.Next(closes)
		longest = max(longest, opens.Sub(closes))
		closes, found = next, again
	}
	return longest
}

// warnOfWindows warns of windows that no release names.
func (l *loader) warnOfWindows() {
	for _, name := range slices.Sorted(maps.Keys(l.windows)) {
		if !l.usedWindows[name] {
			l.warn(l.windowsIn[name], windowPath(name), "no hold of a release names this window, so that it has no effect", "write window: "+name+" in the hold of a release, or remove it")
		}
	}
}

// Window returns the window with a name.
func (p *Policy) Window(name string) (Window, bool) {
	w, known := p.windows[name]
	return w, known
}

// Windows returns all windows, sorted by their names.
func (p *Policy) Windows() []Window {
	return slices.SortedFunc(maps.Values(p.windows), func(a, b Window) int { return strings.Compare(a.Name, b.Name) })
}
