package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// usage is what was used of the processors up to a time: by the server in seconds, and
// of the whole machine in the kernel's ticks, of which busy were not idle.
type usage struct {
	at          time.Time
	server      float64
	busy, total float64
}

func readUsage(ctx context.Context, addr string) (u usage, err error) {
	if u.server, err = metric(ctx, addr, cpuSeconds); err != nil {
		return usage{}, err
	}
	u.at = time.Now()
	u.busy, u.total, err = readTicks()
	return u, err
}

// readTicks reads Linux's count of all processors: user, nice, system, idle, iowait,
// irq, softirq and steal.
func readTicks() (busy, total float64, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read processor usage: %w", err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	words := strings.Fields(line)
	if len(words) < 9 || words[0] != "cpu" {
		return 0, 0, fmt.Errorf("read processor usage: /proc/stat begins with %q", line)
	}
	const idle, iowait = 3, 4
	for i, word := range words[1:9] {
		ticks, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("read processor usage: %w", err)
		}
		total += ticks
		if i != idle && i != iowait {
			busy += ticks
		}
	}
	return busy, total, nil
}

// since is the share of all processors that was busy between two readings, and how
// many of them the server had on average. busy is zero when no tick has passed.
func (u usage) since(before usage) (busy, cores float64) {
	if u.total > before.total {
		busy = (u.busy - before.busy) / (u.total - before.total)
	}
	return busy, (u.server - before.server) / u.at.Sub(before.at).Seconds()
}

// syncTime is the median time of appending a page to a file and syncing it, in the
// folder where the databases are: the least that a commit takes.
func syncTime() (median time.Duration, err error) {
	file, err := os.CreateTemp("", "gatewright-bench-*.sync")
	if err != nil {
		return 0, fmt.Errorf("time sync: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	var took [51]time.Duration
	page := make([]byte, 4096)
	for i := range took {
		began := time.Now()
		if _, err := file.Write(page); err != nil {
			return 0, fmt.Errorf("time sync: %w", err)
		}
		if err := file.Sync(); err != nil {
			return 0, fmt.Errorf("time sync: %w", err)
		}
		took[i] = time.Since(began)
	}
	slices.Sort(took[:])
	return took[len(took)/2], nil
}
