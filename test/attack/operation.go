package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// operations are what goes wrong in day-one operation, by nobody's ill will.
func operations() []attack {
	return []attack{
		{"a rules file that is cut off while the server runs", cutOffRules},
	}
}

// cutOffRules writes half of the rules: the last good ones stay in force, and the server
// says so until the file is whole again.
func cutOffRules(ctx context.Context, t *target) (broken string, err error) {
	file := t.bench.RulesFile()
	whole, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.WriteFile(file, whole, 0o600)) }()
	if err := os.WriteFile(file, append(whole[:len(whole)/2:len(whole)/2], "\n  - {"...), 0o600); err != nil {
		return "", err
	}
	if broken, err := t.readyShows(ctx, `"what":"configuration"`, true); err != nil || broken != "" {
		return broken, err
	}
	if broken, err := t.genuine(ctx, t.repository("github")); err != nil || broken != "" {
		return broken, err
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		return "", err
	}
	if broken, err := t.readyShows(ctx, `"what":"configuration"`, false); err != nil || broken != "" {
		return broken, err
	}
	return t.genuine(ctx, t.repository("github"))
}

// readyShows waits until /readyz answers 200 and contains a text, or does not.
func (t *target) readyShows(ctx context.Context, text string, want bool) (broken string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.bench.PrivateAddrs()[0]+"/readyz", nil)
		if err != nil {
			return "", err
		}
		response, err := t.client.Do(request)
		if err != nil {
			return "", err
		}
		answer, err := io.ReadAll(response.Body)
		if err = errors.Join(err, response.Body.Close()); err != nil {
			return "", err
		}
		// Beside an attack the database may take longer for one answer than /readyz waits.
		if response.StatusCode == http.StatusOK && strings.Contains(string(answer), text) == want {
			return "", nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Sprintf("/readyz never showed %s as %v, and answers %d: %s", text, want, response.StatusCode, answer), nil
		}
	}
}
