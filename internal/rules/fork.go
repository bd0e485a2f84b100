package rules

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/strictyaml"
)

// forkWord is a value of `fork`.
type forkWord string

const (
	forkOnly    forkWord = "true"
	forkNever   forkWord = "false"
	forkTrusted forkWord = "trusted"
)

// UnmarshalYAMLNode reads true, false or the word trusted.
func (f *forkWord) UnmarshalYAMLNode(node strictyaml.Node) error {
	switch {
	case node.Kind() == strictyaml.Text && node.Scalar() == string(forkTrusted):
		*f = forkTrusted
	case node.Kind() == strictyaml.Bool:
		var only bool
		if err := node.Decode(&only); err != nil {
			return err
		}
		if *f = forkNever; only {
			*f = forkOnly
		}
	default:
		return node.Complain(strconv.Quote(node.Scalar())+" is not known", "write true, false or trusted")
	}
	return nil
}

// MarshalYAML writes what UnmarshalYAMLNode reads.
func (f forkWord) MarshalYAML() (any, error) {
	if f == forkTrusted {
		return string(f), nil
	}
	return f == forkOnly, nil
}

// newForkClause is the clause of a word.
func newForkClause(word forkWord) clause {
	if word == forkTrusted {
		return trustedClause{}
	}
	return &forkClause{flagClause{name: "fork", want: word == forkOnly, value: forkOf}}
}

// forkClause is `fork: true` or `fork: false`. Where the host says nothing the payload's word counts.
type forkClause struct{ flagClause }

func (c *forkClause) explain(s *subject) string {
	text := c.flagClause.explain(s)
	if !s.ev.Origin.Told && s.ev.Origin.Unknown != "" {
		text += ", by its payload: " + plainText(s.ev.Origin.Unknown)
	}
	return text
}

// trustedClause is `fork: trusted`. It holds for what comes from no fork, by the word of the host, and
// for the commit of a fork that is trusted.
type trustedClause struct{}

func (trustedClause) field() string { return "fork" }
func (trustedClause) always() bool  { return false }

func (trustedClause) holds(s *subject) bool {
	o := &s.ev.Origin
	return s.ev.Number == 0 || o.Told && !o.Fork || o.Trusted != ""
}

func (trustedClause) explain(s *subject) string {
	switch o := &s.ev.Origin; {
	case s.ev.Number == 0:
		return "event is " + plain(string(s.ev.Kind)) + ", which comes from no fork"
	case o.Told && !o.Fork:
		return "fork is false"
	case o.Trusted != "":
		return "fork is trusted: " + plainText(o.Trusted)
	default:
		return "fork is not trusted: " + missing(s.ev)
	}
}

// missing says why a merge request is not trusted.
func missing(ev *event.Event) string {
	if ev.Origin.Missing == "" {
		return "nobody was asked who may vouch for it"
	}
	return plainText(ev.Origin.Missing)
}

// NeedsTrust says that the commit of a merge request from a fork is not checked until somebody
// vouches for it.
type NeedsTrust struct {
	// Rules are those that would match then.
	Rules []string `json:"rules"`
	// Held are those that match already. Their checks wait with the others, because one event is decided once.
	Held []string `json:"held,omitempty"`
	// Missing says why it is not trusted, and who may change that.
	Missing string `json:"missing"`
}

// noteTrust writes into a decision which of the rules that were tried would match if the merge request were trusted,
// where it asks for no check or one of them would be additional to those that match: it is below one of them, which
// continues then, or continues itself. Then the event is ignored until it is trusted.
func (p *Policy) noteTrust(d *Decision, s *subject, candidates, matched []int, last int) {
	var names []string
	additional := false
	for _, i := range candidates {
		if i <= last && p.rules[i].waitsForTrust(s) {
			names = append(names, p.rules[i].name)
			additional = additional || p.rules[i].continues || len(matched) > 0 && matched[0] < i
		}
	}
	if len(names) == 0 || len(d.Matches) > 0 && !additional {
		return
	}
	d.NeedsTrust = &NeedsTrust{Rules: names, Missing: missing(&d.Event)}
	for _, m := range d.Matches {
		d.NeedsTrust.Held = append(d.NeedsTrust.Held, m.Rule)
	}
	d.Outcome, d.Matches = Ignored, []Match{}
	d.Reason = fmt.Sprintf("%s for somebody who vouches for commit %s: %s", rulesWait(names), plain(d.Event.HeadSHA), d.NeedsTrust.Missing)
	if len(d.NeedsTrust.Held) > 0 {
		d.Reason += "; " + rulesWait(d.NeedsTrust.Held) + " with that"
	}
}

func rulesWait(names []string) string {
	if len(names) == 1 {
		return "rule " + quoteAll(names) + " waits"
	}
	return "rules " + quoteAll(names) + " wait"
}

