// Package hooks compares the webhooks that are registered at git hosts with those that Gatewright needs there, and
// makes, changes and removes them.
package hooks

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/forge"
)

// Hosts are the git hosts.
type Hosts interface {
	// Hooks reads the webhooks of a repository or organisation.
	Hooks(ctx context.Context, o forge.HookOwner) ([]forge.Hook, error)
	// SaveHook changes a webhook, or makes one for an empty id.
	SaveHook(ctx context.Context, o forge.HookOwner, id string, s forge.HookSettings) (forge.Hook, error)
	DeleteHook(ctx context.Context, o forge.HookOwner, id string) error
}

// Connection is a connection of the server file as far as its webhooks need it.
type Connection struct {
	Name string
	// URL is the address of its webhooks: http.public_url and /webhooks/NAME.
	URL string
	// FormerURL is an address that its webhooks may still have; empty for none. What sends there is moved.
	FormerURL string
	// Secrets and SigningTokens are those that the server accepts, in their order.
	Secrets, SigningTokens []Secret
	// Mode is Gitee's.
	Mode string
	// Kind is what the webhooks of its host are.
	Kind forge.HookKind
}

// String shows no secret.
func (c Connection) String() string { return c.Name }

// Secret is a webhook secret or signing token.
type Secret struct {
	Value string
	// Covers reports whether it may speak of a repository, or of every repository for an empty name.
	Covers func(repository string) bool
}

// String shows nothing.
func (s Secret) String() string { return "<secret>" }

// Target is a repository or an organisation of a connection.
type Target struct {
	Connection Connection
	// Repository is a full name, or else Organization is given.
	Repository, Organization string
}

func (t Target) owner() forge.HookOwner {
	return forge.HookOwner{Connection: t.Connection.Name, Repository: t.Repository, Organization: t.Organization}
}

// State is how a webhook stands.
type State string

const (
	// OK: it is as it should be.
	OK State = "ok"
	// Wrong: it is there, and Problems says what is wrong with it.
	Wrong State = "wrong"
	// Duplicate: another one does the same.
	Duplicate State = "duplicate"
	// Elsewhere: it is for a connection of this name at another address: an old address of this server, or another
	// server. It is left alone.
	Elsewhere State = "elsewhere"
	// Missing: there is none.
	Missing State = "missing"
	// Unchecked: the webhooks cannot be read, or changed; Error says why.
	Unchecked State = "unchecked"
	// Removed: it is gone.
	Removed State = "removed"
)

// Entry is one webhook, or that there is none.
type Entry struct {
	Connection   string `json:"connection"`
	Repository   string `json:"repository"`
	Organization string `json:"organization"`
	State        State  `json:"state"`
	// Done is what was done: made, mended, renewed or removed; empty for nothing.
	Done   string   `json:"done"`
	ID     string   `json:"id"`
	URL    string   `json:"url"`
	Events []string `json:"events"`
	// Problems are what is wrong, or what was before it was mended. Remarks are good to know.
	Problems []string `json:"problems"`
	Remarks  []string `json:"remarks"`
	Error    string   `json:"error"`
}

// Of is the name of the repository or organisation.
func (e Entry) Of() string { return cmp.Or(e.Repository, e.Organization) }

// Keeper looks after the webhooks of targets.
type Keeper struct {
	Hosts Hosts
	// organizations remembers what the organisations of repositories have, by connection and name, and renewed
	// which webhooks of theirs were given the first secret.
	organizations map[[2]string]looked
	renewed       map[forge.HookOwner]bool
}

// looked is what was found at a repository or organisation.
type looked struct {
	// ours send to the address of the connection, elsewhere to one like it.
	ours, elsewhere []forge.Hook
	err             error
}

// look reads the webhooks of a target and sorts them.
func (k *Keeper) look(ctx context.Context, t Target) looked {
	all, err := k.Hosts.Hooks(ctx, t.owner())
	l := looked{err: err}
	for _, hook := range all {
		switch t.Connection.addressOf(hook.URL) {
		case addressOurs:
			l.ours = append(l.ours, hook)
		case addressSimilar:
			l.elsewhere = append(l.elsewhere, hook)
		}
	}
	// The best one comes first: what is kept.
	slices.SortStableFunc(l.ours, func(a, b forge.Hook) int {
		return cmp.Compare(len(t.Connection.problems(a)), len(t.Connection.problems(b)))
	})
	return l
}

