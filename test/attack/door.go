package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/internal/event"
)

// doors are the attacks of strangers, who have no secret at all, on what the endpoint
// has to share out; and of one who has a secret and sends what is too large.
func doors() []attack {
	return []attack{
		{"three strangers that announce 25 MiB and keep back a byte", slowBodies},
		{"strangers that ask and never read the answers", neverRead},
		{"a branch name of 24 MiB", hugeBranch},
		{"bodies of 24 MiB that are the most to decode, four at once", heavyBodies},
		{"thousands of requests to connections that do not exist", flood},
		{"questions about the configuration", questions},
	}
}

// stranger opens a socket to the server from a loopback address of its own.
func (t *target) stranger(ctx context.Context, number int) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+number))}}
	return dialer.DialContext(ctx, "tcp", t.bench.Addrs()[0])
}

// served sends genuine deliveries one after another and returns how many of a hundred
// were accepted.
func (t *target) served(ctx context.Context) (accepted int, err error) {
	r := t.repository("github")
	before := t.commit()
	for range 100 {
		after := t.commit()
		name, payload := push(r, "unchecked", before, after)
		request, err := t.sign(r.Connection, event.GitHub, name, payload)
		if err != nil {
			return 0, err
		}
		status, _, err := t.send(ctx, request)
		if err == nil && status == http.StatusAccepted {
			accepted++
		}
		before = after
	}
	return accepted, ctx.Err()
}

// fewest of a hundred genuine deliveries must be accepted under an attack.
const fewest = 99

func slowBodies(ctx context.Context, t *target) (broken string, err error) {
	const size = 25 << 20
	var sent atomic.Int32
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for i := range 3 {
		c, err := t.stranger(ctx, i)
		if err != nil {
			return "", err
		}
		defer c.Close()
		go func() {
			defer sent.Add(1)
			fmt.Fprintf(c, "POST /webhooks/github HTTP/1.1\r\nHost: gatewright\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Delivery: %d\r\nX-Hub-Signature-256: sha256=%064x\r\nContent-Length: %d\r\n\r\n", i, i, size)
			for range size/len(chunk) - 1 {
				if _, err := c.Write(chunk); err != nil {
					return // it was cut off, which is what should happen
				}
			}
			_, _ = c.Write(chunk[1:]) // all but a byte
		}()
	}
	for start := time.Now(); sent.Load() < 3 && time.Since(start) < 5*time.Second; time.Sleep(10 * time.Millisecond) {
	}
	return t.enough(ctx)
}

// enough says how many genuine deliveries were accepted, when they are too few.
func (t *target) enough(ctx context.Context) (broken string, err error) {
	accepted, err := t.served(ctx)
	if err != nil || accepted >= fewest {
		return "", err
	}
	return fmt.Sprintf("meanwhile %d of 100 genuine deliveries were accepted", accepted), nil
}

func neverRead(ctx context.Context, t *target) (broken string, err error) {
	for i := range 6 {
		c, err := t.stranger(ctx, i)
		if err != nil {
			return "", err
		}
		defer c.Close()
		go func() {
			line := strings.Repeat("GET /metrics HTTP/1.1\r\nHost: gatewright\r\n\r\n", 100)
			for range 1000 {
				if _, err := io.WriteString(c, line); err != nil {
					return
				}
			}
		}()
	}
	return t.enough(ctx)
}

// memoryLimit is what the shipped manifests give the container.
const memoryLimit = 512 << 20

func hugeBranch(ctx context.Context, t *target) (broken string, err error) {
	r := t.repository("github")
	name, payload := push(r, strings.Repeat("b", 24<<20), none, t.commit())
	request, err := t.sign(r.Connection, event.GitHub, name, payload)
	if err != nil {
		return "", err
	}
	peak := t.watchMemory(ctx)
	o, err := t.ends(ctx, request)
	broken = tooMuch(peak())
	switch {
	case err != nil:
		return "", err
	case !o.idle() || o.delivery.State != event.DeliveryFailed:
		return fmt.Sprintf("it came to: %.300s", o), nil
	case broken != "":
		return broken, nil
	}
	return t.genuine(ctx, r)
}

