package main

import (
	"github.com/spf13/cobra"

	"github.com/gatewright/gatewright/internal/command"
)

func newRoot(env command.Environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "gatewright",
		Short: "From a push to a code check, from a passed check to a release",
		Long: `Gatewright receives webhooks of GitHub, GitLab, Gitee and Gitea, runs the CodeArts
Check task that your rules name, compares the defects with a gate, and on success
starts or approves ServiceStage release pipelines.

Exit codes: 0 success, 1 "no" or failure, 2 wrong usage.`,
		Example: `  gatewright check-config --config gatewright.yaml
  gatewright serve --config gatewright.yaml
  gatewright list deliveries --state failed`,
		Version: version,
	}
	root.AddCommand(
		newServe(env), newCheckConfig(env), newDoctor(env), newExplain(env), newSend(env),
		newList(env), newShow(env), newRejudge(env), newReplay(env), newForget(env), newTasks(env), newHooks(env), newWindows(env),
		newRerun(env), newApprove(env), newRefuse(env), newBreakGlass(env), newOK(env), newStop(env), newPipeline(env), newResolve(env),
		newAudit(env), newEvidence(env), newNotify(env), newMigrate(env), newStore(env), newToken(env),
	)
	return root
}
