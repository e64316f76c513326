#!/usr/bin/env bash
# What the action does, from its inputs as variables. resetctl is on the PATH.
set -euo pipefail

fail() { printf '::error title=resetctl::%s\n' "$*"; exit 2; }

command -v resetctl >/dev/null || fail "resetctl is not on the PATH: install it on the runner, or in a step before this one"
report=${INPUT_REPORT_PATH:-resetd-report.json}
[[ "$report" != *$'\n'* && "$report" != - ]] || fail "report-path is one file"

words=()
while IFS= read -r word; do
    [[ -z "$word" ]] || words+=("$word")
done <<<"${INPUT_COMMAND:-validate}"

# Empty is not given. A token is never a flag: everybody on the machine can read flags.
export RESETCTL_SERVER=${INPUT_SERVER:-${RESETCTL_SERVER:-}} RESETCTL_TARGET=${INPUT_TARGET:-${RESETCTL_TARGET:-}}
if [[ -n "${INPUT_TOKEN:-}" ]]; then
    printf '::add-mask::%s\n' "$INPUT_TOKEN"
    export RESETCTL_TOKEN=$INPUT_TOKEN
fi
if [[ -n "${INPUT_CA:-}" ]]; then
    ca=$(mktemp "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/resetctl-ca.XXXXXX")
    trap 'rm -f "$ca"' EXIT
    printf '%s\n' "$INPUT_CA" >"$ca"
    export RESETCTL_CA=$ca
fi
flag() { [[ -z "$2" ]] || words+=("$1=$2"); }
flag --confirm-destructive-reset "${INPUT_CONFIRM:-}"
flag --expect-chains "${INPUT_EXPECT_CHAINS:-}"
flag --wait "${INPUT_WAIT:-}"
flag --timeout "${INPUT_TIMEOUT:-}"
flag --label "${GITHUB_SHA:+commit=$GITHUB_SHA}"
flag --label "${GITHUB_RUN_ID:+run=$GITHUB_RUN_ID}"

status=0
resetctl --no-input "${words[@]}" --progress plain --format github --on-interrupt cancel --report-path "$report" || status=$?

operation=
[[ ! -s "$report" ]] || operation=$(sed -n 's/^  "operation": "\([0-9a-f-]*\)",$/\1/p' "$report")
printf '%s\n' "exit-code=$status" "operation=$operation" "report=$report" >>"${GITHUB_OUTPUT:-/dev/null}"
exit "$status"
