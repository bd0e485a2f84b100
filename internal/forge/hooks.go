package forge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// HookOwner is what webhooks are registered at: a repository, or an organisation.
type HookOwner struct {
	Connection string
	// Repository is a full name; empty with an Organization, which is that of an organisation of GitHub or Gitea, or
	// the full path of a group of GitLab.
	Repository, Organization string
}

// String is the name of the repository or organisation.
func (o HookOwner) String() string { return o.Repository + o.Organization }

// Hook is a webhook as its host shows it, without its secret.
type Hook struct {
	ID  string
	URL string
	// Events are in the host's own words.
	Events []string
	// Active: nobody has switched it off.
	Active bool
	// Stopped says how the host has switched it off because of failures; empty when it has not.
	Stopped string
	// Form: it sends forms, not JSON. Insecure: it does not check the receiver's certificate.
	Form, Insecure bool
	// WithoutSecret: the host says that it has no secret. Where the host does not say it is false.
	WithoutSecret bool
	// Mode is how Gitee proves its deliveries: sign or password. Empty for other hosts.
	Mode string
	// Narrowed says what it leaves out or changes, such as a filter of branches; empty for nothing.
	Narrowed string
	// LastStatus is how its last delivery was answered; 0 where the host does not say.
	LastStatus int
}

// HookSettings are what a webhook is given.
type HookSettings struct {
	// URL is the address that it sends to.
	URL string
	// Secret proves its deliveries, and at GitLab SigningToken in its place or with it.
	Secret, SigningToken string
	// Mode is Gitee's: sign or password.
	Mode string
	// Events are those that it has beside those of HookKind.
	Events []string
}

// String shows no secret.
func (s HookSettings) String() string { return s.URL }

// hookKeeper reads and changes the webhooks of one connection.
type hookKeeper interface {
	// hooks are those of a page, counted from 1; more says that there may be another page.
	hooks(ctx context.Context, o HookOwner, page int) (found []Hook, more bool, err error)
	// saveHook changes a hook, or makes one for an empty id, with exactly these events.
	saveHook(ctx context.Context, o HookOwner, id string, s HookSettings) (Hook, error)
	deleteHook(ctx context.Context, o HookOwner, id string) error
	// rightToHooks is what it takes, as what to give the connection.
	rightToHooks(o HookOwner) string
}

const (
	readsHooks, savesHook, deletesHook = "read webhooks", "save webhook", "delete webhook"
	hooksPerPage                       = 100
	// maxHookPages bounds how many webhooks of a repository are read.
	maxHookPages = 10
	// hooksTimeout bounds one call with all its pages.
	hooksTimeout = 30 * time.Second
	// maxHookURL and maxHookEvents bound what is kept of an answer.
	maxHookURL, maxHookEvents, maxHookEvent = 2000, 100, 100
)

