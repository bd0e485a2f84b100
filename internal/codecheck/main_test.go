package codecheck

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(tests{m}) }

// tests runs the tests and stops the database server that they started.
type tests struct{ m *testing.M }

func (t tests) Run() int { return storetest.Main(t.m) }

// memory keeps what runs learned, and what they found, in maps. Its claims do not expire
// by themselves.
type memory struct {
	mu sync.Mutex
	// findings are by run; baseline is the id of the run that all are compared with.
	findings map[string][]Finding
	baseline string
	tasks    map[string]Task
	claims   map[string]string
	refs     map[string]Ref
}

func newMemory() *memory {
	return &memory{tasks: map[string]Task{}, claims: map[string]string{}, refs: map[string]Ref{}, findings: map[string][]Finding{}}
}

func (m *memory) Findings(_ context.Context, runID string) ([]Finding, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.findings[runID]), nil
}

func (m *memory) SaveFindings(_ context.Context, runID string, list []Finding) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.findings[runID] = slices.Clone(list)
	return nil
}

func (m *memory) Baseline(context.Context, Run) (string, error) { return m.baseline, nil }

func (m *memory) Task(_ context.Context, key string) (Task, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t, ok := m.tasks[key]
	return t, ok, nil
}

func (m *memory) TaskByID(_ context.Context, id string) (Task, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range m.tasks {
		if t.ID == id {
			return t, true, nil
		}
	}
	return Task{}, false, nil
}

func (m *memory) SaveTask(_ context.Context, _ event.Event, key string, t Task) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks[key] = t
	delete(m.claims, key)
	return nil
}

func (m *memory) ClaimTask(_ context.Context, key, runID string, _ time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if holder, claimed := m.claims[key]; claimed && holder != runID {
		return false, nil
	}
	m.claims[key] = runID
	return true, nil
}

func (m *memory) ReleaseTask(_ context.Context, key, runID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.claims[key] == runID {
		delete(m.claims, key)
	}
	return nil
}

func (m *memory) Ref(_ context.Context, ev event.Event) (Ref, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.refs[ev.RepositoryKey()]
	return r, ok, nil
}

func (m *memory) ScanTimes(context.Context, Run) ([]time.Duration, error) { return nil, nil }

func (m *memory) SaveRef(_ context.Context, ev event.Event, r Ref) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refs[ev.RepositoryKey()] = r
	return nil
}
