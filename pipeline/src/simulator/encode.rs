//! Events to bytes, driven by the parsed contracts: Avro single-object encoding; the Confluent wire format for the
//! schemas of services that left the contracts behind.

use super::event::{Event, Field, Value};
use super::foreign::{Lapse, foreign_schemas};
use apache_avro::Schema;
use tally_schemas::{Contract, Topic, versions};

/// Which schema an event is written under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edition {
    Oldest,
    Latest,
    /// One that only a registry knows.
    Foreign(Lapse),
}

/// Writes events under the oldest and the latest contract of their topic, and under the foreign schemas.
#[derive(Debug)]
pub(super) struct Encoder {
    plans: Vec<[Plan; 4]>,
}

impl Encoder {
    /// Reads the committed contracts.
    ///
    /// # Panics
    /// Where a contract requires a field that the simulator does not know; a test holds that none does.
    pub(super) fn new() -> Encoder {
        let foreign = foreign_schemas();
        let plans = |topic| {
            let latest = tally_schemas::latest(topic);
            let [missing, unknown] = [Lapse::TagMissing, Lapse::TagUnknown].map(|lapse| {
                let found = foreign.iter().find(|schema| schema.topic == topic && schema.lapse == lapse);
                found.map_or_else(|| Plan::of(latest), |schema| Plan::foreign(schema.id, &schema.json))
            });
            [Plan::of(versions(topic).next().unwrap_or(latest)), Plan::of(latest), missing, unknown]
        };
        Encoder { plans: Topic::ALL.into_iter().map(plans).collect() }
    }

    /// From now on names the contracts as the Confluent wire format does, by these ids of a registry.
    pub(super) fn frame_confluent(&mut self, id: impl Fn(&Contract) -> u32) {
        for topic in Topic::ALL {
            let latest = tally_schemas::latest(topic);
            let oldest = versions(topic).next().unwrap_or(latest);
            for (plan, contract) in self.plans[topic as usize].iter_mut().zip([oldest, latest]) {
                plan.header = tally_schemas::frame_confluent(id(contract), &[]);
            }
        }
    }

    /// Bytes before the body: the marker, and the fingerprint or the id.
    pub(super) fn header_bytes(&self, topic: Topic, edition: Edition) -> usize {
        self.plan(topic, edition).header.len()
    }

    /// The framed bytes of `event`.
    pub(super) fn encode(&self, event: &Event, edition: Edition) -> Vec<u8> {
        let plan = self.plan(event.topic, edition);
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(&plan.header);
        for step in &plan.steps {
            step.write(event, &mut out);
        }
        out
    }

    fn plan(&self, topic: Topic, edition: Edition) -> &Plan {
        let [oldest, latest, tag_missing, tag_unknown] = &self.plans[topic as usize];
        match edition {
            Edition::Oldest => oldest,
            Edition::Latest => latest,
            Edition::Foreign(Lapse::TagMissing) => tag_missing,
            Edition::Foreign(Lapse::TagUnknown) => tag_unknown,
        }
    }
}

/// How to write under one schema: the header and the fields in order.
#[derive(Debug)]
struct Plan {
    header: Vec<u8>,
    steps: Vec<Step>,
}

impl Plan {
    fn of(contract: &Contract) -> Plan {
        let header = tally_schemas::frame_single_object(contract, &[]);
        Plan { header, steps: Plan::steps(&contract.schema) }
    }

    fn foreign(id: u32, json: &str) -> Plan {
        let schema = Schema::parse_str(json).unwrap_or_else(|error| panic!("{id}: {error}"));
        Plan { header: tally_schemas::frame_confluent(id, &[]), steps: Plan::steps(&schema) }
    }

    fn steps(schema: &Schema) -> Vec<Step> {
        let Schema::Record(record) = schema else { panic!("a schema of events is a record") };
        let step = |field: &apache_avro::schema::RecordField| {
            Step::of(&field.name, &field.schema, schema).unwrap_or_else(|| {
                panic!("the simulator cannot fill {} of {}", field.name, record.name.name())
            })
        };
        record.fields.iter().map(step).collect()
    }
}

