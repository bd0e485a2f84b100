package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Server is one process of `gatewright serve`.
type Server struct {
	command *exec.Cmd
	// private is the URL of its health and metrics.
	private string
	// exited is closed when the process is gone; err says how it ended.
	exited chan struct{}
	err    error
}

// readyWithin bounds the time from the start of a process until it is ready.
const readyWithin = 30 * time.Second

// StartServer starts the first replica, or the only one; see StartReplica.
func (b *Bench) StartServer(ctx context.Context) (*Server, error) { return b.StartReplica(ctx, 0) }

// StartReplica starts one of Options.Replicas, counted from 0, and waits until it is
// ready. It must not run already.
func (b *Bench) StartReplica(ctx context.Context, i int) (*Server, error) {
	log, err := os.OpenFile(b.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	defer log.Close()
	command := exec.Command(b.opts.Binary, "serve", "--config", b.serverFile(i))
	command.Stderr = log
	command.Env = b.environment()
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("start server: %w", err)
	}
	s := &Server{command: command, private: "http://" + b.privateAddrs[i], exited: make(chan struct{})}
	go func() {
		s.err = command.Wait()
		close(s.exited)
	}()
	b.servers[i] = s
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start server: %w", err), s.Kill())
	}
	return s, nil
}

// ready waits until the server says that it takes webhooks.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for {
		if body, err := get(ctx, s.private+"/readyz"); err == nil {
			return body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", ctx.Err())
		case <-s.exited:
			return fmt.Errorf("it ended at once: %w", s.err)
		case <-ticker.C:
		}
	}
}

// Kill ends the process as a crash does, with SIGKILL, and waits until it is gone.
// A process that is gone already is not an error.
func (s *Server) Kill() error {
	if err := s.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill server: %w", err)
	}
	<-s.exited
	return nil
}

// Exited is closed when the process is gone.
func (s *Server) Exited() <-chan struct{} { return s.exited }

// Gone reports whether the process has ended.
func (s *Server) Gone() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// Stop ends the process as an operator does, with SIGTERM, and expects exit code 0.
func (s *Server) Stop() error {
	if err := s.command.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop server: %w", err)
	}
	<-s.exited
	if s.err != nil {
		return fmt.Errorf("stop server: %w", s.err)
	}
	return nil
}

// Usage is what the process holds: resident memory in bytes, goroutines, and open
// files. It is read from the server's own metrics.
func (s *Server) Usage(ctx context.Context) ([]Figure, error) {
	figures := []Figure{
		{Name: "process_resident_memory_bytes", Unit: "bytes"},
		{Name: "go_goroutines", Unit: "goroutines"},
		{Name: "process_open_fds", Unit: "files"},
	}
	metrics, err := get(ctx, s.private+"/metrics")
	if err != nil {
		return nil, err
	}
	defer metrics.Close()
	found := 0
	for lines := bufio.NewScanner(metrics); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), " ")
		for i := range figures {
			if figures[i].Name != name {
				continue
			}
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return nil, fmt.Errorf("read metric %s: %w", name, err)
			}
			figures[i].Value = int64(value)
			found++
		}
	}
	if found != len(figures) {
		return nil, fmt.Errorf("read metrics: %d of %d found", found, len(figures))
	}
	for i, name := range []string{"memory", "goroutines", "open_files"} {
		figures[i].Name = name
	}
	return figures, nil
}

// get asks for a page and returns its body; any status but 200 is an error. The
// connection is not kept, so that looking leaves nothing behind.
func get(ctx context.Context, url string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("get %s: %s", request.URL.Path, response.Status), response.Body.Close())
	}
	return response.Body, nil
}
