//! The limits of the machine: what the steps of a drain cost alone, over the same records and rows.

use super::backlog::Backlog;
use super::contenders::{Arena, Turn, parts};
use super::gauge::{cpu_seconds, forget_peak, peak_bytes};
use arrow_array::RecordBatch;
use arrow_avro::codec::Tz;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_schemas::{
    Contract, Messages, Read, Reader, Topic, Writer, WriterId, Writers, contracts, latest, local_writers,
    sha256, versions,
};
use tally_sinks::rows::{Coordinates, Origin, facts, receipts};
use tally_sinks::{Store, StoreConfig};
use tally_tests::Database;
use uuid::Uuid;

/// Rows of one insert: few and large blocks are what ClickHouse takes fastest.
const INSERT_ROWS: usize = 100_000;
/// Inserts at once: one a core.
const INSERTS: usize = 2;
/// Records that are read at once.
const READ_ROWS: usize = 16_384;
/// Bytes of one event.
const VALUE_BYTES_MAX: usize = 1 << 20;
/// A broker that says nothing for so long is broken.
const SILENCE: Duration = Duration::from_secs(20);

/// One record.
struct Record {
    offset: i64,
    at_ms: i64,
    value: Vec<u8>,
    /// Whether it is a valid event.
    is_valid: bool,
}

/// The backlog in memory: as records of each partition, and as the rows that come of them.
#[derive(Default)]
pub(super) struct Rows {
    records: BTreeMap<(Topic, i32), Vec<Record>>,
    writers: HashMap<Topic, Writers>,
    /// Each contract's id in the registry.
    ids: HashMap<u64, u32>,
    /// Facts and receipts of each block.
    blocks: Vec<(Topic, RecordBatch, RecordBatch)>,
}

impl Rows {
    /// Reads the backlog. `ids`: each contract's id in the registry.
    pub(super) fn of(backlog: &Backlog<'_>, ids: &HashMap<u64, u32>) -> Rows {
        let mut records: BTreeMap<(Topic, i32), Vec<Record>> = BTreeMap::new();
        let topics: HashMap<String, Topic> = Topic::ALL.map(|topic| (backlog.topic(topic), topic)).into();
        each_record(backlog, |message| {
            let value = message.payload().unwrap_or_default().to_vec();
            let at_ms = message.timestamp().to_millis().unwrap_or(-1);
            let record = Record { offset: message.offset(), at_ms, value, is_valid: false };
            records.entry((topics[message.topic()], message.partition())).or_default().push(record);
        });
        let writers: HashMap<Topic, Writers> = Topic::ALL.map(|topic| (topic, known(topic, ids))).into();
        let mut blocks = Vec::new();
        for ((topic, partition), of_partition) in &mut records {
            let origin = Origin {
                contract: *topic,
                topic: backlog.topic(*topic),
                topic_id: Uuid::from_u128(7),
                partition: *partition,
            };
            let mut reader = Reader::new(*topic, VALUE_BYTES_MAX);
            for some in of_partition.chunks_mut(INSERT_ROWS) {
                let Read { events, places, digests, .. } = judged(&mut reader, some, &writers[topic]);
                places.iter().for_each(|place| some[*place as usize].is_valid = true);
                let at = coordinates(some, &places);
                let facts = facts(&origin, &events, &at, &digests).expect("facts");
                blocks.push((*topic, facts, receipts(&origin, &events, &at, &digests).expect("receipts")));
            }
        }
        Rows { records, writers, ids: ids.clone(), blocks }
    }
}

/// Reads every record once.
fn each_record(backlog: &Backlog<'_>, mut take: impl FnMut(&rdkafka::message::BorrowedMessage<'_>)) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", backlog.kafka.bootstrap()).set("group.id", "raw");
    config.set("enable.auto.commit", "false").set("fetch.message.max.bytes", "1048576");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    consumer.assign(&backlog.partitions()).expect("an assignment");
    for _ in 0..backlog.layout.events {
        let message = consumer.poll(SILENCE).expect("a record in time");
        take(&message.expect("a record"));
    }
}

