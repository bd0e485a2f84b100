package forge_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/forge"
)

// TestHookCases reads and changes webhooks at each host, whose answers are as the case files say. A file has a part
// `read` (list, save, sign or delete, the repository or org:NAME, the id or new), a part for each answer, and a part `want`:
// the requests in their order, and what came of them.
func TestHookCases(t *testing.T) {
	eachCase(t, "testdata/hooks/*/*.txtar", 30, func(t *testing.T, c *hostCase) string {
		result := c.hooks(t)
		return strings.Join(append(c.asked, result), "\n")
	})
}

const hookSecret = "a-secret-that-nothing-shows"

// hooks does what the case says, and tells what came of it.
func (c *hostCase) hooks(t *testing.T) string {
	f := newForge(t, forge.Options{Connections: []forge.Connection{{Name: "c", Host: c.host, APIURL: c.url, Token: token}}})
	words := append(strings.Fields(c.read), "")
	owner := forge.HookOwner{Connection: "c", Repository: words[1]}
	if name, found := strings.CutPrefix(words[1], "org:"); found {
		owner = forge.HookOwner{Connection: "c", Organization: name}
	}
	settings := forge.HookSettings{URL: "https://gate.example.com/webhooks/" + string(c.host), Secret: hookSecret, Mode: "sign"}
	id := strings.TrimPrefix(words[2], "new")
	var result string
	var err error
	switch words[0] {
	case "list":
		var hooks []forge.Hook
		hooks, err = f.Hooks(t.Context(), owner)
		lines := []string{fmt.Sprintf("%d webhooks", len(hooks))}
		for _, hook := range hooks[:min(len(hooks), 4)] {
			lines = append(lines, fmt.Sprintf("%+v", hook))
		}
		result = strings.Join(lines, "\n")
	case "sign":
		settings.Secret, settings.SigningToken = "", hookSecret
		fallthrough
	case "save":
		var hook forge.Hook
		hook, err = f.SaveHook(t.Context(), owner, id, settings)
		result = fmt.Sprintf("%+v", hook)
	case "delete":
		err = f.DeleteHook(t.Context(), owner, id)
		result = "deleted"
	}
	if c.elsewhere > 0 {
		t.Errorf("another host got %d requests", c.elsewhere)
	}
	if err != nil {
		result = failed(t, err)
	}
	if strings.Contains(result, hookSecret) || strings.Contains(result, token) {
		t.Errorf("a secret is shown: %s", result)
	}
	return result
}
