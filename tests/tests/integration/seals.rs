//! Seals, from the rows to a proof in a stranger's hand.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tally_schemas::Topic;
use tally_tests::{Kafka, Stage, Tally, TempFolder, examples, skip_without};

pub(crate) const SOON: Duration = Duration::from_secs(120);

/// A stage with events of all topics, taken; keys; a place for logs.
pub(crate) struct Sealed {
    pub(crate) stage: Stage<'static>,
    folder: TempFolder,
}

impl Sealed {
    pub(crate) fn new(name: &str, events: &str) -> Sealed {
        Sealed::of(name, &["--events", events])
    }

    /// With what the simulation publishes of these.
    fn of(name: &str, what: &[&str]) -> Sealed {
        let sealed = Sealed { stage: Stage::shared(name), folder: TempFolder::new(name) };
        sealed.stage.simulate(&[what, &["--seed", "7"]].concat()).expect_success(SOON);
        sealed.stage.catch_up(&[]);
        sealed.keygen("key");
        sealed
    }

    /// Publishes simulated events, 1 % invalid and 1 % twice, and takes them.
    pub(crate) fn take(&self, events: &str, seed: &str) {
        self.stage.simulate(&["--events", events, "--seed", seed]).expect_success(SOON);
        self.stage.catch_up(&[]);
    }

    pub(crate) fn keygen(&self, name: &str) {
        Tally::spawn(&["seal", "keygen", "--out", &self.path(name)], &[]).expect_success(SOON);
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("paths are text").to_owned()
    }

    /// Runs a command on the log of that name; its output.
    pub(crate) fn run(&self, command: &str, log: &str, code: i32, more: &[&str]) -> String {
        let (log, command) = (self.path(log), [command]);
        let arguments = [&command[..], &self.stage.at_clickhouse(), &["--seals", &log], more].concat();
        Tally::spawn(&arguments, &[]).expect_code(code, SOON).stdout
    }

    pub(crate) fn seal(&self, log: &str) -> String {
        self.run("seal", log, 0, &["--key", &self.path("key")])
    }

    pub(crate) fn verify(&self, log: &str, code: i32, more: &[&str]) -> String {
        self.run("verify", log, code, &[&["--keys", &self.path("key.pub")][..], more].concat())
    }

    /// Runs a statement and waits until it has taken hold. Rows that were there before may come again.
    pub(crate) fn change(&self, sql: &str) {
        let settings = "SETTINGS mutations_sync = 2, lightweight_deletes_sync = 2, insert_deduplicate = 0";
        match sql.split_once(" SELECT ") {
            Some((insert, select)) if insert.starts_with("INSERT") => {
                self.stage
                    .database
                    .query(&format!("{insert} SETTINGS insert_deduplicate = 0 SELECT {select}"));
            }
            _ if sql.starts_with("TRUNCATE") => drop(self.stage.database.query(sql)),
            _ => drop(self.stage.database.query(&format!("{sql} {settings}"))),
        }
    }

    fn keep(&self, table: &str) {
        self.change(&format!("CREATE TABLE kept_{table} ENGINE = Memory AS SELECT * FROM {table} FINAL"));
    }

    fn restore(&self, table: &str) {
        self.change(&format!("TRUNCATE TABLE {table}"));
        self.change(&format!("INSERT INTO {table} SELECT * FROM kept_{table}"));
    }
}

/// Another value of a column's type.
fn other(column: &str, of: &str) -> String {
    let inner = of.strip_prefix("Nullable(").map(|inner| inner.trim_end_matches(')'));
    let bare = of.replace("LowCardinality(", "");
    if of.starts_with("Array") {
        return format!("CAST([('x', NULL)] AS {of})");
    }
    if of.starts_with("Enum8") {
        return format!("CAST(if(toInt8({column}) = 1, 2, 1) AS {of})");
    }
    if bare.starts_with("String") || inner == Some("String") {
        return format!("concat(ifNull(toString({column}), ''), 'x')");
    }
    if of == "UUID" {
        return "generateUUIDv4()".to_owned();
    }
    if of.starts_with("FixedString") {
        return format!("CAST(unhex(repeat('ab', 32)) AS {of})");
    }
    if of.contains("DateTime64") {
        return format!("ifNull({column}, toDateTime64(0, 6, 'UTC')) + toIntervalMillisecond(1)");
    }
    if inner == Some("Bool") {
        return format!("NOT ifNull({column}, false)");
    }
    format!("CAST(ifNull({column}, 0) + 1 AS {of})")
}