fn known(topic: Topic, ids: &HashMap<u64, u32>) -> Writers {
    let mut known = Writers::default();
    for contract in contracts() {
        let id = WriterId::Confluent(ids[&contract.fingerprint]);
        known.insert(id, Writer::new(topic, id, &contract.json).map(Arc::new));
    }
    for (writer, contract) in local_writers(topic).zip(versions(topic)) {
        known.insert(WriterId::SingleObject(contract.fingerprint), writer.map(Arc::new));
    }
    known
}

fn judged(reader: &mut Reader, records: &[Record], writers: &Writers) -> Read {
    let values: Vec<Option<&[u8]>> = records.iter().map(|record| Some(record.value.as_slice())).collect();
    let at_ms: Vec<i64> = records.iter().map(|record| record.at_ms).collect();
    reader.read(Messages { values: &values, appended_at_ms: &at_ms }, writers).expect("a reading")
}

fn coordinates(records: &[Record], places: &[u32]) -> Coordinates {
    let mut at = Coordinates { schemas: vec!["registry:1".to_owned()], ..Coordinates::default() };
    for record in places.iter().map(|place| &records[*place as usize]) {
        at.offsets.push(record.offset);
        at.appended_at_ms.push(record.at_ms);
        at.raw_bytes.push(u32::try_from(record.value.len()).expect("a short event"));
        at.raw_sha256.push(sha256(&record.value));
        at.schema.push(0);
    }
    at
}

/// Everything from Kafka, and nothing done with it.
pub(super) fn consume(arena: &Arena<'_>) -> Turn {
    let (began, cpu) = (Instant::now(), cpu_seconds(std::process::id()));
    let mut bytes = 0;
    each_record(&arena.backlog, |message| bytes += message.payload_len() as u64);
    assert_eq!(bytes, arena.backlog.bytes);
    alone(arena, began, cpu)
}

/// Framing, walk, decode, rules and digests of records in memory, on one thread: what `tally ingest` does with each.
pub(super) fn read(arena: &Arena<'_>) -> Turn {
    let (began, cpu) = (Instant::now(), cpu_seconds(std::process::id()));
    let mut faults = 0;
    for ((topic, _), records) in &arena.rows.records {
        let mut reader = Reader::new(*topic, VALUE_BYTES_MAX);
        let chunks = records.chunks(READ_ROWS);
        faults += chunks
            .map(|some| judged(&mut reader, some, &arena.rows.writers[topic]).faults.len())
            .sum::<usize>();
    }
    assert_eq!(faults as u64, arena.backlog.invalid);
    alone(arena, began, cpu)
}

/// Avro to Arrow of the valid events in memory, on one thread, by the decoder's library alone: no frame is looked at beyond the id, nothing
/// is walked, held against rules or digested.
pub(super) fn decode(arena: &Arena<'_>) -> Turn {
    let (began, cpu) = (Instant::now(), cpu_seconds(std::process::id()));
    let mut rows = 0;
    for ((topic, _), records) in &arena.rows.records {
        let mut decoders = decoders(*topic, &arena.rows.ids);
        for some in records.chunks(READ_ROWS) {
            for Record { value, .. } in some.iter().filter(|record| record.is_valid) {
                let id = u32::from_be_bytes(value[1..5].try_into().expect("four bytes"));
                let decoder = decoders.get_mut(&id).expect("an id of the contract");
                assert_eq!(decoder.decode(value).expect("a valid event"), value.len());
            }
            for decoder in decoders.values_mut() {
                rows += decoder.flush().expect("a batch").map_or(0, |batch| batch.num_rows());
            }
        }
    }
    let turn = Turn { events: rows as u64, ..alone(arena, began, cpu) };
    assert_eq!(turn.events, arena.backlog.layout.events - arena.backlog.invalid);
    turn
}

