package rules_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatewright/gatewright/internal/golden"
	"github.com/gatewright/gatewright/internal/rules"
)

// calendar loads windows and freezes, as they stand in a rules file.
func calendar(t testing.TB, text string) *rules.Policy {
	t.Helper()
	return load(t, rules.Source{Name: "rules.yaml", Data: []byte("version: 1\nrules: [{name: a, on: push, ignore: true}]\n" + text)})
}

// TestCalendar answers the questions of each testdata/windows/*.txtar: `at WINDOW TIME` says whether
// it is open, `next WINDOW TIME NUMBER` its next openings, `until WINDOW TIME TIME` all of them from
// one time to another, `hours WINDOW TIME TIME` how long it is open between them, and
// `frozen TIME PIPELINE NAME REPOSITORY` which freeze is in force.
func TestCalendar(t *testing.T) {
	for _, file := range glob(t, "testdata/windows/*.txtar") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			a, sources, find := archive(t, file)
			policy := calendar(t, string(sources[0].Data))
			var answers strings.Builder
			for question := range strings.Lines(string(find("questions.txt"))) {
				fmt.Fprintf(&answers, "%s", question)
				for _, line := range answer(t, policy, strings.Fields(question)) {
					fmt.Fprintf(&answers, "  %s\n", line)
				}
			}
			golden.Section(t, file, a, "answers.txt", answers.String())
		})
	}
}

func answer(t *testing.T, policy *rules.Policy, words []string) []string {
	t.Helper()
	moment := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	if words[0] == "frozen" {
		f, frozen := policy.Frozen(moment(words[1]), words[2], strings.Trim(words[3], "-"), words[4])
		if !frozen {
			return []string{"no"}
		}
		return []string{fmt.Sprintf("%s until %s: %s", f.Name, f.To.Format(time.RFC3339), f.Reason)}
	}
	w, known := policy.Window(words[1])
	if !known {
		t.Fatalf("no window %q", words[1])
	}
	shown := func(at time.Time) string {
		if at.IsZero() {
			return "ever"
		}
		return at.Format("Mon 2006-01-02 15:04 -0700")
	}
	at, end, most := moment(words[2]), time.Time{}, 1<<20
	switch words[0] {
	case "at":
		open, until := w.Open(at)
		return []string{fmt.Sprintf("%s for %s", map[bool]string{true: "open", false: "closed"}[open], shown(until))}
	case "next":
		most, _ = strconv.Atoi(words[3])
	default:
		end = moment(words[3])
	}
	var lines []string
	all := time.Duration(0)
	for len(lines) < most {
		from, to, found := w.Next(at)
		if !found || !end.IsZero() && !from.Before(end) {
			break
		}
		lines = append(lines, fmt.Sprintf("%s to %s, %s", shown(from), shown(to), to.Sub(from)))
		if to.IsZero() {
			lines[len(lines)-1] = shown(from) + " for ever"
			break
		}
		all += to.Sub(from)
		at = to
	}
	if words[0] == "hours" {
		return []string{fmt.Sprintf("%d openings, %s", len(lines), all)}
	}
	return append(lines, fmt.Sprintf("%d openings", len(lines)))
}

// plan is a window as a test chooses it: words for a rules file, and what a clock must show.
type plan struct {
	zone         string
	location     *time.Location
	weekdays     [7]bool // from Sunday
	hours        [][2]int
	except, also []string
}

// zones have every sort of change: by an hour, by half of one or two, at midnight, forward over a whole
// day, twice around a month, and none.
func zones() []string {
	return []string{
		"Europe/Berlin", "America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo", "Pacific/Apia", "Asia/Beirut",
		"America/Santiago", "Africa/Casablanca", "Europe/Dublin", "Antarctica/Troll", "UTC", "Asia/Kolkata", "America/Havana",
	}
}

func (p plan) yaml() string {
	days := []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
	var chosen, hours []string
	for i, open := range p.weekdays {
		if open {
			chosen = append(chosen, days[i])
		}
	}
	weekdays := "[" + strings.Join(chosen, ", ") + "]"
	if len(chosen) == 0 {
		weekdays = "none"
	}
	for _, h := range p.hours {
		hours = append(hours, fmt.Sprintf("%02d:%02d-%02d:%02d", h[0]/60, h[0]%60, h[1]/60, h[1]%60))
	}
	text := fmt.Sprintf("windows:\n  w:\n    time_zone: %s\n    weekdays: %s\n    hours: [%q]\n", p.zone, weekdays, strings.Join(hours, `", "`))
	text = strings.ReplaceAll(text, `\"`, `"`)
	if len(p.except) > 0 {
		text += "    except: [" + strings.Join(p.except, ", ") + "]\n"
	}
	if len(p.also) > 0 {
		text += "    also: [" + strings.Join(p.also, ", ") + "]\n"
	}
	return text
}

