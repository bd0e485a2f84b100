package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Freeze is a time in which releases do not act.
type Freeze struct {
	Name, Reason string
	// From is when it begins, To when it ends: at To itself releases act again.
	From, To time.Time
	// Pipelines are patterns of ids and names of pipelines, Repositories of full names, as they
	// are written; empty: all.
	Pipelines, Repositories []string

	pipelines, repositories globs
}

// Covers reports whether the freeze is in force at t for a release by a pipeline, whose name may be
// empty, of a repository.
func (f Freeze) Covers(t time.Time, pipeline, pipelineName, repository string) bool {
	pipeline, pipelineName = strings.ToLower(pipeline), strings.ToLower(pipelineName)
	if t.Before(f.From) || !t.Before(f.To) || !f.repositories.holds(strings.ToLower(repository)) {
		return false
	}
	if first(f.pipelines.exclude, pipeline) != nil || pipelineName != "" && first(f.pipelines.exclude, pipelineName) != nil {
		return false
	}
	return len(f.pipelines.include) == 0 || first(f.pipelines.include, pipeline) != nil ||
		pipelineName != "" && first(f.pipelines.include, pipelineName) != nil
}

// Everything reports whether the freeze is for every pipeline and repository.
func (f Freeze) Everything() bool { return f.pipelines.all() && f.repositories.all() }

// Frozen returns the freeze that is in force at t for a release by a pipeline, whose name may be
// empty, of a repository: of several the one that ends last.
func (p *Policy) Frozen(t time.Time, pipeline, pipelineName, repository string) (f Freeze, frozen bool) {
	for _, other := range p.freezes {
		if other.Covers(t, pipeline, pipelineName, repository) && (!frozen || other.To.After(f.To)) {
			f, frozen = other, true
		}
	}
	return f, frozen
}

// Freezes returns all freezes in the order in which they begin.
func (p *Policy) Freezes() []Freeze { return slices.Clone(p.freezes) }

// BreakGlass returns the groups whose people may release outside of a window and during a freeze;
// none: nobody may.
func (p *Policy) BreakGlass() []string {
	if p.breakGlass == nil {
		return nil
	}
	return slices.Clone(p.breakGlass.Groups)
}

// RuleDigest returns hex digits that change when the effective rule of that name changes, or a
// window that it names; empty where there is no such rule.
func (p *Policy) RuleDigest(rule string) string {
	for _, r := range p.rules {
		if r.name == rule {
			return r.digest
		}
	}
	return ""
}

