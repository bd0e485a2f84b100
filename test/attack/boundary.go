package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/test/harness"
)

// boundary are the attacks of somebody who can sign for one connection, and speaks of
// what does not belong to it.
func boundary() []attack {
	var all []attack
	for _, connection := range []string{"github", "gitlab", "gitee", "gitea"} {
		all = append(all,
			attack{"a foreign clone address in a push of " + connection, func(ctx context.Context, t *target) (string, error) {
				return t.foreignAddress(ctx, connection)
			}},
			attack{"the address of another repository in a push of " + connection, func(ctx context.Context, t *target) (string, error) {
				return t.otherRepository(ctx, connection)
			}},
			attack{"the ssh address of another repository in a push of " + connection, func(ctx context.Context, t *target) (string, error) {
				return t.otherSSH(ctx, connection)
			}})
	}
	return append(all,
		attack{"a new repository under the name of an old one", sameName},
		attack{"a name that climbs out of its owner", climbingName})
}

// genuine sends a genuine push to main, and says what is wrong with what follows: it
// must be checked on a task of its own address, and released on its own pipeline.
func (t *target) genuine(ctx context.Context, r harness.Repository) (wrong string, err error) {
	name, payload := push(r, "main", none, t.commit())
	request, err := t.sign(r.Connection, hostOf(r.Connection), name, payload)
	if err != nil {
		return "", err
	}
	o, err := t.ends(ctx, request)
	if err != nil {
		return "", err
	}
	foreign := slices.DeleteFunc(o.started(), func(p string) bool { return p == r.Pipeline })
	if o.runs != 1 || !slices.Equal(o.made(), []string{r.URL}) || len(o.started()) == 0 || len(foreign) > 0 {
		return "the genuine push of " + r.FullName + " came to: " + o.String(), nil
	}
	return "", nil
}

// checked sends a genuine delivery, and says what it came to when that is not one run.
func (t *target) checked(ctx context.Context, r request, otherwise string) (wrong string, err error) {
	o, err := t.ends(ctx, r)
	if err != nil || o.runs == 1 {
		return "", err
	}
	return otherwise + o.String(), nil
}

// nothing sends a delivery from which nothing may follow.
func (t *target) nothing(ctx context.Context, r harness.Repository, name string, payload fields, want ...event.DeliveryState) (broken string, err error) {
	request, err := t.sign(r.Connection, hostOf(r.Connection), name, payload)
	if err != nil {
		return "", err
	}
	o, err := t.ends(ctx, request)
	if err != nil {
		return "", err
	}
	if !o.idle() || len(want) > 0 && !slices.Contains(want, o.delivery.State) {
		return "it came to: " + o.String(), nil
	}
	return "", nil
}

func (t *target) foreignAddress(ctx context.Context, connection string) (broken string, err error) {
	r := t.repository(connection)
	for _, address := range []string{
		"http://attacker.example/evil/steal.git", "http://169.254.169.254/latest/meta-data", "https://user:pw@attacker.example/" + r.FullName + ".git",
		"httpx://foo", "https://attacker.example/" + r.FullName + ".git", "file:///etc/passwd", "//attacker.example/" + r.FullName, "\x00",
	} {
		name, payload := push(r, "main", none, t.commit())
		about(r, payload)[addressMember(r)] = address
		if broken, err := t.nothing(ctx, r, name, payload, event.DeliveryFailed); broken != "" || err != nil {
			return fmt.Sprintf("%q: %s", address, broken), err
		}
	}
	return t.genuine(ctx, r)
}

func (t *target) otherRepository(ctx context.Context, connection string) (broken string, err error) {
	shop, depot := t.repository(connection), t.repository(connection)
	name, payload := push(shop, "main", none, t.commit())
	about(shop, payload)[addressMember(shop)] = depot.URL
	if broken, err := t.nothing(ctx, shop, name, payload, event.DeliveryFailed); broken != "" || err != nil {
		return broken, err
	}
	if wrong, err := t.genuine(ctx, depot); wrong != "" || err != nil {
		return wrong, err
	}
	return t.genuine(ctx, shop)
}

// otherSSH: the ssh address is not used, so it may say what it wants.
func (t *target) otherSSH(ctx context.Context, connection string) (broken string, err error) {
	victim, depot := t.repository(connection), t.repository(connection)
	name, payload := push(victim, "dev", none, t.commit())
	for _, member := range []string{"ssh_url", "git_ssh_url"} {
		about(victim, payload)[member] = "git@github.com:" + depot.FullName + ".git"
	}
	request, err := t.sign(connection, hostOf(connection), name, payload)
	if err != nil {
		return "", err
	}
	o, err := t.ends(ctx, request)
	if err != nil {
		return "", err
	}
	if made := o.made(); len(made) > 0 && !slices.Equal(made, []string{victim.URL}) {
		return "it came to: " + o.String(), nil
	}
	return t.genuine(ctx, depot)
}

// sameName: what is remembered of a repository does not pass to another of its name.
func sameName(ctx context.Context, t *target) (broken string, err error) {
	old := t.repository("github")
	if wrong, err := t.genuine(ctx, old); wrong != "" || err != nil {
		return wrong, err
	}
	created := old
	created.ID += 1_000_000
	// Its first push must be its own: not behind the head of the old one, and on a task
	// that was looked for again.
	name, payload := push(created, "main", none, t.commit())
	request, err := t.sign(created.Connection, event.GitHub, name, payload)
	if err != nil {
		return "", err
	}
	if wrong, err := t.checked(ctx, request, "the push of the new repository came to: "); wrong != "" || err != nil {
		return wrong, err
	}
	// A late push of the old one must not be the newest state of the new one.
	name, payload = push(old, "main", none, t.commit())
	if request, err = t.sign(old.Connection, event.GitHub, name, payload); err != nil {
		return "", err
	}
	return t.checked(ctx, request, "the push of the old repository came to: ")
}

func climbingName(ctx context.Context, t *target) (broken string, err error) {
	r := t.repository("github")
	for _, full := range []string{"acme/../evil/steal", "acme/..", "/acme/r00", "acme//r00", "acme", "acme/r00/", "acme/r\n00", "acme/" + strings.Repeat("r", 5000)} {
		name, payload := push(r, "main", none, t.commit())
		about(r, payload)["full_name"] = full
		if broken, err := t.nothing(ctx, r, name, payload, event.DeliveryFailed); broken != "" || err != nil {
			return fmt.Sprintf("%.40q: %s", full, broken), err
		}
	}
	return t.genuine(ctx, r)
}
