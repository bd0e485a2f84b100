// Package rules is the policy language: it loads a rules file, evaluates it for
// one event and explains the answer. It is pure: no clock, no network, no
// randomness; the same rules and event always give the same decision.
package rules
