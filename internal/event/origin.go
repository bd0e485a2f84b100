package event

// Origin says where a merge request comes from and who vouches for it: by its host and by people,
// and never by a payload. The zero value stands for what nobody was asked.
type Origin struct {
	// Told: the host said whether the merge request comes from a fork, and Fork is what it said;
	// else Unknown says why it did not.
	Told    bool   `json:"told"`
	Fork    bool   `json:"fork"`
	Unknown string `json:"unknown,omitempty"`
	// Trusted says why the commit of a fork is trusted; empty when it is not. Then Missing says
	// why it is not.
	Trusted string `json:"trusted,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// Gathered is what was found out about an event before its decision.
type Gathered struct {
	// Files and Origin are nil where the decision did not depend on them.
	Files  *Files  `json:"files,omitempty"`
	Origin *Origin `json:"origin,omitempty"`
}

// Asked reports whether it was found out.
func (o Origin) Asked() bool { return o != Origin{} }
