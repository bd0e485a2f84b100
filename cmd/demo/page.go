package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"

	"github.com/gatewright/gatewright/internal/access"
)

// maxPage bounds a page that is read, in bytes.
const maxPage = 4 << 20

// approveOnPage approves a held release as a browser does: it reads the page at an address and posts its form with a reason.
func approveOnPage(ctx context.Context, address, releaseID, reason string) error {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	page, at, err := load(ctx, client, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	target, fields, found := formOf(page, url.Values{"action": {string(access.ActionApproveHeld)}, "id": {releaseID}})
	if !found {
		return fmt.Errorf("%s has no form that approves release %s", at, releaseID)
	}
	to, err := at.Parse(target)
	if err != nil {
		return fmt.Errorf("read the form of %s: %w", at, err)
	}
	fields.Set("reason", reason)
	_, at, err = load(ctx, client, http.MethodPost, to.String(), fields)
	if err == nil && at.Query().Get("done") == "" {
		err = fmt.Errorf("it led to %s, which does not say that it is done", at)
	}
	return err
}

// load reads a page, and returns where redirects led. Form fields are sent from a page of the same origin.
func load(ctx context.Context, client *http.Client, method, address string, fields url.Values) (page *html.Node, at *url.URL, err error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(fields.Encode()))
	if err != nil {
		return nil, nil, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", req.URL.Scheme+"://"+req.URL.Host)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	page, err = html.Parse(io.LimitReader(resp.Body, maxPage))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: status %d: %s", method, address, resp.StatusCode, textOf(page))
	}
	return page, resp.Request.URL, err
}

// formOf finds the form that has some values among its fields, and returns where it leads and all its fields.
func formOf(page *html.Node, has url.Values) (target string, fields url.Values, found bool) {
	for form := range page.Descendants() {
		if form.Type != html.ElementNode || form.Data != "form" {
			continue
		}
		fields = url.Values{}
		for input := range form.Descendants() {
			if name := attribute(input, "name"); input.Data == "input" && name != "" {
				fields.Add(name, attribute(input, "value"))
			}
		}
		missing := false
		for name, values := range has {
			missing = missing || !slices.Equal(fields[name], values)
		}
		if !missing {
			return attribute(form, "action"), fields, true
		}
	}
	return "", nil, false
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// textOf is the text in the main part of a page.
func textOf(page *html.Node) string {
	var words []string
	for node := range page.Descendants() {
		if node.Type == html.ElementNode && node.Data == "main" {
			for part := range node.Descendants() {
				if part.Type == html.TextNode {
					words = append(words, strings.Fields(part.Data)...)
				}
			}
		}
	}
	return strings.Join(words, " ")
}
