//! ClickHouse's own way from Kafka: a table of engine `Kafka` a topic, and a materialized view into the facts.
//!
//! The same engine, the same tables, the same records. It does not hold events against rules, keeps no ledger, has no content digest (the
//! column stays zero), drops what it cannot parse, and delivers at least once. Its inserts merge the repeats of a block, which ours leave to
//! merges: no setting of the table, of the view or of a session of the embedded engine reaches them. What that costs it, nothing that
//! could be seen, shows beside plain copies of the tables.

use super::contenders::{Arena, Contender, Turn, parts};
use super::raw::{facts_stored, rows_of};
use std::time::Instant;
use tally_schemas::{Topic, columns};
use tally_tests::{Database, unique};

/// What is the same however fast it is set: what is broken is passed over.
const SETTINGS: &str = "kafka_format = 'AvroConfluent', kafka_handle_error_mode = 'stream',
    input_format_avro_allow_missing_fields = 1, input_format_null_as_default = 1";

/// What decides how fast a table is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Consumers of each table.
    consumers: u32,
    /// Whether each of these inserts for itself.
    thread_per_consumer: bool,
    /// Rows of an insert, at most.
    block_rows: u32,
    /// Records of one poll, at most.
    poll_rows: u32,
    /// An insert waits so long for its rows, at most.
    flush_ms: u32,
    /// Whether the facts go into copies of their tables that keep repeats.
    keeps_repeats: bool,
}

/// What `bench_kafka_engine` begins with: few and large parts.
const USUAL: Settings = Settings {
    consumers: 1,
    thread_per_consumer: true,
    block_rows: 262_144,
    poll_rows: 65_536,
    flush_ms: 2_000,
    keeps_repeats: false,
};

/// The fastest of all [`variants`] where they were tried, by little.
pub(super) const LARGE: Settings = Settings { block_rows: 1_048_576, ..USUAL };

/// That, without repeats to be merged: other tables than those that everybody else fills.
pub(super) const LARGE_AND_PLAIN: Settings = Settings { keeps_repeats: true, ..LARGE };

/// The same with so many consumers a table.
pub(super) fn consumers(consumers: u32) -> Settings {
    Settings { consumers, ..USUAL }
}

/// That, and settings away from it.
pub(super) fn variants() -> Vec<Contender> {
    let all = [
        USUAL,
        Settings { thread_per_consumer: false, ..USUAL },
        Settings { consumers: 3, ..USUAL },
        Settings { consumers: 3, thread_per_consumer: false, ..USUAL },
        Settings { block_rows: 65_536, ..USUAL },
        LARGE,
        LARGE_AND_PLAIN,
        Settings { poll_rows: 8_192, ..USUAL },
        Settings { poll_rows: 262_144, ..USUAL },
        Settings { flush_ms: 500, ..USUAL },
        Settings { flush_ms: 7_500, ..USUAL },
        Settings { flush_ms: 7_500, block_rows: 1_048_576, poll_rows: 262_144, ..USUAL },
    ];
    let named = |settings: Settings| {
        let Settings { consumers, thread_per_consumer, block_rows, poll_rows, flush_ms, keeps_repeats } =
            settings;
        let threads = if thread_per_consumer { "each" } else { "together" };
        let plain = if keeps_repeats { ", plain" } else { "" };
        let name =
            format!("{consumers} {threads}, block {block_rows}, poll {poll_rows}, {flush_ms} ms{plain}");
        Contender::new(&name, move |arena| drain(arena, settings))
    };
    all.map(named).into()
}

