"""METRICS 4, computed from the rows themselves: who bought again in the week after a launch, and before.

Shares no code with Tally, and no method: it goes from wallet to wallet over the days on which each bought.

    repurchase.py cdnow LAUNCH            from the CDNOW file (see cdnow.py)
    repurchase.py truth LAUNCH FILE...    from the order events of truth files of the simulated platform
    repurchase.py check                   holds itself against cases counted by hand

LAUNCH is RFC 3339 text or microseconds since 1970 UTC. Prints one JSON object of integers.
"""

import json
import sys
from collections import defaultdict
from datetime import datetime, timezone

DAY = 86_400_000_000
TEN_MINUTES = 600_000_000


def microseconds(text: str) -> int:
    if text.lstrip("-").isdecimal():
        return int(text)
    since = datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_cdnow():
    import cdnow

    for row in cdnow.rows():
        yield {"kind": "PURCHASED", "wallet": row.customer, "order": row.line, "price_minor": row.cents,
               "at_us": microseconds(cdnow.moment(row).isoformat()), "audience": "CUSTOMER", "gift": False,
               "amount_micros": row.cents, "currency": "USD"}


def from_truth(files: list[str]):
    for file in files:
        with open(file, encoding="utf-8") as text:
            yield from json.load(text)["platform"]["order_events"]


def purchases(events) -> dict:
    """The times of each customer's purchases, by wallet."""
    bought, refunded = {}, defaultdict(list)
    for event in sorted(events, key=lambda event: event["at_us"]):
        if event["kind"] == "REFUNDED":
            refunded[event["order"]].append((event["at_us"], event["price_minor"]))
        elif event["audience"] == "CUSTOMER" and not event["gift"]:
            order = bought.setdefault(event["order"], {**event, "amount_micros": 0, "price_minor": 0})
            order["amount_micros"] += event["amount_micros"]
            order["price_minor"] += event["price_minor"]
    times, last = defaultdict(list), {}
    for name, order in bought.items():  # in the order of their first parts
        at = order["at_us"]
        content = (order["wallet"], order["amount_micros"], order["price_minor"], order["currency"])
        repeated = content in last and at - last[content] <= TEN_MINUTES
        last[content] = at
        net = order["price_minor"] - sum(price for when, price in refunded[name] if when - at < 7 * DAY)
        if net > 0 and not repeated:
            times[order["wallet"]].append(at)
    return times


def pairs(events, launch: int) -> dict:
    result = dict.fromkeys(("launch_base", "launch_repurchased", "baseline_base", "baseline_repurchased"), 0)
    for times in purchases(events).values():
        for weeks_before in range(5):
            week = launch - weeks_before * 7 * DAY
            name = "baseline" if weeks_before else "launch"
            if any(week - 28 * DAY <= at < week for at in times):
                result[f"{name}_base"] += 1
                result[f"{name}_repurchased"] += any(week <= at < week + 7 * DAY for at in times)
    return result


def check() -> None:
    launch = 1_743_379_200_000_000  # 2025-03-31, a Monday

    def order(wallet, name, days, **more):
        return {"kind": "PURCHASED", "wallet": wallet, "order": name, "at_us": launch + int(days * DAY), "gift": False,
                "price_minor": 100, "amount_micros": 1, "currency": "CNY", "audience": "CUSTOMER"} | more

    def refund(name, days, price=100):
        return order("w", name, days) | {"kind": "REFUNDED", "price_minor": price, "amount_micros": 0}

    def expect(what, events, *expected):
        found = tuple(pairs([order("w", "before", -10), *events], launch).values())
        if found != expected:
            sys.exit(f"{what}: found {found}, expected {expected}")

    # Ten days before the launch lies in week -2; the base of weeks -1 and 0 has the wallet.
    expect("nothing more", [], 1, 0, 1, 0)
    expect("a purchase", [order("w", "o", 1)], 1, 1, 1, 0)
    expect("the week's first moment", [order("w", "o", 0)], 1, 1, 1, 0)
    expect("too late", [order("w", "o", 7)], 1, 0, 1, 0)
    expect("a gift", [order("w", "o", 1, gift=True)], 1, 0, 1, 0)
    expect("the staff", [order("w", "o", 1, audience="STAFF")], 1, 0, 1, 0)
    expect("for nothing", [order("w", "o", 1, price_minor=0)], 1, 0, 1, 0)
    expect("given back", [order("w", "o", 1), refund("o", 7.999)], 1, 0, 1, 0)
    expect("given back late", [order("w", "o", 1), refund("o", 8)], 1, 1, 1, 0)
    expect("given back in part", [order("w", "o", 1), refund("o", 2, 99)], 1, 1, 1, 0)
    expect("another wallet", [order("v", "o", 1)], 1, 0, 1, 0)
    minute = 1 / 1440
    expect("twice in ten minutes", [order("w", "a", -minute), order("w", "b", 9 * minute)], 1, 0, 1, 1)
    expect("twice in eleven", [order("w", "a", -minute), order("w", "b", 10 * minute)], 1, 1, 1, 1)
    expect("two parts", [order("w", "o", -minute), order("w", "o", minute)], 1, 0, 1, 1)
    # v buys 34 and 27 days before: in the base of all five weeks, again in week -4.
    expect("two weeks", [order("v", "a", -34), order("v", "b", -27)], 2, 0, 5, 1)
    expect("28 days", [order("v", "a", -28)], 2, 0, 4, 0)
    expect("a moment more", [order("v", "a", -28, at_us=launch - 28 * DAY - 1)], 1, 0, 5, 0)


def main() -> None:
    match sys.argv[1:]:
        case ["check"]:
            check()
            print("all as counted by hand")
        case ["cdnow", launch]:
            print(json.dumps(pairs(from_cdnow(), microseconds(launch))))
        case ["truth", launch, *files] if files:
            print(json.dumps(pairs(from_truth(files), microseconds(launch))))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
