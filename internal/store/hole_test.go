package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/storetest"
)

// TestAnAnswerThatNeverComes holds that a transaction ends when its context does,
// also when the connection swallows every answer and stays open: it must not keep
// its worker, nor its place in the pool, until the network notices.
func TestAnAnswerThatNeverComes(t *testing.T) {
	dsn := storetest.Postgres(t)
	var hole atomic.Bool
	address, breakOff := through(t, dsn, &hole)
	s, err := store.Open(t.Context(), store.Options{Postgres: dsn + address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	refused := errors.New("refused")
	returned := make(chan error, 1)
	go func() {
		returned <- s.Update(ctx, func(*store.Tx) error {
			hole.Store(true)
			time.AfterFunc(time.Second, cancel)
			return refused
		})
	}()
	select {
	case err := <-returned:
		if !errors.Is(err, refused) {
			t.Errorf("error %v, want the function's own", err)
		}
	case <-time.After(time.Minute):
		breakOff()
		t.Fatal("the transaction has not ended")
	}
	hole.Store(false)
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("the store does not recover: %v", err)
	}
}

// through passes connections on to the server of dsn, and returns what makes a
// connection string use it, and what breaks the connections off. While hole is set
// the server's answers are dropped.
func through(t *testing.T, dsn string, hole *atomic.Bool) (address string, breakOff func()) {
	t.Helper()
	settings, err := pgx.ParseConfig(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	broken, breakOff := context.WithCancel(context.Background())
	t.Cleanup(breakOff)
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", net.JoinHostPort(settings.Host, fmt.Sprint(settings.Port)))
			if err != nil {
				client.Close()
				continue
			}
			context.AfterFunc(broken, func() { client.Close(); server.Close() })
			go func() {
				defer server.Close()
				_, _ = io.Copy(server, client)
			}()
			go func() {
				defer client.Close()
				answer := make([]byte, 64<<10)
				for {
					n, err := server.Read(answer)
					if err != nil {
						return
					}
					if !hole.Load() {
						_, _ = client.Write(answer[:n])
					}
				}
			}()
		}
	}()
	return fmt.Sprintf(" host=127.0.0.1 port=%d", l.Addr().(*net.TCPAddr).Port), breakOff
}
