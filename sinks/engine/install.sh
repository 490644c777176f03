#!/bin/sh
# Puts the ClickHouse engine library (libchdb) into the user's cache, once.
# `make demo` and `make test` both call this; it does nothing when the library is there.
# Prints the path of the library as its last line.
set -eu

version=26.7.3-stable.1
package=@chdb/lib-linux-x64-gnu
# Pinned here, so that a changed package is noticed even if the registry vouches for it.
integrity=XP97mMqnc5tZpKQywR8N7cLTsHNiTmHr30pC5mzo3jWmukjKn2IBa60c2B/gWUNcuFjOMjWoorQICCqBVj5wpw==
library_bytes=566330096

folder=${XDG_CACHE_HOME:-$HOME/.cache}/tally/chdb-$version
library=$folder/libchdb.so

say() { printf 'engine: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
size_of() { wc -c < "$1" | tr -d ' '; }

if [ -f "$library" ] && [ "$(size_of "$library")" = "$library_bytes" ]; then
    printf '%s\n' "$library"
    exit 0
fi

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] ||
    fail "the embedded ClickHouse runs on Linux x86-64 only; point --clickhouse at a server of yours instead"
command -v npm > /dev/null || fail "npm is needed to fetch the ClickHouse engine (try: apt-get install npm)"

mkdir -p "$folder"
# Beside its goal, so that the last step is a rename on one file system: two installs at once
# cannot show a reader half a library.
work=$(mktemp -d "$folder/.part.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

say "fetching $package@$version (170 MB, 540 MB unpacked)"
archive=$(npm pack --silent --pack-destination "$work" "$package@$version" 2> "$work/npm.log") || {
    cat "$work/npm.log" >&2
    fail "npm could not fetch $package@$version"
}
archive=$work/$(basename "$(printf '%s\n' "$archive" | tail -n 1)")

if command -v openssl > /dev/null; then
    found=$(openssl dgst -sha512 -binary "$archive" | openssl base64 -A)
    [ "$found" = "$integrity" ] || fail "the package fetched is not the pinned one (sha512 $found)"
else
    say "openssl is not here: npm alone has checked the package"
fi

tar -xzf "$archive" -C "$work" package/libchdb.so
[ "$(size_of "$work/package/libchdb.so")" = "$library_bytes" ] || fail "the library unpacked has another size than expected"
mv -f "$work/package/libchdb.so" "$library"
say "installed"
printf '%s\n' "$library"
