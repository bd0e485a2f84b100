package dashboard

import (
	"slices"

	"github.com/a-h/templ"
)

type link struct{ href, text string }

// navigation are the pages that every page leads to.
func navigation() []link {
	return []link{
		{"/", "Overview"}, {"/deliveries", "Deliveries"}, {"/runs", "Runs"}, {"/releases", "Releases"}, {"/approvals", "Approvals"}, {"/missing", "Missing verdicts"}, {"/rules", "Rules"}, {"/audit", "Audit"},
	}
}

// current marks the link to the page that is shown.
func current(p *page, l link) templ.Attributes {
	if p.path != l.href {
		return nil
	}
	return templ.Attributes{"aria-current": "page"}
}

func isLive(sections []section) bool {
	return slices.ContainsFunc(sections, func(s section) bool { return s.live })
}
