# The one list of commands; CI calls the same ones. `make help` explains.

# Debian keeps name servers and network tools where not every user looks.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# Tool of `make check`; kept in the checkout.
DENY := $(shell command -v cargo-deny 2>/dev/null || echo .tools/bin/cargo-deny)
# What the demo is started with, such as: make demo DEMO_FLAGS="--nodes 5 --keep"
DEMO_FLAGS ?=

# What the benchmark is started with, such as: make bench-scale BENCH_FLAGS="--report DIR"
BENCH_FLAGS ?=

.PHONY: help demo bench-scale test test-cluster check lint deny audit build release render clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## install what is missing, build, and show the whole path on an embedded cluster
	@scripts/setup demo
	cargo build --locked --workspace --bins
	@$(TARGET_DIR)/debug/nearside-loadtest demo $(DEMO_FLAGS)

bench-scale: ## build optimised programs and measure proxy and controller in a cluster of 1,000 nodes and 100,000 pods
	@scripts/setup check
	cargo build --locked --profile bench-like -p nearside-proxy -p nearside-controller -p nearside-loadtest --bins
	@$(TARGET_DIR)/bench-like/nearside-loadtest bench scale $(BENCH_FLAGS)

test: ## install what is missing, build, and run every test
	@scripts/setup test
	cargo build --locked --workspace --bins
	@if cargo nextest --version >/dev/null 2>&1; then \
	  echo "cargo nextest run --locked --workspace"; \
	  cargo nextest run --locked --workspace --no-fail-fast --status-level fail --final-status-level fail; \
	else \
	  echo "cargo test --locked --workspace"; \
	  cargo test --locked --workspace --no-fail-fast; \
	fi

# The explicit switch: nobody's cluster is written to because KUBECONFIG happens to be set.
test-cluster: ## the tests of the whole path against the cluster of KUBECONFIG (docs/testing.md)
	@test -n "$$KUBECONFIG" || { echo "make test-cluster: set KUBECONFIG" >&2; exit 2; }
	@scripts/setup test
	cargo build --locked --workspace --bins
	NEARSIDE_TEST_CLUSTER=1 cargo test --locked --workspace --test whole_path -- --test-threads=1

check: lint deny ## formatting, lints and dependency rules

lint: ## formatting and lints
	@scripts/setup check
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

# The dependencies of every platform are looked at, so those of other platforms are fetched first: nothing to do the second time.
deny: ## licences, sources and banned or duplicate dependencies (builds cargo-deny once)
	@scripts/setup check
	@test -x "$(DENY)" || cargo install --locked --root .tools cargo-deny
	cargo fetch --locked
	$(DENY) --offline --locked check bans licenses sources

audit: ## known vulnerabilities in dependencies; fetches the RustSec database
	@test -x "$(DENY)" || cargo install --locked --root .tools cargo-deny
	$(DENY) check advisories

build: ## debug binaries of all programs
	@scripts/setup check
	cargo build --locked --workspace --bins

release: ## optimised binaries of the three programs
	@scripts/setup check
	cargo build --locked --release -p nearside-proxy -p nearside-controller -p nearside-dns-sync

render: ## the manifests in deploy/ from the chart (test holds them equal)
	@scripts/deploy-tools
	scripts/render

clean: ## remove what was built
	cargo clean
