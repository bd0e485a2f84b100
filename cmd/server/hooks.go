package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/hooks"
)

type hooksFlags struct {
	config string
	choice app.HooksChoice
	unused time.Duration
	asJSON bool
}

func newHooks(env command.Environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "hooks",
		Short: "Register, compare and remove the webhooks at the git hosts",
		Long: `Works on the webhooks that send to this server: those with the address of a connection,
which is http.public_url of the server file and /webhooks/NAME. Other webhooks are
neither shown nor changed. The token of the connection needs the right to webhooks
(docs/githosts.md). No secret is printed.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return command.UsageError{Err: errors.New("say what to do with the webhooks: list, check, install, rotate or remove")}
		},
	}
	cmd.AddCommand(newHooksList(env), newHooksCheck(env), newHooksInstall(env), newHooksRotate(env), newHooksRemove(env))
	return cmd
}

func newHooksList(env command.Environment) *cobra.Command {
	var flags hooksFlags
	return hooksCommand(env, &flags, &cobra.Command{
		Use:   "list",
		Short: "List the webhooks that send to this server",
		Long:  `Lists them with their state, as check does, in a table. It changes nothing. Exits 1 when some could not be read.`,
		Example: `  gatewright hooks list --config gatewright.yaml
  gatewright hooks list --connection github --organization acme --json`,
	}, func(cmd *cobra.Command, h *app.Hooks) error {
		entries := each(cmd.Context(), h, h.Keeper.Check)
		answer := answerTo(entries, hooks.Unchecked)
		if flags.asJSON {
			return errors.Join(command.WriteJSON(env.Stdout, map[string]any{"ok": answer == nil, "webhooks": entries}), answer)
		}
		rows := [][]string{{"STATE", "CONNECTION", "OF", "WEBHOOK", "ADDRESS", "EVENTS", "DETAIL"}}
		for _, e := range entries {
			rows = append(rows, []string{string(e.State), e.Connection, e.Of(), e.ID, e.URL, strings.Join(e.Events, ", "), strings.Join(details(e), "; ")})
		}
		return errors.Join(writeRows(env.Stdout, rows), answer)
	})
}

func newHooksCheck(env command.Environment) *cobra.Command {
	var flags hooksFlags
	cmd := hooksCommand(env, &flags, &cobra.Command{
		Use:   "check",
		Short: "Compare the webhooks with what this server needs",
		Long: `Says of each repository whether it has one webhook that sends everything to this server:
its address, that it is switched on and the host has not disabled it, its events,
content type and verification of certificates. A secret cannot be compared, because no
host tells it. Of connections with several secrets it says when each was last used,
and which may be removed.

Exits 1 when one is missing, wrong or a duplicate, or could not be read.`,
		Example: `  gatewright hooks check --config gatewright.yaml
  gatewright hooks check --connection gitlab --repository acme/shop --json`,
	}, func(cmd *cobra.Command, h *app.Hooks) error {
		if flags.unused < 0 {
			return command.UsageError{Err: errors.New("--unused: write a time such as 168h, not a negative one")}
		}
		entries := each(cmd.Context(), h, h.Keeper.Check)
		answer := answerTo(entries, hooks.Wrong, hooks.Duplicate, hooks.Missing, hooks.Unchecked)
		uses, err := h.SecretUses(cmd.Context(), flags.unused)
		if flags.asJSON {
			result := map[string]any{"ok": answer == nil, "webhooks": entries, "secrets": append([]app.SecretUse{}, uses...), "secrets_error": ""}
			if err != nil {
				result["secrets_error"] = err.Error()
			}
			return errors.Join(command.WriteJSON(env.Stdout, result), answer)
		}
		printHooks(env, entries)
		if err != nil {
			fmt.Fprintf(env.Stdout, "%-9s  use of webhook secrets: %v\n", hooks.Unchecked, err)
		}
		for _, use := range uses {
			fmt.Fprintf(env.Stdout, "%-9s  secret %s of connection %s: %s\n", hooks.OK, use.Secret, use.Connection, useOf(use))
		}
		return answer
	})
	cmd.Flags().DurationVar(&flags.unused, "unused", 7*24*time.Hour, "how long a webhook secret must not have been used before it may be removed")
	return cmd
}

// useOf says how a secret was used.
func useOf(use app.SecretUse) string {
	if use.Since == nil {
		return "no server has it yet: let the server load its configuration"
	}
	text := "not used since " + stamp(*use.Since) + ", when a server first had it"
	if use.LastUsed != nil {
		text = "last used at " + stamp(*use.LastUsed)
	}
	if use.Removable {
		text += "; it may be removed"
	}
	return text
}

func newHooksInstall(env command.Environment) *cobra.Command {
	var flags hooksFlags
	cmd := hooksCommand(env, &flags, &cobra.Command{
		Use:   "install",
		Short: "Make the webhooks that are missing, and mend the others",
		Long: `Gives each repository, or the organisation, one webhook with the address of the
connection, its events, JSON as content type, verification of certificates and the first
secret of the connection that may speak of the repository. What is wrong with one that
is there is mended; others with the same address are removed; events that somebody has
added stay. A repository whose organisation has one gets none. It may be repeated: the
secret is sent each time.

Exits 1 when one could not be made or mended.`,
		Example: `  gatewright hooks install --config gatewright.yaml
  gatewright hooks install --connection github --repository acme/shop
  gatewright hooks install --connection github --old-url https://old.example.com`,
	}, func(cmd *cobra.Command, h *app.Hooks) error {
		return changed(env, flags, each(cmd.Context(), h, h.Keeper.Install))
	})
	cmd.Flags().StringVar(&flags.choice.OldURL, "old-url", "", "a former http.public_url: webhooks that send there are moved")
	return cmd
}

