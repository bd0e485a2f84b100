package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
)

// rules measures how long one decision takes, with its trace, and how long a number
// of rules takes to load.
func (m *measurer) rules(ctx context.Context) error {
	for _, count := range m.sizes.loaded {
		sources := ruleSources(count)
		for range m.rounds {
			began := time.Now()
			if _, complaints := rules.Load(sources...); len(complaints) > 0 {
				return complaints
			}
			m.addTime(fmt.Sprintf("rules_load_ms_%d", count), time.Since(began))
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
	}
	for _, count := range m.sizes.decided {
		policy, complaints := rules.Load(ruleSources(count)...)
		if len(complaints) > 0 {
			return complaints
		}
		for range m.rounds {
			took, err := decisionTime(policy, m.sizes.deciding)
			if err != nil {
				return err
			}
			m.add(fmt.Sprintf("decision_us_%d", count), float64(took.Nanoseconds())/1000, "us")
		}
	}
	return ctx.Err()
}

// decisionTime is how long the decision takes that comes to the last rule.
func decisionTime(policy *rules.Policy, within time.Duration) (time.Duration, error) {
	const batch = 100
	ev := event.Event{Kind: event.Push, Branch: "main", Repository: event.Repository{FullName: "acme-9/service-last"}}
	began := time.Now()
	for number := 0; ; number += batch {
		if took := time.Since(began); number > 0 && took >= within {
			return took / time.Duration(number), nil
		}
		for range batch {
			if d := policy.Decide(ev); d.Outcome != rules.Matched {
				return 0, fmt.Errorf("decide: the outcome is %q, want %q", d.Outcome, rules.Matched)
			}
		}
	}
}

// rulesPerFile is how many rules are in one file.
const rulesPerFile = 10_000

// ruleSources are rules as an installation has them. Of a hundred rules one is for
// every repository, ten for those of an owner, ten for those of a name, nine for those
// with a prefix, and the others name one.
func ruleSources(count int) (sources []rules.Source) {
	var text strings.Builder
	text.WriteString("version: 1\ndefaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}\nrules:\n")
	for i := range count {
		match := fmt.Sprintf(`repository: acme-%d/service-%d, branch: [main, "release/*"]`, i%97, i)
		switch {
		case i == count-1:
			match = "repository: acme-9/service-last, branch: main"
		case i%100 == 7:
			match = fmt.Sprintf(`repository: ["**", "!*/sandbox-*"], branch: nightly-%d`, i)
		case i%10 == 1:
			match = fmt.Sprintf(`repository: "team-%d/*", branch: main`, i)
		case i%10 == 3:
			match = fmt.Sprintf(`repository: "*/tool-%d", branch: main`, i)
		case i%10 == 7:
			match = fmt.Sprintf(`repository: ["acme/project-%d-*", "!acme/*-old"], branch: main`, i)
		}
		fmt.Fprintf(&text, "  - name: rule-%d\n    on: [push, merge_request]\n    match: {%s}\n    check: {}\n", i, match)
		if (i+1)%rulesPerFile == 0 || i == count-1 {
			sources = append(sources, rules.Source{Name: fmt.Sprintf("%03d.yaml", len(sources)), Data: []byte(text.String())})
			text.Reset()
			text.WriteString("version: 1\nrules:\n")
		}
	}
	return sources
}
