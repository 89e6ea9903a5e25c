# `make SHELL=1 demo` asks for a shell in the booted root. SHELL is make's own
# variable too: what is given there never reaches the recipes.
ifeq ($(origin SHELL),command line)
shell := -shell
endif
override SHELL := /bin/bash

cache := $(or $(ROOTLUN_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rootlun)
export PATH := $(cache)/go/bin:$(PATH):/usr/sbin:/sbin
export CGO_ENABLED := 0

FUZZTIME ?= 30s

.PHONY: build packages test test-systems test-survival test-others demo lint fuzz bench size
build:
	@scripts/setup
	@scripts/build
packages:
	@scripts/setup
	@scripts/packages
test:
	@scripts/setup test
	ROOTLUN_REQUIRE_TOOLS=1 go test -count=1 -timeout=30m ./...
test-systems: # whole distributions boot, which takes minutes
	@scripts/setup test systems
	@scripts/systems
	@$(MAKE) --no-print-directory -j2 -O test-survival test-others
systems := ROOTLUN_SYSTEMS=1 ROOTLUN_REQUIRE_TOOLS=1 go test -count=1 -timeout=40m
test-survival: # all at once, and beside the others: they wait more than they compute
	$(systems) -parallel=9 -run Survival ./qemu-tests
test-others:
	$(systems) -skip Survival ./qemu-tests
demo:
	@scripts/setup boot
	@go run ./qemu-tests/demo $(shell)
lint:
	@scripts/setup lint
	@scripts/lint
fuzz:
	@scripts/setup
	scripts/fuzz $(FUZZTIME)
bench:
	@scripts/setup boot bench
	@scripts/peer
	go run ./qemu-tests/bench
size: build
	@scripts/setup boot
	@scripts/size
