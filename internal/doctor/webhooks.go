package doctor

import (
	"context"
	"slices"
	"strings"

	"github.com/gatewright/gatewright/internal/config"
	"github.com/gatewright/gatewright/internal/hooks"
)

// webhooks checks that each repository that the rules name has one webhook which sends everything here. Without the right
// to read webhooks nothing is wrong: a person may have made them.
func (e *examination) webhooks(ctx context.Context) {
	if !slices.ContainsFunc(e.Config.Connections, config.Connection.CallsHost) {
		return
	}
	if e.Webhooks == nil {
		e.unchecked("webhooks", "http.public_url is not set, so that the webhooks at the git hosts cannot be compared with it")
		return
	}
	all := e.Webhooks(ctx)
	if len(all) == 0 {
		e.unchecked("webhooks", "no rule names a repository without a pattern, so there is none to compare: see gatewright hooks check --repository")
	}
	for _, found := range all {
		subject := "webhook of connection " + found.Connection + ": " + found.Of()
		c, _ := e.Config.Connection(found.Connection)
		problems, install := strings.Join(found.Problems, "; "), "run gatewright hooks install --connection "+found.Connection+" --repository "+found.Of()
		switch {
		case found.State == hooks.OK:
			e.ok(subject, strings.Join(append([]string{"sends everything to " + found.URL}, found.Remarks...), "; "))
		case found.State == hooks.Unchecked:
			e.unchecked(subject, found.Error)
		case found.State == hooks.Elsewhere:
			e.unchecked(subject, "webhook "+found.ID+": "+problems)
		case found.State == hooks.Missing && c.App != nil:
			e.unchecked(subject, "the repository has none that sends to "+found.URL+"; the App's own webhook may, which is not read")
		default:
			e.wrong(subject, problems, install)
		}
	}
}
