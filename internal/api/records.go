package api

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
)

// Health is what /readyz tells of a service, too.
type Health struct {
	// Status is ready, or unavailable while webhooks are not accepted.
	Status string `json:"status"`
	// Degraded is what does not work although webhooks are accepted.
	Degraded []Degradation `json:"degraded,omitempty"`
	Config   struct {
		// Hash is of the configuration in force, since Loaded.
		Hash   string    `json:"hash"`
		Loaded time.Time `json:"loaded_at"`
		// Restart names the settings that take effect with a restart.
		Restart []string `json:"needs_restart,omitempty"`
	} `json:"config"`
}

// Degradation is one thing that does not work.
type Degradation struct {
	What   string    `json:"what"`
	Reason string    `json:"reason"`
	Since  time.Time `json:"since"`
}

func (a *API) health(c echo.Context) error {
	h, ready, reason := a.opts.Health(c.Request().Context())
	if !ready {
		return problem{http.StatusServiceUnavailable, "unavailable", reason}
	}
	return write(c, h)
}

// listed makes the handler of a list.
func listed[V any](name string, read func(context.Context, *store.Tx, store.Filter) (view.Page[V], error)) func(*API, echo.Context) error {
	return func(a *API, c echo.Context) error {
		f, err := view.ParseFilter(name, c.QueryParams(), MaxPage, a.now())
		if err != nil {
			return err
		}
		var page view.Page[V]
		err = a.view(c, func(ctx context.Context, tx *store.Tx) error {
			page, err = read(ctx, tx, f)
			return err
		})
		if err != nil {
			return err
		}
		return write(c, page)
	}
}

func (a *API) missing(c echo.Context) error {
	return listed(view.ListMissing, func(ctx context.Context, tx *store.Tx, f store.Filter) (view.Page[view.Missing], error) {
		if f.Until.IsZero() {
			f.Until = a.now().Add(-a.opts.MissingAfter)
		}
		return view.MissingVerdicts(ctx, tx, f.Until, f)
	})(a, c)
}

// Identified is which record an id belongs to.
type Identified struct {
	// Kind is delivery, run or release.
	Kind string `json:"kind"`
	// ID is the whole id.
	ID string `json:"id"`
}

// kindOf is the kind of a record and its id.
func kindOf(record any) (kind, id string) {
	switch record := record.(type) {
	case view.DeliveryDetail:
		return "delivery", record.ID
	case view.RunDetail:
		return "run", record.ID
	case view.ReleaseDetail:
		return "release", record.ID
	}
	return "", ""
}

// find returns the record whose id is id, or where prefix is set begins with it.
func find(ctx context.Context, tx *store.Tx, id string, prefix bool) (any, error) {
	record, err := view.Find(ctx, tx, id)
	var unclear view.IDError
	if errors.As(err, &unclear) {
		if unclear.Several && prefix {
			return nil, badRequest("%s", unclear.Error())
		}
		return nil, notFound("%s", unclear.Error())
	}
	if err != nil {
		return nil, err
	}
	if _, whole := kindOf(record); whole != id && !prefix {
		return nil, notFound("no record has the id %q: write the whole id", id)
	}
	return record, nil
}

func (a *API) identify(c echo.Context) error {
	var found Identified
	err := a.view(c, func(ctx context.Context, tx *store.Tx) error {
		record, err := find(ctx, tx, c.Param("id"), true)
		found.Kind, found.ID = kindOf(record)
		return err
	})
	if err != nil {
		return err
	}
	return write(c, found)
}

// detail makes the handler of one record of a kind.
func detail[V any](kind string) func(*API, echo.Context) error {
	return func(a *API, c echo.Context) error {
		var record V
		err := a.view(c, func(ctx context.Context, tx *store.Tx) error {
			found, err := find(ctx, tx, c.Param("id"), false)
			if err != nil {
				return err
			}
			of, id := kindOf(found)
			right := false
			if record, right = found.(V); !right {
				return notFound("%s is a %s and not a %s", id, of, kind)
			}
			version, err := tx.VersionOf(ctx, store.RecordKind(kind), id)
			c.Response().Header().Set("ETag", strconv.Quote(version))
			return err
		})
		if err != nil {
			return err
		}
		return write(c, record)
	}
}

func (a *API) overview(c echo.Context) error {
	var o view.Overview
	err := a.view(c, func(ctx context.Context, tx *store.Tx) (err error) {
		o, err = view.NewOverview(ctx, tx, a.now(), a.opts.MissingAfter)
		return err
	})
	if err != nil {
		return err
	}
	return write(c, o)
}

func (a *API) change(c echo.Context) error {
	var change view.Change
	err := a.view(c, func(ctx context.Context, tx *store.Tx) error {
		delivery, record, err := view.FindDelivery(ctx, tx, c.Param("id"))
		var unclear view.IDError
		switch {
		case errors.As(err, &unclear):
			return notFound("%s", unclear.Error())
		case err != nil:
			return err
		case record != c.Param("id"):
			return notFound("no record has the id %q: write the whole id", c.Param("id"))
		}
		change, err = view.NewChange(ctx, tx, delivery, a.now())
		return err
	})
	if err != nil {
		return err
	}
	return write(c, change)
}

func (a *API) audit(c echo.Context) error {
	f, err := view.ParseAuditFilter(c.QueryParams(), MaxPage, a.now())
	if err != nil {
		return err
	}
	var page view.AuditPage
	err = a.view(c, func(ctx context.Context, tx *store.Tx) error {
		page, err = view.NewAuditPage(ctx, tx, f)
		return err
	})
	if err != nil {
		return err
	}
	return write(c, page)
}

