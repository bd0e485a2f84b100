package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
)

// quickCheck stands for CodeArts Check where the server is measured and not the
// service: it answers at once, keeps nothing and scans nothing. It lists no task,
// creates each one that it is asked for, and every execution has already passed.
type quickCheck struct {
	*http.ServeMux
	created, started atomic.Int64
}

func newQuickCheck() *quickCheck {
	q := &quickCheck{ServeMux: http.NewServeMux()}
	q.answer("GET /v2/{project}/tasks", func() string { return `{"tasks": [], "total": 0}` })
	q.answer("POST /v3/task", func() string {
		return fmt.Sprintf(`{"status": "success", "result": {"id": "%032x"}}`, q.created.Add(1))
	})
	q.answer("POST /v2/tasks/{task}/run", func() string { return fmt.Sprintf(`{"exec_id": "%032x"}`, q.started.Add(1)) })
	q.answer("GET /v2/tasks/{task}/progress", func() string { return `{"task_status": 2}` })
	q.answer("GET /v2/tasks/{task}/defects-summary", func() string {
		return `{"critical_count": 0, "major_count": 0, "minor_count": 0, "suggestion_count": 0, "is_access": "1"}`
	})
	return q
}

func (q *quickCheck) answer(pattern string, body func() string) {
	q.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// A caller that has gone needs no answer.
		_, _ = w.Write([]byte(body()))
	})
}