// watchMemory watches the memory of the server until peak is called, which returns the
// most that was seen, in bytes.
func (t *target) watchMemory(ctx context.Context) (peak func() int64) {
	most := int64(0)
	done, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		ticker := time.NewTicker(50 * time.Millisecond)
		defer ticker.Stop()
		for {
			if figures, err := t.server.Usage(ctx); err == nil {
				most = max(most, figures[0].Value)
			}
			select {
			case <-done:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() int64 {
		close(done)
		<-watched
		return most
	}
}

// tooMuch says by how much memory a server went over the limit; empty when it did not.
func tooMuch(peak int64) string {
	if peak <= memoryLimit {
		return ""
	}
	return fmt.Sprintf("the memory reached %d MiB of %d", peak>>20, memoryLimit>>20)
}

// heavyBodies sends signed bodies of some 24 MiB each in which there is as much as can be to
// allocate: numbers, nested lists, members, labels, commits, and text that is all escapes.
func heavyBodies(ctx context.Context, t *target) (broken string, err error) {
	const size = 24 << 20
	fill := func(part string) json.RawMessage {
		return json.RawMessage("[" + strings.Repeat(part+",", size/(len(part)+1)-1) + part + "]")
	}
	var members strings.Builder
	members.WriteByte('{')
	for i := 0; members.Len() < size; i++ {
		fmt.Fprintf(&members, `"%x":0,`, i)
	}
	members.WriteString(`"":0}`)
	const depth = size / 2
	r := t.repository("github")
	peak := t.watchMemory(ctx)
	for _, extra := range []fields{
		{"filler": fill("0")},
		{"filler": fill("[[]]")},
		{"filler": fill(`{"a":{}}`)},
		{"filler": json.RawMessage(members.String())},
		{"filler": "nested"},
		{"commits": fill(`{"id":"c","message":"m","added":["a"],"removed":[],"modified":[]}`)},
		{"commits": json.RawMessage(`[{"id":"c","message":"` + strings.Repeat(`\u4e2d`, size/6) + `"}]`)},
		{"pusher": fields{"name": json.RawMessage(`"` + strings.Repeat(`\u0000`, size/6) + `"`)}},
	} {
		name, payload := push(r, "main", none, t.commit())
		maps.Copy(payload, extra)
		request, err := t.sign(r.Connection, event.GitHub, name, payload)
		if extra["filler"] == "nested" && err == nil {
			// The encoder does not nest that deep.
			request.body = bytes.Replace(request.body, []byte(`"nested"`), append(bytes.Repeat([]byte("["), depth), bytes.Repeat([]byte("]"), depth)...), 1)
			request, err = t.resign(request, event.GitHub)
		}
		if err != nil {
			return "", err
		}
		var sending sync.WaitGroup
		for i := range 4 {
			again := request
			again.header = request.header.Clone()
			again.header.Set("X-GitHub-Delivery", fmt.Sprintf("%s-%d", request.header.Get("X-GitHub-Delivery"), i))
			// Any answer is allowed here, and that the connection is closed.
			sending.Go(func() { _, _, _ = t.send(ctx, again) })
		}
		sending.Wait()
	}
	if err := t.settle(ctx); err != nil {
		return "", err
	}
	if broken := tooMuch(peak()); broken != "" {
		return broken, nil
	}
	return t.genuine(ctx, t.repository("github"))
}

func flood(ctx context.Context, t *target) (broken string, err error) {
	before, err := t.bench.LogLines()
	if err != nil {
		return "", err
	}
	const requests = 5000
	for i := range requests {
		status, _, err := t.send(ctx, request{connection: fmt.Sprintf("nobody-%d", i), header: http.Header{}, body: []byte("{}")})
		if err != nil {
			return "", err
		}
		if status != http.StatusNotFound {
			return fmt.Sprintf("it was answered %d, want 404", status), nil
		}
	}
	after, err := t.bench.LogLines()
	if err != nil {
		return "", err
	}
	if lines := after - before; lines == 0 || lines > requests/10 {
		return fmt.Sprintf("%d requests made %d log lines", requests, lines), nil
	}
	return t.enough(ctx)
}

// questions: what is configured cannot be asked for.
func questions(ctx context.Context, t *target) (broken string, err error) {
	for _, path := range []string{"/metrics", "/debug/pprof/", "/readyz", "/healthz", "/", "/webhooks/", "/webhooks/../metrics", "/webhooks/nobody", "/webhooks/gitlab", "/webhooks/github"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			ask, err := http.NewRequestWithContext(ctx, method, t.url()+path, nil)
			if err != nil {
				return "", err
			}
			answer, err := t.client.Do(ask)
			if err != nil {
				return "", err
			}
			text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
			answer.Body.Close()
			if err != nil {
				return "", err
			}
			if answer.StatusCode < 400 {
				return fmt.Sprintf("%s %s was answered %d", method, path, answer.StatusCode), nil
			}
			for _, word := range []string{"github", "gitlab", "gitee", "gitea", "PROOF_"} {
				if bytes.Contains(bytes.ToLower(text), []byte(strings.ToLower(word))) {
					return fmt.Sprintf("%s %s was answered %s", method, path, text), nil
				}
			}
		}
	}
	return "", nil
}