// evidence answers with a bundle as it was made: its bytes are what is signed.
func (a *API) evidence(c echo.Context) error {
	var bundle []byte
	err := a.view(c, func(ctx context.Context, tx *store.Tx) (err error) {
		bundle, err = view.Evidence(ctx, tx, c.Param("id"))
		return err
	})
	switch {
	case errors.Is(err, view.ErrNoEvidenceYet):
		return problem{http.StatusConflict, "conflict", err.Error()}
	case errors.Is(err, store.ErrNotFound):
		return notFound("there is no evidence of a release with this id: it is made when a release ends, and kept for evidence.retention")
	case err != nil:
		return err
	}
	c.Response().Header().Set(echo.HeaderContentDisposition, view.EvidenceDisposition(c.Param("id")))
	return c.Blob(http.StatusOK, echo.MIMEApplicationJSON, bundle)
}

// findingParameters narrow the findings of a run.
var findingParameters = []view.Parameter{
	{Name: "severity", About: "only these severities, separated by commas: critical, major, minor, suggestion"},
	{Name: "baseline", About: "new or unchanged: only those"},
	{Name: "search", About: "only where the path, the rule or the message holds this text, in upper or lower case"},
	{Name: "cursor", About: "go on after a page, with its next"},
	{Name: "limit", About: "at most this many", Number: true},
}

// FindingsPage is one page of the findings of a run.
type FindingsPage struct {
	RunID string `json:"run_id"`
	view.FindingsState
	// Items are those that the filter lets pass, Next is the cursor of the next page; empty: there is none.
	Items []codecheck.Finding `json:"items"`
	Next  string              `json:"next"`
}

func (a *API) findings(c echo.Context) error {
	wanted, err := findingsFilter(c)
	if err != nil {
		return err
	}
	found, _, err := a.readFindings(c)
	if err != nil {
		return err
	}
	page := FindingsPage{RunID: found.RunID, FindingsState: found.FindingsState, Items: []codecheck.Finding{}}
	if wanted.from > len(found.Findings) {
		return view.ParameterError{Name: "cursor", Problem: "the run has no such finding any more: begin again"}
	}
	for i := wanted.from; i < len(found.Findings); i++ {
		if !wanted.passes(found.Findings[i]) {
			continue
		}
		if len(page.Items) == wanted.limit {
			page.Next = wanted.cursor(i)
			break
		}
		page.Items = append(page.Items, found.Findings[i])
	}
	return write(c, page)
}

func (a *API) sarif(c echo.Context) error {
	found, run, err := a.readFindings(c)
	if err != nil {
		return err
	}
	return write(c, view.NewSARIF(run, found))
}

// readFindings reads the findings of the run that the path names.
func (a *API) readFindings(c echo.Context) (found view.Findings, run codecheck.Run, err error) {
	err = a.view(c, func(ctx context.Context, tx *store.Tx) error {
		if _, err := tx.Run(ctx, c.Param("id")); err != nil {
			return err
		}
		run, found, err = view.FindFindings(ctx, tx, c.Param("id"))
		return err
	})
	return found, run, err
}

// findingFilter says which findings are wanted, from which place on.
type findingFilter struct {
	run, baseline, search string
	severities            []string
	from, limit           int
}

func findingsFilter(c echo.Context) (f findingFilter, err error) {
	f = findingFilter{run: c.Param("id"), baseline: c.QueryParam("baseline"), search: strings.ToLower(c.QueryParam("search")), limit: MaxPage}
	for _, severity := range strings.FieldsFunc(c.QueryParam("severity"), func(r rune) bool { return r == ',' }) {
		if !slices.Contains([]string{"critical", "major", "minor", "suggestion"}, severity) {
			return f, view.ParameterError{Name: "severity", Problem: strconv.Quote(severity) + ": write one or more of critical, major, minor, suggestion"}
		}
		f.severities = append(f.severities, severity)
	}
	if f.baseline != "" && f.baseline != "new" && f.baseline != "unchanged" {
		return f, view.ParameterError{Name: "baseline", Problem: "write new or unchanged"}
	}
	if text := c.QueryParam("limit"); text != "" {
		if f.limit, err = strconv.Atoi(text); err != nil || f.limit < 1 || f.limit > MaxPage {
			return f, view.ParameterError{Name: "limit", Problem: fmt.Sprintf("write a number from 1 to %d", MaxPage)}
		}
	}
	if text := c.QueryParam("cursor"); text != "" {
		plain, err := base64.RawURLEncoding.Strict().DecodeString(text)
		if err != nil || len(plain) != 12 {
			return f, errFindingCursor
		}
		if f.from = int(binary.BigEndian.Uint32(plain[8:])); f.cursor(f.from) != text {
			return f, errFindingCursor
		}
	}
	return f, nil
}

var errFindingCursor = view.ParameterError{Name: "cursor", Problem: "this is not a cursor of these findings with this filter: use the next of the page before, and change nothing else"}

// cursor is where a page begins, bound to the run and the filter.
func (f findingFilter) cursor(from int) string {
	sum := fnv.New64a()
	fmt.Fprintf(sum, "%q %q %q %q %d", f.run, f.baseline, f.search, f.severities, from)
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(sum.Sum(nil), uint32(from)))
}

func (f findingFilter) passes(finding codecheck.Finding) bool {
	if len(f.severities) > 0 && !slices.Contains(f.severities, finding.Severity) || f.baseline != "" && string(finding.Baseline) != f.baseline {
		return false
	}
	return f.search == "" || slices.ContainsFunc([]string{finding.Path, finding.Rule, finding.Message}, func(text string) bool {
		return strings.Contains(strings.ToLower(text), f.search)
	})
}
