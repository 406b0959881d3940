# The verbs of this repository. Each is one command that works by itself, too.

GO ?= go
STATICCHECK = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: help run build test race fuzz crash attack devices lint docs spec ci clean

help:            ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST)

run:             ## start a server on the embedded store
	$(GO) run ./cmd/keystead serve

build:           ## one static binary, bin/keystead
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/keystead ./cmd/keystead

test:            ## the tests
	$(GO) test ./...

race:            ## the tests under the race detector, shorter
	$(GO) test -race -short ./...

fuzz:            ## each fuzz target for some seconds
	.ci/run fuzz

crash:           ## kill the server under load, cut its power, fail each write, mutate requests: for hours
	$(GO) run ./bench/crash -cycles 300
	$(GO) test ./cmd/keystead/node -v -timeout 6h -cuts 2000 -nth 1 -steps 100000 -mutants 200000
	$(GO) test ./merklehot/teamchain -v -run TestMutants -mutants 200000
	$(GO) test ./merklehot/hidden -v -run TestMutants -rapid.checks 100000

attack:          ## attack the server from thousands of addresses beside a client that must not notice
	$(GO) run ./bench/attack

devices:         ## hold tens of thousands of devices at the push door, stall some, restart under them
	$(GO) run ./bench/push

lint:            ## gofmt, vet, staticcheck
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(STATICCHECK) ./...

docs:            ## write docs/reference anew from the code
	$(GO) test ./cmd/keystead/config -run TestReferenceIsFresh -update
	$(GO) test ./cmd/keystead -run 'TestCommandReferenceIsFresh|TestLimitsPageIsFresh' -update

spec:            ## write compat/spec/cited.txt anew from the comments
	$(GO) test ./compat/spec -run TestCitedListIsExact -update

ci:              ## all that the continuous integration does
	.ci/run

clean:           ## take away what the verbs made
	rm -rf bin
