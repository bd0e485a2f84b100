package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/gatewright/gatewright/test/harness"
)

// weight measures the size of the program, how long it takes from its start on a
// fresh database until it is ready, and its memory when it has nothing to do.
func (m *measurer) weight(ctx context.Context) error {
	info, err := os.Stat(m.binary)
	if err != nil {
		return err
	}
	m.add("binary_size", float64(info.Size())/1e6, "MB")
	for range m.rounds {
		for _, database := range m.databases {
			if err := m.start(ctx, database); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *measurer) start(ctx context.Context, database string) error {
	b, err := harness.New(ctx, harness.Options{Database: database, Binary: m.binary, Repositories: 1, Rules: unconcerned})
	if err != nil {
		return err
	}
	began := time.Now()
	server, err := b.StartServer(ctx)
	if err == nil {
		m.addTime("start_to_ready_ms_"+database, time.Since(began))
		time.Sleep(m.sizes.idling)
		err = m.memory(ctx, "idle_memory_"+database, server)
	}
	return errors.Join(err, b.Close())
}

// memory notes the memory of a server.
func (m *measurer) memory(ctx context.Context, name string, server *harness.Server) error {
	figures, err := server.Usage(ctx)
	if err != nil {
		return err
	}
	for _, f := range figures {
		if f.Name == "memory" {
			m.add(name, float64(f.Value)/(1<<20), "MiB")
		}
	}
	return nil
}
