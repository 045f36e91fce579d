# Each target works as the first command after cloning: `setup` runs before it, and does nothing
# when everything is there.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup build kubernetes programs kernels vm cluster demo test soak bench fuzz vagrant image chart lint clean

CARGO ?= cargo
# What runs as root keeps the caller's environment; cargo itself stays the caller's, so that
# target/ does.
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo -E)
RUN_TESTS := $(if $(SUDO),--config "target.'cfg(all())'.runner='$(SUDO)'")
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:/usr/sbin:/sbin

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## find or install the toolchain, the packages and the BPF file system
	@.ci/setup.sh

build: setup ## all binaries, into target/release
	@[ -e target/release/weft ] || echo 'build: the first one takes some minutes, the last one or two of them without a word'
	$(CARGO) build --release
	@$(CARGO) rustc --release --quiet -p weft-agent --bin weft-cni -- -Ctarget-feature=+crt-static || \
		echo 'build: weft-cni stays dynamically linked, which costs each ADD a third of a millisecond (no static libc here)'
	@$(CARGO) rustc --release --quiet -p weft-netns --bin kubensenter -- -Ctarget-feature=+crt-static || \
		echo 'build: kubensenter stays dynamically linked, and runs only where this C library does (no static libc here)'

demo: build ## a cluster of two nodes on this machine: who reaches whom, and how to change it (root)
	$(SUDO) target/release/weft-lab demo

kubernetes: setup ## the API server and kubectl that most tests run, once, into the user's cache: five to ten minutes
	@.ci/kubernetes.sh

# What runs on the nodes of a whole cluster, beside what the other tests run.
CLUSTER := kube-apiserver kubectl kube-controller-manager kube-scheduler kubelet kube-proxy agnhost coredns
programs: setup
	@.ci/kubernetes.sh $(CLUSTER)

kernels: build ## the kernels and the root file system of the virtual machines, once, into the user's cache: one to two minutes (root)
	@$(SUDO) target/release/weft-lab vm fetch

vm: kernels ## the smoke on Debian 12's kernels, each in a virtual machine: two to three minutes each (root)
	$(SUDO) target/release/weft-lab vm smoke

cluster: build image programs ## a real Kubernetes of two nodes on this machine, with weft in its pods (root); weft-lab down ends it
	$(SUDO) target/release/weft-lab up --kubernetes
	@echo 'cluster: as root: target/release/weft-lab kubectl -- get pods -A -o wide; target/release/weft-lab down'

test: build image programs kernels ## all tests (root); what each said is in target/test-logs
	@CARGO="$(CARGO)" WEFT_SUDO="$(SUDO)" .ci/test.sh

# All of them, also if one fails: a broken bound says nothing about the others.
soak: build kubernetes ## long and heavy cases, about twelve minutes (SOAK_MINUTES, 4; WEFT_ATTACK_SECONDS, 300); figures in target/soak (root)
	failed=0; \
	$(CARGO) test --release --no-fail-fast $(RUN_TESTS) -p weft-agent --test kubernetes -p weft-tests --test soak -- \
		--ignored --nocapture --test-threads=1 || failed=1; \
	WEFT_ATTACK_SECONDS=$${WEFT_ATTACK_SECONDS:-300} \
		$(CARGO) test --release $(RUN_TESTS) -p weft-tests --test e2e -- hostile --nocapture || failed=1; \
	exit $$failed

bench: build ## the benchmarks beside their peers, about fifteen minutes (root)
	$(SUDO) target/release/weft-bench

# libFuzzer's coverage without cargo-fuzz: any rustc has these passes. New inputs go to target/, not into the corpus.
FUZZ_SECONDS ?= 60
FUZZ_FLAGS := --cfg fuzzing -Ccodegen-units=1 -Cdebug-assertions -Cpasses=sancov-module $(addprefix -Cllvm-args=-sanitizer-coverage-,\
	level=4 inline-8bit-counters pc-table trace-compares)
fuzz: setup ## the reader of DNS messages against invented ones, for a minute (FUZZ_SECONDS)
	@mkdir -p target/fuzz/corpus
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) run --release -p weft-fuzz --bin dns_message --target-dir target/fuzz \
		--target "$$(rustc -vV | sed -n 's/^host: //p')" -- -max_total_time=$(FUZZ_SECONDS) -timeout=5 \
		-artifact_prefix=target/fuzz/ target/fuzz/corpus fuzz/corpus/dns_message

# Not a part of `test`. vagrant/README.md says how long it takes, and how to have such machines for oneself.
WEFT_MODE ?= manifests
vagrant: build $(if $(filter kubernetes,$(WEFT_MODE)),image programs) ## two virtual machines with kernels of their own as nodes (root); WEFT_MODE (manifests, kubernetes), WEFT_KERNEL (6.12)
	@.ci/setup.sh vagrant
	$(SUDO) env WEFT_MODE=$(WEFT_MODE) vagrant/smoke.sh

# Static, since the image has no libraries for them. With glibc rather than musl, whose allocator gives no memory back (agent/src/memory.rs).
# The build's own weft takes its place again: on a machine, names are resolved as its libraries say.
image: build ## the container image as an archive, target/image/weft.tar, without a container engine
	@mkdir -p target/static
	$(CARGO) rustc --release --quiet -p weft-agent --bin weft -- -Ctarget-feature=+crt-static
	$(CARGO) rustc --release --quiet -p weft-netns --bin kubensenter -- -Ctarget-feature=+crt-static
	@cp target/release/weft target/release/weft-cni target/release/kubensenter target/static/
	@$(CARGO) build --release --quiet -p weft-agent --bin weft
	deploy/image.sh target/static

chart: ## the Helm chart's templates, from deploy/manifests
	deploy/chart.sh

lint: setup ## formatting and clippy, warnings as errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --release --all-targets -- -D warnings

clean: ## remove what was built; what setup installed stays
	$(CARGO) clean
