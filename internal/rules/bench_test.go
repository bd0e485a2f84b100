package rules

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
)

// benchmarkPolicy returns rules of which only the last matches the event.
func benchmarkPolicy(b *testing.B, count int) (*Policy, event.Event) {
	b.Helper()
	var text strings.Builder
	text.WriteString("version: 1\ndefaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}\nrules:\n")
	for i := range count {
		fmt.Fprintf(&text, "  - name: rule-%d\n    on: [push, merge_request]\n", i)
		fmt.Fprintf(&text, "    match: {repository: [acme/service-%d, \"other/*\"], branch: [main, \"release/*\"]}\n    check: {}\n", i)
	}
	policy, complaints := Load(Source{Name: "rules.yaml", Data: []byte(text.String())})
	if len(complaints) > 0 {
		b.Fatal(complaints)
	}
	return policy, event.Event{
		Kind: event.Push, Branch: "main",
		Repository: event.Repository{FullName: fmt.Sprintf("acme/service-%d", count-1)},
	}
}

// BenchmarkDecide is the whole decision, with the trace of every rule.
func BenchmarkDecide(b *testing.B) {
	for _, count := range []int{10, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			policy, ev := benchmarkPolicy(b, count)
			b.ReportAllocs()
			for b.Loop() {
				if d := policy.Decide(ev); d.Outcome != Matched {
					b.Fatal(d.Outcome)
				}
			}
		})
	}
}

// BenchmarkMatch is the finding of the rule alone.
func BenchmarkMatch(b *testing.B) {
	for _, count := range []int{10, 1000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			policy, ev := benchmarkPolicy(b, count)
			b.ReportAllocs()
			for b.Loop() {
				if matched, last := policy.match(newSubject(&ev)); len(matched) != 1 || last != count-1 {
					b.Fatal(matched, last)
				}
			}
		})
	}
}
