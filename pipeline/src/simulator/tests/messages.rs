//! Single messages: bytes, duplicates, faults, required fields.

use super::super::faults::REASONS;
use super::super::{Config, Emission, Expect, Simulator};
use super::{Row, WORLD, accepted, contract, cut_short, decode, decode_bytes, number};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tally_schemas::{Topic, contracts};

/// Scenario: the same seed twice, and another seed.
/// Guarantees: one history, byte for byte; the other seed has another.
#[test]
fn a_seed_is_a_history() {
    let mut first = Simulator::new(Config::seeded(7));
    let mut second = Simulator::new(Config::seeded(7));
    for n in 0..50_000 {
        assert_eq!(first.next(), second.next(), "emission {n}");
    }
    assert_eq!(first.truth(), second.truth());
    let heads = [7, 8].map(|seed| Simulator::new(Config::seeded(seed)).next());
    assert_ne!(heads[0], heads[1]);
}

/// Scenario: the first emissions of seed 1 as they were when this was written.
/// Guarantees: no platform and no change of a dependency alters a history unnoticed.
#[test]
fn a_history_is_the_same_everywhere() {
    let mut simulator = Simulator::new(Config::seeded(1));
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for _ in 0..1_000 {
        for byte in simulator.next().value {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(
        format!("{hash:016x}"),
        "460bca32b755af81",
        "contracts or the simulator changed: pin the new hash"
    );
}

/// Guarantees: an accepted event's key, id and time are those inside; time never falls; ids are unique.
#[test]
fn an_emission_says_what_is_inside() {
    assert!(WORLD.emissions.is_sorted_by_key(|emission| emission.occurred_at));
    let mut ids = HashSet::new();
    for (emission, row) in accepted() {
        assert_eq!(row["event_id"], emission.event_id.to_string());
        assert_eq!(row["occurred_at"], emission.occurred_at.to_string());
        assert_eq!(row[emission.topic.key_field()], emission.key);
        assert_eq!(emission.event_id.get_version_num(), 7);
        assert!(ids.insert(emission.event_id));
    }
}

/// Guarantees: a duplicate comes after its original with the same key and content, sometimes under another version.
#[test]
fn duplicates_repeat_an_earlier_event() {
    let mut seen: HashMap<_, &Emission> = HashMap::new();
    let (mut same, mut other) = (0, 0);
    for emission in &WORLD.emissions {
        match emission.expect {
            Expect::Accept => drop(seen.insert(emission.event_id, emission)),
            Expect::Duplicate => {
                let first = seen[&emission.event_id];
                assert_eq!((first.topic, &first.key), (emission.topic, &emission.key));
                assert_eq!(decode(first), decode(emission));
                *(if first.value == emission.value { &mut same } else { &mut other }) += 1;
            }
            Expect::Dead(_) => assert!(!seen.contains_key(&emission.event_id)),
        }
    }
    assert!(same > 500 && other > 200, "{same} {other}");
}

/// Guarantees: shares are near the configured; reasons weigh alike; the bench emits valid events only.
#[test]
fn shares_are_as_configured() {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for emission in &WORLD.emissions[..200_000] {
        let label = match emission.expect {
            Expect::Accept => "accept",
            Expect::Duplicate => "duplicate",
            Expect::Dead(reason) => {
                *counts.entry("dead").or_default() += 1;
                reason
            }
        };
        *counts.entry(label).or_default() += 1;
    }
    assert!((1_800..2_200).contains(&counts["dead"]), "{counts:?}");
    assert!((1_800..2_200).contains(&counts["duplicate"]), "{counts:?}");
    for reason in REASONS {
        assert!((130..280).contains(&counts[reason]), "{counts:?}");
    }
    let mut bench = Simulator::new(Config::bench());
    assert!((0..20_000).all(|_| bench.next().expect == Expect::Accept));
}

/// Guarantees: the oldest and the latest version of contracts that mix them, the latest of the others; internal audiences only under
/// contracts that can say so.
#[test]
fn versions_are_mixed() {
    let mut versions: BTreeMap<(Topic, u32), usize> = BTreeMap::new();
    let mut internal = 0;
    for (emission, row) in accepted() {
        let version = contract(&emission.value).expect("known").version;
        *versions.entry((emission.topic, version)).or_default() += 1;
        internal += usize::from(row.get("audience").is_some_and(|a| a != "CUSTOMER"));
    }
    let mixing = [Topic::Credit, Topic::Task];
    let latest = |topic| tally_schemas::latest(topic).version;
    let expected: BTreeSet<(Topic, u32)> = Topic::ALL
        .map(|topic| (topic, latest(topic)))
        .into_iter()
        .chain(mixing.map(|topic| (topic, 1)))
        .collect();
    assert_eq!(versions.keys().copied().collect::<BTreeSet<_>>(), expected);
    for topic in mixing {
        let [old, new] = [1, latest(topic)].map(|version| versions[&(topic, version)]);
        assert!((200..300).contains(&(old * 1000 / (old + new))), "{versions:?}");
    }
    assert!(internal > 1_000, "{internal}");
}

/// Guarantees: each invalid event has the one fault that its reason names.
#[test]
fn faults_are_what_they_claim() {
    for emission in &WORLD.emissions {
        let Expect::Dead(reason) = emission.expect else { continue };
        let decoded = decode_bytes(&emission.value);
        let field = |name: &str| decoded.as_ref().ok().and_then(|(_, row)| number(row, name));
        let holds = match reason {
            "framing" => !matches!(emission.value.first(), Some(0x00 | 0xC3)),
            "unknown_schema" => emission.value.starts_with(&[0xC3, 1]) && contract(&emission.value).is_none(),
            "body" => cut_short(&emission.value),
            "trailing_bytes" => decoded.as_ref().is_err_and(|e| e.contains("trailing")),
            "time_out_of_range" => field("occurred_at").is_some_and(|at| at < 946_684_800_000_000),
            "amount" => field("amount_micros").is_some_and(|amount| amount < 0),
            "out_of_range" => field("progress_permille") == Some(1001),
            "wrong_topic" => {
                emission.topic == Topic::Credit && valid(&decoded).is_some_and(|t| t == Topic::Task)
            }
            "call_incomplete" => decoded.as_ref().is_ok_and(|(_, row)| {
                ["outcome", "latency_ms", "attempt"].iter().filter(|f| !row.contains_key(**f)).count() == 1
            }),
            "missing_reference" => decoded.as_ref().is_ok_and(|(topic, row)| missing(*topic, row) == 1),
            other => panic!("{other}"),
        };
        assert!(holds, "{reason}: {decoded:?}");
    }
}

/// Guarantees: what faults are made from is valid, so that the fault is the only one.
#[test]
fn a_fresh_event_is_valid() {
    let mut simulator = Simulator::new(Config::seeded(3));
    for topic in Topic::ALL.repeat(50) {
        let bytes = simulator.fresh_bytes(topic);
        assert!(!cut_short(&bytes));
        let decoded = decode_bytes(&bytes);
        assert_eq!(valid(&decoded), Some(topic), "{decoded:?}");
    }
}

/// Guarantees: every accepted event has what its kind requires, and numbers lie in their ranges.
#[test]
fn accepted_events_are_complete() {
    for (topic, row) in &WORLD.rows {
        assert_eq!(missing(*topic, row), 0, "{row:?}");
        let within = |field, low, high| number(row, field).is_none_or(|n| (low..=high).contains(&n));
        assert!(within("amount_micros", 0, 10_i64.pow(15)), "{row:?}");
        assert!(within("balance_after_micros", 0, 10_i64.pow(15)), "{row:?}");
        assert!(within("progress_permille", 0, 1000) && within("http_status", 100, 599), "{row:?}");
        assert!(within("quota_remaining_micros", 0, 10_i64.pow(15)), "{row:?}");
        assert!(within("latency_ms", 1, 60_000) && within("attempt", 1, 3), "{row:?}");
        let texts = row.iter().filter(|(name, _)| name.ends_with("_id") || *name == "source");
        assert!(texts.into_iter().all(|(_, text)| (1..=256).contains(&text.len())), "{row:?}");
        if row.contains_key("endpoint") {
            let fields = ["outcome", "latency_ms", "attempt", "idempotency_key"];
            assert!(fields.iter().all(|f| row.contains_key(*f)), "{row:?}");
        } else {
            assert!(!row.contains_key("outcome") && !row.contains_key("http_status"), "{row:?}");
        }
    }
}

/// Guarantees: every kind of every topic, every policy tag, every value of every enum appears.
#[test]
fn everything_that_can_be_said_is_said() {
    let mut said = HashSet::new();
    for (topic, row) in &WORLD.rows {
        let words =
            row.iter().filter(|(_, value)| value.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
        said.extend(words.map(|(field, value)| (*topic, field.as_str(), value.as_str())));
    }
    for contract in contracts() {
        let json: serde_json::Value = serde_json::from_str(&contract.json).expect("JSON");
        for field in json["fields"].as_array().expect("fields") {
            let name = field["name"].as_str().expect("name");
            let union = field["type"].as_array().and_then(|types| types.get(1)).unwrap_or(&field["type"]);
            let Some(symbols) = union["symbols"].as_array() else { continue };
            if matches!(name, "endpoint" | "actor_role" | "outcome") {
                continue;
            }
            for symbol in symbols.iter().filter_map(|s| s.as_str()) {
                let credit_only = contract.topic == Topic::Credit || name != "policy_tag";
                assert!(
                    !credit_only || said.contains(&(contract.topic, name, symbol)),
                    "{} {name} {symbol}",
                    contract.topic
                );
            }
        }
    }
}

fn valid(decoded: &Result<(Topic, Row), String>) -> Option<Topic> {
    let (topic, row) = decoded.as_ref().ok()?;
    (missing(*topic, row) == 0).then_some(*topic)
}

/// How many of the fields that the key and the kind require are not there.
fn missing(topic: Topic, row: &Row) -> usize {
    let required: &[&str] = match (topic, row["kind"].as_str()) {
        (Topic::Credit, "ESTIMATED") => &["estimate_id"],
        (Topic::Credit, "PURCHASED") => &["price_minor", "currency", "order_id"],
        (Topic::Credit, "REFUNDED") => &["task_id", "refund_reason"],
        (Topic::Credit, "CHARGED") => &["task_id", "estimate_id"],
        (_, "ATTEMPTED") => &["endpoint", "outcome", "latency_ms", "attempt"],
        (Topic::Credit, _) => &["task_id"],
        (Topic::License, "CHECKED") => &["check_result"],
        (Topic::License, "GRANTED") => &["grantee_id", "quota_remaining_micros"],
        (Topic::License, "QUOTA_CHANGED") => &["quota_remaining_micros"],
        (Topic::Task, "SUBMITTED") => &["user_id", "template_id"],
        (Topic::Task, "PROGRESSED") => &["progress_permille"],
        (Topic::Task, "FAILED") => &["error_code"],
        (Topic::Moderation, "QUEUED") => &["sla_due_at"],
        (Topic::Moderation, "DECIDED") => &["decision"],
        _ => &[],
    };
    let absent = |field: &&&str| row.get(**field).is_none_or(String::is_empty);
    required.iter().filter(absent).count() + usize::from(row[topic.key_field()].is_empty())
}
