#!/bin/sh
# Where a drain's CPU time goes: perf over the machine while bench_drain has `tally ingest` drain a backlog. Prints the shares of its stages,
# and those of all threads of the machine by their names; keeps them, the folded stacks and a flame graph in .cache/bench. perf must be
# there and allowed to see everything (kernel.perf_event_paranoid -1, or root).
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
# from the process's beginning to its end; of all processes, since threads to come are not followed otherwise
(
    until [ -s "$work/id" ]; do sleep 0.01; done
    export id="$(cat "$work/id")"
    exec perf record -q -a -F 299 --call-graph dwarf,8192 -o "$work/perf.data" -- sh -c 'while kill -0 "$id" 2> /dev/null; do sleep 0.1; done'
) &
perf=$!
TALLY_BIN=$work/tally TALLY_BENCH_ONLY='tally ingest' TALLY_BENCH_CODECS=lz4 TALLY_BENCH_ROUNDS=1 TALLY_BENCH_OUT=$work \
    "$cargo" test --release -p tally-pipeline -p tally-tests --test integration -- --ignored --nocapture --exact integration::bench::bench_drain
[ -s "$work/id" ] || { echo "profile: nothing was drained" >&2; exit 1; }
wait "$perf" || { echo "profile: perf was not allowed to look: see kernel.perf_event_paranoid" >&2; exit 1; }
perf=
perf script -i "$work/perf.data" --no-inline --pid "$(cat "$work/id")" -F comm,pid,tid,time,event,ip,sym,dso 2> "$work/said" > "$work/stacks" ||
    { cat "$work/said" >&2; exit 1; }
"$inferno/bin/inferno-collapse-perf" --kernel < "$work/stacks" > "$out/drain.folded"
"$inferno/bin/inferno-flamegraph" --title 'tally ingest drains a backlog' < "$out/drain.folded" > "$out/drain-flame.svg"
python3 "$root/tests/python/stages.py" < "$out/drain.folded" > "$out/drain-stages.txt"
perf report -i "$work/perf.data" --no-children -g none --sort comm 2> /dev/null | grep '%' | head -12 >> "$out/drain-stages.txt" || true
cat "$out/drain-stages.txt"
echo "profile: the flame graph is $out/drain-flame.svg"
