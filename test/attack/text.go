package main

import (
	"context"
	"fmt"
	"unicode"
)

// texts are the attacks on the terminal of whoever looks.
func texts() []attack {
	return []attack{{"escape sequences and turned text in a title, a branch and a login", escapes}}
}

// hostile clears a screen, changes a title, and turns the direction of the text.
const hostile = "ok\x1b[2J\x1b]0;owned\x07\u009b31m\u202eevil\u2066\u2028\x7f\r\nnext"

func escapes(ctx context.Context, t *target) (broken string, err error) {
	r := t.repository("github")
	name, payload := push(r, "topic-1", none, t.commit())
	payload["sender"] = fields{"login": hostile, "id": 11}
	payload["pusher"] = fields{"name": hostile}
	payload["head_commit"] = fields{"id": payload["after"], "message": hostile}
	request, err := t.sign(r.Connection, hostOf(r.Connection), name, payload)
	if err != nil {
		return "", err
	}
	o, err := t.ends(ctx, request)
	if err != nil {
		return "", err
	}
	if o.runs != 1 {
		return "the push came to: " + o.String(), nil
	}
	branch, payload2 := push(r, "topic-"+hostile, none, t.commit())
	if request, err = t.sign(r.Connection, hostOf(r.Connection), branch, payload2); err != nil {
		return "", err
	}
	odd, err := t.ends(ctx, request)
	if err != nil {
		return "", err
	}
	for _, command := range [][]string{
		{"list", "deliveries"}, {"list", "deliveries", "--json"}, {"list", "runs"}, {"list", "runs", "--json"},
		{"show", o.delivery.ID}, {"show", o.delivery.ID, "--json"}, {"show", odd.delivery.ID}, {"show", odd.delivery.ID, "--json"},
	} {
		out, complaint, err := t.bench.Call(ctx, command...)
		if err != nil {
			return "", fmt.Errorf("%v: %w: %s", command, err, complaint)
		}
		if found := unprintable(string(out)); found != "" {
			return fmt.Sprintf("%v prints %s", command, found), nil
		}
	}
	if found := unprintable(t.bench.Log()); found != "" {
		return "the log has " + found, nil
	}
	return "", nil
}

// unprintable is the first character of a text that a terminal acts upon; empty when
// there is none.
func unprintable(text string) string {
	for _, c := range text {
		if c != '\n' && c != '\t' && (unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) || c == '\u2028' || c == '\u2029') {
			return fmt.Sprintf("%U", c)
		}
	}
	return ""
}
