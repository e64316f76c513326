#!/usr/bin/env bash
# buf's own word on the contract: STANDARD, and nothing that breaks a client of an earlier state (BUF_AGAINST, a commit or tag; else
# the newest release, else the last commit). buf comes from npm, into target/tools.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/places.sh

version=1.75.0
tools=$target/tools/buf
buf=$tools/node_modules/.bin/buf
if [[ "$("$buf" --version 2>/dev/null || true)" != "$version" ]]; then
    command -v npm >/dev/null || { echo "buf: npm is missing, which brings buf. Install: nodejs npm" >&2; exit 1; }
    npm install --silent --no-audit --no-fund --prefix "$tools" "@bufbuild/buf@$version" >/dev/null
fi

"$buf" lint
against=${BUF_AGAINST:-$(git describe --tags --match 'v*' --abbrev=0 2>/dev/null || git rev-parse HEAD)}
before=$(mktemp -d)
trap 'rm -rf "$before"' EXIT
git archive "$against" proto | tar -x -C "$before"
cp buf.yaml "$before"
"$buf" breaking --against "$before"
echo "buf: the contract keeps STANDARD, and what it promised at $(git rev-parse --short "$against")"
