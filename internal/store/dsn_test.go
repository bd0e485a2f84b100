package store_test

import (
	"testing"

	"github.com/gatewright/gatewright/internal/store"
)

func TestUnencrypted(t *testing.T) {
	for dsn, want := range map[string]bool{
		"postgres://gw:pw@db.example.com:5432/gw?sslmode=disable":      true,
		"host=10.0.0.5 user=gw dbname=gw sslmode=disable":              true,
		"postgres://gw:pw@127.0.0.1,db.example.com/gw?sslmode=disable": true,
		"postgres://gw:pw@db.example.com:5432/gw?sslmode=require":      false,
		"postgres://gw:pw@db.example.com:5432/gw":                      false,
		"postgres://gw:pw@localhost:5432/gw?sslmode=disable":           false,
		"postgres://gw:pw@[::1]:5432/gw?sslmode=disable":               false,
		"host=/var/run/postgresql dbname=gw sslmode=disable":           false,
		"not a connection string":                                      false,
	} {
		if got := store.Unencrypted(dsn); got != want {
			t.Errorf("%q: %t, want %t", dsn, got, want)
		}
	}
}

func TestName(t *testing.T) {
	for want, options := range map[string]store.Options{
		"sqlite /data/gatewright.db":      {SQLite: "/data/gatewright.db"},
		"postgres db.example.com:6432/gw": {Postgres: "postgres://user:hunter2@db.example.com:6432/gw?sslmode=require"},
		"postgres [::1]:5432/gw":          {Postgres: "host=::1 user=user password=hunter2 dbname=gw"},
		"postgres":                        {Postgres: "postgres://user:hunter2@host:port/"},
	} {
		if got := options.Name(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
