package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/demo"
)

// storyTimeout bounds the whole story.
const storyTimeout = 110 * time.Second

type demoFlags struct {
	addr, privateAddr string
	once, asJSON      bool
}

func newRoot(env command.Environment) *cobra.Command {
	var flags demoFlags
	root := &cobra.Command{
		Use:   "gatewright-demo",
		Short: "Show the whole way from a push to a release, on this machine alone",
		Long: `Starts everything in one process on loopback: the server on a fresh database, a
stand-in of Huawei Cloud (IAM, CodeArts Check, ServiceStage), and a small git
repository with real commits. Then it sends signed webhooks as GitHub, GitLab, Gitee
and Gitea send them, and prints what happens, one line a step. Two people approve a
release that is held, one of them on its page.

It then stays up, for you to try things, until it is interrupted. With --once it
ends after the story, with exit code 0 only if every expectation held.

Exit codes: 0 success, 1 an expectation did not hold or a failure, 2 wrong usage.`,
		Example: `  gatewright-demo
  gatewright-demo --once
  gatewright-demo --once --json
  gatewright-demo standin --addr 127.0.0.1:9090`,
		Version: version,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for name, addr := range map[string]string{"--addr": flags.addr, "--private-addr": flags.privateAddr} {
				if err := loopbackOnly(name, addr); err != nil {
					return command.UsageError{Err: err}
				}
			}
			return runDemo(cmd.Context(), flags, env)
		},
	}
	root.Flags().StringVar(&flags.addr, "addr", "127.0.0.1:8080", "the loopback address of webhooks; port 0 picks a free one")
	root.Flags().StringVar(&flags.privateAddr, "private-addr", "127.0.0.1:8081", "the loopback address of pages, health and metrics; port 0 picks a free one")
	root.Flags().BoolVar(&flags.once, "once", false, "end after the story")
	root.Flags().BoolVar(&flags.asJSON, "json", false, "print one JSON object and nothing else; implies --once")
	root.AddCommand(newStandin(env))
	return root
}

// loopbackOnly refuses an address that other machines could reach: the demo's secrets
// are printed.
func loopbackOnly(name, addr string) error {
	if err := checkAddr(name, addr); err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s %q: the demo listens on loopback only, such as 127.0.0.1:8080", name, addr)
	}
	return nil
}

// checkAddr refuses an address on which nothing can listen.
func checkAddr(name, addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s %q: write host:port with a port from 0 to 65535, such as 127.0.0.1:8080", name, addr)
	}
	return nil
}

func runDemo(ctx context.Context, flags demoFlags, env command.Environment) error {
	folder, err := os.MkdirTemp("", "gatewright-demo-")
	if err != nil {
		return fmt.Errorf("make demo folder: %w", err)
	}
	defer os.RemoveAll(folder)
	d, err := demo.Start(ctx, demo.Options{Folder: folder, Addr: flags.addr, PrivateAddr: flags.privateAddr, Version: version, Recovery: "{interval: 1s, grace: 3s}", People: true})
	if err != nil {
		return err
	}
	err = present(ctx, d, flags, env)
	return errors.Join(err, d.Stop())
}

// present tells the story and checks it, and then ends or stays up.
func present(ctx context.Context, d *demo.Demo, flags demoFlags, env command.Environment) error {
	n := newNarrator(env.Stdout, flags.asJSON)
	n.say("", "start", "gatewright at %s, its pages, health and metrics at %s, stand-in of Huawei Cloud at %s", d.Base(), d.Private(), d.Endpoint())
	n.say("", "start", "git repository acme/shop: commit %s is clean, commit %s has a secret and a syntax error",
		command.ShortSHA(d.World.Clean), command.ShortSHA(d.World.Bad))

	storyCtx, cancel := context.WithTimeout(ctx, storyTimeout)
	defer cancel()
	story, err := tellStory(storyCtx, d, n)
	if err != nil {
		return err
	}
	report, err := makeReport(ctx, d, story)
	if err != nil {
		return err
	}
	n.tellProof(report)
	if flags.asJSON {
		if err := command.WriteJSON(env.Stdout, report); err != nil {
			return err
		}
	}
	broken := brokenExpectations(report)
	for _, expectation := range broken {
		n.say("", "broken", "%s", expectation)
	}
	if len(broken) > 0 {
		fmt.Fprintf(env.Stderr, "gatewright-demo: expectations that did not hold: %s\n", strings.Join(broken, "; "))
		return command.ErrNo
	}
	n.say("", "done", "every expectation held")
	if flags.once || flags.asJSON {
		return nil
	}
	if err := inviteToTry(d, story.held, env); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// inviteToTry prints commands that work as they are printed.
func inviteToTry(d *demo.Demo, held string, env command.Environment) error {
	folder := filepath.Dir(d.ServerFile())
	payload, key, bundle := filepath.Join(folder, "gitlab-push.json"), filepath.Join(folder, "evidence.pub"), filepath.Join(folder, "evidence.json")
	body, err := d.World.Payload("gitlab", "push", demo.Change{Branch: "main", Before: d.World.Clean, SHA: d.World.Parent})
	if err == nil {
		err = os.WriteFile(payload, body, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write payload: %w", err)
	}
	if err := os.WriteFile(key, d.EvidenceKey, 0o600); err != nil {
		return fmt.Errorf("write public key: %w", err)
	}
	fmt.Fprintf(env.Stdout, `
The demo stays up; interrupt it to end. Open the pages in a browser:

  %[6]s
  %[10]s is the release that people approved

Try:

  # who did what, and the proof that nobody changed it
  %[5]s audit list --db %[4]s
  %[5]s audit verify --db %[4]s

  # the evidence of that release, which is verified without the server
  %[5]s evidence get %[7]s --db %[4]s -o %[8]s
  %[5]s evidence verify %[8]s --public-key %[9]s

  # what an operator sees
  curl -s %[6]s/metrics | grep '^gatewright_'

  # send a push as GitLab would: main moves back by one commit, and is checked again
  curl -i %[1]s/webhooks/gitlab -H 'Content-Type: application/json' \
    -H 'X-Gitlab-Event: Push Hook' -H 'X-Gitlab-Token: %[2]s' --data-binary @%[3]s

  # the same with a wrong token is refused
  curl -i %[1]s/webhooks/gitlab -H 'Content-Type: application/json' \
    -H 'X-Gitlab-Event: Push Hook' -H 'X-Gitlab-Token: wrong' --data-binary @%[3]s

  # the resulting run
  %[5]s list runs --db %[4]s

`, d.Base(), d.Secrets["DEMO_GITLAB_TOKEN"], payload, d.SQLite(), gatewright(os.Args[0]), d.Private(), held, bundle, key, pageOf(d, held))
	return nil
}

// gatewright is how the program gatewright is called from where this one, called as
// self, was called: by `go run`, or as its neighbour.
func gatewright(self string) string {
	if filepath.Base(self) == "demo" {
		return "go run ./cmd/server"
	}
	return filepath.Join(filepath.Dir(self), "gatewright")
}
