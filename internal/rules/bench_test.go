package rules

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/gatewright/gatewright/internal/event"
)

// ruleCounts are the sizes of installations that the benchmarks compare.
func ruleCounts() []int { return []int{10, 1_000, 100_000} }

// benchmarkSources returns rules as an installation of that size has them, in
// files of 10,000: of ten rules seven name a repository, one the repositories of
// an owner, one those of a name, one those with a prefix but for some. One in a
// hundred is for one branch of any repository, and three of all rules are for a
// pattern of branches. The rule that matches is the last.
func benchmarkSources(count int) []Source {
	var sources []Source
	var text strings.Builder
	flush := func() {
		sources = append(sources, Source{Name: fmt.Sprintf("%03d.yaml", len(sources)), Data: []byte(text.String())})
		text.Reset()
		text.WriteString("version: 1\nrules:\n")
	}
	text.WriteString("version: 1\ndefaults: {check: {project: {id: 41b8df4bf53f4d51b8e6c5b32e8d2a07}}}\nrules:\n")
	for i := range count {
		match := fmt.Sprintf("repository: acme-%d/service-%d, branch: [main, \"release/*\"]", i%97, i)
		switch {
		case i == count/5:
			match = "branch: \"hotfix/*\""
		case i == count/4:
			match = "repository: [\"**\", \"!*/sandbox-*\"], branch: \"nightly-*\""
		case i == count/2:
			match = "repository: \"!acme-1/*\", branch: \"weekly-*\""
		case i%100 == 2:
			match = fmt.Sprintf("branch: hotfix-%d", i)
		case i == count-1:
			match = "repository: acme-9/service-last, branch: main"
		case i%10 == 1:
			match = fmt.Sprintf("repository: \"team-%d/*\", branch: main", i)
		case i%10 == 3:
			match = fmt.Sprintf("repository: \"*/tool-%d\", branch: main", i)
		case i%10 == 7:
			match = fmt.Sprintf("repository: [\"acme/project-%d-*\", \"!acme/*-old\"], branch: main", i)
		}
		fmt.Fprintf(&text, "  - name: rule-%d\n    on: [push, merge_request]\n    match: {%s}\n    check: {}\n", i, match)
		if i%10_000 == 9_999 && i != count-1 {
			flush()
		}
	}
	flush()
	return sources
}

// benchmarkPolicies are loaded once, because that takes far longer than what is
// measured.
var benchmarkPolicies = map[int]*Policy{}

func benchmarkPolicy(b *testing.B, count int) (*Policy, event.Event) {
	b.Helper()
	if benchmarkPolicies[count] == nil {
		policy, complaints := Load(benchmarkSources(count)...)
		if len(complaints) > 0 {
			b.Fatal(complaints)
		}
		benchmarkPolicies[count] = policy
	}
	return benchmarkPolicies[count], event.Event{
		Kind: event.Push, Branch: "main",
		Repository: event.Repository{FullName: "Acme-9/service-last"},
	}
}

// BenchmarkDecide is the whole decision, with its trace.
func BenchmarkDecide(b *testing.B) {
	for _, count := range ruleCounts() {
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
	for _, count := range ruleCounts() {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			policy, ev := benchmarkPolicy(b, count)
			b.ReportAllocs()
			for b.Loop() {
				candidates := policy.index.candidates(ev.Repository.FullName, ev.Branch)
				if matched, last := policy.match(newSubject(&ev), candidates); len(matched) != 1 || last != count-1 {
					b.Fatal(matched, last)
				}
			}
		})
	}
}

// BenchmarkLoad reads the rules; heap-MB is what a policy keeps, and index-MB what
// its index has of that.
func BenchmarkLoad(b *testing.B) {
	for _, count := range []int{10, 1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			sources := benchmarkSources(count)
			var policy *Policy
			before := heapMB()
			for b.Loop() {
				policy, _ = Load(sources...)
			}
			loaded := heapMB()
			b.ReportMetric(loaded-before, "heap-MB")
			policy.index = nil
			b.ReportMetric(loaded-heapMB(), "index-MB")
			runtime.KeepAlive(policy)
			runtime.KeepAlive(sources)
		})
	}
}

// heapMB returns what is reachable, in MB.
func heapMB() float64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc) / 1e6
}
