package rules

import (
	"encoding/json"
	"time"
)

// duration is a time.Duration that JSON has as Go writes it, such as "45m0s".
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = duration(parsed)
	return err
}

// MarshalJSON writes the timeout as Go writes it, and no languages as [].
func (c Check) MarshalJSON() ([]byte, error) {
	type fields Check
	if c.Languages == nil {
		c.Languages = []string{}
	}
	return json.Marshal(struct {
		fields
		Timeout duration `json:"timeout"`
	}{fields(c), duration(c.Timeout)})
}

// UnmarshalJSON reads what MarshalJSON writes; what is not given stays as it is, and
// no languages are nil.
func (c *Check) UnmarshalJSON(data []byte) error {
	type fields Check
	read := struct {
		*fields
		Timeout duration `json:"timeout"`
	}{(*fields)(c), duration(c.Timeout)}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	c.Timeout = time.Duration(read.Timeout)
	if len(c.Languages) == 0 {
		c.Languages = nil
	}
	return nil
}

type debounceJSON struct {
	Quiet duration `json:"quiet"`
	Max   duration `json:"max"`
}

// MarshalJSON writes the times as Go writes them.
func (d Debounce) MarshalJSON() ([]byte, error) {
	return json.Marshal(debounceJSON{duration(d.Quiet), duration(d.Max)})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (d *Debounce) UnmarshalJSON(data []byte) error {
	var read debounceJSON
	err := json.Unmarshal(data, &read)
	*d = Debounce{time.Duration(read.Quiet), time.Duration(read.Max)}
	return err
}

// MarshalJSON writes the timeouts as Go writes them.
func (r Release) MarshalJSON() ([]byte, error) {
	type fields Release
	return json.Marshal(struct {
		fields
		Timeout         duration `json:"timeout"`
		ApprovalTimeout duration `json:"approval_timeout"`
	}{fields(r), duration(r.Timeout), duration(r.ApprovalTimeout)})
}

// UnmarshalJSON reads what MarshalJSON writes; what is not given stays as it is.
func (r *Release) UnmarshalJSON(data []byte) error {
	type fields Release
	read := struct {
		*fields
		Timeout         duration `json:"timeout"`
		ApprovalTimeout duration `json:"approval_timeout"`
	}{(*fields)(r), duration(r.Timeout), duration(r.ApprovalTimeout)}
	if err := json.Unmarshal(data, &read); err != nil {
		return err
	}
	r.Timeout, r.ApprovalTimeout = time.Duration(read.Timeout), time.Duration(read.ApprovalTimeout)
	return nil
}
