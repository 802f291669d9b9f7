# The one list of commands; CI calls the same ones. `make help` explains.

# Tools that scripts/deploy-tools has fetched come first; Debian keeps name servers and network tools where not every user looks.
export PATH := $(CURDIR)/.tools/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# Tool of `make check`; kept in the checkout.
DENY := $(shell command -v cargo-deny 2>/dev/null || echo .tools/bin/cargo-deny)
# What the demo is started with, such as: make demo DEMO_FLAGS="--nodes 5 --keep"
DEMO_FLAGS ?=

# What the benchmark is started with, such as: make bench BENCH_FLAGS="--report DIR"
BENCH_FLAGS ?=
# How the programs of `make bench` are built: as the image ships them, or without link-time optimisation (bench-like), which is built
# sooner and costs small answers up to half as much again.
BENCH_PROFILE ?= release

# How long, and in which order (make soak MINUTES=30 SEED=7); by chance where no seed is given.
MINUTES ?= 10
SEED ?= $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')

.PHONY: soak help demo bench bench-scale bench-dns upgrades test test-cluster test-image test-kernel-tls fuzz check lint deny audit sbom reproducible build release image render clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: ## install what is missing, build, and show the whole path on an embedded cluster
	@scripts/setup demo
	cargo build --locked --workspace --bins
	@$(TARGET_DIR)/debug/nearside-loadtest demo $(DEMO_FLAGS)

bench: ## install what is missing, build optimised programs and measure the proxy beside HAProxy, nginx and Traefik
	@scripts/setup bench-proxy
	cargo build --locked --profile $(BENCH_PROFILE) -p nearside-proxy -p nearside-loadtest --bins
	@$(TARGET_DIR)/$(BENCH_PROFILE)/nearside-loadtest bench proxy $(BENCH_FLAGS)

bench-scale: ## build optimised programs and measure proxy and controller in a cluster of 1,000 nodes and 100,000 pods
	@scripts/setup check
	cargo build --locked --profile bench-like -p nearside-proxy -p nearside-controller -p nearside-loadtest --bins
	@$(TARGET_DIR)/bench-like/nearside-loadtest bench scale $(BENCH_FLAGS)

bench-dns: ## install what is missing, build optimised programs and measure the name server beside BIND and Knot
	@scripts/setup bench
	cargo build --locked --profile bench-like -p nearside-dns-sync -p nearside-loadtest --bins
	@$(TARGET_DIR)/bench-like/nearside-loadtest bench dns $(BENCH_FLAGS)

upgrades: ## build optimised programs and count the requests that fail in a hundred upgrades of the proxy under load
	@scripts/setup check
	cargo build --locked --profile bench-like -p nearside-proxy -p nearside-loadtest --bins
	@$(TARGET_DIR)/bench-like/nearside-loadtest bench upgrades $(BENCH_FLAGS)

test: export NEARSIDE_REQUIRE_KUBECTL := 1
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

soak: ## a steady load for MINUTES while whatever can happen to a cluster happens, in the order of SEED
	@scripts/setup test
	cargo build --locked --workspace --bins
	NEARSIDE_SOAK_MINUTES=$(MINUTES) NEARSIDE_SOAK_SEED=$(SEED) cargo test --locked --workspace --test whole_path soak -- --nocapture

# The explicit switch: nobody's cluster is written to because KUBECONFIG happens to be set.
test-cluster: ## the tests of the whole path against the cluster of KUBECONFIG (docs/testing.md)
	@test -n "$$KUBECONFIG" || { echo "make test-cluster: set KUBECONFIG" >&2; exit 2; }
	@scripts/setup test
	cargo build --locked --workspace --bins
	NEARSIDE_TEST_CLUSTER=1 cargo test --locked --workspace --test whole_path -- --test-threads=1

# Coverage-guided, by libFuzzer; `make test` replays the corpus without it. FUZZ_SECONDS and FUZZ_TARGETS say how long and which.
fuzz: ## the fuzz targets for FUZZ_SECONDS=60 each, or FUZZ_TARGETS alone (builds cargo-fuzz once; docs/testing.md)
	@scripts/setup fuzz
	@command -v cargo-fuzz >/dev/null 2>&1 || cargo install --locked --root .tools cargo-fuzz
	@scripts/fuzz

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

audit: ## known vulnerabilities in dependencies; fetches the RustSec database, or takes the copy in ADVISORY_DB
	@test -x "$(DENY)" || cargo install --locked --root .tools cargo-deny
	@scripts/audit "$(DENY)"

sbom: ## what each program is made of (CycloneDX), in target/sbom/
	@scripts/setup sbom
	cargo fetch --locked
	@scripts/bill_of_materials.py $(TARGET_DIR)/sbom

reproducible: ## build the programs twice in different directories and compare them (PROFILE=image is quicker)
	@scripts/setup check
	@scripts/reproducible

build: ## debug binaries of all programs
	@scripts/setup check
	cargo build --locked --workspace --bins

release: ## optimised binaries of the three programs
	@scripts/setup check
	cargo build --locked --release -p nearside-proxy -p nearside-controller -p nearside-dns-sync

# Static binaries need no file of any system, so the image holds nothing else. IMAGE_PROFILE=release takes much longer to build
# and is what a release ships.
IMAGE_PROFILE ?= image
IMAGE_TARGET := x86_64-unknown-linux-gnu
IMAGE_BINARIES = $(TARGET_DIR)/$(IMAGE_TARGET)/$(IMAGE_PROFILE)

image: image-binaries ## the container image of the three programs, as an OCI archive
	@scripts/image $(IMAGE_BINARIES) $(TARGET_DIR)/image

.PHONY: image-binaries
image-binaries:
	@scripts/setup image
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile $(IMAGE_PROFILE) --target $(IMAGE_TARGET) \
	  -p nearside-proxy -p nearside-controller -p nearside-dns-sync

# The image is unpacked and its programs run by a container runtime, which needs root.
test-image: image ## build the image and run its programs with the rights that the chart gives them
	@scripts/setup test-image
	NEARSIDE_IMAGE_BINARIES=$(abspath $(IMAGE_BINARIES)) cargo test --locked --workspace --test image

# Few kernels that programs are built on have the module: User Mode Linux is a program, and has it.
test-kernel-tls: ## the tests of the proxy about bytes and TLS under a kernel that encrypts (User Mode Linux)
	@scripts/setup test-kernel-tls
	cargo build --locked --workspace --bins
	@scripts/kernel-tls

render: ## the manifests in deploy/ from the chart, and docs/limits.md from its table (test holds them equal)
	@scripts/deploy-tools
	scripts/render
	NEARSIDE_RENDER=1 cargo test --locked --workspace --lib edge::table

clean: ## remove what was built
	cargo clean