/// Scenario: of every table, every column gets another value, each in a row of its own; the columns of a row's place one after the other,
/// since none but they say which row it was.
/// Guarantees: `tally verify` exits 1 and names the table and every row, and for the place's columns the table; it exits 0 before, and
/// again once all is as it was.
#[test]
fn every_altered_column_is_found() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::of("columns", &["--events", "600", "--invalid-permille", "150"]);
    sealed.seal("log");
    sealed.verify("log", 0, &[]);
    for table in ["audit_log", "dead_letters", "credit_events", "task_events"] {
        sealed.keep(table);
        let fields = "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = '";
        let columns = sealed.stage.database.query(&format!("{fields}{table}' ORDER BY position"));
        let columns: Vec<(&str, String)> = columns
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, of)| (name, of.replace("\\'", "'")))
            .collect();
        assert!(columns.len() >= 18, "{table} has {} columns", columns.len());
        let row = |nth: usize| {
            format!(
                "(topic_id, partition, offset) IN (SELECT topic_id, partition, offset FROM kept_{table} \
                 ORDER BY topic_id, partition, offset LIMIT 1 OFFSET {nth})"
            )
        };
        let alter = |(name, of): &(&str, String), nth: usize| {
            let (altered, row) = (other(&format!("`{name}`"), of), row(nth));
            sealed.change(&format!("DELETE FROM {table} WHERE {row}"));
            let select = format!("SELECT * REPLACE ({altered} AS `{name}`) FROM kept_{table} WHERE {row}");
            sealed.change(&format!("INSERT INTO {table} {select}"));
        };
        let is_place = |name: &str| ["topic", "topic_id", "partition", "offset"].contains(&name);
        let (places, others): (Vec<_>, Vec<_>) = columns.into_iter().partition(|(name, _)| is_place(name));
        for column in &places {
            alter(column, 3);
            let said = sealed.verify("log", 1, &[]);
            assert!(said.contains(table), "{table}.{}: {said}", column.0);
            sealed.restore(table);
        }
        others.iter().zip(3..).for_each(|(column, nth)| alter(column, nth));
        let said = sealed.verify("log", 1, &[]);
        assert!(said.contains(table), "{table}: {said}");
        for ((name, _), nth) in others.iter().zip(3..) {
            let at = "SELECT concat(topic, '/', toString(partition), '/', toString(offset))";
            let at = sealed.stage.database.query(&format!("{at} FROM kept_{table} WHERE {}", row(nth)));
            let is_named =
                said.split(|c: char| c.is_whitespace() || ",:;".contains(c)).any(|word| word == at.trim());
            assert!(is_named, "{table}.{name} at {at}: {said}");
        }
        sealed.restore(table);
    }
    sealed.verify("log", 0, &[]);
}

