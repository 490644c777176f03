#!/bin/sh
# fuzz.sh SECONDS: framing and decoding under libFuzzer, so long each, with coverage, where there is a nightly toolchain; else says so, and
# fails where TALLY_SKIP_NOTHING is set. What reaches code that nothing kept (schemas/fuzz/corpora) reaches is kept.
set -eu
setup=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$setup/../.." && pwd)
if ! rustup run nightly rustc --version > /dev/null 2>&1; then
    echo "fuzz: no nightly toolchain: framing and decoding are left to the property tests of schemas/" >&2
    [ -z "${TALLY_SKIP_NOTHING+set}" ] || { echo "fuzz: TALLY_SKIP_NOTHING is set: that is a failure" >&2; exit 1; }
    exit 0
fi
bin=$(sh "$setup/tool.sh" cargo-fuzz)
cd "$root/schemas"

# fuzz TARGET SECONDS [SEEDS]
fuzz() {
    found=$root/.cache/fuzz/$1
    kept=fuzz/corpora/$1
    mkdir -p "$found" "$kept"
    PATH=$bin:$PATH cargo +nightly fuzz run "$1" "$found" "$kept" ${3:+"$3"} -- -max_total_time="$2" -max_len=8192
    PATH=$bin:$PATH cargo +nightly fuzz run "$1" "$kept" "$found" -- -merge=1 -max_len=1024
}

fuzz framing "$1"
fuzz read "$1" fuzz/seeds/read
