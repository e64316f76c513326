#!/usr/bin/env bash
# The whole runbook against a private PostgreSQL, on a machine that has only the server's binaries. Leaves nothing
# running; the reports stay in .tmp/resetd/demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

resetd=${RESETD_BIN:-target/debug/resetd}
resetctl=${RESETCTL_BIN:-target/debug/resetctl}
reports=.tmp/resetd/demo
# The demonstration shows its own daemon and database, whatever the shell is set up for.
unset RESETCTL_SERVER RESETCTL_TARGET RESETCTL_TOKEN_FILE BUTLERS_DATABASE_URL

for binary in "$resetd" "$resetctl"; do
    [[ -x "$binary" ]] || { echo "demo: $binary is not built; run: make build" >&2; exit 1; }
done

work=$(mktemp -d "${TMPDIR:-/tmp}/resetd-demo.XXXXXX")
# PostgreSQL may run as another user than this script, and its folder shall be in ours.
chmod 755 "$work"
daemon=

running() { [[ -n "$daemon" ]] && kill -0 "$daemon" 2>/dev/null; }

show_log() { sed 's/^/  | /' "$work/daemon.log" | tail -n 40 >&2; }

# Asks the daemon to stop, and insists after 30 seconds.
stop_daemon() {
    [[ -n "$daemon" ]] || return 0
    local tries=0 status=0
    kill -TERM "$daemon" 2>/dev/null || true
    while running && [[ $tries -lt 300 ]]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    if running; then
        echo "demo: the daemon did not stop within 30 seconds, killing it" >&2
        kill -KILL "$daemon" 2>/dev/null || true
        status=1
    fi
    wait "$daemon" 2>/dev/null || true
    daemon=
    return $status
}

cleanup() {
    local status=$?
    trap - EXIT
    if [[ $status -ne 0 && -s "$work/daemon.log" ]]; then
        echo "demo: failed; the daemon's log ends with:" >&2
        show_log
    fi
    stop_daemon || true
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- start --------------------------------------------------------------------------------------------------------

command=("$resetd" serve --embedded --listen 127.0.0.1:0 --insecure-loopback --port-file "$work/address")
printf '$ %s &\n' "${command[*]//"$work/"/}"
TMPDIR=$work "${command[@]}" >"$work/daemon.log" 2>&1 </dev/null &
daemon=$!

# The file appears whole, once the daemon accepts calls.
tries=0
until [[ -s "$work/address" ]]; do
    running || { echo "demo: the daemon ended while it was starting" >&2; exit 1; }
    [[ $tries -lt 1200 ]] || { echo "demo: the daemon was not ready within two minutes" >&2; exit 1; }
    sleep 0.1
    tries=$((tries + 1))
done
address=$(head -n1 "$work/address")
# One bound address per line, or the port alone.
[[ "$address" == *:* ]] || address="127.0.0.1:$address"
echo "the daemon serves on $address"

# --- the runbook --------------------------------------------------------------------------------------------------

rm -rf "$reports"
mkdir -p "$reports"

step() {
    local name=$1
    shift
    printf '\n$ resetctl --server %s %s --report-path %s\n' "$address" "$*" "$reports/$name.json"
    "$resetctl" --server "$address" "$@" --report-path "$reports/$name.json" </dev/null
}

step precheck reset --dry-run
step reset reset --confirm-destructive-reset RESET
step migrate migrate
step validate validate
step run run --confirm-destructive-reset RESET
step replace run --scope database --confirm-destructive-reset RESET
step undo undo --confirm-destructive-reset RESET

# --- what is left -------------------------------------------------------------------------------------------------

# The first value of a key, without a JSON reader: one serializer writes the reports, with the whole's `status` first.
word() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" <(tr ',' '\n' <"$2") | sed -n 1p; }
number() { sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p" <(tr ',' '\n' <"$2") | sed -n 1p; }

printf '\nThe reports:\n'
for name in precheck reset migrate validate run replace undo; do
    file="$reports/$name.json"
    summary="status=$(word status "$file")"
    schemas=$(number schemas_checked "$file")
    if [[ -n "$schemas" ]]; then
        summary+=", $schemas schemas, $(number tables_checked "$file") tables, $(number revisions_checked "$file") revisions checked"
    fi
    printf '  %-34s %s\n' "$file" "$summary"
done

# The daemon's children are its PostgreSQL and what watches over it.
left=$(ps -A -o pid= -o ppid= | awk -v parent="$daemon" '$2 == parent { print $1 }')
stop_daemon
for pid in $left; do
    state=$(ps -o stat= -p "$pid" || true)
    if [[ -n "$state" && "$state" != Z* ]]; then
        echo "demo: process $pid of the daemon is still running" >&2
        exit 1
    fi
done
if compgen -G "$work/resetd-pg-*" >/dev/null; then
    echo "demo: the embedded PostgreSQL left its temporary folder behind" >&2
    exit 1
fi
printf '\nThe daemon and its PostgreSQL have stopped; nothing is left running.\n'
