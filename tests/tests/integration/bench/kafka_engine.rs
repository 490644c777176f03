//! ClickHouse's own way from Kafka: a table of engine `Kafka` a topic, and a materialized view into the facts.
//!
//! The same engine, the same tables, the same records. It does not hold events against rules, keeps no ledger, has no
//! content digest (the column stays zero), drops what it cannot parse, and delivers at least once.

use super::contenders::{Arena, Turn, parts};
use super::raw::facts_stored;
use std::time::Instant;
use tally_schemas::{Topic, columns};
use tally_tests::{Database, unique};

/// Settings of the tables: large blocks, as few and as large parts as the views can make, and what is broken passed over.
const SETTINGS: &str = "kafka_format = 'AvroConfluent', kafka_thread_per_consumer = 1,
    kafka_max_block_size = 262144, kafka_poll_max_batch_size = 65536, kafka_flush_interval_ms = 2000,
    kafka_handle_error_mode = 'stream', input_format_avro_allow_missing_fields = 1, input_format_null_as_default = 1";

/// From the views, which begin to read, to the last commit.
pub(super) fn drain(arena: &Arena<'_>, consumers: u32) -> Turn {
    let (database, name) = (arena.database(), unique("engine"));
    // a group a table: in one group they would hold each other up, each time one of them joins
    let group = |contract: Topic| format!("{name}-{}", contract.name());
    for contract in Topic::ALL {
        create_table(arena, (&database, &group(contract)), contract, consumers);
    }
    let began = Instant::now();
    for contract in Topic::ALL {
        create_view(&database, contract);
    }
    let mut turn = arena.watch(began, &arena.backlog.finish(&group), &mut []);
    turn.parts = parts(&database);
    for contract in Topic::ALL {
        database.query(&format!("DROP TABLE {0}_view SYNC", contract.table()));
        database.query(&format!("DROP TABLE {0}_queue SYNC", contract.table()));
    }
    let (stored, expected) = (facts_stored(&database), turn.events.saturating_sub(arena.backlog.invalid));
    assert!(stored * 100 >= expected * 98, "{stored} of {expected} valid events arrived");
    turn
}

/// The topic with the types that the facts have.
fn create_table(
    arena: &Arena<'_>,
    (database, group): (&Database<'_>, &str),
    contract: Topic,
    consumers: u32,
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
    database.query(&format!(
        "CREATE TABLE {table}_queue ({}) ENGINE = Kafka SETTINGS kafka_broker_list = '{}', kafka_topic_list = '{}',
         kafka_group_name = '{group}', format_avro_schema_registry_url = '{}',
         kafka_num_consumers = {consumers}, {SETTINGS}",
        typed.join(", "),
        arena.backlog.kafka.bootstrap(),
        arena.backlog.topic(contract),
        arena.registry,
    ));
}

fn create_view(database: &Database<'_>, contract: Topic) {
    let table = contract.table();
    let own: Vec<String> = columns(contract).iter().map(|column| format!("`{}`", column.name)).collect();
    database.query(&format!(
        "CREATE MATERIALIZED VIEW {table}_view TO {table} AS SELECT {}, _topic AS topic,
         toUUID('00000000-0000-4000-8000-000000000001') AS topic_id, toInt32(_partition) AS partition,
         toInt64(_offset) AS offset, _timestamp_ms AS appended_at,
         bitNot(bitOr(bitShiftLeft(toUInt64(toUnixTimestamp64Milli(assumeNotNull(_timestamp_ms))), 22), toUInt64(_offset))) AS rank
         FROM {table}_queue WHERE empty(_error)",
        own.join(", ")
    ));
}
