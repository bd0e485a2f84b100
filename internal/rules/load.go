package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Source is one rules file: the name for complaints, and the contents.
type Source struct {
	Name string
	Data []byte
}

// Load reads the rules of one or several files, in the order of their names.
// Rule names are unique over all files, and only one file has defaults, which
// hold for all of them.
//
// It returns a policy, or every complaint about the files at once; never both.
//
// The name of a pipeline cannot be resolved without the server file: then it is only warned
// of, and its release has no pipeline id. LoadWith resolves names.
func Load(sources ...Source) (*Policy, strictyaml.Complaints) { return LoadWith(nil, sources...) }

// LoadWith is Load with the pipelines that the server file names: their ids by their names.
// A name that is not among them is a complaint; nil stands for no server file.
func LoadWith(pipelines map[string]string, sources ...Source) (*Policy, strictyaml.Complaints) {
	l := &loader{pipelines: pipelines, rulesByName: map[string]*rule{}, caught: map[event.Kind]string{},
		windows: map[string]Window{}, windowSpecs: windowSpecs{}, windowsIn: map[string]*decodedFile{}, usedWindows: map[string]bool{}, freezesIn: map[string]*decodedFile{}}
	sources = slices.Clone(sources)
	slices.SortStableFunc(sources, func(a, b Source) int { return strings.Compare(a.Name, b.Name) })
	l.decode(sources)
	for _, d := range l.decoded {
		l.checkFile(d)
	}

	p := &Policy{windows: l.windows, windowSpecs: l.windowSpecs, freezes: l.freezes, freezeSpecs: l.freezeSpecs, breakGlass: l.breakGlass, breakGlassAt: l.breakGlassAt}
	for _, d := range l.decoded {
		for i, spec := range d.content.Rules {
			p.rules = append(p.rules, l.rule(d, i, spec))
		}
	}
	if len(p.rules) == 0 && len(l.complaints) == 0 {
		l.complaints = append(l.complaints, noRules(sources))
	}
	if len(l.complaints) > 0 {
		return nil, l.complaints.Sorted()
	}
	l.warnOfWindows()
	l.warnOfBreakGlass()
	p.warnings = l.warnings.Sorted()
	if err := p.seal(); err != nil {
		return nil, strictyaml.Complaints{{File: sources[0].Name, Problem: err.Error()}}
	}
	return p, nil
}

func noRules(sources []Source) strictyaml.Complaint {
	c := strictyaml.Complaint{File: "rules", Problem: "has no rules", Instead: "write at least one under rules"}
	if len(sources) > 0 {
		c.File = sources[0].Name
	}
	return c
}

// loader collects the complaints about all files while it compiles their rules.
type loader struct {
	// pipelines are the ids of pipelines by their names; nil: not known.
	pipelines            map[string]string
	complaints, warnings strictyaml.Complaints
	decoded              []*decodedFile
	defaults             defaultsSpec
	// defaultsIn is the file that has them; nil when none has.
	defaultsIn *decodedFile
	// rulesByName has the first rule of each name.
	rulesByName map[string]*rule
	// caught names, for each kind, the rule that takes every event of it.
	caught map[event.Kind]string
	// trusting are the rules so far that say fork: trusted.
	trusting []*rule
	// windows and freezes are those of all files, with what they were written as and the file that
	// has each; usedWindows are those that a hold names.
	windows      map[string]Window
	windowSpecs  windowSpecs
	windowsIn    map[string]*decodedFile
	usedWindows  map[string]bool
	freezes      []Freeze
	freezeSpecs  []freezeSpec
	freezesIn    map[string]*decodedFile
	breakGlass   *breakGlassSpec
	breakGlassIn *decodedFile
	breakGlassAt []strictyaml.Complaint
}

// decodedFile is a file that could be decoded, if not without complaints.
type decodedFile struct {
	name    string
	doc     *strictyaml.Document
	content file
	// broken are the paths that decoding complained about.
	broken []string
}

// decode reads the files, all at the same time, because that is most of the work.
func (l *loader) decode(sources []Source) {
	files := make([]*decodedFile, len(sources))
	complaints := make([]strictyaml.Complaints, len(sources))
	var decoding sync.WaitGroup
	for i, source := range sources {
		decoding.Go(func() {
			files[i] = &decodedFile{name: source.Name}
			files[i].doc, complaints[i] = strictyaml.Decode(source.Name, source.Data, &files[i].content)
		})
	}
	decoding.Wait()
	for i, d := range files {
		l.complaints = append(l.complaints, complaints[i]...)
		for _, c := range complaints[i] {
			d.broken = append(d.broken, c.Path)
		}
		if !slices.Contains(d.broken, "") {
			l.decoded = append(l.decoded, d)
		}
	}
}

// complain adds a complaint about the value at path, unless decoding complained
// about it, about something in it, or about what contains it: what is broken
// there would only be repeated.
func (l *loader) complain(d *decodedFile, path, problem, instead string) {
	for _, broken := range d.broken {
		if within(broken, path) || within(path, broken) {
			return
		}
	}
	l.complaints = append(l.complaints, d.doc.Complain(path, problem, instead))
}

