package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Policy is the rules of all files, compiled. It does not change, and may be
// used from several goroutines at once.
type Policy struct {
	rules    []*rule
	index    *index
	hash     string
	warnings strictyaml.Complaints
	// comparesFiles: a rule has paths; comparesForks: a rule has fork.
	comparesFiles, comparesForks bool

	windows     map[string]Window
	windowSpecs windowSpecs
	// freezes are in the order in which they begin, freezeSpecs in that of the files.
	freezes     []Freeze
	freezeSpecs []freezeSpec
	breakGlass  *breakGlassSpec
	// breakGlassAt is where its groups stand.
	breakGlassAt []strictyaml.Complaint
}

// rule is one compiled rule.
type rule struct {
	name, file string
	line       int
	on         []event.Kind
	// clauses are in the order of trying; the first is `on`.
	clauses            []clause
	continues, ignores bool
	// check lacks what depends on the event: scan, ref and the task's name.
	check    Check
	scan     Scan
	ref      RefMode
	taskName template
	releases []Release
	// createWithoutID and unnamedProject are where the check says how a task is
	// created and lacks an auth_id, or a project's name; nil when it does not.
	createWithoutID, unnamedProject *strictyaml.Complaint
	// spec is what Effective prints: the rule with the defaults filled in.
	spec ruleSpec
	// digest is what RuleDigest returns.
	digest string
}

// seal computes what the rules as a whole give. The hash is of Go's own JSON of
// the rules, because Effective takes ten times as long as the loading.
func (p *Policy) seal() error {
	hash := sha256.New()
	encoder := json.NewEncoder(hash)
	for _, r := range p.rules {
		p.comparesFiles = p.comparesFiles || r.spec.Match.Paths != nil
		p.comparesForks = p.comparesForks || r.spec.Match.Fork != nil
		if err := encoder.Encode(&r.spec); err != nil {
			return fmt.Errorf("hash rule %q: %w", r.name, err)
		}
		var err error
		if r.digest, err = p.digestOf(r); err != nil {
			return err
		}
	}
	if len(p.windows) > 0 || len(p.freezes) > 0 || p.breakGlass != nil {
		if err := encoder.Encode([]any{p.windowSpecs, p.freezeSpecs, p.breakGlass}); err != nil {
			return fmt.Errorf("hash windows and freezes: %w", err)
		}
	}
	slices.SortStableFunc(p.freezes, func(a, b Freeze) int { return a.From.Compare(b.From) })
	p.hash = hex.EncodeToString(hash.Sum(nil))[:12]
	p.index = newIndex(p.rules)
	return nil
}

// content returns the rules as one file with every default filled in.
func (p *Policy) content() file {
	content := file{Version: new(1), Windows: p.windowSpecs, Freezes: p.freezeSpecs, BreakGlass: p.breakGlass, Rules: make([]ruleSpec, 0, len(p.rules))}
	for _, r := range p.rules {
		content.Rules = append(content.Rules, r.spec)
	}
	return content
}

// Hash returns twelve hex digits that change when the effective rules do:
// comments, order of keys and the splitting into files make no difference.
func (p *Policy) Hash() string { return p.hash }

// Effective returns the rules as one YAML file with every default filled in;
// Load reads it back into the same policy.
func (p *Policy) Effective() ([]byte, error) { return strictyaml.Encode(p.content()) }

// JSON returns what Effective does as JSON: the same keys, durations as Go writes
// them (45m0s).
func (p *Policy) JSON() (json.RawMessage, error) { return strictyaml.JSON(p.content()) }

// RuleInfo is what a list of rules shows of one.
type RuleInfo struct {
	Name string `json:"name"`
	File string `json:"file"`
	Line int    `json:"line"`
	// On lists the kinds of events that the rule is for.
	On []event.Kind `json:"on"`
	// Match lists the keys under match that narrow the rule; empty: none do.
	Match    []string `json:"match"`
	Ignore   bool     `json:"ignore"`
	Continue bool     `json:"continue"`
	// Project and Gate are of the check; empty when the rule ignores.
	Project string `json:"project,omitempty"`
	Gate    string `json:"gate,omitempty"`
	// Releases are as explain shows them, e.g. `caf409b1… start`, with what they are held for.
	Releases []string `json:"releases"`
}

// Rules returns all rules in the order in which they are tried.
func (p *Policy) Rules() []RuleInfo {
	infos := make([]RuleInfo, 0, len(p.rules))
	for _, r := range p.rules {
		info := RuleInfo{
			Name: r.name, File: r.file, Line: r.line, On: slices.Clone(r.on),
			Match: []string{}, Ignore: r.ignores, Continue: r.continues, Releases: []string{},
		}
		for _, c := range r.clauses[1:] {
			info.Match = append(info.Match, c.field())
		}
		if !r.ignores {
			info.Project, info.Gate = r.check.ProjectID, r.check.Gate.text()
		}
		for _, release := range r.releases {
			text := release.text()
			if release.Hold != nil {
				text += ", held " + release.Hold.text()
			}
			info.Releases = append(info.Releases, text)
		}
		infos = append(infos, info)
	}
	return infos
}

// Gate returns the gate of the rule with a name; known is false where no rule that checks has it.
func (p *Policy) Gate(rule string) (gate Gate, known bool) {
	for _, r := range p.rules {
		if r.name == rule && !r.ignores {
			return r.check.Gate, true
		}
	}
	return Gate{}, false
}