// above is what the organisations of a repository have, as far as it can be read: a webhook there is told of the
// repository too.
func (k *Keeper) above(ctx context.Context, t Target) (of Target, best *forge.Hook) {
	if k.organizations == nil {
		k.organizations = map[[2]string]looked{}
	}
	for _, owner := range t.Connection.Kind.OrganizationsOf(t.Repository) {
		of = Target{Connection: t.Connection, Organization: owner}
		key := [2]string{t.Connection.Name, owner}
		found, known := k.organizations[key]
		if !known {
			found = k.look(ctx, of)
			k.organizations[key] = found
		}
		if len(found.ours) > 0 {
			return of, &found.ours[0]
		}
	}
	return Target{}, nil
}

// Check says how the webhooks of a target stand. It changes nothing.
func (k *Keeper) Check(ctx context.Context, t Target) []Entry {
	l := k.look(ctx, t)
	if l.err != nil {
		return []Entry{t.failed(l.err)}
	}
	var entries []Entry
	for i, hook := range l.ours {
		e := t.entry(hook)
		if i > 0 {
			e.State = Duplicate
			e.Problems = append([]string{"webhook " + l.ours[0].ID + " sends to the same address, so that everything arrives twice"}, e.Problems...)
		}
		entries = append(entries, e)
	}
	of, higher := k.above(ctx, t)
	switch {
	case higher != nil && len(entries) > 0:
		entries[0].State = Duplicate
		entries[0].Problems = append(entries[0].Problems, "webhook "+higher.ID+" of "+of.Organization+" sends to the same address, so that everything arrives twice")
	case higher != nil:
		e := of.entry(*higher)
		e.Repository = t.Repository
		entries = append(entries, e)
	case len(entries) == 0:
		entries = append(entries, t.missing())
	}
	for _, hook := range l.elsewhere {
		e := t.entry(hook)
		e.State, e.Remarks = Elsewhere, nil
		e.Problems = []string{"it sends to another server: if that is an old address of this one, run gatewright hooks install --old-url with it"}
		entries = append(entries, e)
	}
	return entries
}

// Install makes the one webhook that a target needs, or mends it, and removes those that do the same. It may be
// repeated: the secret is sent each time, because no host tells whether it is the right one.
func (k *Keeper) Install(ctx context.Context, t Target) []Entry {
	l := k.look(ctx, t)
	if l.err != nil {
		return []Entry{t.failed(l.err)}
	}
	if of, higher := k.above(ctx, t); higher != nil && len(of.Connection.problems(*higher)) == 0 && higher.LastStatus != 401 {
		return k.leaveTo(ctx, t, of, *higher, l)
	}
	settings, err := t.settings()
	if err != nil {
		return []Entry{t.failed(err)}
	}
	var kept, before forge.Hook
	done := "made"
	if len(l.ours) > 0 {
		before, done = l.ours[0], "renewed"
	}
	problems := t.Connection.problems(before)
	switch {
	case before.ID == "":
		problems = nil
		kept, err = k.Hosts.SaveHook(ctx, t.owner(), "", settings)
	case before.Stopped != "":
		// No change makes it good again, only a test, which would be a push that did not happen
		// (specs/githosts.md 2.6).
		done = "mended"
		settings.Events = extra(before)
		kept, err = k.Hosts.SaveHook(ctx, t.owner(), "", settings)
	default:
		if len(problems) > 0 {
			done = "mended"
		}
		settings.Events = extra(before)
		kept, err = k.change(ctx, t, settings, l.ours)
	}
	if err != nil {
		return []Entry{t.failed(err)}
	}
	entries := []Entry{{}}
	for _, hook := range l.ours {
		if hook.ID != kept.ID {
			entries = append(entries, k.remove(ctx, t, hook))
		}
	}
	entries[0] = k.installed(ctx, t, kept.ID)
	entries[0].Done = done
	if entries[0].State == OK {
		entries[0].Problems = problems
	}
	return entries
}

// change gives the first webhook its settings. A host that takes no two of one address takes them once the others are
// gone.
func (k *Keeper) change(ctx context.Context, t Target, settings forge.HookSettings, ours []forge.Hook) (forge.Hook, error) {
	kept, err := k.Hosts.SaveHook(ctx, t.owner(), ours[0].ID, settings)
	var refused *forge.Error
	if !errors.As(err, &refused) || !refused.HookExists() || len(ours) == 1 {
		return kept, err
	}
	for _, hook := range ours[1:] {
		if err := k.Hosts.DeleteHook(ctx, t.owner(), hook.ID); err != nil {
			return forge.Hook{}, err
		}
	}
	return k.Hosts.SaveHook(ctx, t.owner(), ours[0].ID, settings)
}

