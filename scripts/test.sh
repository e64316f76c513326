#!/usr/bin/env bash
# Runs `cargo test` with the words given, with its temporary files in one folder below TMPDIR. Ends when the tests' PostgreSQL
# servers have ended, fails when something is left behind, and removes it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

work=$(mktemp -d "${TMPDIR:-/tmp}/resetd-test.XXXXXX")
# As root, the servers run as another user below it.
chmod 1777 "$work"

# Each server is ended by its watchdog, which then removes the server's folder.
servers_end() {
    local tries=0
    while compgen -G "$work/resetd-pg-*" >/dev/null; do
        [[ $tries -lt 300 ]] || { echo "test: a PostgreSQL of the tests does not end" >&2; return 1; }
        sleep 0.1
        tries=$((tries + 1))
    done
}

finish() {
    local status=$? left
    trap - EXIT
    servers_end || status=1
    left=$(ls -A "$work")
    rm -rf "$work"
    if [[ $status -eq 0 && -n "$left" ]]; then
        printf 'test: left behind, and removed now:\n%s\n' "$left" >&2
        status=1
    fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

TMPDIR=$work "${CARGO:-cargo}" test "$@"