/// Scenario: rows are deleted and inserted, each in its table; each time all is put back.
/// Guarantees: exit code 1 and what happened, by name; with `--since` and `--sample` too where they look.
#[test]
fn deleted_and_inserted_rows_are_found() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("rows", "1500");
    sealed.seal("log");
    for table in ["audit_log", "dead_letters", "task_events", "gaps"] {
        sealed.keep(table);
    }
    let one = "(topic_id, partition, offset) IN (SELECT topic_id, partition, offset FROM";
    // one that was published once: a repeat would take its place
    let once = "SELECT source, event_id, digest FROM kept_audit_log GROUP BY ALL HAVING count() = 1";
    let accepted = format!(
        "{one} kept_task_events WHERE (source, event_id, digest) IN ({once}) ORDER BY offset, partition LIMIT 1 OFFSET 5)"
    );
    let dead = format!(
        "{one} kept_dead_letters WHERE endsWith(topic, 'task-events') ORDER BY offset, partition LIMIT 1)"
    );
    let first =
        "SELECT tuple(offset, partition, topic_id) FROM kept_task_events ORDER BY offset, partition LIMIT 1)";
    let always = ["--since", "2020-01-01T00:00:00Z"];
    let all = ["--sample", "1000", "--seed", "1"]; // every tile of the larger partitions
    let cases = [
        ("audit_log", format!("DELETE FROM audit_log WHERE {accepted}"), "1 sealed rows were deleted", true),
        ("audit_log", format!("DELETE FROM audit_log WHERE {dead}"), "audit_log", true),
        ("dead_letters", format!("DELETE FROM dead_letters WHERE {dead}"), "was deleted", true),
        ("task_events", format!("DELETE FROM task_events WHERE {accepted}"), "no fact: it was deleted", true),
        (
            "task_events",
            format!("INSERT INTO task_events SELECT * REPLACE (generateUUIDv4() AS event_id) FROM kept_task_events WHERE {accepted}"),
            "task_events",
            false,
        ),
        (
            "dead_letters",
            format!(
                "INSERT INTO dead_letters SELECT * REPLACE (({first}.1 AS offset, ({first}.2 AS partition, \
                 ({first}.3 AS topic_id) FROM kept_dead_letters LIMIT 1"
            ),
            "dead_letters",
            true,
        ),
        (
            "gaps",
            "INSERT INTO gaps SELECT topic, topic_id, partition, 3, 4, 'ABSENT' FROM kept_task_events LIMIT 1".to_owned(),
            "gaps",
            true,
        ),
    ];
    for (table, sql, words, in_parts) in cases {
        sealed.change(&sql);
        let said = sealed.verify("log", 1, &[]);
        assert!(said.contains(words), "{sql}: {said}");
        if in_parts {
            for scope in [&always[..], &all[..]] {
                let said = sealed.verify("log", 1, scope);
                assert!(said.contains(table) || said.contains(words), "{sql}: {said}");
            }
        }
        sealed.restore(table);
    }
    sealed.verify("log", 0, &[]);
    sealed.verify("log", 0, &always);
    let said = sealed.verify("log", 0, &all);
    assert!(said.contains("--seed"), "{said}");
}

pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).expect("a folder can be listed") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let name = path.strip_prefix(folder).expect("a part").to_owned();
                found.insert(name, fs::read(&path).expect("a file can be read"));
            }
        }
    }
    found
}

/// Scenario: one log is sealed in two steps, another at once; then once more, with nothing new; then by two at once.
/// Guarantees: the same checkpoint, heads and tiles, byte for byte; nothing is written where nothing is new; two
/// sealers on one log leave one that verifies.
#[test]
fn sealers_of_the_same_rows_make_the_same_bytes() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("same", "2000");
    sealed.seal("steps");
    sealed.take("1500", "8");
    sealed.seal("steps");
    sealed.seal("once");
    let (steps, once) =
        (files(&sealed.folder.path().join("steps")), files(&sealed.folder.path().join("once")));
    let names = once.keys().filter(|name| !name.starts_with("checkpoints"));
    let mut tiles = 0;
    for name in names {
        assert!(steps.get(name) == once.get(name), "{} differs", name.display());
        tiles += usize::from(name.to_string_lossy().contains("/tile/"));
    }
    assert!(tiles > 12, "{tiles} tiles");
    assert_eq!(steps[Path::new("checkpoints/002")], once[Path::new("checkpoints/001")]);
    assert!(sealed.seal("once").contains("nothing new"));
    assert_eq!(files(&sealed.folder.path().join("once")), once);

    sealed.take("1000", "9");
    let seal = || {
        let (log, key) = (sealed.path("once"), sealed.path("key"));
        let arguments =
            [&["seal", "--seals", &log, "--key", &key][..], &sealed.stage.at_clickhouse()].concat();
        Tally::spawn(&arguments, &[])
    };
    let mut both = [seal(), seal()];
    both.iter_mut().for_each(|one| drop(one.expect_success(SOON)));
    sealed.verify("once", 0, &[]);
}

