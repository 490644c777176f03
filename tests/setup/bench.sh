#!/bin/sh
# Installs what only the bench runs: a stream processor to be compared with. Into .cache/quix, as install.sh does for the rest.
set -eu

setup=$(cd "$(dirname "$0")" && pwd)
home=$(cd "$setup/../.." && pwd)/.cache/quix
stamp=$(cksum < "$setup/bench.txt" | tr -d ' \t')
if [ "$(cat "$home/stamp" 2> /dev/null)" = "$stamp" ]; then exit 0; fi
printf 'setup: installing the stream processor of the bench\n' >&2
rm -rf "$home"
python3 -m venv "$home"
"$home/bin/pip" install -q --disable-pip-version-check -r "$setup/bench.txt"
printf '%s\n' "$stamp" > "$home/stamp"
