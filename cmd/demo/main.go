// Command gatewright-demo shows Gatewright on one machine: it runs the service
// against a stand-in of Huawei Cloud and sends it the webhooks of three git hosts. It
// also serves the stand-in on its own.
package main

import (
	"os"

	"github.com/gatewright/gatewright/internal/command"
)

// version is set when a release is built:
// -ldflags "-X main.version=v1.2.3".
var version = "dev"

func main() { os.Exit(command.Process(newRoot)) }