/// Scenario: what may happen to a log: rolled back, a tile gone, a tile or a list of heads changed, another's key, too
/// old, empty, gone; a key that rotates.
/// Guarantees: each has its exit code, and says what it is.
#[test]
fn a_damaged_old_or_foreign_log_is_never_verified() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("damage", "1200");
    let said = sealed.verify("key.pub", 3, &[]); // a file where the log should be
    assert!(said.contains("COULD NOT CHECK"), "{said}");
    fs::create_dir(sealed.folder.path().join("log")).expect("a folder");
    assert!(sealed.verify("log", 2, &[]).contains("nothing was sealed"));
    sealed.seal("log");
    let log = sealed.folder.path().join("log");
    let kept = files(&log);
    let back = || {
        fs::remove_dir_all(&log).expect("a folder");
        for (name, bytes) in &kept {
            let path = log.join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, bytes).expect("a file");
        }
    };
    let tile = kept.keys().find(|name| name.to_string_lossy().contains("/tile/0/")).expect("a tile");
    fs::remove_file(log.join(tile)).expect("a file");
    assert!(sealed.verify("log", 3, &[]).contains("lacks"));
    let mut bytes = kept[tile].clone();
    bytes[17] ^= 1;
    fs::write(log.join(tile), &bytes).expect("a file");
    assert!(sealed.verify("log", 1, &[]).contains("tile"));
    back();
    let heads = kept.keys().find(|name| name.starts_with("heads")).expect("heads");
    let text =
        String::from_utf8(kept[heads].clone()).expect("text").replacen("task-events", "tusk-events", 1);
    fs::write(log.join(heads), text).expect("a file");
    assert!(sealed.verify("log", 1, &[]).contains("heads"));
    back();

    sealed.keygen("other");
    let stranger = ["verify", "--seals", &sealed.path("log"), "--keys", &sealed.path("other.pub")];
    let stranger = [&stranger[..], &sealed.stage.at_clickhouse()].concat();
    let said = Tally::spawn(&stranger, &[]).expect_code(3, SOON).stdout;
    assert!(said.contains("no signature of a known key"), "{said}");

    // the new key signs from now on; whoever knows it alone verifies
    let rotate = ["--key", &sealed.path("other"), "--keys", &sealed.path("key.pub")];
    sealed.take("600", "8");
    sealed.run("seal", "log", 0, &rotate);
    Tally::spawn(&stranger, &[]).expect_success(SOON);
    sealed.verify("log", 3, &[]);
    let both = ["--keys", &sealed.path("other.pub")];
    sealed.verify("log", 0, &both);
    back(); // to what the log was before
    assert!(sealed.verify("log", 1, &both).contains("truncated tip"));
    fs::remove_dir_all(&log).expect("a folder");
    fs::create_dir(&log).expect("a folder");
    assert!(sealed.verify("log", 3, &both).contains("no checkpoint"));
}

/// Scenario: events are sealed and grow old; more come and wait for their seal; a time later than all is asked for.
/// Guarantees: exit code 2 each time it is asked how old things may be, and its reason; 0 where age is no matter.
#[test]
fn what_is_stale_is_not_verified() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed { stage: Stage::shared("stale"), folder: TempFolder::new("stale") };
    sealed.keygen("key");
    let events: String = examples::valid(Topic::Credit).iter().map(|event| format!("{event}\n")).collect();
    let file = sealed.path("events");
    fs::write(&file, events).expect("a file");
    let publish = || {
        let what = ["publish", "--topic", "credit-events", "--file", &file];
        Tally::spawn(&[&what[..], &sealed.stage.at_kafka()].concat(), &[]).expect_success(SOON);
        sealed.stage.catch_up(&[]);
        std::thread::sleep(Duration::from_millis(2_500)); // they grow old
    };
    publish();
    sealed.seal("log");
    sealed.verify("log", 0, &[]);
    sealed.verify("log", 0, &["--max-age", "1h"]);
    assert!(sealed.verify("log", 2, &["--max-age", "2s"]).contains("stale"));
    assert!(sealed.verify("log", 2, &["--since", "2099-01-01T00:00:00Z"]).contains("nothing was found"));
    publish();
    assert!(sealed.verify("log", 2, &["--max-age", "2s"]).contains("wait for their seal"));
    assert!(!sealed.verify("log", 0, &[]).contains(" 0 rows not yet sealed"));
}

