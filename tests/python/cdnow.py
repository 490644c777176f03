"""The CDNOW purchase history as events for `tally publish --topic credit-events`, one JSON line each.

The history is public: the purchases of 2,357 customers of an online shop, a tenth of all who first bought there in early
1997, until June 1998 (P. Fader and B. Hardie). It ships in the Python package `lifetimes` (MIT licence), which
tests/setup/install.sh installs; nothing of it is kept in this repository.

A row is one order of one customer on one day. Its time is the day's midnight UTC, moved on by 1,252 whole weeks (1997-01-01
becomes 2020-12-30, a Wednesday too), since the contracts begin with 2020. A dollar is a credit. Rows of zero dollars are
published like the others, for METRICS 4 to leave out.
"""

import json
import sys
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from importlib.util import find_spec
from pathlib import Path

WEEKS = 1252
NAMES = uuid.UUID("7d0f3a52-5d3c-4c1e-9a0b-5b1d2f6c8e11")


@dataclass(frozen=True)
class Row:
    line: int
    customer: str
    date: str
    cents: int


def path() -> Path:
    spec = find_spec("lifetimes")  # found, not imported: it would want scipy
    if spec is None or spec.origin is None:
        sys.exit("the package lifetimes is not installed: run tests/setup/install.sh (or make test)")
    return Path(spec.origin).parent / "datasets" / "CDNOW_sample.txt"


def rows():
    """Yields the file's rows: customer's number in the full data, number in the sample, date, CDs, dollars."""
    with path().open(encoding="ascii") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                customer, _, date, _, dollars = line.split()
                whole, _, hundredths = dollars.partition(".")
                yield Row(number, customer, date, int(whole) * 100 + int(hundredths))


def moment(row: Row) -> datetime:
    return datetime.strptime(row.date, "%Y%m%d").replace(tzinfo=timezone.utc) + timedelta(weeks=WEEKS)


def event(row: Row) -> dict:
    order = f"cdnow-{row.customer}-{row.date}-{row.line}"
    return {
        "event_id": str(uuid.uuid5(NAMES, order)),
        "occurred_at": moment(row).isoformat(),
        "source": "cdnow",
        "policy_tag": "BILLING",
        "actor_id": f"cdnow-{row.customer}",
        "actor_role": "BUYER",
        "wallet_id": f"cdnow-{row.customer}",
        "user_id": f"cdnow-{row.customer}",
        "kind": "PURCHASED",
        "amount_micros": row.cents * 10_000,
        "price_minor": row.cents,
        "currency": "USD",
        "order_id": order,
        "gift": False,
    }


if __name__ == "__main__":
    for each in rows():
        print(json.dumps(event(each)))
