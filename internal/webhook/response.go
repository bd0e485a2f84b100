package webhook

import (
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"
	"go.uber.org/zap"

	"github.com/gatewright/gatewright/internal/event"
)

// retryAfter is the Retry-After of a 503, in seconds.
const retryAfter = "10"

// Problem is the body of every HTTP answer that is an error.
type Problem struct {
	// Code is one lower-case word, for programs.
	Code string `json:"error"`
	// Message is a sentence for people: what is wrong and what to do.
	Message string `json:"message"`
}

// Send answers a request with the problem. A 503 asks to try again after a while.
func (p Problem) Send(ctx echo.Context, status int) error {
	if status == http.StatusServiceUnavailable {
		ctx.Response().Header().Set("Retry-After", retryAfter)
	}
	return ctx.JSON(status, p)
}

// response is the answer to one webhook request.
type response struct {
	outcome outcome
	status  int
	// delivery is the id of the delivery that was accepted, now or before.
	delivery string
	// problem is what a refused sender is told; err is for the log, and may say more.
	problem Problem
	err     error
}

// refused makes the response to a request that is not accepted.
func refused(o outcome, status int, code, message string, err error) response {
	return response{outcome: o, status: status, problem: Problem{Code: code, Message: message}, err: err}
}

// send sends the outcome and, where there is one, the delivery's id; or the problem.
func (r response) send(ctx echo.Context) error {
	if r.problem.Code != "" {
		return r.problem.Send(ctx, r.status)
	}
	body := map[string]string{"status": string(r.outcome)}
	if r.delivery != "" {
		body["delivery"] = r.delivery
	}
	return ctx.JSON(r.status, body)
}

// record counts and logs the response. Of a refused request it logs the client's address
// and nothing else that a stranger chose, and only a sample of what comes often.
func (h *Handler) record(e endpoint, client netip.Addr, label string, r response, took time.Duration) {
	h.metrics.deliveries.WithLabelValues(e.Name, label, string(r.outcome)).Inc()
	fields := []zap.Field{
		zap.String(event.LogConnection, e.Name),
		zap.String(event.LogEvent, label),
		zap.Duration(event.LogDuration, took),
	}
	refusal := func() []zap.Field {
		return append(fields, zap.Stringer(event.LogClient, client), zap.String(event.LogReason, string(r.outcome)), zap.Error(r.err))
	}
	switch r.outcome {
	case outcomeAccepted:
		h.log.Info("delivery accepted", append(fields, zap.String(event.LogDelivery, r.delivery))...)
	case outcomeDuplicate:
		h.log.Info("duplicate delivery", append(fields, zap.String(event.LogDelivery, r.delivery))...)
	case outcomePing:
		h.log.Info("ping answered", fields...)
	case outcomeUnavailable:
		h.log.Error("delivery not stored", refusal()...)
	default:
		e.strangers.Warn("delivery refused", refusal()...)
	}
}
