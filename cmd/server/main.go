// Command gatewright turns a push or a merge request into a code check, and a
// passed check into a release, by rules in YAML. It serves, and it has the commands
// with which an operator looks at the work and corrects it.
package main

import (
	"os"

	"github.com/gatewright/gatewright/internal/command"
)

// version is set when a release is built:
// -ldflags "-X main.version=v1.2.3".
var version = "dev"

func main() { os.Exit(command.Process(newRoot)) }