/// For each version of a topic's contract, by its id in the registry, what decodes its events into columns of the newest.
fn decoders(topic: Topic, ids: &HashMap<u64, u32>) -> HashMap<u32, Decoder> {
    let newest = serde_json::to_string(&latest(topic).schema).expect("JSON");
    let decoder = |contract: &Contract| {
        let id = ids[&contract.fingerprint];
        let mut schema = serde_json::to_value(&contract.schema).expect("JSON");
        strip(&mut schema);
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        store.set(Fingerprint::Id(id), AvroSchema::new(schema.to_string())).expect("an id of its own");
        let decoder = ReaderBuilder::new()
            .with_reader_schema(AvroSchema::new(newest.clone()))
            .with_writer_schema_store(store)
            .with_active_fingerprint(Fingerprint::Id(id))
            .with_batch_size(READ_ROWS)
            .with_tz(Tz::Utc)
            .build_decoder();
        (id, decoder.expect("the newest contract reads the older ones"))
    };
    versions(topic).map(decoder).collect()
}

/// Takes from a writer's schema what says nothing of its bytes.
fn strip(schema: &mut Value) {
    match schema {
        Value::Array(parts) => parts.iter_mut().for_each(strip),
        Value::Object(object) => {
            object.retain(|key, _| !["aliases", "default", "doc", "field_id"].contains(&key.as_str()));
            object.values_mut().for_each(strip);
        }
        _ => {}
    }
}

fn alone(arena: &Arena<'_>, began: Instant, cpu: f64) -> Turn {
    Turn {
        events: arena.backlog.layout.events,
        seconds: began.elapsed().as_secs_f64(),
        cpu: Some(cpu_seconds(std::process::id()) - cpu),
        ..Turn::default()
    }
}

/// The same rows from Arrow in memory into the same tables, by the same inserts.
pub(super) fn insert(arena: &Arena<'_>, with_receipts: bool) -> Turn {
    let database = arena.database();
    let config = StoreConfig {
        url: database.url().to_owned(),
        database: database.name().to_owned(),
        ..StoreConfig::default()
    };
    let store = Store::new(&config).expect("a plain address");
    forget_peak(arena.clickhouse_id);
    let (own, engine) = (cpu_seconds(std::process::id()), cpu_seconds(arena.clickhouse_id));
    let began = Instant::now();
    let left = Mutex::new(arena.rows.blocks.iter().enumerate());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(INSERTS).enable_all().build();
    let runtime = runtime.expect("a runtime");
    std::thread::scope(|scope| {
        for _ in 0..INSERTS {
            scope.spawn(|| {
                let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
                while let Some((number, (topic, facts, receipts))) = next() {
                    let token = format!("block-{number}");
                    let one = |table, rows| {
                        runtime.block_on(store.insert(table, &token, std::slice::from_ref(rows)))
                    };
                    one(topic.table(), facts).expect("inserted");
                    if with_receipts {
                        one("audit_log", receipts).expect("inserted");
                    }
                }
            });
        }
    });
    let turn = Turn {
        stopped: false,
        seconds: began.elapsed().as_secs_f64(),
        events: arena.backlog.layout.events - arena.backlog.invalid,
        cpu: Some(cpu_seconds(std::process::id()) - own),
        store_cpu: Some(cpu_seconds(arena.clickhouse_id) - engine),
        store_peak_bytes: Some(peak_bytes(arena.clickhouse_id)),
        parts: parts(&database),
        peak_bytes: None,
    };
    let stored = facts_stored(&database);
    assert!(stored * 100 >= turn.events * 98, "{stored} of {} facts", turn.events);
    turn
}

/// Facts in all tables of a database, each once.
pub(super) fn facts_stored(database: &Database<'_>) -> u64 {
    Topic::ALL.into_iter().map(|topic| rows_of(database, &format!("{}_final", topic.table()))).sum()
}

/// Rows of a table.
pub(super) fn rows_of(database: &Database<'_>, table: &str) -> u64 {
    database.query(&format!("SELECT count() FROM {table}")).trim().parse().expect("a number")
}
