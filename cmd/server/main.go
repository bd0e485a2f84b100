// Command gatewright turns a push or a merge request into a code check, and a
// passed check into a release, by rules in YAML. This package is the only place
// that knows how the others are put together.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// version is set when a release is built:
// -ldflags "-X main.version=v1.2.3".
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], environment{
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, LookupEnv: os.LookupEnv,
	})
	stop()
	os.Exit(code)
}