/// How to write one field.
#[derive(Debug)]
struct Step {
    field: Option<Field>,
    /// The branches of (null, value) where the field is nullable.
    branches: Option<(i64, i64)>,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Text,
    Number,
    Bool,
    Symbol(Vec<String>),
}

impl Step {
    fn of(name: &str, schema: &Schema, contract: &Schema) -> Option<Step> {
        let field = Field::from_name(name);
        let (branches, inner) = match schema {
            Schema::Union(union) => match union.variants() {
                [Schema::Null, inner] => (Some((0, 1)), inner),
                [inner, Schema::Null] => (Some((1, 0)), inner),
                _ => return None,
            },
            plain => (None, plain),
        };
        let shape = Shape::of(inner, contract)?;
        (field.is_some() || branches.is_some()).then_some(Step { field, branches, shape })
    }

    fn write(&self, event: &Event, out: &mut Vec<u8>) {
        let value = self.field.map_or(&Value::Absent, |field| event.get(field));
        if let Some((null, some)) = self.branches {
            if matches!(value, Value::Absent) {
                return write_long(null, out);
            }
            write_long(some, out);
        }
        self.shape.write(value, out);
    }
}

impl Shape {
    fn of(schema: &Schema, contract: &Schema) -> Option<Shape> {
        match schema {
            Schema::String | Schema::Uuid(_) => Some(Shape::Text),
            Schema::Int | Schema::Long | Schema::TimestampMicros => Some(Shape::Number),
            Schema::Boolean => Some(Shape::Bool),
            Schema::Enum(e) => Some(Shape::Symbol(e.symbols.clone())),
            Schema::Ref { name } => named(name, contract).and_then(|found| Shape::of(found, contract)),
            _ => None,
        }
    }

    fn write(&self, value: &Value, out: &mut Vec<u8>) {
        match (self, value) {
            (Shape::Text, Value::Text(text)) => write_text(text.as_bytes(), out),
            (Shape::Text, Value::Word(text)) => write_text(text.as_bytes(), out),
            (Shape::Text, Value::Id(id)) => {
                write_text(id.hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()).as_bytes(), out);
            }
            (Shape::Text, Value::Hex(bytes)) => {
                let id = uuid::Uuid::from_bytes(*bytes);
                write_text(id.simple().encode_lower(&mut uuid::Uuid::encode_buffer()).as_bytes(), out);
            }
            (Shape::Text, Value::Absent) => write_text(b"", out),
            (Shape::Number, Value::Int(number)) => write_long(*number, out),
            (Shape::Bool, Value::Bool(truth)) => out.push(u8::from(*truth)),
            (Shape::Symbol(symbols), Value::Word(word)) => {
                let place = symbols.iter().position(|s| s == word);
                debug_assert!(place.is_some(), "{word} is not one of {symbols:?}");
                write_long(place.and_then(|p| i64::try_from(p).ok()).unwrap_or(0), out);
            }
            (shape, value) => {
                debug_assert!(false, "{value:?} is not {shape:?}");
                out.push(0);
            }
        }
    }
}

/// The definition of a named type elsewhere in the same record.
fn named<'a>(name: &apache_avro::schema::Name, contract: &'a Schema) -> Option<&'a Schema> {
    let Schema::Record(record) = contract else { return None };
    let inner = |schema: &'a Schema| match schema {
        Schema::Union(union) => union.variants().iter().collect(),
        plain => vec![plain],
    };
    let mut all = record.fields.iter().flat_map(|field| inner(&field.schema));
    all.find(|schema| matches!(schema, Schema::Enum(e) if e.name == *name))
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    write_long(i64::try_from(text.len()).unwrap_or(i64::MAX), out);
    out.extend_from_slice(text);
}

/// Avro's zigzag variable-length long.
fn write_long(number: i64, out: &mut Vec<u8>) {
    let mut zigzag = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        out.push(0x80 | zigzag.to_le_bytes()[0] & 0x7F);
        zigzag >>= 7;
    }
    out.push(zigzag.to_le_bytes()[0]);
}
