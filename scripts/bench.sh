#!/usr/bin/env bash
# Measures resetd against the floor: the same statements in one `psql -1 -f`. Prints medians of RUNS runs, and their ratio to that
# floor. Needs built binaries (RESETD_BIN, RESETCTL_BIN) and PostgreSQL's client tools; leaves nothing running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

source scripts/places.sh

resetd=$(realpath "${RESETD_BIN:-$target/release/resetd}")
resetctl=$(realpath "${RESETCTL_BIN:-$target/release/resetctl}")
runs=${RUNS:-7}
url=${BENCH_URL:?"BENCH_URL names a database to connect to as a superuser; the databases bench, bench_floor, bench_wide, bench_kept and bench_control are made beside it"}
unset RESETCTL_SERVER RESETCTL_TARGET RESETCTL_TOKEN_FILE BUTLERS_DATABASE_URL

work=$(mktemp -d "${TMPDIR:-/tmp}/resetd-bench.XXXXXX")
daemon=
hammers=()
admin() { PGOPTIONS="-c client_min_messages=warning" psql --no-psqlrc -qAt -v ON_ERROR_STOP=1 "$url" "$@"; }
clean() {
    [[ ${#hammers[@]} -eq 0 ]] || kill "${hammers[@]}" 2>/dev/null || true
    [[ -z "$daemon" ]] || { kill -TERM "$daemon" && wait "$daemon"; } 2>/dev/null || true
    # What the benchmark's own daemon still keeps goes with it.
    { psql --no-psqlrc -qAt -c "SELECT d.datname FROM resetd.kept_database JOIN pg_database d USING (oid)" "$(of bench_control)" 2>/dev/null
        printf '%s\n' bench bench_floor bench_wide bench_kept bench_control; } |
        while read -r name; do admin -c "DROP DATABASE IF EXISTS $name WITH (FORCE)" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean EXIT
base=${url%%\?*}
options=${url#"$base"}
of() { echo "${base%/*}/$1$options"; }

# 5 schemas with 32 tables, 4 with 23: per table a CREATE TABLE and five more statements on it.
mkdir -p "$work/migrations/core" "$work/migrations/memory"
chain() { # chain first-table tables
    local chain=$1 known=$2 count=$3 t
    echo "-- revision: ${chain}_001"
    echo "-- revises: none"
    echo "-- summary: made by the benchmark"
    for t in $known $(seq 1 "$count" | sed "s/^/${chain}_/"); do
        cat <<SQL
CREATE TABLE $t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, body jsonb, made timestamptz DEFAULT now());
CREATE INDEX ${t}_name ON $t (name);
CREATE INDEX ${t}_made ON $t (made);
ALTER TABLE $t ADD CONSTRAINT ${t}_named CHECK (name <> '');
COMMENT ON TABLE $t IS 'table $t';
INSERT INTO $t (name) VALUES ('one');
SQL
    done
}
chain core "state scheduled_tasks sessions route_inbox" 28 >"$work/migrations/core/core_001.sql"
chain mem "episodes facts rules memory_links" 22 >"$work/migrations/memory/mem_001.sql"

floor="$work/floor.sql"
statements=0
schemas() { case $1 in core) echo general health messenger relationship switchboard ;; mem) echo general health relationship switchboard ;; esac; }
{
    for schema in shared general health messenger relationship switchboard; do
        echo "DROP SCHEMA IF EXISTS $schema CASCADE; CREATE SCHEMA $schema;"
    done
    for file in core/core_001 memory/mem_001; do
        name=${file##*/}
        for schema in $(schemas "${name%_001}"); do
            echo "SET search_path TO $schema, shared, public;"
            cat "$work/migrations/$file.sql"
        done
    done
} >"$floor"
statements=$(grep -c ';$' "$floor")

# 1,000 schemas with 8 tables each and the revision that made them.
wide_schemas=$(seq -f 'wide_%g' 1000)
mkdir -p "$work/migrations/wide"
{
    printf -- '-- revision: wide_001\n-- revises: none\n-- summary: made by the benchmark\n'
    for t in $(seq 8); do echo "CREATE TABLE t_$t (id bigint PRIMARY KEY);"; done
} >"$work/migrations/wide/wide_001.sql"
for schema in $wide_schemas; do
    echo "BEGIN; CREATE SCHEMA $schema; SET LOCAL search_path TO $schema;"
    cat "$work/migrations/wide/wide_001.sql"
    echo "CREATE TABLE alembic_version (version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));"
    echo "INSERT INTO alembic_version VALUES ('wide_001'); COMMIT;"
done >"$work/wide.sql"
listed() { printf '"%s", ' "$@"; }

for name in bench bench_floor bench_wide bench_kept; do admin -c "DROP DATABASE IF EXISTS $name WITH (FORCE)" -c "CREATE DATABASE $name TEMPLATE template0"; done
cat >"$work/resetd.toml" <<TOML
[control]
database = "bench_control"
[target.bench]
database_url_env = "BENCH"
profile = "local"
[target.bench_wide]
database_url_env = "BENCH_WIDE"
profile = "local"
matrix = "wide"
[target.bench_kept]
database_url_env = "BENCH_KEPT"
profile = "kept"
[profile.local]
keep_previous = "0s"
[profile.kept]
extends = "local"
keep_previous = "1h"
[matrix.wide]
shared_schemas = []
[[matrix.wide.chain]]
name = "wide"
schemas = [$(listed $wide_schemas)]
tables = [$(listed t_1 t_2 t_3 t_4 t_5 t_6 t_7 t_8)]
TOML
psql --no-psqlrc -q -v ON_ERROR_STOP=1 -f "$work/wide.sql" "$(of bench_wide)"
BENCH=$(of bench) BENCH_WIDE=$(of bench_wide) BENCH_KEPT=$(of bench_kept) "$resetd" serve --config "$work/resetd.toml" --listen "unix:$work/socket" --migrations "$work/migrations" \
    --port-file "$work/port" 2>"$work/log" &
daemon=$!
while [[ ! -e "$work/port" ]]; do
    kill -0 "$daemon" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
done

now() { date +%s%N; }
# Nothing where a run failed: the row of it then ends the benchmark.
median() { sort -n | awk -v runs="$runs" '{ v[NR] = $1 } END { if (NR == runs) print v[int((NR + 1) / 2)] }'; }
measure() { # name of the floor's command or a command; prints milliseconds
    local n begun
    for n in $(seq "$runs"); do
        begun=$(now)
        "$@" >"$work/out" 2>&1 || { cat "$work/out" "$work/log" >&2; exit 1; }
        echo $((($(now) - begun) / 1000))
    done | median | awk '{ printf "%.1f\n", $1 / 1000 }'
}
ctl() { (cd "$work" && RESETCTL_SERVER="unix:$work/socket" RESETCTL_TARGET=${on:-bench} "$resetctl" "$@"); }
run() { ctl run --scope "$1" --confirm-destructive-reset RESET --report-path "$work/report.json" --progress quiet; }
floor() { psql --no-psqlrc -q -1 -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' -f "$floor" "$(of bench_floor)"; }
catalog() { psql --no-psqlrc -qAt -c "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')" "$(of bench_wide)"; }
validate() { ctl validate --report-path "$work/validate.json" --progress quiet; }
row() { awk -v name="$1" -v ms="${2:?"$1 was not measured"}" -v floor="$3" 'BEGIN { printf "%-52s %9.1f ms   %5.2f x floor\n", name, ms, ms / floor }'; }

floor_ms=$(measure floor)
echo "$statements statements, medians of $runs runs, $(nproc) processors, PostgreSQL $(admin -c 'SHOW server_version')"
row "psql -1 -f (the floor)" "$floor_ms" "$floor_ms"
row "run, scope managed-schemas" "$(measure run managed-schemas)" "$floor_ms"
row "run, scope database" "$(measure run database)" "$floor_ms"
row "validate" "$(measure validate)" "$floor_ms"
wide_ms=$(measure catalog)
echo "1,000 schemas with 8 tables each"
row "psql, one query of the catalog (the floor)" "$wide_ms" "$wide_ms"
row "validate" "$(on=bench_wide measure validate)" "$wide_ms"

# The reset of 900 tables: dropped (nothing is kept), set aside, and brought back. reset_ms is from the plan to the last schema,
# total_ms holds the plan and the commit as well.
many() {
    psql --no-psqlrc -q -v ON_ERROR_STOP=1 -c "DO \$\$ DECLARE it text; BEGIN FOR n IN 0..899 LOOP
        it := format('%I.many_%s', ('{shared,general,health,messenger,relationship,switchboard}'::text[])[n % 6 + 1], n);
        EXECUTE format('CREATE TABLE %1\$s (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE
                CHECK (name <> ''''), body jsonb, made timestamptz DEFAULT now(), parent bigint REFERENCES %1\$s);
            CREATE INDEX ON %1\$s (made); CREATE INDEX ON %1\$s (parent); COMMENT ON TABLE %1\$s IS ''one of many'';
            CREATE TRIGGER same BEFORE UPDATE ON %1\$s FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
            ALTER TABLE %1\$s ENABLE ROW LEVEL SECURITY; CREATE POLICY everybody ON %1\$s USING (true)', it);
        END LOOP; END \$\$" "$(of "$1")"
}
many_ms() { # database verb key: the report's timing, median
    local n
    for n in $(seq "$runs"); do
        [[ "$2" == undo ]] || many "$1"
        verb "$1" "$2"
        sed -n "s/.*\"$3\": \([0-9]*\).*/\1/p" "$work/phase.json"
    done | median
}
verb() { on=$1 ctl "$2" --confirm-destructive-reset RESET --report-path "$work/phase.json" --progress quiet >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }; }
for key in reset_ms total_ms; do
    for name in bench bench_kept; do verb "$name" reset; done
    dropped=$(many_ms bench reset $key)
    echo "reset of 900 tables, $key"
    row "dropped (keep_previous = 0s)" "$dropped" "$dropped"
    row "set aside" "$(many_ms bench_kept reset $key)" "$dropped"
    row "brought back by undo" "$(many_ms bench_kept undo $key)" "$dropped"
done

# Clients that connect and ask, again and again, while the database is replaced.
for _ in 1 2 3 4; do
    (while :; do psql --no-psqlrc -qAt -c 'SELECT count(*) FROM general.state' -c 'SELECT pg_sleep(0.01)' "$(of bench)" >"$work/null" 2>&1 || true; done) &
    hammers+=($!)
done
away=$(for _ in $(seq "$runs"); do
    run database >"$work/out" 2>&1 || { cat "$work/out" >&2; exit 1; }
    sed -n 's/.*"unavailable_ms": \([0-9.]*\).*/\1/p' "$work/report.json"
done | median)
row "unavailable_ms while clients hammer" "$away" "$floor_ms"
