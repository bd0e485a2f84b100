package release

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// snapshot is what a service said of a pipeline and its executions.
type snapshot struct {
	// byExecution says that the service shows each execution by itself and takes actions
	// for an execution: then it is of no importance whether a newer one came.
	byExecution bool
	// listed says that the project's list has the pipeline; pipelines is the
	// length of that list.
	listed    bool
	pipelines int
	pipeline  pipeline
	records   []record
}

// newest returns the latest execution; false when the records show none.
func (v snapshot) newest() (record, bool) {
	if len(v.records) == 0 {
		return record{}, false
	}
	return slices.MaxFunc(v.records, compareAge), true
}

// find returns the execution with this id.
func (v snapshot) find(id string) (record, bool) {
	i := slices.IndexFunc(v.records, func(r record) bool { return string(r.ID) == id })
	if i < 0 {
		return record{}, false
	}
	return v.records[i], true
}

// latest returns the newest of the executions with these ids that the records show; the
// first id when they show none.
func (v snapshot) latest(ids []string) string {
	found := ids[0]
	ours, seen := v.find(found)
	for _, id := range ids[1:] {
		if r, shown := v.find(id); shown && (!seen || compareAge(r, ours) > 0) {
			found, ours, seen = id, r, true
		}
	}
	return found
}

// newerThan returns the newest execution when it came after those with these ids, at least
// one; false when it did not.
func (v snapshot) newerThan(ids ...string) (record, bool) {
	newest, ok := v.newest()
	if !ok || slices.Contains(ids, string(newest.ID)) {
		return record{}, false
	}
	id := v.latest(ids)
	if ours, seen := v.find(id); seen {
		return newest, compareAge(newest, ours) > 0
	}
	return newest, compareAge(newest, record{ID: text(id)}) > 0
}

// actsOn reports whether an action would be taken on an execution with one of these ids.
func (v snapshot) actsOn(ids []string) bool {
	if v.byExecution {
		_, shown := v.find(v.latest(ids))
		return shown
	}
	newest, _ := v.newest()
	return slices.Contains(ids, string(newest.ID))
}

// status is where the execution with this id stands. Its record knows best.
// Otherwise it is the pipeline's status, which is that of the last execution: so
// only while none came after ours. Right after our start it may still be that of
// the execution before; an end counts only when listCurrent says that it is not.
func (v snapshot) status(id string, listCurrent bool) Status {
	ours, seen := v.find(id)
	if seen && ours.Status != StatusNone {
		return ours.Status
	}
	if _, newer := v.newerThan(id); newer || !v.listed || v.byExecution {
		return StatusNone
	}
	if s := v.pipeline.Status; seen || listCurrent || !s.Ended() {
		return s
	}
	return StatusNone
}

// executionsSince returns the executions that are newer than the newest one of
// intent.
func (v snapshot) executionsSince(intent Intent) []record {
	if intent.LastExecutionID == "" {
		return slices.Clone(v.records)
	}
	last, shown := v.find(intent.LastExecutionID)
	if !shown {
		last = record{ID: text(intent.LastExecutionID), TriggerAt: millis(intent.LastTriggerAt)}
	}
	var newer []record
	for _, r := range v.records {
		if compareAge(r, last) > 0 {
			newer = append(newer, r)
		}
	}
	return newer
}

// begunBy returns the executions that the start with this intent may have begun.
func (v snapshot) begunBy(intent Intent) []record {
	return slices.DeleteFunc(v.executionsSince(intent), func(e record) bool { return slices.Contains(intent.Taken, string(e.ID)) })
}

// compareAge orders executions by age, the older first: by number where the service numbers
// them, by id where both are numbers, because the service counts them up, else by the time of
// their start. Those that cannot be told apart compare as equal.
func compareAge(a, b record) int {
	if a.Number > 0 && b.Number > 0 {
		return cmp.Compare(a.Number, b.Number)
	}
	if numeric(a.ID) && numeric(b.ID) {
		x, y := strings.TrimLeft(string(a.ID), "0"), strings.TrimLeft(string(b.ID), "0")
		if len(x) != len(y) {
			return len(x) - len(y)
		}
		return strings.Compare(x, y)
	}
	if a.triggeredAt() == 0 || b.triggeredAt() == 0 || a.ID == b.ID {
		return 0
	}
	return int(min(1, max(-1, a.triggeredAt()-b.triggeredAt())))
}

func numeric(id text) bool {
	return id != "" && strings.Trim(string(id), "0123456789") == ""
}

// startedWithin reports whether an execution may have been started by a request
// that was sent at sent: its time of start, where the service tells it, is at most
// d away.
func startedWithin(r record, sent time.Time, d time.Duration) bool {
	at := r.triggeredAt()
	return at == 0 || time.UnixMilli(at).Sub(sent).Abs() <= d
}

// describe names an execution and where it stands.
func describe(r record) string {
	if r.Status == StatusNone {
		return fmt.Sprintf("execution %s", r.ID)
	}
	return fmt.Sprintf("execution %s: %s", r.ID, r.Status)
}
