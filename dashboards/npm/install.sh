#!/bin/sh
# Puts what the pages load that is not ours (uPlot) into .cache/pages, from which the build embeds it. Safe to run at any time;
# nothing when it is there. Versions and hashes are those of the lock file; no script of a package is run.
set -eu

setup=$(cd "$(dirname "$0")" && pwd)
home=$(cd "$setup/../.." && pwd)/.cache/pages
stamp=$(cat "$setup/package.json" "$setup/package-lock.json" | cksum | tr -d ' \t')
[ "$(cat "$home/stamp" 2> /dev/null)" != "$stamp" ] || exit 0

say() { printf 'pages: %s\n' "$*" >&2; }
command -v npm > /dev/null || { say "npm is needed to fetch what the pages load (try: apt-get install npm)"; exit 1; }
say "installing what the pages load"
mkdir -p "$(dirname "$home")"
work=$(mktemp -d "$(dirname "$home")/.pages.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cp "$setup/package.json" "$setup/package-lock.json" "$work"
(cd "$work" && npm ci --ignore-scripts --no-audit --no-fund) > "$work/npm.log" 2>&1 || {
    tail -n 20 "$work/npm.log" >&2
    say "npm could not install dashboards/npm"
    exit 1
}
printf '%s\n' "$stamp" > "$work/stamp"
rm -rf "$home"
mv "$work" "$home"
