package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// proxy passes connections on to one address, and can be made to go wrong.
type proxy struct{ *toxiproxy.Proxy }

// startProxy listens on a free loopback port for connections to upstream.
func startProxy(name, upstream string) (proxy, error) {
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy also logs past the logger that it is given
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)
	if err := p.Start(); err != nil {
		return proxy{}, fmt.Errorf("start proxy %q: %w", name, err)
	}
	return proxy{p}, nil
}

// spoil makes the connections go wrong, those that are there and those that come.
func (p proxy) spoil(l line) error {
	if l.closed {
		p.Stop()
	}
	for _, t := range l.toxics {
		text, err := json.Marshal(t)
		if err != nil {
			return fmt.Errorf("add toxic %q: %w", t.Type, err)
		}
		if _, err := p.Toxics.AddToxicJson(bytes.NewReader(text)); err != nil {
			return fmt.Errorf("add toxic %q: %w", t.Type, err)
		}
	}
	return nil
}

// mend makes them work again.
func (p proxy) mend(ctx context.Context) error {
	p.Toxics.ResetToxics(ctx)
	if p.Enabled {
		return nil
	}
	if err := p.Start(); err != nil {
		return fmt.Errorf("start proxy %q: %w", p.Name, err)
	}
	return nil
}
