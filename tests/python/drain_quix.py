"""Drains the four topics into ClickHouse with Quix Streams: Avro by the registry, one insert per partition and checkpoint.

    drain_quix.py BROKERS PREFIX GROUP REGISTRY CLICKHOUSE DATABASE

Facts alone: no rules, no ledger, no digest; what cannot be decoded is passed over. Offsets are committed after the
inserts, so it delivers at least once. Several of these share a group. Runs until it is killed.
"""

import logging
import sys
from urllib.parse import urlsplit

import clickhouse_connect
from quixstreams import Application
from quixstreams.models.serializers.avro import AvroDeserializer
from quixstreams.models.serializers.exceptions import IgnoreMessage, SerializationError
from quixstreams.models.serializers.schema_registry import SchemaRegistryClientConfig
from quixstreams.sinks import BatchingSink

brokers, prefix, group, registry, clickhouse, database = sys.argv[1:]

TABLES = {
    f"{prefix}{name}-events": f"{name}_events" for name in ("credit", "license", "task", "moderation")
}


def absent(kind):
    """What stands in a column of that type where an event says nothing: as an insert of Tally leaves it."""
    if kind.startswith("Nullable"):
        return None
    if kind.startswith("Enum8"):
        return kind.split("'")[1]
    return 0 if kind.startswith("Int") else ""


class Lenient(AvroDeserializer):
    """Passes over what cannot be decoded."""

    def __call__(self, value, ctx):
        try:
            return super().__call__(value, ctx)
        except (SerializationError, ValueError, TypeError, IndexError, LookupError) as error:
            raise IgnoreMessage from error


class Facts(BatchingSink):
    """One table: rows of a batch become columns, and one insert."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def setup(self):
        at = urlsplit(clickhouse)
        self.client = clickhouse_connect.get_client(
            host=at.hostname, port=at.port, database=database, compress=False, settings={"async_insert": 0}
        )
        columns = self.client.query(
            "SELECT name, type FROM system.columns WHERE database = {d:String} AND table = {t:String}",
            parameters={"d": database, "t": self.table},
        ).result_rows
        self.columns = {name: absent(kind) for name, kind in columns}
        for own in ("topic", "topic_id", "partition", "offset", "appended_at", "digest", "rank"):
            del self.columns[own]

    def write(self, batch):
        rows = [item.value for item in batch]
        names = [*self.columns, "topic", "partition", "offset"]
        data = [
            [default if (value := row.get(name)) is None else value for row in rows]
            for name, default in self.columns.items()
        ]
        data += [[batch.topic] * len(rows), [batch.partition] * len(rows), [item.offset for item in batch]]
        self.client.insert(self.table, data, column_names=names, column_oriented=True)


app = Application(
    broker_address=brokers,
    consumer_group=group,
    auto_offset_reset="earliest",
    auto_create_topics=False,
    commit_interval=5.0,
    commit_every=50_000,
    loglevel=logging.WARNING,
    use_changelog_topics=False,
    consumer_extra_config={"fetch.message.max.bytes": 1048576},
)
for name, table in TABLES.items():
    config = SchemaRegistryClientConfig(url=registry)
    topic = app.topic(name, value_deserializer=Lenient(schema_registry_client_config=config), key_deserializer="bytes")
    app.dataframe(topic).sink(Facts(table))
app.run()