/// From the views, which begin to read, to the last commit.
pub(super) fn drain(arena: &Arena<'_>, settings: Settings) -> Turn {
    let (database, name) = (arena.database(), unique("engine"));
    // a group a table: in one group they would hold each other up, each time one of them joins
    let group = |contract: Topic| format!("{name}-{}", contract.name());
    for contract in Topic::ALL {
        create_table(arena, (&database, &group(contract)), contract, settings);
    }
    let into = |contract: Topic| match settings.keeps_repeats {
        true => create_plain(&database, contract.table()),
        false => contract.table().to_owned(),
    };
    let tables = Topic::ALL.map(into);
    let began = Instant::now();
    for (contract, table) in Topic::ALL.into_iter().zip(&tables) {
        create_view(&database, contract, table);
    }
    let mut turn = arena.watch(began, &arena.backlog.finish(&group), &mut []);
    turn.parts = parts(&database);
    for contract in Topic::ALL {
        database.query(&format!("DROP TABLE {0}_view SYNC", contract.table()));
        database.query(&format!("DROP TABLE {0}_queue SYNC", contract.table()));
    }
    let stored = match settings.keeps_repeats {
        true => tables.iter().map(|table| rows_of(&database, table)).sum(),
        false => facts_stored(&database),
    };
    let expected = turn.events.saturating_sub(arena.backlog.invalid);
    assert!(stored * 100 >= expected * 98, "{stored} of {expected} valid events arrived");
    turn
}

/// The topic with the types that the facts have.
fn create_table(
    arena: &Arena<'_>,
    (database, group): (&Database<'_>, &str),
    contract: Topic,
    settings: Settings,
) {
    #[derive(serde::Deserialize)]
    struct Typed {
        name: String,
        r#type: String,
    }
    let table = contract.table();
    let sql = format!(
        "SELECT name, type FROM system.columns WHERE database = '{}' AND table = '{table}' ORDER BY position",
        database.name()
    );
    let named = |name: &str| columns(contract).iter().any(|column| column.name == name);
    let typed: Vec<Typed> = database.rows(&sql);
    let typed = typed.iter().filter(|column| named(&column.name));
    let typed: Vec<String> = typed.map(|column| format!("`{}` {}", column.name, column.r#type)).collect();
    let Settings { consumers, thread_per_consumer, block_rows, poll_rows, flush_ms, keeps_repeats: _ } =
        settings;
    let threads = u8::from(thread_per_consumer);
    database.query(&format!(
        "CREATE TABLE {table}_queue ({}) ENGINE = Kafka SETTINGS kafka_broker_list = '{}', kafka_topic_list = '{}',
         kafka_group_name = '{group}', format_avro_schema_registry_url = '{}',
         kafka_num_consumers = {consumers}, kafka_thread_per_consumer = {threads}, kafka_max_block_size = {block_rows},
         kafka_poll_max_batch_size = {poll_rows}, kafka_flush_interval_ms = {flush_ms}, {SETTINGS}",
        typed.join(", "),
        arena.backlog.kafka.bootstrap(),
        arena.backlog.topic(contract),
        arena.registry,
    ));
}

/// A copy of a table of facts, empty, of the same columns, order and settings, that keeps repeats; its name.
fn create_plain(database: &Database<'_>, table: &str) -> String {
    let of = format!("database = '{}' AND name = '{table}'", database.name());
    let engine = database.query(&format!("SELECT engine_full FROM system.tables WHERE {of} FORMAT TSVRaw"));
    let merges = "ReplacingMergeTree(rank)";
    assert!(engine.starts_with(merges), "{engine}");
    database.query(&format!(
        "CREATE TABLE {table}_plain AS {table} ENGINE = {}",
        engine.trim().replacen(merges, "MergeTree", 1)
    ));
    format!("{table}_plain")
}

fn create_view(database: &Database<'_>, contract: Topic, into: &str) {
    let table = contract.table();
    let own: Vec<String> = columns(contract).iter().map(|column| format!("`{}`", column.name)).collect();
    database.query(&format!(
        "CREATE MATERIALIZED VIEW {table}_view TO {into} AS SELECT {}, _topic AS topic,
         toUUID('00000000-0000-4000-8000-000000000001') AS topic_id, toInt32(_partition) AS partition,
         toInt64(_offset) AS offset, _timestamp_ms AS appended_at,
         bitNot(bitOr(bitShiftLeft(toUInt64(toUnixTimestamp64Milli(assumeNotNull(_timestamp_ms))), 22), toUInt64(_offset))) AS rank
         FROM {table}_queue WHERE empty(_error)",
        own.join(", ")
    ));
}
