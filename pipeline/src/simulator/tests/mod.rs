//! The simulated platform held against the contracts and against itself, by decoding what it emits.

mod figures;
mod history;
mod judged;
mod messages;
mod past;
mod untagged;

use super::{Config, Emission, Expect, Simulator};
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use tally_schemas::{Contract, Topic, contracts};

/// A decoded event: fields with a value, numbers in digits; a contract's default where it lacks the field.
pub(super) type Row = BTreeMap<String, String>;

/// 200,000 emissions of the default platform and the rest until all is at rest, decoded once for all tests.
pub(super) struct World {
    pub(super) emissions: Vec<Emission>,
    /// The accepted events in order.
    pub(super) rows: Vec<(Topic, Row)>,
    /// The truth half-way, with the number of accepted events it covers.
    pub(super) halfway: (usize, super::Truth),
    pub(super) truth: super::Truth,
}

pub(super) static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut simulator = Simulator::new(Config::seeded(42));
    let mut emissions: Vec<Emission> = (0..100_000).map(|_| simulator.next()).collect();
    let accepted = emissions.iter().filter(|e| e.expect == Expect::Accept).count();
    let halfway = (accepted, simulator.truth());
    emissions.extend((0..100_000).map(|_| simulator.next()));
    while let Some(emission) = simulator.next_closing() {
        emissions.push(emission);
    }
    let valid = emissions.iter().filter(|e| e.expect == Expect::Accept);
    let rows = valid.map(|e| (e.topic, decode(e).expect("an accepted event decodes"))).collect();
    World { emissions, rows, halfway, truth: simulator.truth() }
});

static READERS: LazyLock<BTreeMap<u64, GenericDatumReader<'static>>> = LazyLock::new(|| {
    let reader = |c: &'static Contract| GenericDatumReader::builder(&c.schema).build().expect("a contract");
    contracts().iter().map(|c| (c.fingerprint, reader(c))).collect()
});

/// The accepted emissions, each with its row.
pub(super) fn accepted() -> impl Iterator<Item = (&'static Emission, &'static Row)> {
    let emissions = WORLD.emissions.iter().filter(|e| e.expect == Expect::Accept);
    emissions.zip(WORLD.rows.iter().map(|(_, row)| row))
}

/// The contract that the bytes name.
pub(super) fn contract(value: &[u8]) -> Option<&'static Contract> {
    let fingerprint = value.strip_prefix(&[0xC3, 0x01])?.first_chunk::<8>()?;
    contracts().iter().find(|c| c.fingerprint == u64::from_le_bytes(*fingerprint))
}

/// Decodes single-object bytes to the last one. `apache-avro` takes the end of the bytes for null: that a body is
/// whole is for `judged` and [`cut_short`] to say.
pub(super) fn decode_bytes(value: &[u8]) -> Result<(Topic, Row), String> {
    let contract = contract(value).ok_or("unknown schema")?;
    let mut body = &value[10..];
    let datum = READERS[&contract.fingerprint].read_value(&mut body).map_err(|e| e.to_string())?;
    if !body.is_empty() {
        return Err(format!("{} trailing bytes", body.len()));
    }
    let Value::Record(fields) = datum else { return Err("no record".to_owned()) };
    let mut row: Row = fields.into_iter().filter_map(|(name, v)| Some((name, text(v)?))).collect();
    if matches!(contract.topic, Topic::Credit | Topic::Task) {
        row.entry("audience".to_owned()).or_insert("CUSTOMER".to_owned());
    }
    Ok((contract.topic, row))
}

/// True where a body ends before its event does.
pub(super) fn cut_short(value: &[u8]) -> bool {
    contract(value).is_some_and(|c| tally_schemas::explain(&c.schema, &value[10..]).stopped_at.is_some())
}

/// The row of an emission that is valid for its topic.
pub(super) fn decode(emission: &Emission) -> Result<Row, String> {
    let (topic, row) = decode_bytes(&emission.value)?;
    if topic == emission.topic { Ok(row) } else { Err(format!("a {topic} record")) }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Union(_, inner) => text(*inner),
        Value::String(s) | Value::Enum(_, s) => Some(s),
        Value::Uuid(id) => Some(id.to_string()),
        Value::Int(n) => Some(n.to_string()),
        Value::Long(n) | Value::TimestampMicros(n) => Some(n.to_string()),
        Value::Boolean(b) => Some(b.to_string()),
        other => panic!("no contract has {other:?}"),
    }
}

/// The number in a field.
pub(super) fn number(row: &Row, field: &str) -> Option<i64> {
    row.get(field).map(|digits| digits.parse().expect("a number"))
}
