package codecheck

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// lax is a JSON list whose elements that cannot be read are left out, and so is what comes
// after laxLongest; anything else than a list is empty.
type lax[T any] []T

// laxLongest is more than any list of ours is asked to have.
const laxLongest = 2000

func (l *lax[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	elements := json.NewDecoder(bytes.NewReader(b))
	if start, err := elements.Token(); err != nil || start != json.Delim('[') {
		return nil
	}
	*l = []T{}
	for range laxLongest {
		if !elements.More() {
			break
		}
		var value T
		if elements.Decode(&value) == nil {
			*l = append(*l, value)
		}
	}
	return nil
}

// defectItem is the part of DefectInfoV2 that we read (1.11).
type defectItem struct {
	ID       text `json:"defect_id"`
	RuleID   text `json:"rule_id"`
	RuleName text `json:"rule_name"`
	Checker  text `json:"defect_checker_name"`
	Content  text `json:"defect_content"`
	Level    text `json:"defect_level"`
	Path     text `json:"file_path"`
	Line     text `json:"line_number"`
	// Fragments and Events are read one defect at a time: of many, none is kept.
	Fragments json.RawMessage `json:"fragment"`
	Events    json.RawMessage `json:"events"`
}

type defectFragment struct {
	Line text `json:"line_num"`
	Text text `json:"line_content"`
}

type defectEvent struct {
	Description text `json:"description"`
	Main        text `json:"main"`
	Code        text `json:"main_buggy_code"`
}

// defectPageSize is what is asked for at once; every edition takes it (1.11).
const defectPageSize = 100

// defectPage is one page of defects-detail.
type defectPage struct {
	// rows is how many were sent, which may be more than was asked for; findings are
	// those of them that are different defects.
	rows     int
	findings []Finding
	// total is the number of defects, if the service tells it.
	total number
}

// defects reads a page of the open defects of one severity, 0 for critical to 3 for
// suggestion (1.11).
func (a api) defects(ctx context.Context, task string, severity, offset int) (page defectPage, err error) {
	var response struct {
		Defects lax[defectItem] `json:"defects"`
		Total   number          `json:"total"`
	}
	err = a.read(ctx, "read defects", huaweicloud.Path("/v2/tasks/%s/defects-detail", task), url.Values{
		"offset":     {strconv.Itoa(offset)},
		"limit":      {strconv.Itoa(defectPageSize)},
		"status_ids": {"0"},
		"severity":   {strconv.Itoa(severity)},
	}, &response)
	if err != nil {
		return defectPage{}, err
	}
	if response.Defects == nil && !response.Total.set {
		return defectPage{}, permanentError("read defects: the response holds neither defects nor their number")
	}
	page = defectPage{rows: len(response.Defects), total: response.Total}
	seen := map[string]bool{}
	for _, item := range response.Defects {
		if f := item.finding(severity); !seen[f.ID] {
			seen[f.ID] = true
			page.findings = append(page.findings, f)
		}
	}
	return page, nil
}

// finding is the defect in our words, with bounded texts.
func (d defectItem) finding(severity int) Finding {
	event := d.mainEvent()
	rule := either(either(d.RuleName, d.Checker), d.RuleID)
	line, _ := strconv.Atoi(strings.TrimSpace(string(d.Line))) // a line that is not a number is unknown: 0
	f := Finding{
		Severity: severityOf(string(d.Level), severity),
		Rule:     bounded(string(rule), longestRule),
		RuleID:   bounded(string(d.RuleID), longestRule),
		Path:     bounded(string(d.Path), longestPath),
		Line:     max(line, 0),
		Message:  bounded(string(either(either(d.Content, event.Description), rule)), longestMessage),
	}
	f.Fingerprint = fingerprint(string(either(d.RuleID, rule)), string(d.Path), string(d.code(event)), string(d.Content))
	f.ID = wordOr(string(d.ID), hashed(string(d.ID), f.Fingerprint, strconv.Itoa(f.Line), f.Message))
	return f
}

// mainEvent is the event that says what is wrong.
func (d defectItem) mainEvent() (main defectEvent) {
	var events lax[defectEvent]
	_ = json.Unmarshal(d.Events, &events) // it is a list, or there is none
	for i, event := range events {
		if i == 0 || event.Main == "true" {
			main = event
		}
		if event.Main == "true" {
			break
		}
	}
	return main
}

// code is the text of the defect's line: the fragment of that line, else all of it, else
// what the main event quotes.
func (d defectItem) code(main defectEvent) text {
	var fragments lax[defectFragment]
	_ = json.Unmarshal(d.Fragments, &fragments) // it is a list, or there is none
	var all strings.Builder
	for _, part := range fragments {
		if part.Line == d.Line && squeezed(string(part.Text)) != "" {
			return part.Text
		}
		all.WriteString(string(part.Text) + "\n")
	}
	if squeezed(all.String()) == "" {
		return main.Code
	}
	return text(all.String())
}
