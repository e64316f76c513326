#!/usr/bin/env bash
# Sees that this machine can build resetd (and, with --tests, test it). Changes nothing that is already there, and
# says everything that is missing at once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=0
note() { printf 'setup: %s\n' "$*" >&2; }
lack() { note "$*"; missing=1; }

may_apt() { [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; }

apt_updated=
apt_install() {
    export DEBIAN_FRONTEND=noninteractive
    if [[ -z "$apt_updated" ]]; then
        apt-get update -qq </dev/null >&2 || true
        apt_updated=yes
    fi
    note "installing $*"
    apt-get install -y -qq --no-install-recommends "$@" </dev/null >&2
}

# --- Rust -----------------------------------------------------------------------------------------------------

check_rust() {
    local wanted have
    wanted=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
    if ! have=$(cargo --version 2>/dev/null); then
        lack "Rust is missing: cargo is not on the PATH. Install it from https://rustup.rs (at least $wanted)"
        return
    fi
    have=$(cut -d' ' -f2 <<<"$have")
    if [[ "$(printf '%s\n' "$wanted" "${have%%-*}" | sort -V | head -n1)" != "$wanted" ]]; then
        lack "Rust $have is too old; resetd needs $wanted. Run: rustup update stable"
    fi
}

check_compiler() {
    command -v cc >/dev/null && return
    # ring, which TLS is built on, has C and assembly in it.
    if may_apt; then
        apt_install gcc libc6-dev || lack "gcc could not be installed (see above)"
    else
        lack "a C compiler (cc) is missing. Install: gcc (apt, dnf, zypper, pacman), build-base (apk), or run xcode-select --install"
    fi
}

# --- PostgreSQL -----------------------------------------------------------------------------------------------

# The places where the daemon looks too (server/src/embedded/binaries.rs).
postgres_bin() {
    local folder
    for folder in "$(pg_config --bindir 2>/dev/null || true)" \
        "$(dirname -- "$(command -v initdb 2>/dev/null || echo /nowhere/initdb)")" \
        /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/lib/postgresql*/bin /usr/libexec/postgresql* \
        /usr/lib64/postgresql-*/bin /usr/local/pgsql/bin /opt/homebrew/opt/postgresql*/bin \
        /usr/local/opt/postgresql*/bin /home/linuxbrew/.linuxbrew/opt/postgresql*/bin \
        /Applications/Postgres.app/Contents/Versions/*/bin; do
        if [[ -x "$folder/initdb" && -x "$folder/postgres" ]]; then
            printf '%s\n' "$folder"
            return
        fi
    done
    return 1
}

# The package would start a cluster of its own, on the standard port. Nobody asked for that.
no_main_cluster() {
    local conf=/etc/postgresql-common/createcluster.d/resetd.conf
    mkdir -p "${conf%/*}"
    [[ -e "$conf" ]] || printf '# Written by resetd'\''s setup, before it installed the package.\ncreate_main_cluster = false\n' >"$conf"
}

check_postgres() {
    postgres_bin >/dev/null && return
    if may_apt; then
        no_main_cluster
        apt_install postgresql postgresql-contrib || true
        postgres_bin >/dev/null || lack "PostgreSQL's server could not be installed (see above)"
        return
    fi
    lack "PostgreSQL's server (initdb, postgres) is missing. Install it; the cluster it may start is not needed:
         Debian, Ubuntu   apt-get install --no-install-recommends postgresql postgresql-contrib
         Fedora, RHEL     dnf install postgresql-server postgresql-contrib
         openSUSE         zypper install postgresql-server postgresql-contrib
         Alpine           apk add postgresql postgresql-contrib
         Arch             pacman -S postgresql
         macOS            brew install postgresql@16"
}

# --- Alembic and a newer PostgreSQL, for the tests ---------------------------------------------------------------

# The tests let the real Alembic read and continue what resetd wrote, and run once more on a newer server with pgvector.
check_python() {
    local venv=target/test-venv requirements=tests/requirements.txt
    if [[ -x "$venv/bin/alembic" ]] && cmp -s "$requirements" "$venv/installed.txt"; then
        return
    fi
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        if may_apt; then
            apt_install python3 python3-venv || true
        fi
        if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
            lack "Python 3 with venv is missing (the tests run Alembic, and a PostgreSQL of its package index). Install: python3 python3-venv"
            return
        fi
    fi
    note "installing Alembic and a newer PostgreSQL into $venv"
    rm -rf "$venv"
    mkdir -p target
    if python3 -m venv "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --no-input --requirement "$requirements" </dev/null >&2; then
        cp "$requirements" "$venv/installed.txt"
    else
        lack "what tests/requirements.txt names could not be installed into $venv (see above): python3 -m pip must reach a package index"
    fi
}

# --- PgBouncer, for the tests -----------------------------------------------------------------------------------

# The tests put it before a cluster and see that the daemon refuses. The package would start a service of its own.
check_pgbouncer() {
    local policy=/usr/sbin/policy-rc.d
    PATH="$PATH:/usr/sbin" command -v pgbouncer >/dev/null && return
    if may_apt; then
        local ours=
        [[ -e "$policy" ]] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; ours=yes; }
        apt_install pgbouncer || true
        [[ -z "$ours" ]] || rm -f "$policy"
    fi
    PATH="$PATH:/usr/sbin" command -v pgbouncer >/dev/null || lack "PgBouncer is missing (the tests refuse it). Install: pgbouncer"
}

check_rust
check_compiler
check_postgres
if [[ "${1-}" == --tests ]]; then
    check_python
    check_pgbouncer
fi

if [[ $missing -ne 0 ]]; then
    note "not ready; install what is named above and run it again"
    exit 1
fi
note "ready: $(cargo --version | cut -d' ' -f1,2), $("$(postgres_bin)/postgres" --version | cut -d' ' -f1,3)"
