//! Dashboard figures against sums made by hand from the rows of the platform.

use super::platform::platform;
use serde_json::{Value, json};
use tally_dashboards::identity::Role;
use tally_tests::service::Service;

/// Scenario: each figure over the day of the platform's events, over the day before, and without a watermark.
/// Guarantees: the values are those counted by hand; each says its range, that nothing tells how far data has come, and that
/// it is not final; the day before is empty.
#[test]
fn figures_are_what_the_rows_add_up_to() {
    let database = platform();
    let service = Service::start(&database, &[]);
    let token = service.token(Role::Admin, "ops");
    let day = "from=2026-06-01T00:00:00Z&to=2026-06-02T00:00:00Z";
    let groups = |name: &str, range: &str| {
        let answer = service.get(&format!("/api/v1/figures/{name}?{range}"), &token);
        assert_eq!(answer.status, 200, "{name}: {}", answer.body);
        let figure = answer.json();
        assert_eq!(figure["final"], false, "{figure}");
        let groups = figure["groups"].as_array().expect("groups").iter();
        Value::Object(
            groups
                .map(|group| (group["name"].as_str().expect("a name").to_owned(), group["values"].clone()))
                .collect(),
        )
    };
    // one order of 19.99 EUR and one of 5.00 USD; 3 credits charged, 1 paid back
    let revenue = json!({
        "EUR": { "orders": "1", "purchased_minor": "1999", "refunded_minor": "0", "net_minor": "1999" },
        "USD": { "orders": "1", "purchased_minor": "500", "refunded_minor": "0", "net_minor": "500" },
        "credits": { "charged_micros": "3000000", "supplements_micros": "0", "refunded_micros": "1000000", "net_micros": "2000000" },
    });
    assert_eq!(groups("revenue", day), revenue);
    // t-bob failed; t-ann and t-free have not ended
    let success = json!({ "NORMAL": { "terminal": "1", "succeeded": "0", "failed": "1", "cancelled": "0", "rolled_back": "0" } });
    assert_eq!(groups("task-success", day), success);
    // t-free waits; t-ann was queued at 10:00:10 and started at 10:01:00; t-bob failed without a start
    let queues = groups("queues", day);
    // until the end of the day it has waited for 13.5 hours; how long a task waits there before it starts nobody knows
    assert_eq!(
        queues["ACCELERATED"],
        json!({ "depth": "1", "started": "0", "waiting_p50_us": "48600000000" })
    );
    assert_eq!(
        queues["NORMAL"],
        json!({ "depth": "0", "started": "1", "wait_p50_us": "50000000", "wait_p95_us": "50000000", "wait_max_us": "50000000", "waiting_p50_us": "0" })
    );
    assert_eq!(
        groups("acceleration", day),
        json!({ "all": { "tasks": "3", "offered": "1", "accelerated": "1" } })
    );
    assert_eq!(
        groups("supplements", day),
        json!({ "all": { "requested": "1", "accepted": "0", "declined": "0", "unanswered": "1" } })
    );
    let charge = json!({ "attempts": "2", "errors": "1", "timeouts": "0", "rate_limited": "0", "latency_max_ms": "0" });
    assert_eq!(groups("endpoints", day)["CREDITS_CHARGE"], charge);
    // k-bob decided in 20 minutes; k-ann is due at noon of the next day, which is after the end of the range
    let moderation = json!({
        "HIGH": { "cases": "1", "open": "1", "in_time": "0", "late": "0", "overdue": "0", "without_due": "0" },
        "LOW": { "cases": "1", "open": "0", "in_time": "1", "late": "0", "overdue": "0", "without_due": "0" },
    });
    assert_eq!(groups("moderation", day), moderation);
    let quotas = groups("quotas", day);
    assert_eq!(
        (quotas["cleo"]["quota_remaining_micros"].as_str(), quotas["carl"]["active"].as_str()),
        (Some("7000000"), Some("1"))
    );
    let before = "from=2026-05-31T00:00:00Z&to=2026-06-01T00:00:00Z";
    for name in ["task-success", "queues", "endpoints", "moderation", "quotas"] {
        assert_eq!(groups(name, before), json!({}), "{name}");
    }
    let csv = service.get_with(&format!("/api/v1/figures/revenue?{day}"), &token, &[("accept", "text/csv")]);
    assert!(csv.body.contains(",credits,net_micros,2000000"), "{}", csv.body);
    for wrong in [
        "from=2026-06-02T00:00:00Z&to=2026-06-01T00:00:00Z",
        "from=2020-01-01T00:00:00Z&to=2026-06-01T00:00:00Z",
    ] {
        assert_eq!(service.get(&format!("/api/v1/figures/revenue?{wrong}"), &token).status, 400, "{wrong}");
    }
}

/// Scenario: the broker's heads say that everything up to the 3rd of June has arrived.
/// Guarantees: the day is final, and says up to when everything is there; an open case past due is overdue.
#[test]
fn a_closed_window_is_final() {
    let database = platform();
    database.query("INSERT INTO partition_heads (topic, topic_id, partition, low, high, taken, seen_at, ended) VALUES ('task-events', '00000000-0000-4000-8000-000000000001', 0, 0, 50, 50, '2026-06-03 00:00:00', false)");
    let service = Service::start(&database, &[]);
    let token = service.token(Role::Admin, "ops");
    let of = |to: &str| {
        service.get(&format!("/api/v1/figures/moderation?from=2026-06-01T00:00:00Z&to={to}"), &token).json()
    };
    let day = of("2026-06-02T00:00:00Z");
    assert_eq!(
        (day["final"].as_bool(), day["as_of"].as_str()),
        (Some(true), Some("2026-06-03T00:00:00.000000Z")),
        "{day}"
    );
    let open = of("2026-06-02T23:30:00Z");
    assert_eq!(open["final"], false, "the watermark has passed the end, but not the grace");
    let overdue = open["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .find(|group| group["name"] == "HIGH")
        .expect("k-ann");
    assert_eq!(overdue["values"]["overdue"], "1");
}
