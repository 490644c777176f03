#!/bin/sh
# advisories.sh: holds all crates against the database of advisories, where it can be fetched (it is a git repository, not a
# registry's); else says so.
set -eu
setup=$(cd "$(dirname "$0")" && pwd)
cd "$setup/../.."
bin=$(sh "$setup/tool.sh" cargo-deny)
if timeout 60 "$bin/cargo-deny" fetch db > .cache/advisories.log 2>&1; then
    "$bin/cargo-deny" --offline check advisories # as it was fetched: not once more
else
    echo "lint: the database of advisories cannot be fetched, so crates were not held against it (.cache/advisories.log)" >&2
fi
