//! A writer's schema made ready: compiled for the walk, and with a columnar decoder for the rows.

use crate::contract::{self, Contract, Topic};
use crate::framing::WriterId;
use crate::reason::{Fault, Reason};
use crate::walk::{Node, Plan};
use apache_avro::Schema;
use apache_avro::schema::{RecordField, RecordSchema, UuidSchema};
use arrow_avro::codec::Tz;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use arrow_schema::ArrowError;
use serde_json::Value as Json;
use std::collections::HashMap;

/// Rows of one decoded batch; a block never has more.
pub const BATCH_ROWS_MAX: usize = 1 << 20;

/// Types of a writer's fields that the contract does not read, each counted wherever it is named: the decoder
/// copies a named type to every place that names it, and thirty lines of schema can double one thirty times.
const SKIPPED_TYPES_MAX: usize = 10_000;
/// What a sentence repeats of another library's words, which may hold the whole schema; every message of a writer
/// carries its sentence.
const SAID_CHARS_MAX: usize = 300;

/// One writer's schema as a topic's contract sees it.
#[derive(Debug)]
pub struct Writer {
    id: WriterId,
    topic: Topic,
    json: String,
    bare: String,
    plan: Plan,
}

impl Writer {
    /// Holds the schema text that `id` stands for against the newest contract of `topic`.
    ///
    /// # Errors
    /// `wrong_topic`, `policy_tag_missing` or `schema_incompatible`: true of every message of that writer.
    pub fn new(topic: Topic, id: WriterId, json: &str) -> Result<Writer, Fault> {
        let reader = contract::latest(topic);
        let incompatible = |sentence: String| Fault::new(Reason::SchemaIncompatible, "", sentence);
        let schema =
            contract::parse_schema(&id.to_string(), json).map_err(|e| incompatible(shortened(&e)))?;
        let found = contract::record_name(&schema).unwrap_or_else(|| "not a record".to_owned());
        if found != reader.record_name() {
            let other = contract::contracts().iter().find(|c| c.record_name() == found);
            let home = other.map_or(String::new(), |c| format!("; its topic is {}", c.topic));
            let sentence = format!("schema {id} is {found}, expected {}{home}", reader.record_name());
            return Err(Fault::new(Reason::WrongTopic, "", sentence));
        }
        let plan = compile(&schema, reader)?;
        let bare = bare(serde_json::to_value(&schema).unwrap_or_default()).to_string();
        let writer = Writer { id, topic, json: json.to_owned(), bare, plan };
        writer
            .decoder()
            .map_err(|e| incompatible(format!("schema {id} does not resolve: {}", shortened(&e))))?;
        Ok(writer)
    }

    /// The id this writer's messages carry.
    pub fn id(&self) -> WriterId {
        self.id
    }

    /// The text of the writer's schema.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Holds a body against the schema; see [`Plan::walk`].
    pub(crate) fn walk(&self, body: &[u8]) -> Result<(), Fault> {
        self.plan.walk(body)
    }

    /// A fresh decoder of whole framed messages into columns of the newest contract.
    pub(crate) fn decoder(&self) -> Result<Decoder, ArrowError> {
        let mut store;
        let fingerprint = match self.id {
            WriterId::SingleObject(fingerprint) => {
                store = SchemaStore::new_with_type(FingerprintAlgorithm::Rabin);
                Fingerprint::Rabin(fingerprint)
            }
            WriterId::Confluent(id) => {
                store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
                Fingerprint::Id(id)
            }
        };
        store.set(fingerprint, AvroSchema::new(self.bare.clone()))?;
        // Both as apache-avro writes them, names in full: the decoder takes `B` in `a` and `a.B` for two names.
        let reader = serde_json::to_string(&contract::latest(self.topic).schema)
            .map_err(|e| ArrowError::SchemaError(e.to_string()))?;
        ReaderBuilder::new()
            .with_reader_schema(AvroSchema::new(reader))
            .with_writer_schema_store(store)
            .with_active_fingerprint(fingerprint)
            .with_batch_size(BATCH_ROWS_MAX)
            .with_tz(Tz::Utc) // "+00:00", the default, is a time zone that ClickHouse cannot load
            .build_decoder()
    }
}

/// The writers that need no registry: every version of the topic's contract, by fingerprint.
pub fn local_writers(topic: Topic) -> impl Iterator<Item = Result<Writer, Fault>> {
    contract::versions(topic).map(move |c| Writer::new(topic, WriterId::SingleObject(c.fingerprint), &c.json))
}

