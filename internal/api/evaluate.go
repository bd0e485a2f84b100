package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
)

// Rules are the effective rules.
type Rules struct {
	// Hash changes when they do.
	Hash string `json:"hash"`
	// Rules says of each rule where it is and what it is for, in the order in which they are tried:
	// the first that matches decides, and only where it says continue those below are tried, too.
	Rules []rules.RuleInfo `json:"rules"`
	// Effective is the rules file with every default filled in.
	Effective json.RawMessage `json:"effective"`
}

func (a *API) rules(c echo.Context) error {
	policy := a.opts.Policy()
	effective, err := policy.JSON()
	if err != nil {
		return fmt.Errorf("write rules: %w", err)
	}
	return write(c, Rules{Hash: policy.Hash(), Rules: policy.Rules(), Effective: effective})
}

// Evaluate is what the rules are asked about: a stored delivery, or a payload as a git host sends it.
type Evaluate struct {
	// DeliveryID is of a stored delivery whose payload is kept; then the others are empty.
	DeliveryID string `json:"delivery_id,omitempty"`
	// Connection is a connection of the server file.
	Connection string `json:"connection,omitempty"`
	// Headers are those of the request, at least the one that names the event, such as X-GitHub-Event.
	Headers map[string]string `json:"headers,omitempty"`
	// Payload is the body of the request: JSON, or a text that holds it as it was sent.
	Payload json.RawMessage `json:"payload,omitempty"`
	// AllRules has the trace show every rule, however many there are.
	AllRules bool `json:"all_rules,omitempty"`
}

// Evaluation is what the rules say.
type Evaluation struct {
	// RulesHash is of the rules that were asked.
	RulesHash string      `json:"rules_hash"`
	Event     event.Event `json:"event"`
	// Decision is null for an event that the rules are not asked about; ignored_reason of the event
	// says why.
	Decision *rules.Decision `json:"decision"`
	// Notes say what the service would find out at the git host first, so that it may decide otherwise.
	Notes []string `json:"notes"`
}

// delivery is what is to be evaluated, as a delivery.
func (e Evaluate) delivery() (d event.Delivery, err error) {
	switch {
	case e.Connection == "":
		return d, invalid("give delivery_id, or connection, headers and payload")
	case len(e.Payload) == 0 || bytes.Equal(e.Payload, []byte("null")):
		return d, invalid("payload: give the body that the git host sends")
	}
	d = event.Delivery{ID: "evaluated", Connection: e.Connection, Header: http.Header{}, Body: e.Payload}
	for name, value := range e.Headers {
		http.Header(d.Header).Set(name, value)
	}
	if e.Payload[0] == '"' {
		var text string
		if err := json.Unmarshal(e.Payload, &text); err != nil {
			return d, badRequest("payload: %s", err)
		}
		d.Body = []byte(text)
	}
	return d, nil
}

func (a *API) evaluate(c echo.Context) error {
	var wanted Evaluate
	if err := read(c, maxPasted, &wanted); err != nil {
		return err
	}
	delivery, err := a.toEvaluate(c, wanted)
	if err != nil {
		return err
	}
	answer, err := evaluate(a.opts.Policy(), a.opts.Parse, delivery, wanted.AllRules)
	if err != nil {
		return err
	}
	return write(c, answer)
}

func (a *API) toEvaluate(c echo.Context, wanted Evaluate) (event.Delivery, error) {
	if wanted.DeliveryID == "" {
		return wanted.delivery()
	}
	if wanted.Connection != "" || len(wanted.Headers) > 0 || len(wanted.Payload) > 0 {
		return event.Delivery{}, invalid("give delivery_id, or connection, headers and payload, and not both")
	}
	var stored store.Delivery
	err := a.view(c, func(ctx context.Context, tx *store.Tx) (err error) {
		stored, err = tx.Delivery(ctx, wanted.DeliveryID)
		return err
	})
	if err == nil && stored.PayloadRemoved {
		err = problem{http.StatusConflict, "conflict", store.ErrPayloadRemoved.Error()}
	}
	return stored.Delivery, err
}

// evaluate reads a delivery and asks the rules.
func evaluate(policy *rules.Policy, parse func(event.Delivery) (event.Event, error), d event.Delivery, allRules bool) (Evaluation, error) {
	ev, err := parse(d)
	if err != nil {
		return Evaluation{}, invalid("the payload cannot be read: %s", err)
	}
	answer := Evaluation{RulesHash: policy.Hash(), Event: ev, Notes: []string{}}
	if ev.IgnoredReason != "" {
		return answer, nil
	}
	decision, needs := policy.Try(ev, allRules)
	answer.Decision = &decision
	if needs.Files {
		answer.Notes = append(answer.Notes, "the rules compare changed files, and not all are in the payload: the service asks the git host for them")
	}
	if needs.Fork || needs.Trust {
		answer.Notes = append(answer.Notes, "the rules compare where a merge request comes from or who vouches for it, which is taken from the payload here: the service asks the git host")
	}
	return answer, nil
}
