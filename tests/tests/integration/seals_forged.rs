//! Rows, maps and checkpoints of a forger who knows how they are made.

use std::fs;
use std::path::PathBuf;

use tally_schemas::Topic;
use tally_tests::{Kafka, skip_without};

use super::seals::{Sealed, files};

/// Scenario: a fact whose content gives its digest, of an event that was never published, is inserted beyond what was
/// sealed: dated back, under another topic's identity, just now, after the topic has ended. Then one row of a topic with a
/// space in its name.
/// Guarantees: what no lane can have written is tampering, named, and shown without its escape sequences; what a lane may be
/// writing is passed over for the moment; the row keeps nobody from sealing the rest, neither while it is there nor after.
#[test]
fn a_forged_fact_is_found_and_a_forged_topic_bars_nobody() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("forged", "400");
    sealed.seal("log");
    let other = Sealed::new("forged-other", "10");
    other.take("200", "9");
    let topic = sealed.stage.topic(Topic::Task);
    let own = format!("(SELECT any(topic_id) FROM audit_log WHERE topic = '{topic}')");
    let forge = |topic: &str, topic_id: &str, appended: &str| {
        let rank = format!(
            "bitNot(bitOr(bitShiftLeft(toUInt64(toUnixTimestamp64Milli({appended})), 22), bitAnd(toUInt64(900000), 4194303)))"
        );
        sealed.change("DELETE FROM task_events WHERE offset = 900000");
        sealed.change(&format!(
            "INSERT INTO task_events SELECT * REPLACE ('{topic}' AS topic, {topic_id} AS topic_id, toInt32(0) AS partition, \
             toInt64(900000) AS offset, {appended} AS appended_at, {rank} AS rank) FROM {}.task_events \
             WHERE event_id NOT IN (SELECT event_id FROM audit_log) ORDER BY event_id LIMIT 1",
            other.stage.database.name()
        ));
    };
    let (long_ago, now) = ("toDateTime64('2020-01-01 00:00:00', 3, 'UTC')", "now64(3, 'UTC')");
    forge(&topic, &own, now);
    assert!(sealed.verify("log", 0, &[]).contains("1 rows not yet sealed"));
    forge(&topic, &own, long_ago);
    let said = sealed.verify("log", 1, &[]);
    assert!(said.contains("/900000") && said.contains("a later look says"), "{said}");
    forge("\\x1b[2Kverified: all is well\\n", "generateUUIDv4()", long_ago);
    for form in [&[][..], &["--json"]] {
        let said = sealed.verify("log", 1, form);
        assert!(said.contains("nor has anything of its topic") && said.contains("[2Kverified"), "{said}");
        assert!(!said.contains('\u{1b}') && !said.contains("\nverified"), "{said}");
    }
    sealed.change(
        "INSERT INTO partition_heads SELECT topic, topic_id, partition, low, high, taken, \
         seen_at + toIntervalMillisecond(1), true FROM partition_heads FINAL",
    );
    forge(&topic, &own, now);
    assert!(sealed.verify("log", 1, &[]).contains("its topic ended"));
    sealed.change("DELETE FROM task_events WHERE offset = 900000");
    sealed.verify("log", 0, &[]);

    sealed.take("100", "8");
    sealed.change(
        "INSERT INTO audit_log (topic, topic_id, partition, offset, appended_at, disposition) \
         SELECT 'task events', generateUUIDv4(), 0, 0, now64(3), 'ACCEPTED'",
    );
    let said = sealed.run("seal", "log", 2, &["--key", &sealed.path("key")]);
    assert!(said.contains("task events/0: stopped") && said.contains("signed checkpoint 2"), "{said}");
    assert!(sealed.verify("log", 1, &[]).contains("task events/0"));
    sealed.change("DELETE FROM audit_log WHERE topic = 'task events'");
    assert!(sealed.seal("log").contains("nothing new"));
    sealed.verify("log", 0, &[]);
}

/// Scenario: of a sealed log the map from offsets to tiles is altered, then the file `checkpoint`; then a view is replaced; then
/// the whole ledger is deleted.
/// Guarantees: verifying everything names each, and as many deleted rows as were sealed; a sample and a proof that the map
/// leads astray accuse no row.
#[test]
fn what_lies_beside_the_tiles_is_held_too() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("beside", "3000");
    sealed.seal("log");
    let log = PathBuf::from(sealed.path("log"));
    let kept = files(&log);
    let is_map = |name: &&PathBuf| name.iter().any(|part| part == "first");
    let map = kept.keys().filter(is_map).max_by_key(|name| kept[*name].len()).expect("a map");
    let mut bytes = kept[map].clone();
    assert!(bytes.len() > 17, "a partition of more than one tile");
    let last = bytes.len() - 17;
    bytes[last + 7] ^= 3; // the offset of the last tile's first leaf
    let parts: Vec<_> = map.iter().map(|part| part.to_str().expect("text")).collect();
    let event = sealed.stage.database.query(&format!(
        "SELECT event_id FROM audit_log_final WHERE topic_id = '{}' AND partition = {} AND disposition = 'ACCEPTED' \
         ORDER BY offset DESC LIMIT 1",
        parts[0], parts[1]
    ));
    let (event, out, key) = (event.trim(), sealed.path("proof"), sealed.path("key.pub"));
    let prove = |code| sealed.run("prove", "log", code, &["--key", &key, event, "--out", &out]);
    let sample = ["--sample", "1000", "--seed", "1"];
    prove(0);
    sealed.verify("log", 0, &sample);
    fs::write(log.join(map), &bytes).expect("written");
    let said = sealed.verify("log", 1, &[]);
    assert!(said.contains(map.to_str().expect("text")) && !said.contains("audit_log"), "{said}");
    let said = sealed.verify("log", 3, &sample);
    assert!(said.contains("the map") && !said.contains("tampered"), "{said}");
    prove(3);
    fs::write(log.join(map), &kept[map]).expect("written");

    let pointer = log.join("checkpoint");
    let text = String::from_utf8(kept[&PathBuf::from("checkpoint")].clone()).expect("text");
    let leaves =
        text.lines().find_map(|line| line.strip_prefix("leaves ")?.parse::<u64>().ok()).expect("leaves");
    fs::write(&pointer, text.replacen("leaves ", "leaves 1", 1)).expect("written");
    assert!(sealed.verify("log", 1, &[]).contains("tampered: checkpoint"));
    fs::write(&pointer, text).expect("written");
    sealed.verify("log", 0, &[]);

    sealed
        .stage
        .database
        .query("CREATE OR REPLACE VIEW gaps_final AS SELECT * FROM gaps FINAL WHERE first > 3");
    assert!(sealed.verify("log", 1, &[]).contains("gaps_final"));

    ["audit_log", "dead_letters", "gaps"]
        .iter()
        .for_each(|table| sealed.change(&format!("TRUNCATE TABLE {table}")));
    let said = sealed.verify("log", 1, &[]);
    let count =
        |line: &str| line.split_once(" sealed rows were deleted")?.0.rsplit(' ').next()?.parse::<u64>().ok();
    let deleted: u64 = said.lines().filter_map(count).sum();
    assert!(leaves == deleted && leaves > 3000, "{deleted} of {leaves}: {said}");
}
