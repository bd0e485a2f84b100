package release

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewright/gatewright/internal/rules"
)

// Metrics counts what became of releases and of the actions that were sent for
// them.
type Metrics struct {
	finished *prometheus.CounterVec
	actions  *prometheus.CounterVec
}

// NewMetrics registers gatewright_releases_finished_total{outcome}, where the
// outcome is an end state, and gatewright_release_actions_total{action,outcome}
// with the names and outcomes of Action. All of them are there from the start.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		finished: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_releases_finished_total",
			Help: "Releases that reached an end state while they were acted upon or followed, by that state.",
		}, []string{"outcome"}),
		actions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatewright_release_actions_total",
			Help: "Starts and checkpoint decisions sent to ServiceStage, by action and what came of them.",
		}, []string{"action", "outcome"}),
	}
	r.MustRegister(m.finished, m.actions)
	for _, state := range States() {
		if state.Ended() {
			m.finished.WithLabelValues(string(state))
		}
	}
	for _, action := range []rules.ReleaseAction{rules.ReleaseStart, rules.ReleaseApprove, rules.ReleaseRefuse} {
		for _, outcome := range []string{outcomeAccepted, outcomeAdopted, outcomeRefused, outcomeUnknown} {
			m.actions.WithLabelValues(actionName(action), outcome)
		}
	}
	return m
}

// The outcomes of an Action.
const (
	// outcomeAccepted: the service answered that it does what was asked.
	outcomeAccepted = "accepted"
	// outcomeAdopted: the answer was lost, and a later look showed the effect.
	outcomeAdopted = "adopted"
	// outcomeRefused: the action certainly had no effect.
	outcomeRefused = "refused"
	// outcomeUnknown: whether the action had an effect is not known, or not yet.
	outcomeUnknown = "unknown"
)

// actionName is what Intent and Action call a rule's action.
func actionName(a rules.ReleaseAction) string {
	switch a {
	case rules.ReleaseApprove:
		return approvalAgree
	case rules.ReleaseRefuse:
		return approvalRefuse
	}
	return string(a)
}
