#!/usr/bin/env bash
# Installs what was built for release: scripts/install.sh DESTDIR PREFIX. Prints each file it writes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/places.sh

root=$1 prefix=$2

put() { # MODE FILE FOLDER [NAME]
    install -D -m "$1" "$2" "$root$prefix/$3/${4-$(basename "$2")}"
    printf '%s\n' "$root$prefix/$3/${4-$(basename "$2")}"
}

put 755 "$target/release/resetd" bin
put 755 "$target/release/resetctl" bin

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for unit in resetd.service resetd.socket; do
    sed "s|/usr/local/bin|$prefix/bin|" "dist/$unit" >"$work/$unit"
    put 644 "$work/$unit" lib/systemd/system
done
for shell in bash:bash-completion/completions/resetctl zsh:zsh/site-functions/_resetctl fish:fish/vendor_completions.d/resetctl.fish; do
    "$target/release/resetctl" completions "${shell%%:*}" >"$work/completions"
    file=${shell#*:}
    put 644 "$work/completions" "share/${file%/*}" "${file##*/}"
done
"$target/release/resetctl" man --dir "$work/man" >"$work/pages"
while read -r page; do
    put 644 "$page" share/man/man1
done <"$work/pages"
put 644 resetd.example.toml share/doc/resetd
put 644 CHANGELOG.md share/doc/resetd
(cd migrations && find . -name '*.sql' -path './*/*' ! -path './control/*') | while read -r file; do
    put 644 "migrations/$file" "share/resetd/migrations/$(dirname "${file#./}")"
done
