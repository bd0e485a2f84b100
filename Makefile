# The pinned linter. It is run by version, so that it is no dependency of the
# project.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     ?= dev
FUZZTIME    ?= 10s

.PHONY: build test lint fuzz measure

build: ## the binary, as it is released, in build/
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o build/gatewright ./cmd/server

test: ## the tests, with the race detector
	go test -race ./...

lint: ## formatting, vet and staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

fuzz: ## every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

measure: build ## size of the binary, its idle memory and its time to ready
	./.ci/measure build/gatewright
