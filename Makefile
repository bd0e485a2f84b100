# The pinned tools. They are run by version, so that they are not dependencies of the
# project.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
TEMPL       := github.com/a-h/templ/cmd/templ@v0.3.1020
# What the tests of the pages are judged by. It is not ours, and not in the repository.
AXE         := axe-core@4.14.1
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.8.0
# The vulnerability database: an URL, or file:// and an absolute path.
VULNDB      ?= https://vuln.go.dev
VERSION     ?= dev
FUZZTIME    ?= 10s

.PHONY: pages axe build test lint fuzz bench crash faults soak attack vuln

# The proofs run on both databases; PostgreSQL is started from what is installed.
DATABASE ?= both
ROUNDS   ?= 100
FOR      ?= 60s

build: ## both programs, as they are released, in build/
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o build/gatewright ./cmd/server
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o build/gatewright-demo ./cmd/demo

pages: ## the Go code of the pages, from their templates
	go run $(TEMPL) generate -path internal/dashboard

axe: ## axe-core, for the tests of the pages, in build/axe
	npm install --prefix build/axe --no-save --ignore-scripts --no-audit --no-fund --silent $(AXE)

test: ## the tests, with the race detector; not for SQLite, which is C that was made into Go
	go test -race '-gcflags=modernc.org/...=-d=checkptr=0 -race=false' -timeout 60m ./...

lint: ## formatting, vet and staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	go vet ./...
	go run $(STATICCHECK) ./...

vuln: ## known vulnerabilities: none that gatewright calls; those of the demo are shown
	go run $(GOVULNCHECK) -db $(VULNDB) ./cmd/server
	-go run $(GOVULNCHECK) -scan package -db $(VULNDB) ./cmd/demo

fuzz: ## every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

bench: build ## speed, latency, memory, size and start, one figure a line and in build/bench.json
	go run ./test/bench -binary build/gatewright

crash: build ## kill -9 under load, ROUNDS times on each DATABASE: nothing lost, nothing done twice
	go run ./test/crash -binary build/gatewright -database $(DATABASE) -rounds $(ROUNDS)

faults: build ## the same through a proxy and services that misbehave
	go run ./test/faults -binary build/gatewright -database $(DATABASE)

attack: build ## what strangers and holders of one secret can try: held or broken
	go run ./test/attack -binary build/gatewright -database $(DATABASE)

soak: build ## mixed load for FOR: memory, goroutines, files and tables at start and end
	go run ./test/soak -binary build/gatewright -database $(DATABASE) -for $(FOR)
