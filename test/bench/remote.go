package main

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

// emptyCheck stands for CodeArts Check where the server is measured and not the
// service: it keeps nothing and scans nothing. It lists no task, creates each one that
// it is asked for, and every execution has already passed. It answers after a delay.
type emptyCheck struct {
	*http.ServeMux
	delay            time.Duration
	created, started atomic.Int64
}

func newEmptyCheck(delay time.Duration) *emptyCheck {
	c := &emptyCheck{ServeMux: http.NewServeMux(), delay: delay}
	c.answer("GET /v2/{project}/tasks", func() string { return `{"tasks": [], "total": 0}` })
	c.answer("POST /v3/task", func() string {
		return fmt.Sprintf(`{"status": "success", "result": {"id": "%032x"}}`, c.created.Add(1))
	})
	c.answer("POST /v2/tasks/{task}/run", func() string { return fmt.Sprintf(`{"exec_id": "%032x"}`, c.started.Add(1)) })
	c.answer("GET /v2/tasks/{task}/progress", func() string { return `{"task_status": 2}` })
	c.answer("GET /v2/tasks/{task}/defects-summary", func() string {
		return `{"critical_count": 0, "major_count": 0, "minor_count": 0, "suggestion_count": 0, "is_access": "1"}`
	})
	return c
}

func (c *emptyCheck) answer(pattern string, body func() string) {
	c.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(c.delay)
		w.Header().Set("Content-Type", "application/json")
		// A caller that has gone needs no answer.
		_, _ = w.Write([]byte(body()))
	})
}
