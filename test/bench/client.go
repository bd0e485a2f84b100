package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/webhook"
)

// connection is what all deliveries come over.
func connection(secret string) webhook.Connection {
	return webhook.Connection{Name: "github", Host: event.GitHub, Secrets: []string{secret}}
}

// delivery is a signed request, but for its delivery id.
type delivery struct {
	head []byte
	body []byte
}

// sign makes a delivery of a body.
func sign(secret, eventName string, body []byte) (delivery, error) {
	header := http.Header{"Content-Type": {"application/json"}, "X-Github-Event": {eventName}}
	body, err := webhook.Sign(connection(secret), header, body, time.Now())
	if err != nil {
		return delivery{}, err
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "POST /webhooks/github HTTP/1.1\r\nHost: gatewright\r\nUser-Agent: GitHub-Hookshot/bench\r\nContent-Length: %d\r\n", len(body))
	// Writing into memory does not fail.
	_ = header.Write(&head)
	return delivery{head: head.Bytes(), body: body}, nil
}

// client sends deliveries on one connection that is kept. It is written by hand
// because the sender shares the cores with what is measured.
type client struct {
	conn   net.Conn
	reader *bufio.Reader
	random *rand.Rand
	buffer []byte
}

func dial(ctx context.Context, addr string) (*client, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{conn: conn, reader: bufio.NewReader(conn), random: rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))}, nil
}

func (c *client) close() { _ = c.conn.Close() }

// send posts a delivery under a new delivery id and returns the answer's status and
// body.
func (c *client) send(d delivery) (status int, answer []byte, err error) {
	c.buffer = append(c.buffer[:0], d.head...)
	c.buffer = fmt.Appendf(c.buffer, "X-GitHub-Delivery: %016x%016x\r\n\r\n", c.random.Uint64(), c.random.Uint64())
	c.buffer = append(c.buffer, d.body...)
	if _, err := c.conn.Write(c.buffer); err != nil {
		return 0, nil, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// errRefused is an answer other than 202.
var errRefused = errors.New("not accepted")

// accepted posts a delivery that is to be accepted.
func (c *client) accepted(d delivery) error {
	status, answer, err := c.send(d)
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("%w: %d %s", errRefused, status, answer)
	}
	if err != nil {
		return fmt.Errorf("send delivery: %w", err)
	}
	return nil
}

// closed sends on a number of connections, on each one after the other, for a time,
// and returns how many were accepted, and how long it took until the last answer.
func closed(ctx context.Context, addr string, connections int, deliveries []delivery, duration time.Duration) (number float64, took time.Duration, err error) {
	var accepted, next atomic.Int64
	began := time.Now()
	until := began.Add(duration)
	err = each(ctx, addr, connections, func(c *client) error {
		for time.Now().Before(until) && ctx.Err() == nil {
			if err := c.accepted(deliveries[int(next.Add(1))%len(deliveries)]); err != nil {
				return err
			}
			accepted.Add(1)
		}
		return ctx.Err()
	})
	return float64(accepted.Load()), time.Since(began), err
}

// open sends a number of deliveries at a rate, whether or not answers come, as long as
// a connection is free, and returns how long after its time each was answered. make
// makes the delivery of a number from 0 on; it is called by several at once.
func open(ctx context.Context, addr string, connections int, rate float64, number int, make func(int) (delivery, error)) (took []time.Duration, err error) {
	var mu sync.Mutex
	var next atomic.Int64
	began := time.Now()
	err = each(ctx, addr, connections, func(c *client) error {
		var mine []time.Duration
		for ctx.Err() == nil {
			n := int(next.Add(1) - 1)
			if n >= number {
				break
			}
			d, err := make(n)
			if err != nil {
				return err
			}
			due := began.Add(time.Duration(float64(n) / rate * float64(time.Second)))
			time.Sleep(time.Until(due))
			if err := c.accepted(d); err != nil {
				return err
			}
			mine = append(mine, time.Since(due))
		}
		mu.Lock()
		defer mu.Unlock()
		took = append(took, mine...)
		return ctx.Err()
	})
	return took, err
}

// each runs fn on a number of connections at once.
func each(ctx context.Context, addr string, connections int, fn func(*client) error) error {
	errs := make([]error, connections)
	var running sync.WaitGroup
	for i := range connections {
		c, err := dial(ctx, addr)
		if err != nil {
			errs[i] = err
			continue
		}
		running.Go(func() {
			defer c.close()
			// What waits for an answer stops waiting when ctx is done.
			defer context.AfterFunc(ctx, c.close)()
			errs[i] = fn(c)
		})
	}
	running.Wait()
	return errors.Join(errs...)
}

// percentile is the value that a share p of the list does not exceed.
func percentile(list []time.Duration, p float64) time.Duration {
	if len(list) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}