/// Scenario: ClickHouse and the log are rolled back together; an auditor kept a later checkpoint.
/// Guarantees: `--expect` finds it; without it nothing could.
#[test]
fn a_kept_checkpoint_finds_what_was_rolled_back_everywhere() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("expect", "600");
    for table in [
        "audit_log",
        "dead_letters",
        "gaps",
        "credit_events",
        "license_events",
        "task_events",
        "moderation_events",
    ] {
        sealed.keep(table);
    }
    sealed.seal("log");
    let old = files(&sealed.folder.path().join("log"));
    sealed.take("600", "8");
    sealed.seal("log");
    let now = files(&sealed.folder.path().join("log"));
    let kept = sealed.path("kept");
    fs::write(&kept, &now[Path::new("checkpoint")]).expect("a file");
    let heads =
        now.iter().find(|(name, _)| name.starts_with("heads") && !old.contains_key(*name)).expect("heads");
    fs::write(format!("{kept}.heads"), heads.1).expect("a file");
    sealed.verify("log", 0, &["--expect", &kept]);
    for table in [
        "audit_log",
        "dead_letters",
        "gaps",
        "credit_events",
        "license_events",
        "task_events",
        "moderation_events",
    ] {
        sealed.restore(table);
    }
    sealed.change("TRUNCATE TABLE seals");
    let log = sealed.folder.path().join("log");
    fs::remove_dir_all(&log).expect("a folder");
    for (name, bytes) in &old {
        let path = log.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }
    sealed.verify("log", 0, &[]);
    assert!(sealed.verify("log", 1, &["--expect", &kept]).contains("truncated tip"));
}

/// Scenario: receipts in the middle of what is not yet sealed are missing.
/// Guarantees: sealing goes up to them, says where and exits 2; verifying says where, and that the fact which is left had its receipt.
#[test]
fn a_hole_stops_the_tree() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("hole-in-seal", "600");
    let topic = sealed.stage.topic(Topic::Task);
    sealed.keep("audit_log");
    sealed
        .change(&format!("DELETE FROM audit_log WHERE topic = '{topic}' AND partition = 1 AND offset = 40"));
    let said = sealed.run("seal", "log", 2, &["--key", &sealed.path("key")]);
    let words = format!("{topic}/1: stopped: no row for offsets 40 to 40");
    assert!(said.contains(&words), "{said}");
    let said = sealed.verify("log", 1, &[]);
    assert!(said.contains("no row for offsets 40 to 40"), "{said}");
    assert!(said.contains(&format!("{topic}/1/40")) && said.contains("its receipt deleted"), "{said}");
    sealed.restore("audit_log");
    sealed.seal("log");
    sealed.verify("log", 0, &[]);
}

/// Scenario: a sealed row is altered; then the log is moved away and begun anew, or an old copy of it is brought back and
/// sealed on, with the right key.
/// Guarantees: the sealer refuses to sign over what was altered, and no log verifies; with the row as it was, both go on.
#[test]
fn altered_history_is_not_sealed_over() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("over", "400");
    sealed.seal("log");
    let old = sealed.path("old");
    let copy = std::process::Command::new("cp").args(["-r", &sealed.path("log"), &old]).status();
    assert!(copy.expect("cp can be run").success());
    sealed.take("400", "8");
    sealed.seal("log");
    sealed.verify("log", 0, &[]);

    sealed.keep("audit_log");
    let last = "(topic_id, partition, offset) IN (SELECT topic_id, partition, max(offset) FROM audit_log GROUP BY topic_id, partition LIMIT 1)";
    sealed.change(&format!("ALTER TABLE audit_log UPDATE actor_id = 'x' WHERE {last}"));
    sealed.verify("log", 1, &[]);
    let key = ["--key", &sealed.path("key")];
    for log in ["anew", "old"] {
        sealed.run("seal", log, 3, &key);
    }
    sealed.verify("old", 1, &[]);

    sealed.restore("audit_log");
    for log in ["begun", "log"] {
        sealed.seal(log);
        sealed.verify(log, 0, &[]);
    }
}
