//! Tasks that lose a policy tag: held against what is decoded of the emissions, and against the judge.

use super::super::{BrokenTask, Config, Emission, Expect, Simulator, Truth, foreign_schemas};
use super::judged::{judge, writers};
use super::{decode, number};
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};
use tally_schemas::{Topic, Writer, WriterId};

static RUN: LazyLock<(Vec<Emission>, Truth)> = LazyLock::new(|| {
    let mut simulator = Simulator::new(Config { untagged_permille: 30, ..Config::seeded(11) });
    let emissions = (0..60_000).map(|_| simulator.next()).collect();
    (emissions, simulator.truth())
});

/// Scenario: the reader knows the foreign schemas as a registry would tell them.
/// Guarantees: untagged events die of `policy_tag_missing` or `policy_tag_unknown`, all others of what they claim, and
/// nothing else dies.
#[test]
fn the_reader_finds_the_lost_tags() {
    let (emissions, _) = &*RUN;
    judge(emissions, |topic| {
        let mut writers = writers(topic);
        for schema in foreign_schemas() {
            let id = WriterId::Confluent(schema.id);
            writers.insert(id, Writer::new(topic, id, &schema.json).map(Arc::new));
        }
        writers
    });
    for reason in ["policy_tag_missing", "policy_tag_unknown"] {
        let topics: BTreeSet<Topic> =
            emissions.iter().filter(|e| e.expect == Expect::Dead(reason)).map(|e| e.topic).collect();
        assert_eq!(topics.len(), 4, "{reason} in {topics:?}");
    }
}

/// Scenario: no registry.
/// Guarantees: the same events are of an unknown schema, since nobody can say more.
#[test]
fn without_a_registry_the_schema_is_unknown() {
    let (emissions, _) = &*RUN;
    let lost = |e: &&Emission| matches!(e.expect, Expect::Dead("policy_tag_missing" | "policy_tag_unknown"));
    for emission in emissions.iter().filter(lost).take(50) {
        let at_ms = emission.occurred_at / 1000;
        let fault = tally_schemas::check_event(emission.topic, &emission.value, at_ms).expect_err("untagged");
        assert_eq!(fault.reason.name(), "unknown_schema");
    }
}

/// Guarantees: the truth names exactly the tasks whose accepted events have a hole, or end before an untagged event; the
/// hole is where it says; and about as many as configured.
#[test]
fn broken_tasks_are_those_with_a_hole() {
    let (emissions, truth) = &*RUN;
    let mut versions: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    let mut started = 0;
    for emission in emissions.iter().filter(|e| e.topic == Topic::Task && e.expect == Expect::Accept) {
        let row = decode(emission).expect("an accepted event");
        let version = number(&row, "state_version").expect("a version");
        versions.entry(&emission.key).or_default().insert(version);
        started += u64::from(row["kind"] == "STARTED");
    }
    let mut found = BTreeMap::new();
    for emission in emissions.iter().filter(|e| e.topic == Topic::Task) {
        let Expect::Dead(reason) = emission.expect else { continue };
        let Some(accepted) = versions.get(emission.key.as_str()) else { continue };
        let (kind, state_version) = kind_and_version(emission);
        let followed = accepted.last().is_some_and(|last| *last > state_version);
        let whole: BTreeSet<i64> = (1..=*accepted.last().expect("SUBMITTED").max(&state_version)).collect();
        let holes: Vec<i64> = whole.difference(accepted).copied().collect();
        assert_eq!(holes, [state_version], "{}", emission.key);
        let broken = BrokenTask { reason: reason.to_owned(), kind, state_version, followed };
        assert!(found.insert(emission.key.clone(), broken).is_none(), "a task loses one tag only");
    }
    assert_eq!(truth.broken_tasks, found);
    let whole = versions.iter().filter(|(task, _)| !found.contains_key(**task));
    for (task, versions) in whole {
        assert_eq!(versions.len() as i64, *versions.last().expect("a version"), "{task}");
    }
    let permille = found.len() as u64 * 1000 / started;
    // 30 per mille are configured; some tasks end before the event that was to lose its tag
    assert!((22..=30).contains(&permille), "{} of {started}", found.len());
    assert!(found.values().any(|task| task.followed));
    assert!(found.values().all(|t| ["PROGRESSED", "PAUSED", "RESUMED"].contains(&t.kind.as_str())));
}

/// Scenario: the truth is taken at the moment at which a task has lost a tag, and once its next event is out.
/// Guarantees: at first no later event shows the hole, then one does.
#[test]
fn a_hole_is_followed_once_a_later_event_is_out() {
    let mut simulator = Simulator::new(Config { untagged_permille: 30, ..Config::seeded(11) });
    let is_lost =
        |e: &Emission| matches!(e.expect, Expect::Dead("policy_tag_missing" | "policy_tag_unknown"));
    let task = loop {
        let emission = simulator.next();
        if is_lost(&emission) && simulator.truth().broken_tasks.contains_key(&emission.key) {
            break emission.key;
        }
    };
    assert!(!simulator.truth().broken_tasks[&task].followed);
    loop {
        let emission = simulator.next();
        if emission.key == task && emission.expect == Expect::Accept {
            break;
        }
    }
    assert!(simulator.truth().broken_tasks[&task].followed);
}

/// Kind and `state_version` of an event in the Confluent wire format, read with its foreign schema.
fn kind_and_version(emission: &Emission) -> (String, i64) {
    let (head, mut body) = emission.value.split_at(5);
    let id = u32::from_be_bytes(head[1..].try_into().expect("four bytes"));
    let json = foreign_schemas().into_iter().find(|schema| schema.id == id).expect("a foreign schema").json;
    let schema = Schema::parse_str(&json).expect("a schema");
    let reader = GenericDatumReader::builder(&schema).build().expect("a reader");
    let Value::Record(fields) = reader.read_value(&mut body).expect("a datum") else { panic!("no record") };
    assert!(body.is_empty());
    let field = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.clone());
    match (field("kind"), field("state_version")) {
        (Some(Value::Enum(_, kind)), Some(Value::Long(version))) => (kind, version),
        other => panic!("{other:?}"),
    }
}
