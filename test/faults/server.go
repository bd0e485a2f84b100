package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// server is a `gatewright serve` in a process of its own.
type server struct {
	binary, folder string
	// addr is for webhooks, private for health.
	addr, private string
	// environment holds its secrets.
	environment []string

	command *exec.Cmd
	log     *os.File
	// ended is closed when the process is gone; err says how.
	ended chan struct{}
	err   error
}

// readyTimeout bounds a start, stopTimeout a stop.
const (
	readyTimeout = 30 * time.Second
	stopTimeout  = 30 * time.Second
)

// start starts the process with a configuration and waits until it is ready.
func (s *server) start(ctx context.Context, configuration string) error {
	file := filepath.Join(s.folder, "gatewright.yaml")
	if err := os.WriteFile(file, []byte(configuration), 0o600); err != nil {
		return fmt.Errorf("write server file: %w", err)
	}
	var err error
	if s.log, err = os.OpenFile(s.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return fmt.Errorf("open log of the server: %w", err)
	}
	s.command = exec.Command(s.binary, "serve", "--config", file)
	s.command.Env = append(os.Environ(), s.environment...)
	s.command.Dir, s.command.Stdout, s.command.Stderr = s.folder, s.log, s.log
	// An interrupt from the terminal is ours: we stop it when we are done.
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.command.Start(); err != nil {
		return errors.Join(fmt.Errorf("start server: %w", err), s.log.Close())
	}
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		s.err = s.command.Wait()
	}()
	return s.ready(ctx)
}

func (s *server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for {
		if response, err := client.Get("http://" + s.private + "/readyz"); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := s.pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("wait until the server is ready: %w", err)
		}
	}
}

// pause waits for d. It fails when ctx ends first, or the server.
func (s *server) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
		return fmt.Errorf("the server ended by itself (%v); see %s", s.err, s.logPath())
	}
}

// stop ends the process as an operator would, and kills it when that does not work,
// which is an error.
func (s *server) stop() error {
	if s.command == nil || s.command.Process == nil {
		return nil
	}
	err := s.command.Process.Signal(syscall.SIGTERM)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.ended:
		err = errors.Join(err, s.err)
	case <-timer.C:
		err = errors.Join(err, fmt.Errorf("the server did not stop within %s", stopTimeout), s.command.Process.Kill())
		<-s.ended
	}
	s.command = nil
	if err = errors.Join(err, s.log.Close()); err != nil {
		return fmt.Errorf("stop server: %w; see %s", err, s.logPath())
	}
	return nil
}

func (s *server) logPath() string { return filepath.Join(s.folder, "gatewright.log") }

// warnings counts the lines of warnings and errors in its log from an offset on,
// and returns the offset of its end.
func (s *server) warnings(offset int64) (count int, end int64, err error) {
	file, err := os.Open(s.logPath())
	if err != nil {
		return 0, 0, err
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0, 0, err
	}
	lines := bufio.NewReader(file)
	for end = offset; ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return count, end, nil
		} else if err != nil {
			return 0, 0, err
		}
		end += int64(len(line))
		if bytes.Contains(line, []byte(`"level":"warn"`)) || bytes.Contains(line, []byte(`"level":"error"`)) {
			count++
		}
	}
}
