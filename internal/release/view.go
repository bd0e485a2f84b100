package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// view is what one look at a pipeline shows.
type view struct {
	// listed says that the project's list has the pipeline; pipelines is the
	// length of that list.
	listed    bool
	pipelines int
	pipeline  pipeline
	records   []record
}

// look reads the records and then the list, so that an execution that starts in
// between shows in the pipeline's status.
func look(ctx context.Context, s service, id string) (view, error) {
	records, err := s.records(ctx, id)
	if err != nil {
		return view{}, err
	}
	pipelines, err := s.list(ctx)
	if err != nil {
		return view{}, err
	}
	v := view{records: records, pipelines: len(pipelines)}
	for _, p := range pipelines {
		if string(p.ID) == id {
			v.listed, v.pipeline = true, p
		}
	}
	return v, nil
}

// newest returns the latest execution; false when the records show none.
func (v view) newest() (record, bool) {
	if len(v.records) == 0 {
		return record{}, false
	}
	return slices.MaxFunc(v.records, compare), true
}

// find returns the execution with this id.
func (v view) find(id string) (record, bool) {
	i := slices.IndexFunc(v.records, func(r record) bool { return string(r.ID) == id })
	if i < 0 {
		return record{}, false
	}
	return v.records[i], true
}

// overtaken returns the execution that came after the one with this id; false
// when there is none.
func (v view) overtaken(id string) (record, bool) {
	newest, ok := v.newest()
	if !ok || string(newest.ID) == id {
		return record{}, false
	}
	if ours, seen := v.find(id); seen {
		return newest, compare(newest, ours) > 0
	}
	return newest, compare(newest, record{ID: text(id)}) > 0
}

// status is where the execution with this id stands. Its record knows best. The
// pipeline's status is that of its last execution, and is used for want of a
// better one only while none came after ours, and right after the start, when it
// may still be that of the execution before, as an end only when fresh says that
// it cannot be.
func (v view) status(id string, fresh bool) Status {
	ours, seen := v.find(id)
	if seen && ours.Status != StatusNone {
		return ours.Status
	}
	if _, over := v.overtaken(id); over || !v.listed {
		return StatusNone
	}
	if s := v.pipeline.Status; seen || fresh || !s.Ended() {
		return s
	}
	return StatusNone
}

// since returns the executions that are newer than the newest one of intent.
func (v view) since(intent Intent) []record {
	var newer []record
	for _, r := range v.records {
		last := record{ID: text(intent.LastExecutionID), TriggerAt: millis(intent.LastTriggerAt)}
		if known, ok := v.find(intent.LastExecutionID); ok {
			last = known
		}
		if intent.LastExecutionID == "" || compare(r, last) > 0 {
			newer = append(newer, r)
		}
	}
	return newer
}

// compare orders executions by age, the older first: by id where both are
// numbers, because the service counts them up, else by the time of their start.
// Those that cannot be told apart compare as equal.
func compare(a, b record) int {
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

// near reports whether an execution may have been started by a request that was
// sent at sent: its time of start, where the service tells it, is at most d away.
func near(r record, sent time.Time, d time.Duration) bool {
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
