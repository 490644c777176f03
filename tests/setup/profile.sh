#!/bin/sh
# Where a drain's CPU time goes: perf over `tally ingest` while bench_drain has it drain a backlog. Prints the shares of its stages; keeps
# them, the folded stacks and a flame graph in .cache/bench. perf must be there and allowed (kernel.perf_event_paranoid).
set -eu

setup=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$setup/../.." && pwd)
out=${TALLY_BENCH_OUT:-$root/.cache/bench}
inferno=$root/.cache/tools/inferno
cargo=${CARGO:-cargo}
command -v perf > /dev/null || { echo "profile: perf is missing: install linux-perf (Debian) or linux-tools (Ubuntu)" >&2; exit 1; }
if [ ! -x "$inferno/bin/inferno-flamegraph" ]; then
    echo "setup: building inferno" >&2
    "$cargo" install -q --locked --root "$inferno" --version 0.12.4 inferno
fi
cd "$root"
"$cargo" build --release -p tally-pipeline -p tally-tests --bin tally --lib
case ${CARGO_TARGET_DIR:-$root/target} in
    /*) target=${CARGO_TARGET_DIR:-$root/target} ;;
    *) target=$PWD/$CARGO_TARGET_DIR ;;
esac
work=$(mktemp -d)
perf=
trap 'if [ -n "$perf" ]; then kill "$perf" 2> /dev/null || true; fi; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mkdir -p "$out"
cat > "$work/tally" << END
#!/bin/sh
if [ "\$1" = ingest ]; then echo \$\$ > "$work/id"; fi
exec "$target/release/tally" "\$@"
END
chmod +x "$work/tally"
# waits for the process, then lives as long as it does
(
    until [ -s "$work/id" ]; do sleep 0.01; done
    exec perf record -q -F 499 --call-graph dwarf,16384 -p "$(cat "$work/id")" -o "$work/perf.data"
) &
perf=$!
TALLY_BIN=$work/tally TALLY_BENCH_ONLY='tally ingest' TALLY_BENCH_CODECS=lz4 TALLY_BENCH_ROUNDS=1 TALLY_BENCH_OUT=$work \
    "$cargo" test --release -p tally-pipeline -p tally-tests --test integration -- --ignored --nocapture --exact integration::bench::bench_drain
[ -s "$work/id" ] || { echo "profile: nothing was drained" >&2; exit 1; }
wait "$perf" || { echo "profile: perf was not allowed to look: see kernel.perf_event_paranoid" >&2; exit 1; }
perf=
perf script -i "$work/perf.data" --no-inline -F comm,pid,tid,time,event,ip,sym,dso 2> "$work/said" > "$work/stacks" ||
    { cat "$work/said" >&2; exit 1; }
"$inferno/bin/inferno-collapse-perf" --kernel < "$work/stacks" > "$out/drain.folded"
"$inferno/bin/inferno-flamegraph" --title 'tally ingest drains a backlog' < "$out/drain.folded" > "$out/drain-flame.svg"
python3 "$root/tests/python/stages.py" < "$out/drain.folded" > "$out/drain-stages.txt"
cat "$out/drain-stages.txt"
echo "profile: the flame graph is $out/drain-flame.svg"