// Hooks reads the webhooks of a repository or organisation, at most 1,000. Errors are as those of Head; one that is
// NotFound or Forbidden names the right that the connection needs.
func (f *Forge) Hooks(ctx context.Context, o HookOwner) ([]Hook, error) {
	var all []Hook
	err := f.onHooks(ctx, readsHooks, o, func(ctx context.Context, c *connected) error {
		seen := map[string]bool{}
		for page := 1; page <= maxHookPages; page++ {
			found, more, err := c.hooks(ctx, o, page)
			if err != nil {
				return err
			}
			for _, hook := range found {
				if seen[hook.ID] { // the host does not know pages
					return nil
				}
				seen[hook.ID] = true
				all = append(all, hook)
			}
			if !more || len(found) == 0 {
				return nil
			}
		}
		return &Error{message: fmt.Sprintf("there are more than %d webhooks", len(all))}
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// SaveHook gives a webhook all of its settings, which are sent whether the host has them already or not, because no host
// tells the secret. It makes one for an empty id. Events that the host does not know are left out where
// HookKind does not need them. Errors are as those of Hooks; one that is HookExists or HookLimit does not pass.
func (f *Forge) SaveHook(ctx context.Context, o HookOwner, id string, s HookSettings) (Hook, error) {
	var saved Hook
	err := f.onHooks(ctx, savesHook, o, func(ctx context.Context, c *connected) (err error) {
		if id != "" && !isHookID(id) {
			return noSuchHook(id)
		}
		all := s
		all.Events = union(c.hookKind.Needed, c.hookKind.Useful, s.Events)
		saved, err = c.saveHook(ctx, o, id, all)
		if refused := failure(err); err != nil && refused.Status == http.StatusUnprocessableEntity && !refused.HookExists() && !refused.HookLimit() && len(c.hookKind.Useful) > 0 {
			all.Events = union(c.hookKind.Needed, s.Events)
			saved, err = c.saveHook(ctx, o, id, all)
		}
		return err
	})
	return saved, err
}

// DeleteHook removes a webhook. One that is gone already is not an error.
func (f *Forge) DeleteHook(ctx context.Context, o HookOwner, id string) error {
	return f.onHooks(ctx, deletesHook, o, func(ctx context.Context, c *connected) error {
		if !isHookID(id) {
			return noSuchHook(id)
		}
		err := c.deleteHook(ctx, o, id)
		if failure(err).NotFound() {
			// Hosts say the same where the token may not see it.
			if _, _, unread := c.hooks(ctx, o, 1); unread == nil {
				return nil
			}
		}
		return err
	})
}

// onHooks calls the client of a connection, and says in its error which right is needed.
func (f *Forge) onHooks(ctx context.Context, name string, o HookOwner, call func(context.Context, *connected) error) error {
	c, err := f.connected(o.Connection, name)
	if err != nil {
		return err
	}
	if (o.Repository == "") == (o.Organization == "") || !plain(o.String()) {
		return &Error{Operation: name, message: fmt.Sprintf("%.100q cannot be the name of a repository or an organisation", o.String())}
	}
	ctx, cancel := context.WithTimeout(ctx, hooksTimeout)
	defer cancel()
	right := c.rightToHooks(o)
	err = asError(name, call(withOperation(ctx, operation{name, right}), c))
	var refused *Error
	if errors.As(err, &refused) {
		switch {
		case refused.NotFound() && !strings.HasPrefix(refused.message, "there is no"):
			refused.message = "the host has no such repository or organisation, or the token may not see its webhooks: give the connection " + right
		case refused.HookExists():
			refused.message = "the host has another webhook with this address: delete that one"
		case refused.HookLimit():
			refused.message = "the host takes no more webhooks here: delete one that is not needed"
		case refused.Status == http.StatusUnprocessableEntity || refused.Status == http.StatusBadRequest:
			refused.message = "the host does not take this webhook: http.public_url must be an address that it can reach"
		}
	}
	return err
}

// HookExists reports whether the host refuses a webhook because it has another one like it.
func (e *Error) HookExists() bool {
	return e.Status == http.StatusUnprocessableEntity && strings.Contains(e.said, "already exists")
}

// HookLimit reports whether the host refuses a webhook because there are too many.
func (e *Error) HookLimit() bool {
	return (e.Status == http.StatusUnprocessableEntity || e.Status == http.StatusBadRequest) &&
		(strings.Contains(e.said, "cannot have more than") || strings.Contains(e.said, "Maximum number"))
}

// HookKind is what the webhooks of a kind of host are.
type HookKind struct {
	// Needed are the events that a webhook must have, in the host's own words; Useful those that it is given where the
	// host knows them.
	Needed, Useful []string
	// Organizations: organisations have webhooks too; with Nested they are groups in groups.
	Organizations, Nested bool
}

// OrganizationsOf are the organisations whose webhooks are told of a repository, the nearest first.
func (k HookKind) OrganizationsOf(repository string) (names []string) {
	for name := parent(repository); k.Organizations && name != "" && (k.Nested || len(names) == 0); name = parent(name) {
		names = append(names, name)
	}
	return names
}

// parent is a full name without its last part.
func parent(name string) string { return name[:max(strings.LastIndex(name, "/"), 0)] }

// HookKind is what the webhooks of a connection are; the zero value for one without a token or an App.
func (f *Forge) HookKind(connection string) HookKind {
	if c, known := f.clients[connection]; known {
		return c.hookKind
	}
	return HookKind{}
}

// union are all of the lists, each once.
func union(lists ...[]string) []string {
	var all []string
	for _, name := range slices.Concat(lists...) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// isHookID reports whether an id can be put into a path: hosts number their webhooks.
func isHookID(id string) bool {
	n, err := strconv.ParseInt(id, 10, 64)
	return err == nil && n > 0
}

func noSuchHook(id string) error {
	return &Error{message: fmt.Sprintf("there is no webhook %.50q: hosts number them", id)}
}

// bounded is a hook with what an answer can make too long cut.
func (h Hook) bounded() (Hook, error) {
	if !isHookID(h.ID) {
		return Hook{}, errors.New("it has a webhook without a number")
	}
	h.URL = cut(h.URL, maxHookURL)
	h.Events = h.Events[:min(len(h.Events), maxHookEvents)]
	for i, name := range h.Events {
		h.Events[i] = cut(name, maxHookEvent)
	}
	return h, nil
}

// hooksOf are the hooks of an answer.
func hooksOf[T interface{ hook() Hook }](answers []T) ([]Hook, error) {
	var found []Hook
	for _, answer := range answers {
		hook, err := answer.hook().bounded()
		if err != nil {
			return nil, err
		}
		found = append(found, hook)
	}
	return found, nil
}

// laxText is a text that may come as a number or a truth value.
type laxText string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *laxText) UnmarshalJSON(data []byte) error {
	*t = ""
	switch {
	case bytes.HasPrefix(data, []byte(`"`)):
		return json.Unmarshal(data, (*string)(t))
	case bytes.Equal(data, []byte("null")), bytes.HasPrefix(data, []byte("{")), bytes.HasPrefix(data, []byte("[")):
		return nil
	}
	*t = laxText(data)
	return nil
}

// on reports whether the text says yes.
func (t laxText) on() bool { return t == "true" || t == "1" }

// number is the number that the text is; 0 for none.
func (t laxText) number() int {
	n, err := strconv.Atoi(string(t))
	if err != nil {
		return 0
	}
	return n
}
