package rules

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/strictyaml"
)

// Hold is what a release waits for after the verdict, before it acts: approvals of people, a
// window, or both.
type Hold struct {
	// Approvals is nil where nobody is asked.
	Approvals *Approvals `json:"approvals,omitempty"`
	// Window is the name of a window of the rules file; empty for none.
	Window string `json:"window,omitempty"`
	// Expires is how long the release is held at most, from when it is.
	Expires time.Duration `json:"expires"`
}

// Approvals is whose approval a release needs.
type Approvals struct {
	// Count is how many people must approve, from 1.
	Count int `json:"count"`
	// Groups are those of the server file whose people may approve; at least one.
	Groups []string `json:"groups"`
	// ExcludeAuthor and ExcludePusher: the author of the merge request, or who pushed, cannot
	// approve. Where the host does not say who that is, nobody can.
	ExcludeAuthor bool `json:"exclude_author"`
	ExcludePusher bool `json:"exclude_pusher"`
}

const (
	// defaultExpires is how long a release is held where its rule does not say it.
	defaultExpires = 24 * time.Hour
	// mostApprovals bounds count.
	mostApprovals = 20
)

// holdSpec is `hold:` of a release as it is written.
type holdSpec struct {
	Approvals *approvalsSpec `yaml:"approvals,flow,omitempty"`
	Window    string         `yaml:"window,omitempty"`
	Expires   *time.Duration `yaml:"expires,omitempty"`
}

type approvalsSpec struct {
	Count         *int     `yaml:"count,omitempty"`
	Groups        []string `yaml:"groups,flow"`
	ExcludeAuthor bool     `yaml:"exclude_author,omitempty"`
	ExcludePusher bool     `yaml:"exclude_pusher,omitempty"`
}

// checkHold checks what a release waits for, and fills in what it leaves out.
func (l *loader) checkHold(d *decodedFile, path string, release *releaseSpec) {
	hold := release.Hold
	if hold == nil {
		return
	}
	if release.Action == string(ReleaseRefuse) {
		l.complain(d, path, "goes with start and approve only: nobody need agree to a refusal", "remove it")
	}
	if hold.Approvals == nil && hold.Window == "" {
		l.complain(d, path, "holds for nothing", "write approvals: {count: 1, groups: [NAME]}, window: NAME, or both")
	}
	l.checkApprovals(d, path+".approvals", hold.Approvals)
	l.checkWindowName(d, path+".window", hold)
	l.checkPositive(d, path+".expires", hold.Expires)
	hold.Expires = cmp.Or(hold.Expires, new(defaultExpires))
}

func (l *loader) checkApprovals(d *decodedFile, path string, approvals *approvalsSpec) {
	if approvals == nil {
		return
	}
	approvals.Count = cmp.Or(approvals.Count, new(1))
	if count := *approvals.Count; count < 1 || count > mostApprovals {
		l.complain(d, path+".count", fmt.Sprintf("%d is not a number of people", count), fmt.Sprintf("write a number from 1 to %d", mostApprovals))
	}
	l.checkGroupNames(d, path+".groups", approvals.Groups, "write the groups of the server file whose people may approve, such as [leads]")
}

// checkGroupNames checks names of groups, which only the server file has.
func (l *loader) checkGroupNames(d *decodedFile, path string, groups []string, instead string) {
	if len(groups) == 0 {
		l.complain(d, path, "names no group", instead)
	}
	for i, group := range groups {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case !legalName(group):
			l.complain(d, at, quote(group)+" is not a name for a group", "write lower-case letters, digits and -")
		case slices.Contains(groups[:i], group):
			l.complain(d, at, quote(group)+" is given twice", "keep one of them")
		}
	}
}

// compile returns the hold with every default filled in; nil for none.
func (h *holdSpec) compile() *Hold {
	if h == nil {
		return nil
	}
	hold := &Hold{Window: h.Window, Expires: *h.Expires}
	if a := h.Approvals; a != nil {
		hold.Approvals = &Approvals{Count: *a.Count, Groups: a.Groups, ExcludeAuthor: a.ExcludeAuthor, ExcludePusher: a.ExcludePusher}
	}
	return hold
}