// installed reads a webhook again: what the host did not take shows.
func (k *Keeper) installed(ctx context.Context, t Target, id string) Entry {
	l := k.look(ctx, t)
	if l.err != nil {
		return t.failed(l.err)
	}
	for _, hook := range l.ours {
		if hook.ID == id {
			e := t.entry(hook)
			e.Remarks = nil // of its last delivery, which was before
			return e
		}
	}
	return t.missing()
}

// leaveTo removes the webhooks of a repository whose organisation has one.
func (k *Keeper) leaveTo(ctx context.Context, t, of Target, higher forge.Hook, l looked) []Entry {
	e := of.entry(higher)
	e.Repository = t.Repository
	e.Remarks = append(e.Remarks, of.Organization+" has it for all of its repositories")
	entries := []Entry{e}
	for _, hook := range l.ours {
		entries = append(entries, k.remove(ctx, t, hook))
	}
	return entries
}

// Rotate gives all webhooks of a target that send to the connection's address the first secret. One
// with another scheme gets that address: the new secret goes to no http address of a server that has https.
func (k *Keeper) Rotate(ctx context.Context, t Target) []Entry {
	l := k.look(ctx, t)
	if l.err != nil {
		return []Entry{t.failed(l.err)}
	}
	of, ours := t, l.ours
	if higher, best := k.above(ctx, t); best != nil && len(ours) == 0 {
		if of, ours = higher, []forge.Hook{*best}; k.renewed[of.owner()] {
			e := of.entry(*best)
			e.Repository, e.Remarks = t.Repository, []string{of.Organization + " has it for all of its repositories"}
			return []Entry{e}
		}
	}
	if len(ours) == 0 {
		return []Entry{t.missing()}
	}
	settings, err := of.settings()
	if err != nil {
		return []Entry{t.failed(err)}
	}
	var entries []Entry
	for _, hook := range ours {
		settings.URL, settings.Events = of.Connection.safe(hook.URL), extra(hook)
		saved, err := k.Hosts.SaveHook(ctx, of.owner(), hook.ID, settings)
		if err != nil {
			e := of.failed(err)
			e.ID = hook.ID
			entries = append(entries, e)
			continue
		}
		if k.renewed == nil {
			k.renewed = map[forge.HookOwner]bool{}
		}
		k.renewed[of.owner()] = true
		saved.LastStatus = 0 // of a delivery with the secret before
		e := of.entry(saved)
		e.Done = "renewed"
		entries = append(entries, e)
	}
	return entries
}

// Remove deletes the webhooks of a target that send to the connection's address, and no others.
func (k *Keeper) Remove(ctx context.Context, t Target) []Entry {
	l := k.look(ctx, t)
	if l.err != nil {
		return []Entry{t.failed(l.err)}
	}
	if len(l.ours) == 0 {
		return []Entry{t.missing()}
	}
	var entries []Entry
	for _, hook := range l.ours {
		entries = append(entries, k.remove(ctx, t, hook))
	}
	return entries
}

func (k *Keeper) remove(ctx context.Context, t Target, hook forge.Hook) Entry {
	e := t.entry(hook)
	if err := k.Hosts.DeleteHook(ctx, t.owner(), hook.ID); err != nil {
		e.State, e.Error = Unchecked, err.Error()
		return e
	}
	e.State, e.Done, e.Problems, e.Remarks = Removed, "removed", nil, nil
	return e
}

// extra are the events that a webhook keeps: somebody has added them.
func extra(hook forge.Hook) []string {
	return slices.DeleteFunc(slices.Clone(hook.Events), func(name string) bool { return name == "*" })
}

// entry describes one webhook of ours.
func (t Target) entry(hook forge.Hook) Entry {
	e := Entry{
		Connection: t.Connection.Name, Repository: t.Repository, Organization: t.Organization, State: OK,
		ID: hook.ID, URL: shown(hook.URL), Events: hook.Events, Problems: t.Connection.problems(hook), Remarks: t.Connection.remarks(hook),
	}
	if len(e.Problems) > 0 {
		e.State = Wrong
	}
	return e
}

func (t Target) missing() Entry {
	return Entry{
		Connection: t.Connection.Name, Repository: t.Repository, Organization: t.Organization, State: Missing, URL: shown(t.Connection.URL),
		Problems: []string{"there is no webhook with this address"},
	}
}

func (t Target) failed(err error) Entry {
	return Entry{Connection: t.Connection.Name, Repository: t.Repository, Organization: t.Organization, State: Unchecked, Error: err.Error()}
}

// errNoSecret is why a webhook can be given no secret.
var errNoSecret = errors.New("no secret of the connection may speak of this repository: see connections[].secrets[].repositories")

