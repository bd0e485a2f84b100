package rules

import "slices"

// ReleaseTarget is the service that has the pipeline of a release; empty means
// TargetServiceStage.
type ReleaseTarget string

const (
	// TargetServiceStage is ServiceStage's release management.
	TargetServiceStage ReleaseTarget = "servicestage"
	// TargetCodeArtsPipeline is CodeArts Pipeline (specs/codearts-check.md 3.6).
	TargetCodeArtsPipeline ReleaseTarget = "codearts_pipeline"
)

// targetFacts is how the rules see a target.
type targetFacts struct {
	name string
	// isID tells the ids of its pipelines from names, and idForm is how they are written.
	isID   func(string) bool
	idForm string
	// lacks are the actions that its interface does not have.
	lacks []ReleaseAction
	// hasProject: its pipelines belong to a CodeArts project. wholeStages: a start can
	// select whole stages. takesMessage: an approval can carry one.
	hasProject, wholeStages, takesMessage bool
}

func (t ReleaseTarget) facts() targetFacts {
	if t == TargetCodeArtsPipeline {
		return targetFacts{
			name: "CodeArts Pipeline", isID: codeArtsPipelineID, idForm: "its 32 letters and digits, as the address of its page in CodeArts shows them",
			lacks: []ReleaseAction{ReleaseContinue, ReleaseRollback}, hasProject: true, wholeStages: true,
		}
	}
	return targetFacts{name: "ServiceStage", isID: dashedUUID, idForm: "it with its dashes, as caf409b1-10df-483a-b14d-7b05f7e12c88", takesMessage: true}
}

// Name is what people call the service.
func (t ReleaseTarget) Name() string { return t.facts().name }

// Offers reports whether the service has an action.
func (t ReleaseTarget) Offers(action ReleaseAction) bool {
	return !slices.Contains(t.facts().lacks, action)
}

// OrDefault returns t, or TargetServiceStage when t is empty.
func (t ReleaseTarget) OrDefault() ReleaseTarget {
	if t == "" {
		return TargetServiceStage
	}
	return t
}

// ReleaseTargets lists every target.
func ReleaseTargets() []ReleaseTarget {
	return []ReleaseTarget{TargetServiceStage, TargetCodeArtsPipeline}
}

// PipelineTarget is the target whose pipelines have ids of this form; false for any other
// text.
func PipelineTarget(id string) (ReleaseTarget, bool) {
	for _, t := range ReleaseTargets() {
		if t.facts().isID(id) {
			return t, true
		}
	}
	return "", false
}

// codeArtsPipelineID says that id is 32 letters and digits.
func codeArtsPipelineID(id string) bool {
	for _, c := range id {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return len(id) == 32
}

// ReleasesBy reports whether any rule releases by the target in an account.
func (p *Policy) ReleasesBy(account string, target ReleaseTarget) bool {
	return slices.ContainsFunc(p.rules, func(r *rule) bool {
		return slices.ContainsFunc(r.releases, func(release Release) bool { return release.Account == account && release.Target.OrDefault() == target })
	})
}
