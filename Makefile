# `make help` lists the targets.

VERSION   ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
FUZZTIME  ?= 3s
HOSTILETIME ?= 30s
VULNDB    ?= https://vuln.go.dev
TESTFLAGS ?=
ROUNDS    ?= 200
SEED      ?= 0
FAULTS    ?=
DURATION  ?= 1h
RATE      ?= 2000
EVENTS    ?= 1000000
JSON      ?= false
OVERLOAD  ?= 10m
MUTATIONS ?= .
TOGETHER  ?= 1
FACTOR    ?= 3
TEST_PKGS ?= ./...
# What runs under the race detector: everything that starts goroutines or keeps what several use. The rest takes values and
# returns values, or runs processes of its own.
RACE_PKGS ?= $(shell go list ./internal/... ./pkg/... | grep -v -e /archtest$$ -e /bench$$ -e /benign$$ -e /doctest$$ -e /mutate$$ -e /soak$$ \
	-e /cli$$ -e /detectorcli$$ -e /doctor$$ -e /config$$ -e /enforce$$ -e /event$$ -e /redisurl$$ -e /rules$$ -e /store$$ -e /storetest$$ -e /strictconfig$$ \
	-e /testenv$$ -e /window$$ -e /windowtest$$ -e /otelcheck$$ -e /promcheck$$)

GO_LDFLAGS := -s -w -X main.version=$(VERSION)
# The version is given above; asking Git again fails in checkouts that another user owns.
GO_BUILD   := CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(GO_LDFLAGS)'

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "%-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install Redis and Postgres for the tests where they are missing; starts no service
	@scripts/setup.sh

.PHONY: test
test: setup ## go vet and every test, against real Redis and Postgres
	go vet ./...
	go test -vet=off -count=1 -timeout 10m $(TESTFLAGS) $(TEST_PKGS)
	cd examples/routers && go vet ./... && go test -vet=off -count=1 $(TESTFLAGS) ./...
	cd internal/chaos && go vet ./...

.PHONY: setup-producers
setup-producers: setup ## install what runs the examples of producers
	@scripts/setup-producers.sh

.PHONY: test-producers
test-producers: setup-producers ## run the examples of producers in every language
	go test -count=1 -timeout 5m -tags producers $(TESTFLAGS) ./examples/producers

.PHONY: test-compat
test-compat: ## the main job, a kill, Sentinel and Cluster on each server in COMPAT_BIN_DIR (redis-8/redis-server, valkey-9/redis-server, …)
	@scripts/test-compat.sh

.PHONY: test-proxies
test-proxies: ## the configurations of docs/how-to/ingress on real nginx, HAProxy and Caddy (built once, some minutes)
	@scripts/setup.sh proxies
	go vet -tags proxies ./internal/ingress/proxytest
	CADDY=$$(scripts/tool.sh caddy) go test -count=1 -timeout 10m $(TESTFLAGS) -tags proxies ./internal/ingress/proxytest

.PHONY: race
race: setup ## the tests under the race detector; needs a C compiler
	RAPID_CHECKS=$${RAPID_CHECKS:-20} CGO_ENABLED=1 go test -race -vet=off -count=1 -timeout 15m $(TESTFLAGS) $(RACE_PKGS)

.PHONY: fuzz
fuzz: ## fuzz what reads hostile input for HOSTILETIME (30s) each, the rest for FUZZTIME (3s)
	@scripts/fuzz.sh $(HOSTILETIME) $(FUZZTIME)

.PHONY: bench
bench: setup ## benchmarks, one JSON object a line
	@go test -count=1 -timeout 20m -run Bench ./internal/bench -v -args -full | grep "^{"

.PHONY: chaos
chaos: setup ## ROUNDS (200) of faults against real processes, drawn from SEED; FAULTS=kill,redis picks some
	@cd internal/chaos && go vet . && go test -v -vet=off -count=1 -timeout 4h -run '^TestChaos' . -rounds $(ROUNDS) -seed $(SEED) -faults '$(FAULTS)'

.PHONY: soak
soak: setup ## DURATION (1h) of RATE (2000) events/s at real processes; fails if anything grows or is lost; JSON=true for JSON
	@go test -v -count=1 -timeout 0 -run '^TestSoak$$' ./internal/soak -duration $(DURATION) -rate $(RATE) -seed $(SEED) -json=$(JSON)

.PHONY: mutate
mutate: setup ## break the program on purpose, one guarantee at a time: tests must notice; MUTATIONS picks some, TOGETHER at once
	@go test -v -count=1 -timeout 6h -run '^TestMutations$$' ./internal/mutate -mutate '$(MUTATIONS)' -together $(TOGETHER)

.PHONY: benign
benign: setup ## EVENTS (1000000) of an innocent population with a few attackers, six ways; every block and match against a recount
	@go test -v -count=1 -timeout 2h -run '^TestBenign$$' ./internal/benign -events $(EVENTS) -seed $(SEED)

.PHONY: overload
overload: setup ## FACTOR (3) times what a slowed worker can do for OVERLOAD (10m), in order and shedding; prints what becomes of it
	@go test -count=1 -timeout 4h -run '^TestOverload$$' ./internal/bench -v -args -overload $(OVERLOAD) -overload-factor $(FACTOR)

.PHONY: build
build: ## static binaries into bin/
	$(GO_BUILD) -o bin/ ./cmd/...

.PHONY: docker
docker: ## an image of each binary, tagged with VERSION
	docker build --build-arg VERSION=$(VERSION) -t wardstream/detector:$(VERSION) -f deploy/docker/detector.Dockerfile .
	docker build --build-arg VERSION=$(VERSION) -t wardstream/ingress-check:$(VERSION) -f deploy/docker/ingress-check.Dockerfile .

.PHONY: lint
lint: lint-go lint-mod lint-arch lint-deploy lint-shell ## everything below

.PHONY: lint-go
lint-go: ## linters and formatting
	@bin=$$(scripts/tool.sh golangci-lint) && set -x && $$bin run --build-tags proxies,producers ./... && $$bin fmt --diff ./... && for module in deploy examples/routers internal/chaos; do \
			(cd $$module && $$bin run --config $(CURDIR)/.golangci.yml ./... && $$bin fmt --config $(CURDIR)/.golangci.yml --diff ./...) || exit 1; done

.PHONY: fmt
fmt: ## format every Go file
	@bin=$$(scripts/tool.sh golangci-lint) && $$bin fmt ./... && cd deploy && $$bin fmt --config ../.golangci.yml ./...

.PHONY: lint-mod
lint-mod: ## go.mod and go.sum are tidy
	go mod tidy -diff
	cd deploy && go mod tidy -diff
	cd examples/routers && go mod tidy -diff
	cd internal/chaos && go mod tidy -diff

.PHONY: lint-arch
lint-arch: ## who imports whom, sizes, package names, reasons for dependencies
	go test -count=1 ./internal/archtest

.PHONY: lint-deploy
lint-deploy: ## render the Kubernetes manifests, validate them, check the Dockerfiles
	cd deploy && go vet ./... && go test -count=1 ./...

.PHONY: lint-shell
lint-shell: ## shell scripts parse, and pass shellcheck where it is installed
	@scripts/lint-shell.sh

.PHONY: vulncheck
vulncheck: ## known vulnerabilities in what we ship, by the database at VULNDB (https://vuln.go.dev; file:// for a copy)
	@bin=$$(scripts/tool.sh govulncheck) && set -x && $$bin -db $(VULNDB) ./cmd/... ./pkg/...

.PHONY: clean
clean: ## remove built binaries and installed tools
	rm -rf bin .bin
