"""Encodes records with fastavro and produces them with confluent-kafka.

Shares no code with Tally: what Tally reads from here, another team's service could have written.
Prints one JSON line per delivered message: {"partition", "offset", "event_id"}, in the order of
delivery. Ends with code 1 when any message was not delivered.
"""

import argparse
import json
import struct
import sys
from datetime import datetime
from functools import partial
from io import BytesIO

import fastavro
from confluent_kafka import Producer
from fastavro.schema import fingerprint, load_schema, to_parsing_canonical_form

SECONDS_MAX = 60


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bootstrap", help="host:port of a broker")
    parser.add_argument("topic")
    parser.add_argument("schema", help="path of the .avsc file")
    parser.add_argument("framing", help="single-object | confluent:ID")
    parser.add_argument("records", help="path of a file with one JSON record a line; bytes as Latin-1 text, as in Avro's JSON")
    parser.add_argument("--key", metavar="FIELD", help="the field whose text is the message's key")
    parser.add_argument("--partition", type=int, default=-1, help="default: by the key")
    parser.add_argument("--header", metavar="NAME=VALUE", action="append", default=[])
    parser.add_argument("--transaction", choices=["commit", "abort"], help="all records in one transaction, ended so")
    return parser.parse_args()


def prefix(framing: str, schema: dict) -> bytes:
    """What stands before the Avro body."""
    if framing == "single-object":
        # Avro's specification: C3 01, then the CRC-64-AVRO of the canonical form, little-endian,
        # which is the order of bytes in which fastavro writes its hex digits.
        return b"\xc3\x01" + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))
    name, _, number = framing.partition(":")
    if name != "confluent" or not number.isdecimal():
        sys.exit(f"unknown framing {framing!r}: single-object or confluent:ID")
    return struct.pack(">bI", 0, int(number))


def native(schema, value, named: dict):
    """The value as fastavro wants it: JSON has no bytes, so they come as Latin-1 text."""
    if isinstance(schema, list):
        chosen = [branch for branch in schema if branch != "null"]
        return value if value is None or len(chosen) != 1 else native(chosen[0], value, named)
    if isinstance(schema, str):
        schema = named.get(schema, {"type": schema})
    match schema["type"]:
        case "bytes" | "fixed":
            return value.encode("latin-1") if isinstance(value, str) else value
        case "record" | "error":
            return {field["name"]: native(field["type"], value[field["name"]], named) for field in schema["fields"] if field["name"] in value}
        case "array":
            return [native(schema["items"], item, named) for item in value]
        case "map":
            return {key: native(schema["values"], item, named) for key, item in value.items()}
        case dict() | list() as inner:
            return native(inner, value, named)
        case "long" if isinstance(value, str) and schema.get("logicalType") == "timestamp-micros":
            return datetime.fromisoformat(value)
    return value


def encoded(options: argparse.Namespace):
    """Yields each record's value, key and event_id."""
    schema = load_schema(options.schema)
    named = schema.get("__named_schemas", {}) if isinstance(schema, dict) else {}
    head = prefix(options.framing, schema)
    with open(options.records, encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            body = BytesIO()
            fastavro.schemaless_writer(body, schema, native(schema, record, named))
            key = str(record[options.key]).encode() if options.key else None
            event_id = record.get("event_id") if isinstance(record, dict) else None
            yield head + body.getvalue(), key, event_id


def send(producer: Producer, topic: str, value: bytes, key, **more) -> None:
    while True:
        try:
            producer.produce(topic, value, key, **more)
            return
        except BufferError:  # the client's queue is full: let it drain
            producer.poll(0.1)


def main() -> None:
    options = arguments()
    settings = {"bootstrap.servers": options.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 5}
    if options.transaction:
        settings["transactional.id"] = f"produce-{options.topic}"
    producer = Producer(settings)
    more = {"headers": [tuple(header.split("=", 1)) for header in options.header]}
    if options.partition >= 0:
        more["partition"] = options.partition
    refused = []

    def report(event_id, error, message) -> None:
        if error is not None:
            refused.append(error)
        else:
            print(json.dumps({"partition": message.partition(), "offset": message.offset(), "event_id": event_id}))

    if options.transaction:
        producer.init_transactions(SECONDS_MAX)
        producer.begin_transaction()
    for value, key, event_id in encoded(options):
        send(producer, options.topic, value, key, on_delivery=partial(report, event_id), **more)
        producer.poll(0)
    left = producer.flush(SECONDS_MAX)
    if options.transaction == "commit":
        producer.commit_transaction(SECONDS_MAX)
    elif options.transaction == "abort":
        producer.abort_transaction(SECONDS_MAX)
    if left or refused:
        sys.exit(f"{left} messages not delivered in {SECONDS_MAX} s, {len(refused)} refused: {refused[:3]}")


if __name__ == "__main__":
    main()
