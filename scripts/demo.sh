#!/usr/bin/env bash
# Shows what resetd promises, on a private PostgreSQL with data in it. Each step is a real command, and the demo fails where a
# command does not end as it should. Leaves nothing running; reports and the daemon's log stay in .tmp/resetd/demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/places.sh

resetd=${RESETD_BIN:-$target/debug/resetd}
resetctl=${RESETCTL_BIN:-$target/debug/resetctl}
kept=.tmp/resetd/demo
# The demo shows its own daemon and database, whatever the shell is set up for.
unset "${!RESETCTL_@}" "${!PG@}" BUTLERS_DATABASE_URL RESETD_LOG

for binary in "$resetd" "$resetctl"; do
    [[ -x "$binary" ]] || { echo "demo: $binary is not built; run: make build" >&2; exit 1; }
done
psql=$(psql_path) || { echo "demo: PostgreSQL's programs are missing; run: make setup" >&2; exit 1; }

rm -rf "$kept"
mkdir -p "$kept"
log=$kept/daemon.log
work=$(mktemp -d "${TMPDIR:-/tmp}/resetd-demo.XXXXXX")
# As root, PostgreSQL runs as another user, below this folder.
chmod 755 "$work"
daemon=

running() { [[ -n "$daemon" ]] && kill -0 "$daemon" 2>/dev/null; }

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
        echo "demo: the daemon did not stop within 30 seconds; killing it" >&2
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
    stop_daemon || true
    rm -rf "$work"
    if [[ $status -ne 0 ]]; then
        [[ ! -s "$log" ]] || tail -n 40 "$log" | sed 's/^/  | /' >&2
        echo "demo: failed (exit code $status); the reports and the daemon's log are in $kept" >&2
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- how it is shown ----------------------------------------------------------------------------------------------

bold='' plain=''
if [[ -t 1 && -z "${NO_COLOR-}" ]]; then bold=$'\e[1m' plain=$'\e[0m'; fi

say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
command_line() { printf '$ %s\n' "$*"; }

fail() { echo "demo: $*" >&2; exit 1; }

# Runs resetctl, keeps its report as NAME.json, and shows what `$show` picks from its output.
#   expect CODE NAME WORD…
expect() {
    local code=$1 name=$2 status=0
    shift 2
    command_line "resetctl $*"
    "$resetctl" --server "unix:$work/resetd.sock" "$@" --report-path "$kept/$name.json" </dev/null >"$work/out" 2>&1 || status=$?
    if [[ $status -ne $code ]]; then
        cat "$work/out" >&2
        fail "exit code $status, where $code was expected"
    fi
    "$show" "$work/out" >"$work/shown"
    [[ -s "$work/shown" ]] || { cat "$work/out" >&2; fail "the output has nothing to show"; }
    sed 's/^ */  /' "$work/shown"
}

# The last line of a success; of a failure, that line and the reason below it.
verdict() { sed -n '/^✓ /p; /^✗ /{p;n;p;}' "$1"; }
table() { sed -n '/^ *SCHEMA /,/^$/{/./p;}' "$1" | sed 's/^/    /'; }
show=verdict

query() { "$psql" -h "$socket" -p 5432 -U postgres -d butlers --no-psqlrc -qAt -v ON_ERROR_STOP=1 -c "$1"; }
sql() {
    command_line "psql -c \"$1\""
    query "$1"
}
rows() {
    local found
    found=$(query 'SELECT count(*) FROM general.state')
    [[ "$found" == "$1" ]] || fail "general.state has $found rows, where $1 were expected"
    printf '  → general.state has %s rows%s\n' "$found" "${2-}"
}

# A copy of the shipped chains with one more revision.
#   chains NAME SQL
chains() {
    mkdir "$work/$1"
    cp -R migrations/. "$work/$1"
    printf -- '-- revision: core_002\n-- revises: core_001\n-- summary: made by the demo\n%s\n' "$2" >"$work/$1/core/core_002.sql"
}

# --- start --------------------------------------------------------------------------------------------------------

TMPDIR=$work "$resetd" serve --embedded --listen "unix:$work/resetd.sock" --port-file "$work/ready" >"$log" 2>&1 </dev/null &
daemon=$!

# The file appears, whole, once the daemon accepts calls.
tries=0
until [[ -s "$work/ready" ]]; do
    running || fail "the daemon ended while it was starting"
    [[ $tries -lt 1200 ]] || fail "the daemon was not ready within two minutes"
    sleep 0.1
    tries=$((tries + 1))
done
socket=$(sed -n 's/.*: psql -h \([^ ]*\) .*/\1/p' "$log")
postmaster=$(head -n1 "$socket/data/postmaster.pid")
chains broken 'ALTER TABLE state ADD COLUMN owner text;
CREATE INDEX state_owner ON state (ownr);'
chains slow 'SELECT pg_sleep(600);'
cd "$work"
kept=$OLDPWD/$kept log=$OLDPWD/$log
[[ "$resetctl" == /* ]] || resetctl=$OLDPWD/$resetctl

# --- the promise --------------------------------------------------------------------------------------------------

say "A daemon with a private PostgreSQL serves the database butlers. Set it up, and put data in."
command_line 'resetd serve --embedded --listen unix:resetd.sock &'
expect 0 setup run --confirm-destructive-reset RESET
sql "INSERT INTO general.state (key) VALUES ('tea'), ('lamp'), ('door')"
rows 3

say "Precheck: what a reset would drop. Nothing changes."
show=table expect 0 precheck reset --dry-run
echo "  (46 tables: the 36 that validation checks, and butler_secrets and alembic_version in each of 5 schemas)"

say "A migration fails halfway. The whole run is rolled back."
expect 1 broken run --chains broken --confirm-destructive-reset RESET
rows 3 ', as before'

say "Two clients meet. The second one learns who holds the lock; then the first one is cancelled."
command_line 'resetctl run --chains slow --confirm-destructive-reset RESET --detach'
id=$("$resetctl" --server "unix:$work/resetd.sock" run --chains slow --confirm-destructive-reset RESET --detach 2>"$work/out") ||
    { cat "$work/out" >&2; fail "the operation was not accepted"; }
expect 9 locked run --confirm-destructive-reset RESET
command_line "resetctl operations cancel $id --reason 'the wrong branch'"
"$resetctl" --server "unix:$work/resetd.sock" operations cancel "$id" --reason 'the wrong branch' >"$work/out" 2>&1 ||
    { cat "$work/out" >&2; fail "the operation was not cancelled"; }
expect 8 cancelled operations watch "$id"
rows 3 ', as before'

say "A view outside the managed schemas would go with a reset. The reset is refused."
sql 'CREATE VIEW public.overview AS SELECT key FROM general.state'
expect 4 outside run --confirm-destructive-reset RESET
rows 3 ', as before'

say "Replace the whole database, that view included. Then undo it."
expect 0 replaced run --scope database --confirm-destructive-reset RESET
rows 0
expect 0 undone undo --confirm-destructive-reset RESET
rows 3 ' again'

say "Validation finds what somebody dropped by hand."
sql 'DROP TABLE health.facts'
expect 7 differences validate

# --- what is left -------------------------------------------------------------------------------------------------

stop_daemon
! kill -0 "$postmaster" 2>/dev/null || fail "the private PostgreSQL (process $postmaster) is still running"
[[ ! -e "$socket" ]] || fail "the private PostgreSQL left $socket behind"
printf '\nNothing is left running. The reports are in %s.\n' .tmp/resetd/demo