// settings are those of a webhook, with the first secret that may speak of the target.
func (t Target) settings() (forge.HookSettings, error) {
	s := forge.HookSettings{
		URL: t.Connection.URL, Mode: t.Connection.Mode,
		Secret: first(t.Connection.Secrets, t.Repository), SigningToken: first(t.Connection.SigningTokens, t.Repository),
	}
	if s.Secret == "" && s.SigningToken == "" {
		return s, errNoSecret
	}
	return s, nil
}

func first(secrets []Secret, repository string) string {
	for _, secret := range secrets {
		if secret.Covers(repository) {
			return secret.Value
		}
	}
	return ""
}

// problems are what is wrong with a webhook.
func (c Connection) problems(hook forge.Hook) []string {
	var all []string
	if hook.URL != c.URL {
		all = append(all, "its address is not "+c.URL)
	}
	if !hook.Active {
		all = append(all, "it is switched off")
	}
	if hook.Stopped != "" {
		all = append(all, "the host has switched it off "+hook.Stopped+", because its deliveries failed")
	}
	if missing := c.missing(hook, c.Kind.Needed); len(missing) > 0 {
		all = append(all, "it does not send "+strings.Join(missing, ", "))
	}
	if hook.Form {
		all = append(all, "its content type is a form, and not application/json")
	}
	if u, err := url.Parse(c.URL); hook.Insecure && (err != nil || u.Scheme == "https") {
		all = append(all, "it does not verify the certificate of this server")
	}
	if hook.WithoutSecret {
		all = append(all, "it has no secret")
	}
	if hook.Mode != "" && c.Mode != "" && hook.Mode != c.Mode {
		all = append(all, "its mode is "+hook.Mode+", and that of the connection "+c.Mode)
	}
	if hook.Narrowed != "" {
		all = append(all, hook.Narrowed)
	}
	return all
}

// missing are the events that a webhook does not send.
func (c Connection) missing(hook forge.Hook, wanted []string) []string {
	if slices.Contains(hook.Events, "*") {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(wanted), func(name string) bool { return slices.Contains(hook.Events, name) })
}

// remarks are good to know of a webhook, and nothing that can be mended for certain.
func (c Connection) remarks(hook forge.Hook) []string {
	var all []string
	if missing := c.missing(hook, c.Kind.Useful); len(missing) > 0 {
		all = append(all, "it does not send "+strings.Join(missing, ", ")+", which older servers do not have")
	}
	switch {
	case hook.LastStatus == 401:
		all = append(all, "its last delivery was answered with 401: if its secret is another one, gatewright hooks install sends the right one")
	case hook.LastStatus >= 300:
		all = append(all, "its last delivery was answered with an error, which the log of gatewright explains")
	}
	return all
}

// address is what the address of a webhook is to a connection.
type address int

const (
	addressOther address = iota
	// addressOurs is the connection's, in any spelling, or its former one.
	addressOurs
	// addressSimilar has its path at another server.
	addressSimilar
)

func (c Connection) addressOf(raw string) address {
	if raw == c.URL || c.FormerURL != "" && sameAddress(raw, c.FormerURL) || sameAddress(raw, c.URL) {
		return addressOurs
	}
	u, err := url.Parse(raw)
	if err == nil && strings.HasSuffix(strings.TrimRight(u.Path, "/"), "/webhooks/"+c.Name) {
		return addressSimilar
	}
	return addressOther
}

// safe is the address of a webhook of ours, or the connection's when that has another scheme.
func (c Connection) safe(raw string) string {
	wanted, err := url.Parse(c.URL)
	if err != nil {
		return c.URL
	}
	if u, err := url.Parse(raw); err != nil || !strings.EqualFold(u.Scheme, wanted.Scheme) {
		return c.URL
	}
	return raw
}

// sameAddress reports whether two addresses are of one server: the same host and path, with http for https, a
// port that says nothing new, or a slash at the end.
func sameAddress(one, other string) bool {
	a, err := url.Parse(one)
	if err != nil {
		return false
	}
	b, err := url.Parse(other)
	if err != nil {
		return false
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b) &&
		strings.TrimRight(a.Path, "/") == strings.TrimRight(b.Path, "/")
}

// port is that of an address, empty for the default one of its scheme.
func port(u *url.URL) string {
	if p := u.Port(); p != "80" && p != "443" {
		return p
	}
	return ""
}

// shown is an address without what may be a secret in it: user, query and fragment.
func shown(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	host := u.Hostname()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p := u.Port(); p != "" {
		host = net.JoinHostPort(u.Hostname(), p)
	}
	return u.Scheme + "://" + host + u.EscapedPath()
}