func location(t *testing.T, zone string) *time.Location {
	t.Helper()
	found, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// open looks at a clock in the zone.
func (p plan) open(t time.Time) bool {
	wall := t.In(p.location)
	minute := wall.Hour()*60 + wall.Minute()
	on := func(days int) bool {
		day := time.Date(wall.Year(), wall.Month(), wall.Day()+days, 12, 0, 0, 0, time.UTC)
		date := day.Format(time.DateOnly)
		return slices.Contains(p.also, date) || p.weekdays[day.Weekday()] && !slices.Contains(p.except, date)
	}
	for _, h := range p.hours {
		if h[0] < h[1] && minute >= h[0] && minute < h[1] && on(0) || h[0] > h[1] && (minute >= h[0] && on(0) || minute < h[1] && on(-1)) {
			return true
		}
	}
	return false
}

// agree checks what the window says of a time against the clock, and its answers against each other.
func (p plan) agree(t *testing.T, w rules.Window, at time.Time) {
	t.Helper()
	open, until := w.Open(at)
	if open != p.open(at) {
		t.Fatalf("%s at %s: open is %t, and a clock there shows %s", p.yaml(), at, open, at.In(w.Zone()))
	}
	if !until.IsZero() && (!until.After(at) || p.open(until) == open || p.open(until.Add(-time.Second)) != open) {
		t.Fatalf("%s at %s: it does not change at %s", p.yaml(), at, until)
	}
	for hours := range 24 * 4 {
		if later := at.Add(time.Duration(hours) * 2 * time.Hour); (until.IsZero() || later.Before(until)) && p.open(later) != open {
			t.Fatalf("%s at %s: it changes before %s, at %s", p.yaml(), at, until, later)
		}
	}
	from, to, found := w.Next(at)
	switch {
	case open && (!found || !from.Equal(at) || !to.Equal(until)):
		t.Fatalf("%s at %s: open until %s, and next from %s to %s", p.yaml(), at, until, from, to)
	case !open && found == until.IsZero():
		t.Fatalf("%s at %s: closed until %s, and next found is %t", p.yaml(), at, until, found)
	case !open && found:
		opened, closes := w.Open(from)
		if !from.Equal(until) || !opened || !closes.Equal(to) {
			t.Fatalf("%s at %s: closed until %s, next from %s to %s, and then open is %t until %s", p.yaml(), at, until, from, to, opened, closes)
		}
	}
}

// TestYear compares a year of each zone, minute by minute, with a clock: hours around every change.
func TestYear(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	for _, zone := range zones() {
		p := plan{
			zone: zone, location: location(t, zone), weekdays: [7]bool{true, true, false, true, true, true, true}, hours: [][2]int{{22 * 60, 2*60 + 30}, {9*60 + 15, 17 * 60}},
			except: []string{"2026-03-28", "2026-10-25"}, also: []string{"2026-03-31", "2026-11-03"},
		}
		w, _ := calendar(t, p.yaml()).Window("w")
		last, changes := false, 0
		until := time.Time{}
		for at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC); at.Year() == 2026; at = at.Add(time.Minute) {
			open := p.open(at)
			if open != last || until.IsZero() {
				last = open
				changes++
				p.agree(t, w, at)
				_, until = w.Open(at)
			} else if !at.Before(until) {
				t.Fatalf("%s: it was to change at %s", zone, until)
			}
		}
		if changes < 4*300 {
			t.Errorf("%s: only %d changes", zone, changes)
		}
	}
}

// FuzzWindow: Open and Next agree with a clock, and with each other, whatever the window and the time.
func FuzzWindow(f *testing.F) {
	f.Add(uint8(0), uint8(0x3e), uint16(9*60), uint16(17*60), uint16(22*60), uint16(6*60), int64(1774749600), int16(0), int16(1)) // two changes of Berlin
	f.Add(uint8(0), uint8(0x7f), uint16(2*60), uint16(3*60), uint16(0), uint16(0), int64(1792890000), int16(0), int16(0))
	f.Add(uint8(6), uint8(0x7f), uint16(0), uint16(24*60-1), uint16(0), uint16(0), int64(1325152800), int16(0), int16(2))
	f.Add(uint8(4), uint8(0x41), uint16(0), uint16(60), uint16(23*60), uint16(30), int64(1541300400), int16(3), int16(-3))
	f.Add(uint8(11), uint8(0x40), uint16(1*60), uint16(2*60), uint16(3*60), uint16(4*60), int64(1774749600), int16(0), int16(0))
	f.Fuzz(func(t *testing.T, zone, weekdays uint8, from1, to1, from2, to2 uint16, unix int64, except, also int16) {
		const longest = 200 * 365 * 86400 // from 1970 on
		at := time.Unix((unix%longest+longest)%longest, 0)
		name := zones()[int(zone)%len(zones())]
		p := plan{zone: name, location: location(t, name)}
		for i := range p.weekdays {
			p.weekdays[i] = weekdays>>i&1 == 1
		}
		for _, h := range [][2]uint16{{from1, to1}, {from2, to2}} {
			if from, to := int(h[0])%1440, int(h[1])%1440; from != to {
				p.hours = append(p.hours, [2]int{from, to})
			}
		}
		dateOf := func(days int16) string { return at.AddDate(0, 0, int(days)%1000).UTC().Format(time.DateOnly) }
		p.except, p.also = []string{dateOf(except)}, []string{dateOf(also)}
		policy, complaints := rules.Load(rules.Source{Name: "r.yaml", Data: []byte("version: 1\nrules: [{name: a, on: push, ignore: true}]\n" + p.yaml())})
		if len(complaints) > 0 || len(p.hours) == 0 {
			return // hours that overlap, or a date in both lists
		}
		w, _ := policy.Window("w")
		p.agree(t, w, at)
		_, until := w.Open(at)
		for range 20 { // and onwards, from change to change
			if until.IsZero() {
				break
			}
			p.agree(t, w, until)
			_, until = w.Open(until)
		}
	})
}