// within says that path is outer, or leads into it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// checkFile checks what is outside the rules.
func (l *loader) checkFile(d *decodedFile) {
	switch version := d.content.Version; {
	case version == nil:
		l.complain(d, "version", "is missing", "write version: 1")
	case *version != 1:
		l.complain(d, "version", fmt.Sprintf("%d is not a version that can be read", *version), "write version: 1")
	}
	l.addWindows(d)
	l.addFreezes(d)
	l.addBreakGlass(d)
	defaults := d.content.Defaults
	if defaults == nil {
		return
	}
	if l.defaultsIn != nil {
		l.complain(d, "defaults", fmt.Sprintf("are in %s too", l.defaultsIn.name), "keep the defaults in one file; they hold for all")
		return
	}
	l.defaults, l.defaultsIn = *defaults, d
	l.checkGate(d, "defaults.gate", defaults.Gate)
	if defaults.Check != nil {
		l.checkValues(d, "defaults.check", defaults.Check)
		if defaults.Check.Gate != nil {
			l.complain(d, "defaults.check.gate", "is in the wrong place", "write it as defaults.gate")
		}
		if defaults.Check.TaskID != "" {
			l.complain(d, "defaults.check.task_id", "a task scans one repository, and the defaults are for all rules", "write it in the rule of that repository")
		}
	}
}

// rule checks the rule at index i of a file and compiles it with the defaults
// filled in. With complaints the rule is not to be used.
func (l *loader) rule(d *decodedFile, i int, spec ruleSpec) *rule {
	path := "rules[" + strconv.Itoa(i) + "]"
	line, _ := d.doc.At(path)
	r := &rule{name: spec.Name, file: d.name, line: line, continues: spec.Continue, ignores: spec.Ignore, releases: []Release{}}

	l.checkName(d, path, r)
	r.on = l.kinds(d, path, spec.On)
	l.checkShape(d, path, &spec)
	if !slices.Contains(r.on, event.MergeRequest) && len(r.on) > 0 {
		l.checkWithoutMergeRequest(d, path, &spec)
	}
	l.checkPaths(d, path, r.on, &spec)
	l.checkFork(d, path, &spec)
	r.clauses = l.clauses(d, path, r.on, &spec.Match)
	if spec.Check != nil {
		l.checkValues(d, path+".check", spec.Check)
		own := spec.Check
		spec.Check = l.fillCheck(d, path, r.on, own)
		l.checkTask(d, path, r, &spec)
		l.checkSeries(d, path+".check", spec.Check)
		r.fillFrom(spec.Check)
		l.rememberCreation(d, path, r, own, spec.Check)
	}
	for n := range spec.Release {
		place := fmt.Sprintf("%s.release[%d]", path, n)
		l.checkRelease(d, place, &spec.Release[n], spec.Release[:n])
		r.releases = append(r.releases, l.compileRelease(&spec.Release[n], r.check))
	}
	l.checkReachable(d, path, r)
	l.warnOfRule(d, path, r, &spec)
	r.spec = spec
	l.warnOfForks(d, path, r, &spec)
	return r
}

func (l *loader) checkName(d *decodedFile, path string, r *rule) {
	path += ".name"
	const instead = nameForm
	first, taken := l.rulesByName[r.name]
	switch {
	case r.name == "":
		l.complain(d, path, "is missing", instead)
	case !legalName(r.name):
		l.complain(d, path, quote(r.name)+" is not a name for a rule", instead)
	case taken:
		l.complain(d, path, fmt.Sprintf("%q is the name of the rule at %s:%d too", r.name, first.file, first.line), "give each rule its own name")
	default:
		l.rulesByName[r.name] = r
	}
}

// legalName says that name is ^[a-z0-9][a-z0-9_-]{0,62}$.
func legalName(name string) bool {
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '_' && c != '-') {
			return false
		}
	}
	return len(name) >= 1 && len(name) <= 63
}

// kinds reads `on`.
func (l *loader) kinds(d *decodedFile, path string, on []string) []event.Kind {
	instead := "write push, tag, merge_request, merge_group or comment"
	if len(on) == 0 {
		l.complain(d, path+".on", "is missing", instead)
	}
	kinds := make([]event.Kind, 0, len(on))
	for i, word := range on {
		kind := event.Kind(word)
		complain := func(problem, instead string) {
			l.complain(d, fmt.Sprintf("%s.on[%d]", path, i), problem, instead)
		}
		switch {
		case !slices.Contains(event.Kinds(), kind):
			complain(quote(word)+" is not a kind of event", instead)
		case slices.Contains(kinds, kind):
			complain(quote(word)+" is given twice", "keep one of them")
		default:
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// checkReachable complains when earlier rules take every event that this one is
// for, and remembers what this one takes.
func (l *loader) checkReachable(d *decodedFile, path string, r *rule) {
	var takers []string
	for _, kind := range r.on {
		if taker, taken := l.caught[kind]; taken && !slices.Contains(takers, quote(taker)) {
			takers = append(takers, quote(taker))
		} else if !taken {
			takers = nil
			break
		}
	}
	if len(takers) > 0 {
		l.complain(d, path, "can never be reached: every such event is taken above by "+strings.Join(takers, " and "),
			"move this rule up, or narrow the rules above by match, or let it say continue: true")
	}
	if r.continues || slices.ContainsFunc(r.clauses[1:], func(c clause) bool { return !c.always() }) {
		return
	}
	for _, kind := range r.on {
		if _, taken := l.caught[kind]; !taken {
			l.caught[kind] = r.name
		}
	}
}