func newHooksRotate(env command.Environment) *cobra.Command {
	var flags hooksFlags
	return hooksCommand(env, &flags, &cobra.Command{
		Use:   "rotate",
		Short: "Give the webhooks the first secret of their connection",
		Long: `Sends the first secret of the connection's list to each of its webhooks. To replace a
secret without losing a delivery: put the new one before the old one in the server file
and let the server load it; run rotate; remove the old one when hooks check says that
it may go.

Exits 1 when one could not be changed, or a repository has none.`,
		Example: `  gatewright hooks rotate --config gatewright.yaml --connection github`,
	}, func(cmd *cobra.Command, h *app.Hooks) error {
		return changed(env, flags, each(cmd.Context(), h, h.Keeper.Rotate))
	})
}

func newHooksRemove(env command.Environment) *cobra.Command {
	var flags hooksFlags
	return hooksCommand(env, &flags, &cobra.Command{
		Use:   "remove",
		Short: "Remove the webhooks of one repository or organisation that send to this server",
		Long:  `Removes those with the address of the connection, and no others. Exits 1 when there is none, or one could not be removed.`,
		Example: `  gatewright hooks remove --connection github --repository acme/shop
  gatewright hooks remove --connection github --organization acme`,
	}, func(cmd *cobra.Command, h *app.Hooks) error {
		if flags.choice.Repository == "" && flags.choice.Organization == "" {
			return command.UsageError{Err: errors.New("say whose webhooks to remove: --repository or --organization")}
		}
		return changed(env, flags, each(cmd.Context(), h, h.Keeper.Remove))
	})
}

// hooksCommand completes a command that works on webhooks.
func hooksCommand(env command.Environment, flags *hooksFlags, cmd *cobra.Command, work func(*cobra.Command, *app.Hooks) error) *cobra.Command {
	cmd.Args = cobra.NoArgs
	cmd.Long += "\n\nThe server may be running."
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		err := app.WithHooks(flags.config, env.LookupEnv, flags.choice, func(h *app.Hooks) error { return work(cmd, h) })
		var choice app.HooksError
		if errors.As(err, &choice) {
			return command.UsageError{Err: err}
		}
		if complaints, _ := app.Complaints(err); len(complaints) > 0 {
			return reportComplaints(env.Stdout, err, flags.asJSON)
		}
		return err
	}
	cmd.Flags().StringVar(&flags.config, "config", "gatewright.yaml", "the server file")
	cmd.Flags().StringVar(&flags.choice.Connection, "connection", "", "the name of one connection; default: all that have an API token or an App")
	cmd.Flags().StringVar(&flags.choice.Repository, "repository", "", "the full name of one repository; default: those that the rules and the connections name without a pattern")
	cmd.Flags().StringVar(&flags.choice.Organization, "organization", "", "an organisation of GitHub or Gitea, or the path of a group of GitLab")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print one JSON object")
	return cmd
}

// each does the same for every target.
func each(ctx context.Context, h *app.Hooks, do func(context.Context, hooks.Target) []hooks.Entry) []hooks.Entry {
	entries := []hooks.Entry{}
	for _, target := range h.Targets {
		entries = append(entries, do(ctx, target)...)
	}
	for i := range entries {
		for _, list := range []*[]string{&entries[i].Events, &entries[i].Problems, &entries[i].Remarks} {
			*list = append([]string{}, *list...) // in JSON a list is always there
		}
	}
	return entries
}

// answerTo is command.ErrNo when an entry has one of the states.
func answerTo(entries []hooks.Entry, states ...hooks.State) error {
	if slices.ContainsFunc(entries, func(e hooks.Entry) bool { return slices.Contains(states, e.State) }) {
		return command.ErrNo
	}
	return nil
}

// changed prints what was done.
func changed(env command.Environment, flags hooksFlags, entries []hooks.Entry) error {
	answer := answerTo(entries, hooks.Wrong, hooks.Duplicate, hooks.Missing, hooks.Unchecked)
	if flags.asJSON {
		return errors.Join(command.WriteJSON(env.Stdout, map[string]any{"ok": answer == nil, "webhooks": entries}), answer)
	}
	printHooks(env, entries)
	return answer
}

// printHooks prints a line for each webhook, and what there is to say of it below.
func printHooks(env command.Environment, entries []hooks.Entry) {
	for _, e := range entries {
		subject := e.Connection + " " + e.Of()
		if e.ID != "" {
			subject += ", webhook " + e.ID
		}
		if e.Done != "" {
			subject += ", " + map[string]string{"renewed": "given the first secret", "mended": "mended", "made": "made", "removed": "removed"}[e.Done]
		}
		fmt.Fprintf(env.Stdout, "%-9s  %s\n", e.State, subject)
		for _, line := range details(e) {
			fmt.Fprintf(env.Stdout, "%s  %s\n", strings.Repeat(" ", 9), line)
		}
	}
}

// details are what there is to say of a webhook.
func details(e hooks.Entry) []string {
	var lines []string
	for _, problem := range e.Problems {
		if e.Done == "mended" && e.State == hooks.OK {
			problem = "before: " + problem
		}
		lines = append(lines, problem)
	}
	lines = append(lines, e.Remarks...)
	if e.Error != "" {
		lines = append(lines, e.Error)
	}
	return lines
}
