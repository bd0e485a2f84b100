package release

import "time"

// Hold is what keeps, or kept, a release from acting, as it was found last. It stays with a release that goes on.
type Hold struct {
	// Since is since when the release is held, Until when it expires.
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
	// Basis is a hash of the verdict and of the rule: an approval that has another one does not count.
	Basis string `json:"basis"`
	// Wanted is how many people must approve, of Groups, and Missing how many have not; Approved are those who have.
	Wanted   int      `json:"wanted"`
	Missing  int      `json:"missing"`
	Groups   []string `json:"groups,omitempty"`
	Approved []string `json:"approved,omitempty"`
	// NotCounted says of each other person with an approval why that does not count now.
	NotCounted []string `json:"not_counted,omitempty"`
	// Excluded are the people whose own commit it is, and whom the rule leaves out for that.
	Excluded []string `json:"excluded,omitempty"`
	// Unknown says what nobody can approve without: whose commit it is. Empty where that is known or of no importance.
	Unknown string `json:"unknown,omitempty"`
	// Window and Freeze say what is closed or frozen now; empty for nothing. OpensAt is when neither is any more, zero
	// where that is not known.
	Window  string    `json:"window,omitempty"`
	Freeze  string    `json:"freeze,omitempty"`
	OpensAt time.Time `json:"opens_at,omitzero"`

	// Origin is whose commit it is; nil before the host was asked.
	Origin     *Origin     `json:"origin,omitempty"`
	BreakGlass *BreakGlass `json:"break_glass,omitempty"`
}

// Origin is whose commit a release is of.
type Origin struct {
	// Authors are the accounts that wrote the merge requests which brought the commit, and MergeRequests are their
	// numbers; Pusher is the account that pushed it. All by the host's numbers; empty where they are not known.
	Authors       []string `json:"authors,omitempty"`
	MergeRequests []int    `json:"merge_requests,omitempty"`
	Pusher        string   `json:"pusher,omitempty"`
	// NoAuthor and NoPusher say why they are not known; empty where they are.
	NoAuthor string `json:"no_author,omitempty"`
	NoPusher string `json:"no_pusher,omitempty"`
	// AskAgain: the host could not be asked, at AskedAt.
	AskAgain bool      `json:"ask_again,omitempty"`
	AskedAt  time.Time `json:"asked_at"`
}

// BreakGlass says who opened windows and freezes for a release, and why.
type BreakGlass struct {
	Person   string    `json:"person"`
	Identity string    `json:"identity"`
	Reason   string    `json:"reason"`
	Basis    string    `json:"basis"`
	At       time.Time `json:"at"`
}
