package hooks

import (
	"context"
	"slices"
	"testing"

	"github.com/gatewright/gatewright/internal/forge"
)

// listed are the webhooks of owners, kept in memory.
type listed struct {
	hooks map[forge.HookOwner][]forge.Hook
	saved []forge.HookSettings
}

func (l *listed) Hooks(_ context.Context, o forge.HookOwner) ([]forge.Hook, error) {
	return l.hooks[o], nil
}

func (l *listed) SaveHook(_ context.Context, o forge.HookOwner, id string, s forge.HookSettings) (forge.Hook, error) {
	l.saved = append(l.saved, s)
	hook := forge.Hook{ID: id, URL: s.URL, Active: true}
	if id == "" {
		hook.ID = "new"
	}
	l.hooks[o] = append(slices.DeleteFunc(l.hooks[o], func(h forge.Hook) bool { return h.ID == hook.ID }), hook)
	return hook, nil
}

func (l *listed) DeleteHook(_ context.Context, o forge.HookOwner, id string) error {
	l.hooks[o] = slices.DeleteFunc(l.hooks[o], func(h forge.Hook) bool { return h.ID == id })
	return nil
}

func shop() Target {
	every := func(string) bool { return true }
	return Target{Repository: "acme/shop", Connection: Connection{
		Name: "github", URL: "https://gate.example.com/webhooks/github", Secrets: []Secret{{"new", every}}, Kind: forge.HookKind{Organizations: true},
	}}
}

// TestRotateOverTLS: a new secret is not sent to an http address of a server with https; another spelling stays.
func TestRotateOverTLS(t *testing.T) {
	for before, want := range map[string]string{
		"http://gate.example.com/webhooks/github":   "https://gate.example.com/webhooks/github",
		"https://gate.example.com/webhooks/github/": "https://gate.example.com/webhooks/github/",
	} {
		target := shop()
		hosts := &listed{hooks: map[forge.HookOwner][]forge.Hook{target.owner(): {{ID: "1", URL: before, Active: true}}}}
		k := Keeper{Hosts: hosts}
		k.Rotate(t.Context(), target)
		if len(hosts.saved) != 1 || hosts.saved[0].URL != want || hosts.saved[0].Secret != "new" {
			t.Errorf("%s: saved %+v", before, hosts.saved)
		}
	}
}

// TestInstallBesideARefusedOne: the webhook of a repository stays while that of its organisation is answered with 401.
func TestInstallBesideARefusedOne(t *testing.T) {
	for status, want := range map[int]int{401: 1, 202: 0, 0: 0} {
		target := shop()
		hook := forge.Hook{ID: "1", URL: target.Connection.URL, Active: true}
		higher := hook
		higher.ID, higher.LastStatus = "2", status
		hosts := &listed{hooks: map[forge.HookOwner][]forge.Hook{
			target.owner(): {hook}, {Connection: "github", Organization: "acme"}: {higher},
		}}
		k := Keeper{Hosts: hosts}
		k.Install(t.Context(), target)
		if left := len(hosts.hooks[target.owner()]); left != want {
			t.Errorf("the last status is %d: %d webhooks are left", status, left)
		}
	}
}
