"""Of folded stacks of a drain (standard input), the share of each stage: make profile."""

import sys
from collections import Counter

# threads, by their names; of all others the first stage of which a stack has a mark
THREADS = [
    ("librdkafka's threads: fetch, unpack, letters", ["rdk:", "producer_pollin"]),
    ("source: take records, copy them into slabs", ["source"]),
]
STAGES = [
    ("digest: SHA-256 of bytes and of contents", ["sha2::", "sha256", "tally_schemas::digest"]),
    ("walk: frame, bounds, rules", ["tally_schemas::walk", "tally_schemas::validate"]),
    ("decode: Avro to Arrow", ["arrow_avro::"]),
    ("reading: what is left of it", ["tally_schemas::"]),
    ("rows: facts, letters and receipts", ["tally_sinks::rows", "tally_pipeline::judge"]),
    ("body: Arrow IPC", ["tally_sinks::body", "arrow_ipc::"]),
    ("sending: HTTP to ClickHouse", ["hyper", "sock_write", "tcp_sendmsg", "tokio::net"]),
]


def stage_of(stack):
    for name, marks in THREADS:
        if stack.startswith(tuple(marks)):
            return name
    return next((name for name, marks in STAGES if any(mark in stack for mark in marks)), "everything else")


def main():
    shares, kernel, total = Counter(), 0, 0
    for line in sys.stdin:
        stack, _, count = line.rpartition(" ")
        count = int(count)
        total += count
        shares[stage_of(stack)] += count
        kernel += count if stack.endswith("_[k]") else 0
    if total == 0:
        sys.exit("no stacks: was perf allowed to look?")
    for stage, count in shares.most_common():
        print(f"{count * 100 / total:5.1f} %  {stage}")
    print(f"{kernel * 100 / total:5.1f} %  of all in the kernel")


if __name__ == "__main__":
    main()
