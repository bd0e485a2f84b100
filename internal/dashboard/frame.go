package dashboard

import "slices"

type link struct{ href, text string }

// navigation are the pages that every page leads to.
func navigation() []link {
	return []link{
		{"/", "Overview"}, {"/deliveries", "Deliveries"}, {"/runs", "Runs"}, {"/releases", "Releases"}, {"/missing", "Missing verdicts"}, {"/rules", "Rules"},
	}
}

func isLive(sections []section) bool {
	return slices.ContainsFunc(sections, func(s section) bool { return s.live })
}