/// A writer's schema less all that must not move the decoder, which would follow the writer's aliases and hold its
/// defaults, attributes and logical types against it: names, types and the two logical types that are read.
fn bare(mut schema: Json) -> Json {
    const KEPT: [&str; 9] =
        ["type", "name", "namespace", "fields", "symbols", "items", "values", "size", "logicalType"];
    match &mut schema {
        Json::Array(parts) => parts.iter_mut().for_each(|part| *part = bare(part.take())),
        Json::Object(object) => {
            let logical =
                (object.get("type").and_then(Json::as_str), object.get("logicalType").and_then(Json::as_str));
            let read =
                matches!(logical, (Some("string"), Some("uuid")) | (Some("long"), Some("timestamp-micros")));
            object.retain(|key, _| KEPT.contains(&key.as_str()) && (read || key != "logicalType"));
            for key in ["type", "fields", "items", "values"] {
                if let Some(part) = object.get_mut(key) {
                    *part = bare(part.take());
                }
            }
        }
        _ => {}
    }
    schema
}

fn compile(schema: &Schema, reader: &Contract) -> Result<Plan, Fault> {
    let (Schema::Record(writer), Schema::Record(contract)) = (schema, &reader.schema) else {
        return Err(Fault::new(Reason::SchemaIncompatible, "", "the schema is not a record"));
    };
    let reads =
        |to: &RecordField, from: &RecordField| to.name == from.name || to.aliases.contains(&from.name);
    for field in &contract.fields {
        if field.default.is_none() && !writer.fields.iter().any(|from| reads(field, from)) {
            let reason = if field.name == "policy_tag" {
                Reason::PolicyTagMissing
            } else {
                Reason::SchemaIncompatible
            };
            return Err(Fault::new(reason, &*field.name, "the writer's schema has no such field"));
        }
    }
    let mut names = Names::default();
    names.collect(schema);
    let mut fields = Vec::with_capacity(writer.fields.len());
    for from in &writer.fields {
        let node = match contract.fields.iter().find(|to| reads(to, from)) {
            Some(to) => names.matched(&from.schema, to),
            None => names.any(&from.schema),
        };
        fields.push((from.name.clone(), node.map_err(|fault| fault.within(&from.name))?));
    }
    Ok(Plan { fields: fields.into(), records: names.records })
}

/// The named types of a writer's schema: references point into them, also from within themselves.
#[derive(Default)]
struct Names<'s> {
    defined: HashMap<String, &'s Schema>,
    places: HashMap<String, usize>,
    records: Vec<Node>,
    /// For each of `records`, its types; none until it is compiled.
    sizes: Vec<usize>,
    skipped_types: usize,
}

impl<'s> Names<'s> {
    fn collect(&mut self, schema: &'s Schema) {
        if let Some(name) = schema.name() {
            if matches!(schema, Schema::Ref { .. }) {
                return;
            }
            self.defined.insert(name.fullname(None), schema);
        }
        match schema {
            Schema::Record(record) => record.fields.iter().for_each(|f| self.collect(&f.schema)),
            Schema::Array(array) => self.collect(&array.items),
            Schema::Map(map) => self.collect(&map.types),
            Schema::Union(union) => union.variants().iter().for_each(|v| self.collect(v)),
            _ => {}
        }
    }

    fn resolve(&self, schema: &'s Schema) -> Result<&'s Schema, Fault> {
        match schema {
            Schema::Ref { name } => match self.defined.get(&name.fullname(None)) {
                Some(defined) => Ok(defined),
                None => {
                    Err(incompatible(format!("refers to {}, which it does not define", name.fullname(None))))
                }
            },
            other => Ok(other),
        }
    }

    /// A field that the contract reads: its type must be the contract's, or an int for a long.
    fn matched(&mut self, from: &'s Schema, to: &RecordField) -> Result<Node, Fault> {
        let tag = to.name == "policy_tag";
        let (target, nullable) = match &to.schema {
            Schema::Union(union) => (union.variants().iter().find(|v| !matches!(v, Schema::Null)), true),
            other => (Some(other), false),
        };
        let Some(target) = target else { return Err(incompatible("the contract's union has one branch")) };
        let absent = if tag { Reason::PolicyTagMissing } else { Reason::MissingReference };
        let mut one = |from: &'s Schema| -> Result<Node, Fault> {
            let from = self.resolve(from)?;
            match from {
                Schema::Null if nullable => Ok(Node::Null),
                Schema::Null => Ok(Node::Refused(absent)),
                _ => same(from, target, if tag { Reason::PolicyTagUnknown } else { Reason::Body }),
            }
        };
        match from {
            Schema::Union(union) => {
                let branches: Result<Vec<Node>, Fault> = union.variants().iter().map(&mut one).collect();
                Ok(Node::Union(branches?.into()))
            }
            other => match one(other)? {
                Node::Refused(reason) if tag => {
                    Err(Fault::new(reason, "", "always null; the contract requires it"))
                }
                Node::Refused(_) => Err(incompatible("null where the contract requires a value")),
                node => Ok(node),
            },
        }
    }

