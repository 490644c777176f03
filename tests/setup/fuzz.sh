#!/bin/sh
# fuzz.sh SECONDS: framing and decoding under libFuzzer, with coverage, where there is a nightly toolchain; else says so.
set -eu
setup=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$setup/../.." && pwd)
if ! rustup run nightly rustc --version > /dev/null 2>&1; then
    echo "fuzz: no nightly toolchain: framing and decoding are left to the property tests of schemas/" >&2
    exit 0
fi
bin=$(sh "$setup/tool.sh" cargo-fuzz)
cd "$root/schemas"
kept=$root/.cache/fuzz/read
mkdir -p "$kept"
PATH=$bin:$PATH cargo +nightly fuzz run read "$kept" fuzz/seeds/read -- -max_total_time="$1" -max_len=8192