// text says what is waited for, e.g. `for 2 of leads, in working-hours`.
func (h *Hold) text() string {
	var parts []string
	if h.Approvals != nil {
		parts = append(parts, h.Approvals.text())
	}
	if h.Window != "" {
		parts = append(parts, "in "+h.Window)
	}
	return strings.Join(parts, ", ")
}

// text says whose approval is needed, e.g. `for 2 of leads or owners`.
func (a *Approvals) text() string {
	return fmt.Sprintf("for %d of %s", a.Count, strings.Join(a.Groups, " or "))
}

// groupFault says what is wrong with a group that a rule names.
func (s Server) groupFault(name string) (problem, instead string) {
	switch group, known := s.Groups[name]; {
	case !known && len(s.Groups) == 0:
		return "the server file has no groups", "write groups: {" + name + ": {people: […]}} there"
	case !known:
		return "the server file has no group " + quote(name), strictyaml.Suggest(name, slices.Sorted(maps.Keys(s.Groups)))
	case len(group.People) == 0 && !group.Claim:
		return "nobody in people of the server file is in group " + quote(name), "write people in the server file, and their names in the group: an account that is nobody's cannot approve"
	}
	return "", ""
}

// approvers are the names of those who may approve; all is false where others may be, too.
func (a *Approvals) approvers(s Server) (names []string, all bool) {
	all = true
	for _, group := range a.Groups {
		names = append(names, s.Groups[group].People...)
		all = all && !s.Groups[group].Claim
	}
	slices.Sort(names)
	return slices.Compact(names), all
}

// unmet says why the approvals of a hold can never be given.
func (h *Hold) unmet(s Server) (problem, instead string) {
	if h == nil || h.Approvals == nil {
		return "", ""
	}
	for _, group := range h.Approvals.Groups {
		if problem, instead = s.groupFault(group); problem != "" {
			return problem, instead
		}
	}
	if names, all := h.Approvals.approvers(s); all && len(names) < h.Approvals.Count {
		return fmt.Sprintf("%d people must approve, and only %d are in %s", h.Approvals.Count, len(names), strings.Join(h.Approvals.Groups, " and ")),
			"write a lower count, or add people to the groups"
	}
	return "", ""
}

// scarceApprovers warns of approvals that cannot be given where one of the approvers wrote or pushed
// the change.
func (r *rule) scarceApprovers(s Server) (warnings strictyaml.Complaints) {
	for i, release := range r.releases {
		if release.Hold == nil || release.Hold.Approvals == nil {
			continue
		}
		a := release.Hold.Approvals
		names, all := a.approvers(s)
		if problem, _ := release.Hold.unmet(s); all && problem == "" && (a.ExcludeAuthor || a.ExcludePusher) && len(names) == a.Count {
			warnings = append(warnings, strictyaml.Complaint{
				File: r.file, Line: r.line, Path: fmt.Sprintf("rule %s.release[%d].hold.approvals", quote(r.name), i),
				Problem: fmt.Sprintf("all %d people of %s must approve, so that nothing is released which one of them wrote or pushed", len(names), strings.Join(a.Groups, " and ")),
				Instead: "write a lower count, or add people to the groups",
			})
		}
	}
	return warnings
}

// MarshalJSON writes the time as Go writes it.
func (h Hold) MarshalJSON() ([]byte, error) {
	type fields Hold
	return json.Marshal(struct {
		fields
		Expires duration `json:"expires"`
	}{fields(h), duration(h.Expires)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *Hold) UnmarshalJSON(data []byte) error {
	type fields Hold
	read := struct {
		*fields
		Expires duration `json:"expires"`
	}{fields: (*fields)(h)}
	err := json.Unmarshal(data, &read)
	h.Expires = time.Duration(read.Expires)
	return err
}
