# Crossgate's commands. `make help` lists them.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

MODULE   := github.com/crossgate/crossgate
VERSION  ?=
PACKAGES ?= ./...
FUZZTIME ?= 10s
BENCH    ?= .
SEED     ?= 1

EXECUTIONS ?= 100000000

# Programs that generate and check; tools/go.mod pins them, so that go.mod has only what Crossgate itself needs.
TOOLS := bin/tools

.PHONY: help
help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## Try it: a gateway with demo services; needs nothing installed but Go
	@go run ./cmd/crossgate dev

.PHONY: build
build: ## Build bin/crossgate, a static binary (VERSION=v1.2.3 names it)
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/crossgate ./cmd/crossgate

.PHONY: test
test: install build lint vulncheck check-generated unit race ## Install what tests need, then run every check and every test
	@$(MAKE) --no-print-directory fuzz FUZZTIME=3s
	@echo 'everything passed'

.PHONY: install
install: ## Install what tests need: Debian packages when missing, and npm packages
	@.ci/install

# Tests start servers on a machine that may be busy. The few that fail are run again by themselves, and the summary names
# them: what passes then was flaky and wants mending, but stops nobody. A data race fails the run at once.
GOTEST = $(TOOLS)/gotestsum --format standard-quiet --hide-summary skipped --rerun-fails=2 --rerun-fails-max-failures=6 \
	--rerun-fails-run-root-test --rerun-fails-abort-on-data-race

.PHONY: unit
unit: $(TOOLS)/gotestsum ## Run the tests of the packages, as they count allocations without the race detector (PACKAGES=./routing for some)
	@$(GOTEST) --packages "$$(go list $(PACKAGES) | grep -v /integration | tr '\n' ' ')" -- -timeout 5m

.PHONY: race
race: $(TOOLS)/gotestsum ## Run every test under the race detector
	@$(GOTEST) --packages "$(PACKAGES)" -- -race -timeout 10m

.PHONY: lint
lint: $(TOOLS)/staticcheck ## Check format, vet, staticcheck and that go.mod is tidy
	@unformatted=$$(gofmt -l .)
	if [[ -n $$unformatted ]]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	go mod tidy -diff
	go vet ./...
	$(TOOLS)/staticcheck ./...

GOVULNDB ?= https://vuln.go.dev

.PHONY: vulncheck
vulncheck: $(TOOLS)/govulncheck ## Look for known vulnerabilities that the code reaches (GOVULNDB names the database); says so where it gives no answer
	@if $(TOOLS)/govulncheck -db '$(GOVULNDB)' -version | grep -q '^DB updated'; then
		$(TOOLS)/govulncheck -db '$(GOVULNDB)' ./...
	else
		echo 'vulncheck: not checked, for $(GOVULNDB) gives no answer'
	fi

.PHONY: fmt
fmt: ## Format all Go code
	@gofmt -w .

.PHONY: fuzz
fuzz: ## Run each fuzz target for FUZZTIME, 10s unless told
	@go test -list '^Fuzz' $(PACKAGES) | awk '/^Fuzz/ {names[n++] = $$1} /^ok/ {while (n) print $$2, names[--n]}' |
	while read -r package target; do
		echo "$$package $$target"
		go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package" </dev/null
	done

.PHONY: fuzz-codec
fuzz-codec: ## Give EXECUTIONS random inputs, 100 million unless told, to the JSON codec and to protojson and compare (SEED=7 for others)
	@GOGC=off GOMEMLIMIT=1GiB go test -run '^TestRandomInput' -v -timeout 0 ./transcoder/codec -executions $(EXECUTIONS) -seed $(SEED)

.PHONY: bench-codec
bench-codec: ## Print the table of transcoder/codec/BENCHMARKS.md and whether it holds what is required; takes two minutes
	@go test -run '^TestBenchmarkTable$$' -v -timeout 30m ./transcoder/codec -table

.PHONY: bench
bench: ## Run benchmarks (BENCH=Routing PACKAGES=./routing for some)
	@go test -run '^$$' -bench '$(BENCH)' -benchmem $(PACKAGES)

# Generated code: protoc (Debian: protobuf-compiler) with the plugins that tools/go.mod pins. What the .proto files
# import comes from Go modules too; proto/internal/imports says how. OUT is where the result goes.

OUT   ?= .
PROTOC = protoc $(foreach p,go go-grpc grpc-gateway,--plugin=protoc-gen-$p=$(TOOLS)/protoc-gen-$p) \
	--descriptor_set_in=bin/imports.binpb \
	--go_out=$(OUT) --go_opt=module=$(MODULE) --go-grpc_out=$(OUT) --go-grpc_opt=module=$(MODULE)

.PHONY: generate
generate: generate-protos ## Generate all generated files again
	@go generate ./...

.PHONY: generate-protos
generate-protos: $(TOOLS)/protoc-gen-go
	@go run ./proto/internal/imports > bin/imports.binpb
	$(PROTOC) -I proto $$(cd proto && find * -name '*.proto' | sort)
	mkdir -p $(OUT)/demo
	protoc --descriptor_set_in=bin/imports.binpb --include_source_info --descriptor_set_out=$(OUT)/demo/shop.binpb -I proto crossgate/demo/v1/shop.proto
	$(PROTOC) -I . --grpc-gateway_out=$(OUT) --grpc-gateway_opt=module=$(MODULE) integration/testproto/test.proto

# The documentation page's UI: the files of an npm package that package-lock.json pins, with what says which they are.
# Its dependency runs nothing here: --ignore-scripts.

UI := openapi/page

.PHONY: docs-ui
docs-ui: ## Vendor the UI of the documentation page again, as openapi/page/package-lock.json has it
	@npm ci --prefix $(UI) --ignore-scripts --no-audit --no-fund --loglevel=error
	rm -rf $(UI)/dist && mkdir $(UI)/dist
	cp $(UI)/node_modules/swagger-ui-dist/{LICENSE,NOTICE,swagger-ui.css,swagger-ui-bundle.js,swagger-ui-bundle.js.LICENSE.txt} $(UI)/dist
	rm -rf $(UI)/node_modules
	cd $(UI)/dist
	sha256sum * > SHA256SUMS
	node -p 'const p = require("../package-lock.json").packages["node_modules/swagger-ui-dist"]; `swagger-ui-dist $${p.version} $${p.integrity}`' > VERSION

# The comment that names protoc's release is let differ: another release generates the same code.
.PHONY: check-generated
check-generated: ## Check that generated files are those that generating again would give
	@fresh=$$(mktemp -d)
	trap 'rm -rf "$$fresh"' EXIT
	$(MAKE) --no-print-directory generate-protos OUT="$$fresh"
	for file in $$( (find proto integration/testproto -name '*.pb*.go'; cd "$$fresh" && find * -name '*.go') | sort -u); do
		diff -u -I '^// .*protoc  *v' "$$file" "$$fresh/$$file" || { echo "$$file is stale, run make generate"; exit 1; }
	done
	go test ./config/internal/reference

$(TOOLS)/staticcheck $(TOOLS)/govulncheck $(TOOLS)/gotestsum $(TOOLS)/protoc-gen-go: tools/go.mod tools/go.sum
	@mkdir -p $(TOOLS)
	GOBIN=$(CURDIR)/$(TOOLS) go install -modfile=tools/go.mod tool
	touch $(TOOLS)/*

.PHONY: clean
clean: ## Remove what was built
	@rm -rf bin dist
