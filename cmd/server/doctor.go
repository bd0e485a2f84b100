package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/app"
	"github.com/gatewright/gatewright/internal/command"
	"github.com/gatewright/gatewright/internal/doctor"
)

func newDoctor(env command.Environment) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check what the configuration depends on: services, git hosts, database, files",
		Long: `Checks the clock, the credentials of Huawei Cloud, the projects, tasks, pipelines and
checkpoints that the rules name, the API tokens of the connections and what they may
write, the webhooks at the git hosts, the database and the rights of the files. It changes nothing, and may run beside the server.

Each line says ok; or wrong, and what to do; or unchecked, and why it could not be
checked. Exits 1 when something is wrong.`,
		Example: `  gatewright doctor --config gatewright.yaml
  gatewright doctor --config gatewright.yaml --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			findings, err := app.Examine(cmd.Context(), path, env.LookupEnv)
			if err != nil {
				return reportComplaints(env.Stdout, err, asJSON)
			}
			return reportFindings(env.Stdout, findings, asJSON)
		},
	}
	cmd.Flags().StringVar(&path, "config", "gatewright.yaml", "the server file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// reportFindings prints the findings and returns command.ErrNo when something is wrong.
func reportFindings(w io.Writer, findings []doctor.Finding, asJSON bool) error {
	var answer error
	if slices.ContainsFunc(findings, func(f doctor.Finding) bool { return f.State == doctor.Wrong }) {
		answer = command.ErrNo
	}
	if asJSON {
		return errors.Join(command.WriteJSON(w, map[string]any{"ok": answer == nil, "findings": findings}), answer)
	}
	for _, f := range findings {
		fmt.Fprintf(w, "%-9s  %s: %s\n", f.State, f.Subject, f.Detail)
		if f.Advice != "" {
			fmt.Fprintf(w, "%s  %s\n", strings.Repeat(" ", 9), f.Advice)
		}
	}
	return answer
}