    /// A field that the contract does not read: only its extent matters.
    fn any(&mut self, schema: &'s Schema) -> Result<Node, Fault> {
        self.count(1)?;
        Ok(match self.resolve(schema)? {
            Schema::Null => Node::Null,
            Schema::Boolean => Node::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Node::Int,
            Schema::Float => Node::Skip(4),
            Schema::Double => Node::Skip(8),
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => Node::Bytes,
            Schema::String | Schema::Uuid(UuidSchema::String) => Node::String,
            Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                Node::Skip(fixed.size)
            }
            Schema::Decimal(decimal) => match &decimal.inner {
                apache_avro::schema::InnerDecimalSchema::Bytes => Node::Bytes,
                apache_avro::schema::InnerDecimalSchema::Fixed(fixed) => Node::Skip(fixed.size),
            },
            Schema::Enum(e) => Node::Enum(vec![None; e.symbols.len()].into(), Reason::Body),
            Schema::Array(array) => Node::Array(Box::new(self.any(&array.items)?)),
            Schema::Map(map) => Node::Map(Box::new(self.any(&map.types)?)),
            Schema::Union(union) => {
                let branches: Result<Vec<Node>, Fault> =
                    union.variants().iter().map(|v| self.any(v)).collect();
                Node::Union(branches?.into())
            }
            Schema::Record(record) => self.record(record)?,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Node::Long,
            Schema::Ref { name } => return Err(incompatible(format!("refers to {}", name.fullname(None)))),
        })
    }

    fn record(&mut self, record: &'s RecordSchema) -> Result<Node, Fault> {
        let name = record.name.fullname(None);
        if let Some(place) = self.places.get(&name).copied() {
            match self.sizes.get(place) {
                None | Some(0) => {
                    return Err(incompatible(format!("{name} contains itself, which is not read")));
                }
                Some(size) => self.count(*size)?,
            }
            return Ok(Node::Named(place));
        }
        let place = self.records.len();
        let before = self.skipped_types;
        self.places.insert(name, place);
        self.records.push(Node::Null); // until its fields are compiled
        self.sizes.push(0);
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            fields.push((
                field.name.clone(),
                self.any(&field.schema).map_err(|fault| fault.within(&field.name))?,
            ));
        }
        if let (Some(slot), Some(size)) = (self.records.get_mut(place), self.sizes.get_mut(place)) {
            *slot = Node::Record(fields.into());
            *size = 1 + self.skipped_types - before;
        }
        Ok(Node::Named(place))
    }

    fn count(&mut self, types: usize) -> Result<(), Fault> {
        self.skipped_types += types;
        match self.skipped_types > SKIPPED_TYPES_MAX {
            true => Err(incompatible(format!("more than {SKIPPED_TYPES_MAX} types that are not read"))),
            false => Ok(()),
        }
    }
}

fn same(from: &Schema, to: &Schema, unknown_symbol: Reason) -> Result<Node, Fault> {
    Ok(match (from, to) {
        (Schema::Boolean, Schema::Boolean) => Node::Boolean,
        (Schema::Int, Schema::Int | Schema::Long) => Node::Int,
        (Schema::Long, Schema::Long) | (Schema::TimestampMicros, Schema::TimestampMicros) => Node::Long,
        (Schema::String, Schema::String) => Node::String,
        (Schema::Uuid(UuidSchema::String), Schema::Uuid(UuidSchema::String)) => Node::Uuid,
        (Schema::Enum(from), Schema::Enum(to)) if from.name != to.name => {
            let (from, to) = (from.name.fullname(None), to.name.fullname(None));
            return Err(incompatible(format!("enum {from} cannot be read as enum {to}")));
        }
        (Schema::Enum(from), Schema::Enum(to)) => {
            let fate = |symbol: &String| (!to.symbols.contains(symbol)).then(|| symbol.clone());
            Node::Enum(from.symbols.iter().map(fate).collect(), unknown_symbol)
        }
        _ => return Err(incompatible(format!("{} cannot be read as {}", kind(from), kind(to)))),
    })
}

fn shortened(error: &dyn std::error::Error) -> String {
    let mut said: String = error.to_string();
    if let Some((end, _)) = said.char_indices().nth(SAID_CHARS_MAX) {
        said.truncate(end);
        said.push('…');
    }
    said
}

fn kind(schema: &Schema) -> String {
    format!("{:?}", apache_avro::schema::SchemaKind::from(schema)).to_lowercase()
}

fn incompatible(sentence: impl Into<String>) -> Fault {
    Fault::new(Reason::SchemaIncompatible, "", sentence)
}
