package codecheck

import (
	"context"
	"net/http"
	"net/url"

	"github.com/gatewright/gatewright/internal/huaweicloud"
)

// api is the calls of CodeArts Check that we use, in their own words. Sections
// are those of specs/codearts-check.md.
type api struct{ client *huaweicloud.Client }

// readProgress is the operation that is called again and again.
const readProgress = "read progress"

func (a api) read(ctx context.Context, operation, path string, query url.Values, out any) error {
	return a.client.Do(ctx, huaweicloud.Call{
		Operation: operation, Method: http.MethodGet, Path: path, Query: query, Safe: true, Poll: operation == readProgress,
	}, out)
}

func either(a, b text) text {
	if a != "" {
		return a
	}
	return b
}
