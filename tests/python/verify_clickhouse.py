"""verify_clickhouse.py URL: works with a server through the official Python client.

Queries, parameters, a data frame in and out, errors with their codes, settings, sessions. Ends
with code 1 and says what differed at the first mismatch.
"""

import datetime as dt
import sys
import uuid
from urllib.parse import urlsplit

import clickhouse_connect
import pandas as pd
from clickhouse_connect.driver.exceptions import DatabaseError

DATABASE = f"verify_{uuid.uuid4().hex}"
NOON = dt.datetime(2026, 1, 2, 12, 0, 0, 123456, tzinfo=dt.timezone.utc)


def expect(what: str, found, expected) -> None:
    if found != expected:
        sys.exit(f"{what}: found {found!r}, expected {expected!r}")


def connect(url: str, **more):
    parts = urlsplit(url)
    return clickhouse_connect.get_client(
        host=parts.hostname, port=parts.port, username=parts.username or "default", password=parts.password or "",
        interface=parts.scheme, **more)


def queries(client) -> None:
    expect("a scalar", client.command("SELECT 1"), 1)
    expect("rows", client.query("SELECT number, toString(number) FROM numbers(3)").result_rows, [(0, "0"), (1, "1"), (2, "2")])
    bound = client.query(
        "SELECT {n:UInt64} + 1, {s:String}, {at:DateTime64(6, 'UTC')}, {ids:Array(UInt32)}",
        parameters={"n": 2**63, "s": "it's \\ \n a 'test'", "at": NOON, "ids": [1, 2]})
    expect("bound parameters", bound.result_rows[0][:2], (2**63 + 1, "it's \\ \n a 'test'"))
    expect("a bound array", list(bound.result_rows[0][3]), [1, 2])


def frames(client) -> None:
    client.command(
        f"CREATE TABLE {DATABASE}.frames (id UUID, at DateTime64(6, 'UTC'), kind LowCardinality(String),"
        " amount Int64, note Nullable(String), tag Enum8('A' = 1, 'B' = 2)) ENGINE = MergeTree ORDER BY amount")
    rows = 5_000
    frame = pd.DataFrame({
        "id": [uuid.UUID(int=number) for number in range(rows)],
        "at": pd.Series([pd.Timestamp(NOON) + pd.Timedelta(microseconds=number) for number in range(rows)]),
        "kind": ["CHARGED" if number % 2 else "HELD" for number in range(rows)],
        "amount": range(rows),
        "note": [None if number % 3 else f"Grüße {number}" for number in range(rows)],
        "tag": ["AB"[number % 2] for number in range(rows)],
    })
    client.insert_df("frames", frame, database=DATABASE)
    expect("rows inserted", client.command(f"SELECT count() FROM {DATABASE}.frames"), rows)
    found = client.query_df(f"SELECT * FROM {DATABASE}.frames ORDER BY amount")
    expect("columns", list(found.columns), list(frame.columns))
    for column in ("id", "kind", "amount", "tag"):
        expect(f"column {column}", list(found[column]), list(frame[column]))
    expect("nulls", list(found["note"].isna()), list(frame["note"].isna()))
    expect("notes", list(found["note"].dropna()), list(frame["note"].dropna()))
    stamps = client.command(f"SELECT sum(toUnixTimestamp64Micro(at)) FROM {DATABASE}.frames")
    base = int(NOON.timestamp()) * 1_000_000 + NOON.microsecond
    expect("timestamps, to the microsecond", int(stamps), sum(base + number for number in range(rows)))


def arrow(client) -> None:
    table = client.query_arrow(f"SELECT amount, kind FROM {DATABASE}.frames WHERE amount < 10 ORDER BY amount")
    expect("rows by Arrow", table.column("amount").to_pylist(), list(range(10)))


def errors(client) -> None:
    for sql, code in [(f"SELECT * FROM {DATABASE}.absent", 60), ("SELECT nothing_so_named", 47), ("SELEC 1", 62)]:
        try:
            client.query(sql)
        except DatabaseError as error:
            if f"code {code}" not in str(error).lower().replace("code: ", "code "):
                sys.exit(f"{sql}: expected error code {code}, found {error}")
        else:
            sys.exit(f"{sql}: expected error code {code}, but it was accepted")


def settings(client, url: str) -> None:
    expect("a query's setting", client.query("SELECT getSetting('max_threads')", settings={"max_threads": 3}).result_rows, [(3,)])
    other = connect(url, settings={"max_threads": 5})
    expect("a client's setting", other.command("SELECT getSetting('max_threads')"), 5)
    inside = connect(url, database=DATABASE)
    expect("a client's database", inside.command("SELECT currentDatabase()"), DATABASE)
    expect("a table found by it", inside.command("SELECT count() > 0 FROM frames"), 1)


def main() -> None:
    (url,) = sys.argv[1:]
    client = connect(url)
    client.command(f"CREATE DATABASE {DATABASE}")
    try:
        queries(client)
        frames(client)
        arrow(client)
        errors(client)
        settings(client, url)
    finally:
        client.command(f"DROP DATABASE {DATABASE}")
    print(f"verified against ClickHouse {client.server_version}")


if __name__ == "__main__":
    main()