// digestOf is what RuleDigest returns.
func (p *Policy) digestOf(r *rule) (string, error) {
	windows := map[string]*windowSpec{}
	for _, release := range r.releases {
		if release.Hold != nil && release.Hold.Window != "" {
			windows[release.Hold.Window] = p.windowSpecs[release.Hold.Window]
		}
	}
	text, err := json.Marshal([]any{&r.spec, windows})
	if err != nil {
		return "", fmt.Errorf("hash rule %q: %w", r.name, err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// freezeSpec is one of `freezes:` as it is written.
type freezeSpec struct {
	Name string `yaml:"name"`
	// From and To are dates, or times with or without an offset. A date as To is the last day.
	From string `yaml:"from"`
	To   string `yaml:"to"`
	// TimeZone is that of dates and of times without an offset.
	TimeZone     string   `yaml:"time_zone,omitempty" json:",omitempty"`
	Pipelines    []string `yaml:"pipelines,flow,omitempty" json:",omitempty"`
	Repositories []string `yaml:"repositories,flow,omitempty" json:",omitempty"`
	Reason       string   `yaml:"reason"`
}

// breakGlassSpec is `break_glass:` as it is written.
type breakGlassSpec struct {
	Groups []string `yaml:"groups,flow"`
}

// addFreezes checks the freezes of a file, and adds them to those of the others.
func (l *loader) addFreezes(d *decodedFile) {
	for i, spec := range d.content.Freezes {
		path := fmt.Sprintf("freezes[%d]", i)
		first := l.freezesIn[spec.Name]
		switch {
		case spec.Name == "":
			l.complain(d, path+".name", "is missing", nameForm)
		case !legalName(spec.Name):
			l.complain(d, path+".name", quote(spec.Name)+" is not a name for a freeze", nameForm)
		case first != nil:
			l.complain(d, path+".name", fmt.Sprintf("%q is the name of a freeze of %s too", spec.Name, first.name), "give each freeze its own name")
		default:
			l.freezesIn[spec.Name] = d
		}
		l.freezes = append(l.freezes, l.freeze(d, path, spec))
		l.freezeSpecs = append(l.freezeSpecs, spec)
	}
}

const nameForm = "write lower-case letters, digits, - and _, at most 63, beginning with a letter or digit"

// longestReason bounds the reason of a freeze, in bytes.
const longestReason = 300

// freeze checks a freeze and compiles it.
func (l *loader) freeze(d *decodedFile, path string, spec freezeSpec) Freeze {
	f := Freeze{Name: spec.Name, Reason: spec.Reason, Pipelines: spec.Pipelines, Repositories: spec.Repositories}
	switch {
	case strings.TrimSpace(spec.Reason) == "":
		l.complain(d, path+".reason", "is missing", "write why: people read it where a release waits")
	case len(spec.Reason) > longestReason:
		l.complain(d, path+".reason", fmt.Sprintf("is longer than %d bytes", longestReason), "write one sentence, and a link to the rest")
	}
	zone := time.UTC
	if spec.TimeZone != "" {
		zone = l.zone(d, path+".time_zone", spec.TimeZone)
	}
	from, fromZone := l.moment(d, path+".from", spec.From, spec.TimeZone != "", zone, false)
	to, toZone := l.moment(d, path+".to", spec.To, spec.TimeZone != "", zone, true)
	switch f.From, f.To = from, to; {
	case from.IsZero() || to.IsZero():
	case !from.Before(to):
		l.complain(d, path+".to", "is not after from, so that nothing is frozen", "write the later one as to")
	case spec.TimeZone != "" && !fromZone && !toZone:
		l.complain(d, path+".time_zone", "has no effect: from and to say how far they are from UTC", "remove it")
	}
	f.pipelines = l.scope(d, path+".pipelines", spec.Pipelines)
	f.repositories = l.scope(d, path+".repositories", spec.Repositories)
	l.warnOfPatterns(d, path+".repositories", spec.Repositories, repositoryFault, "write the full name as the host shows it: owner/name, or a pattern such as owner/* or **")
	for i, g := range spec.Pipelines {
		l.checkFrozenPipeline(d, fmt.Sprintf("%s.pipelines[%d]", path, i), strings.TrimPrefix(g, "!"))
	}
	return f
}

// scope compiles patterns that are compared without regard to case.
func (l *loader) scope(d *decodedFile, path string, patterns []string) globs {
	if patterns != nil && len(patterns) == 0 {
		l.complain(d, path, "is an empty list", "write at least one pattern, or remove the key for all")
	}
	return compileGlobs(patterns, true, func(i int, problem, instead string) {
		l.complain(d, fmt.Sprintf("%s[%d]", path, i), problem, instead)
	})
}

// checkFrozenPipeline complains of a pipeline that is neither an id nor the name of one: what is
// misspelt would be released.
func (l *loader) checkFrozenPipeline(d *decodedFile, path, pipeline string) {
	if _, isID := PipelineTarget(pipeline); isID || l.pipelines == nil || pipeline == "" || strings.ContainsAny(pipeline, `*?[{\`) || l.pipelines[pipeline] != "" {
		return
	}
	l.complain(d, path, quote(pipeline)+" is not a pipeline id, and not a name in huaweicloud.pipelines of the server file",
		strictyaml.Suggest(pipeline, slices.Sorted(maps.Keys(l.pipelines))))
}

const momentForm = "write a date such as 2026-12-24, a time such as 2026-12-24T18:00 with time_zone, or one with its offset such as 2026-12-24T18:00:00+08:00"

// moment reads when a freeze begins, or ends with last. zoned reports that it needed the time zone.
// A date begins with its first moment and ends with its last. Where the clocks go back, and show a
// time twice, the freeze is the longer one; where they go forward, what they skip is their change.
func (l *loader) moment(d *decodedFile, path, text string, hasZone bool, zone *time.Location, last bool) (at time.Time, zoned bool) {
	if text == "" {
		l.complain(d, path, "is missing", momentForm)
		return time.Time{}, false
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, false
		}
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		wall, err := time.Parse(layout, text)
		if err != nil {
			continue
		}
		if !hasZone {
			l.complain(d, path, quote(text)+" is not the same moment everywhere", "write time_zone, such as Asia/Shanghai, or a time with its offset such as 2026-12-24T18:00:00+08:00")
			return time.Time{}, true
		}
		if layout == time.DateOnly && last {
			wall = wall.AddDate(0, 0, 1)
		}
		return shows(wall.Unix(), zone, last), true
	}
	l.complain(d, path, quote(text)+" is not a date or a time", momentForm)
	return time.Time{}, false
}

// shows returns the first moment at which a clock in the zone shows a wall time, or a later one
// where it skips that; with last the last moment. wall is what time.Unix would show in UTC.
func shows(wall int64, zone *time.Location, last bool) time.Time {
	var found time.Time
	// No zone is further from UTC than 26 hours, and a clock goes back by less than a day.
	for at := time.Unix(wall-26*60*60, 0).In(zone); at.Unix() <= wall+26*60*60; {
		_, offset := at.Zone()
		begin, end := at.ZoneBounds()
		shown := time.Unix(wall-int64(offset), 0).In(zone)
		switch {
		case !begin.IsZero() && shown.Before(begin):
			shown = begin // skipped, or shown before the clock went back
			if found.IsZero() {
				return shown
			}
		case end.IsZero() || shown.Before(end):
			if found = shown; !last {
				return found
			}
		}
		if end.IsZero() {
			break
		}
		at = end
	}
	return found
}

// addBreakGlass checks who may release outside of a window and during a freeze.
func (l *loader) addBreakGlass(d *decodedFile) {
	if d.content.BreakGlass == nil {
		return
	}
	if l.breakGlassIn != nil {
		l.complain(d, "break_glass", fmt.Sprintf("is in %s too", l.breakGlassIn.name), "keep it in one file; it holds for all")
		return
	}
	l.breakGlass, l.breakGlassIn = d.content.BreakGlass, d
	for i := range l.breakGlass.Groups {
		l.breakGlassAt = append(l.breakGlassAt, d.doc.Complain(fmt.Sprintf("break_glass.groups[%d]", i), "", ""))
	}
	l.checkGroupNames(d, "break_glass.groups", l.breakGlass.Groups, "write the groups of the server file whose people may release outside of windows and during freezes, such as [on-call]")
}

// warnOfBreakGlass warns of people who may open what nothing closes.
func (l *loader) warnOfBreakGlass() {
	if l.breakGlassIn != nil && len(l.windows) == 0 && len(l.freezes) == 0 {
		l.warn(l.breakGlassIn, "break_glass", "there is neither a window nor a freeze, so that it has no effect", "write windows or freezes, or remove it")
	}
}
