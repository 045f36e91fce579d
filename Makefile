# Each target works as the first command after cloning: `setup` runs before it, and does nothing
# when everything is there.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build demo test bench lint clean

CARGO ?= cargo
# What runs as root keeps the caller's environment; cargo itself stays the caller's, so that
# target/ does.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo -E)
RUN_TESTS := $(if $(SUDO),--config "target.'cfg(all())'.runner='$(SUDO)'")
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:/usr/sbin:/sbin

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 8

setup: ## find or install the toolchain, the packages and the BPF file system
	@.ci/setup.sh

build: setup ## all binaries, into target/release
	$(CARGO) build --release

demo: build ## a cluster of two nodes on this machine: who reaches whom, and how to change it (root)
	$(SUDO) target/release/weft-lab demo

test: build ## all tests (root)
	$(CARGO) test --release --no-fail-fast $(RUN_TESTS)

bench: build ## the benchmarks beside their peers, about ten minutes (root)
	$(SUDO) target/release/weft-bench

lint: setup ## formatting and clippy, warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --all-targets -- -D warnings

clean: ## remove what was built; what setup installed stays
	$(CARGO) clean