// waitsForTrust reports whether a rule that checks matches but for trust.
func (r *rule) waitsForTrust(s *subject) bool {
	waits := false
	for _, c := range r.clauses {
		if _, trust := c.(trustedClause); trust && !c.holds(s) {
			waits = true
		} else if !c.holds(s) {
			return false
		}
	}
	return waits && !r.ignores
}

// wantsTrust reports whether the rule says `fork: trusted`.
func (r *rule) wantsTrust() bool {
	return r.spec.Match.Fork != nil && *r.spec.Match.Fork == forkTrusted
}

// noteReleases writes into the decision which rules would release the event, and why they do not.
func (d *Decision) noteReleases(without []string, why string) {
	switch len(without) {
	case 0:
	case 1:
		d.Reason += "; rule " + quoteAll(without) + " releases nothing, because " + why
	default:
		d.Reason += "; rules " + quoteAll(without) + " release nothing, because " + why
	}
}

// Needs is what a decision depends on and a payload does not tell, or is not to be believed about.
type Needs struct {
	// Files: files that the event changes and its payload does not list, and its host can tell.
	Files bool
	// Fork: whether the merge request comes from a fork. Trust: whether its commit is trusted, too.
	Fork, Trust bool
}

// Needs returns what the decision of an event depends on: a rule that it would reach matches but for
// that.
func (p *Policy) Needs(ev event.Event) (n Needs) {
	if ev.IgnoredReason != "" || !p.comparesFiles && !p.comparesForks {
		return n
	}
	s := newSubject(&ev)
	for _, i := range p.index.candidates(ev.Repository.FullName, ev.Branch) {
		r := p.rules[i]
		of, fails := r.needs(s)
		if fails {
			continue
		}
		n.Files, n.Fork, n.Trust = n.Files || of.Files, n.Fork || of.Fork, n.Trust || of.Trust
		if of == (Needs{}) && !r.continues {
			break
		}
	}
	return n
}

// Try is what the rules say of an event about which no git host was asked: where a merge request comes from is taken from
// the payload. all has the trace show every rule. Needs says what the service would ask for first, so that it may decide
// otherwise.
func (p *Policy) Try(ev event.Event, all bool) (Decision, Needs) {
	needs := p.Needs(ev)
	if needs.Fork || needs.Trust {
		ev.Origin = event.Origin{Told: true, Fork: ev.Fork, Missing: "nobody was asked who its author is"}
		needs.Files = p.Needs(ev).Files
	}
	if all {
		return p.Explain(ev), needs
	}
	return p.Decide(ev), needs
}

// needs is what it depends on whether the rule matches; fails says that it does not anyway.
func (r *rule) needs(s *subject) (n Needs, fails bool) {
	unasked := s.ev.Number > 0 && !s.ev.Origin.Asked()
	for _, c := range r.clauses {
		switch c := c.(type) {
		case trustedClause:
			if unasked {
				n.Trust = true
				continue
			}
		case *forkClause:
			if unasked {
				n.Fork = true
				continue
			}
		case *pathsClause:
			if !s.ev.Files.Complete && s.ev.Files.AskHost && c.match(s) == "" {
				n.Files = true
				continue
			}
		}
		if !c.holds(s) {
			return Needs{}, true
		}
	}
	return n, false
}

// checkFork checks what goes with `fork`.
func (l *loader) checkFork(d *decodedFile, path string, spec *ruleSpec) {
	fork := spec.Match.Fork
	if fork == nil {
		return
	}
	if *fork == forkOnly && len(spec.Release) > 0 {
		l.complain(d, path+".release", "can never be done: the rule matches merge requests from forks only, and what comes from a fork is never released",
			"remove it, or write fork: false under match")
	}
	if *fork == forkTrusted && spec.Ignore {
		l.complain(d, path+".match.fork", "would ignore what is trusted, and check what is not by the rules below", "write fork: true to ignore merge requests from forks, or check: {} instead of ignore")
	}
}

// warnOfForks warns that a rule takes what a rule above would check only when it is trusted.
func (l *loader) warnOfForks(d *decodedFile, path string, r *rule, spec *ruleSpec) {
	if !slices.Contains(r.on, event.MergeRequest) || r.ignores {
		return
	}
	if r.wantsTrust() {
		l.trusting = append(l.trusting, r)
		return
	}
	i := slices.IndexFunc(l.trusting, func(above *rule) bool {
		return mayMeet(above.spec.Match.Connection, spec.Match.Connection) && mayMeet(above.spec.Match.Repository, spec.Match.Repository) && mayMeet(above.spec.Match.Branch, spec.Match.Branch)
	})
	if i >= 0 && spec.Match.Fork == nil {
		l.warn(d, path, "checks merge requests from forks that nobody trusts, which rule "+quote(l.trusting[i].name)+" above leaves out",
			"write fork: trusted or fork: false under match")
	}
}

// mayMeet reports whether two lists of patterns are likely to match the same name.
func mayMeet(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.ContainsFunc(a, func(pattern string) bool { return slices.Contains(b, pattern) })
}
