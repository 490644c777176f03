//! JSON events to Avro, for those who publish: exact about what a field must look like, and canonical in what it
//! writes. The route never comes here; it reads columns.

use crate::contract::{Contract, versions};
use apache_avro::Schema;
use apache_avro::schema::{Name, ResolvedSchema, UnionSchema, UuidSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use chrono::DateTime;
use serde_json::{Map, Value as Json};
use std::collections::HashMap;
use thiserror::Error;

/// Longest name quoted in an error, and longest text for which a nearest name is looked for, in characters.
const QUOTED_CHARS_MAX: usize = 64;
/// Jaro–Winkler similarity from which a name counts as a slip of the pen.
const SIMILARITY_MIN: f64 = 0.8;
/// Largest enum whose symbols are all listed beside the nearest one.
const LISTED_SYMBOLS_MAX: usize = 24;

/// One field of an event that cannot be encoded. Never holds a value of the event.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{problem}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct FieldError {
    /// The field, such as `policy_tag`; empty where the event itself is to blame.
    pub path: String,
    /// What was found, what was expected, and where it helps the nearest right name.
    pub problem: String,
}

impl FieldError {
    fn new(path: &str, problem: impl Into<String>) -> FieldError {
        let mut quoted: String = path.chars().take(QUOTED_CHARS_MAX).collect();
        if quoted.len() < path.len() {
            quoted.push('…');
        }
        FieldError { path: quoted, problem: problem.into() }
    }
}

/// Encodes events under one version of one contract. The plan of its fields is made once, so keep it.
///
/// ```
/// let encoder = tally_schemas::Encoder::new(tally_schemas::latest(tally_schemas::Topic::Task)).unwrap();
/// let refused = encoder.encode(&serde_json::json!({"taskid": "t-1"})).unwrap_err();
/// assert_eq!(refused.to_string(), "taskid: no such field in task-events version 2; did you mean task_id?");
/// ```
pub struct Encoder<'c> {
    contract: &'c Contract,
    fields: Vec<Field<'c>>,
}

struct Field<'c> {
    name: &'c str,
    shape: Shape<'c>,
    writer: GenericDatumWriter<'c>,
    /// The bytes of the Avro default; `None` where the event must carry the field.
    default: Option<Vec<u8>>,
}

/// What a JSON value must look like, and which Avro value it becomes.
enum Shape<'c> {
    Boolean,
    Int,
    Long,
    Text,
    Uuid,
    Micros,
    Symbol(&'c [String]),
    Nullable { null_at: u32, value_at: u32, inner: Box<Shape<'c>> },
}

impl<'c> Encoder<'c> {
    /// Plans the fields of a contract. Fails where the contract uses a type that events cannot be written in
    /// (contracts are flat records of numbers, texts, UUIDs, times and enums).
    pub fn new(contract: &'c Contract) -> Result<Encoder<'c>, FieldError> {
        let Schema::Record(record) = &contract.schema else {
            return Err(FieldError::new("", "a contract is a record"));
        };
        let resolved =
            ResolvedSchema::new(&contract.schema).map_err(|e| FieldError::new("", e.to_string()))?;
        let plan = |field: &'c apache_avro::schema::RecordField| {
            let wrong = |problem| FieldError::new(&field.name, problem);
            let shape = Shape::of(&field.schema, resolved.get_names()).map_err(wrong)?;
            let writer = GenericDatumWriter::builder(&field.schema)
                .schemata(vec![&contract.schema])
                .and_then(|builder| builder.validate(false).build())
                .map_err(|e| wrong(e.to_string()))?;
            let write = |json| {
                let value = shape.value(json).map_err(wrong)?;
                writer.write_value_to_vec(value).map_err(|e| wrong(e.to_string()))
            };
            let default = field.default.as_ref().map(write).transpose()?;
            Ok(Field { name: &field.name, shape, writer, default })
        };
        let fields = record.fields.iter().map(plan).collect::<Result<_, _>>()?;
        Ok(Encoder { contract, fields })
    }

    /// The contract it writes.
    pub fn contract(&self) -> &'c Contract {
        self.contract
    }

    /// Encodes one event, an object whose keys are the contract's fields, into an Avro body without a frame.
    ///
    /// A field that is absent takes its Avro default. Integers may be numbers or decimal strings (JSON numbers
    /// lose precision in some languages); times may be integer microseconds since 1970 UTC or RFC 3339 text of at
    /// most six decimals; a UUID in any common form is written in the usual one.
    pub fn encode(&self, event: &Json) -> Result<Vec<u8>, FieldError> {
        let Json::Object(given) = event else {
            return Err(FieldError::new("", format!("expected a JSON object, got {}", kind(event))));
        };
        let mut body = Vec::with_capacity(256);
        let mut taken = 0;
        for field in &self.fields {
            match (given.get(field.name), &field.default) {
                (Some(json), _) => {
                    field.write(json, &mut body)?;
                    taken += 1;
                }
                (None, Some(default)) => body.extend_from_slice(default),
                (None, None) => return Err(self.unknown(given).unwrap_or_else(|| field.missing())),
            }
        }
        if taken < given.len()
            && let Some(unknown) = self.unknown(given)
        {
            return Err(unknown);
        }
        Ok(body)
    }

    /// The time in one field of an event that [`encode`](Encoder::encode) takes, microseconds since 1970 UTC.
    ///
    /// # Errors
    /// The contract has no such time, the event does not have it, or it is none.
    pub fn micros(&self, event: &Json, name: &str) -> Result<i64, FieldError> {
        let found =
            self.fields.iter().find(|field| field.name == name && matches!(field.shape, Shape::Micros));
        let Some(field) = found else { return Err(FieldError::new(name, "the contract has no such time")) };
        let Some(json) = event.get(name) else { return Err(field.missing()) };
        match field.shape.value(json) {
            Ok(Value::TimestampMicros(micros)) => Ok(micros),
            Ok(_) => Err(FieldError::new(name, "not a time")),
            Err(problem) => Err(FieldError::new(name, problem)),
        }
    }

    /// The first key that the contract does not have.
    fn unknown(&self, given: &Map<String, Json>) -> Option<FieldError> {
        let key = given.keys().find(|key| !self.fields.iter().any(|field| field.name == *key))?;
        let Contract { topic, version, .. } = self.contract;
        let elsewhere = versions(*topic).find(|other| match &other.schema {
            Schema::Record(record) => record.lookup.contains_key(key),
            _ => false,
        });
        let hint = match (elsewhere, nearest(key, self.fields.iter().map(|field| field.name))) {
            (Some(other), _) => format!("; version {} has it", other.version),
            (None, Some(name)) => format!("; did you mean {name}?"),
            (None, None) => String::new(),
        };
        Some(FieldError::new(key, format!("no such field in {topic} version {version}{hint}")))
    }
}

impl Field<'_> {
    fn write(&self, json: &Json, body: &mut Vec<u8>) -> Result<(), FieldError> {
        let value = self.shape.value(json).map_err(|problem| FieldError::new(self.name, problem))?;
        match self.writer.write_value_ref(body, &value) {
            Ok(_) => Ok(()),
            Err(e) => Err(FieldError::new(self.name, e.to_string())),
        }
    }

    fn missing(&self) -> FieldError {
        FieldError::new(self.name, format!("missing; expected {}", self.shape.expectation()))
    }
}

impl<'c> Shape<'c> {
    fn of(schema: &'c Schema, names: &HashMap<Name, &'c Schema>) -> Result<Shape<'c>, String> {
        Ok(match schema {
            Schema::Boolean => Shape::Boolean,
            Schema::Int => Shape::Int,
            Schema::Long => Shape::Long,
            Schema::String => Shape::Text,
            Schema::Uuid(UuidSchema::String) => Shape::Uuid,
            Schema::TimestampMicros => Shape::Micros,
            Schema::Enum(symbols) => Shape::Symbol(&symbols.symbols),
            Schema::Ref { name } => match names.get(name) {
                Some(Schema::Record(_)) | None => return Err(format!("events cannot be written in {name}")),
                Some(schema) => Shape::of(schema, names)?,
            },
            Schema::Union(union) => Shape::nullable(union, names)?,
            other => return Err(format!("events cannot be written in Avro's {other}")),
        })
    }

    fn nullable(union: &'c UnionSchema, names: &HashMap<Name, &'c Schema>) -> Result<Shape<'c>, String> {
        let (null_at, value_at, inner) = match union.variants() {
            [Schema::Null, inner] => (0, 1, inner),
            [inner, Schema::Null] => (1, 0, inner),
            _ => return Err("a union of other than null and one type".to_owned()),
        };
        Ok(Shape::Nullable { null_at, value_at, inner: Box::new(Shape::of(inner, names)?) })
    }

    fn value(&self, json: &Json) -> Result<Value, String> {
        let value = match (self, json) {
            (Shape::Nullable { null_at, .. }, Json::Null) => Value::Union(*null_at, Box::new(Value::Null)),
            (Shape::Nullable { value_at, inner, .. }, _) => {
                Value::Union(*value_at, Box::new(inner.value(json)?))
            }
            (Shape::Boolean, Json::Bool(flag)) => Value::Boolean(*flag),
            (Shape::Text, Json::String(text)) => Value::String(text.clone()),
            (Shape::Uuid, Json::String(text)) => match uuid::Uuid::try_parse(text) {
                Ok(uuid) => Value::Uuid(uuid),
                Err(_) => return Err(format!("not a UUID; expected {}", self.expectation())),
            },
            (Shape::Symbol(symbols), Json::String(text)) => return symbol(symbols, text),
            (Shape::Int, Json::Number(_) | Json::String(_)) => match i32::try_from(self.whole(json)?) {
                Ok(int) => Value::Int(int),
                Err(_) => return Err(format!("out of range; expected {}", self.expectation())),
            },
            (Shape::Long, Json::Number(_) | Json::String(_)) => Value::Long(self.whole(json)?),
            (Shape::Micros, Json::String(text)) if text.contains(':') => {
                Value::TimestampMicros(micros(text)?)
            }
            (Shape::Micros, Json::Number(_) | Json::String(_)) => Value::TimestampMicros(self.whole(json)?),
            _ => return Err(format!("expected {}, got {}", self.expectation(), kind(json))),
        };
        Ok(value)
    }

    /// A whole number of 64 bits, from a JSON number or a decimal string.
    fn whole(&self, json: &Json) -> Result<i64, String> {
        let expected = |found| format!("{found}; expected {}", self.expectation());
        match json {
            Json::Number(number) => number.as_i64().ok_or_else(|| {
                expected(if number.is_u64() { "out of range" } else { "got a fractional or huge number" })
            }),
            Json::String(text) => {
                let digits = text.strip_prefix('-').unwrap_or(text);
                let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let whole = if decimal { text.parse().ok() } else { None };
                whole.ok_or_else(|| {
                    expected(if decimal { "out of range" } else { "got text that is no whole number" })
                })
            }
            other => Err(expected(kind(other))),
        }
    }

    fn expectation(&self) -> String {
        match self {
            Shape::Boolean => "true or false".to_owned(),
            Shape::Int => "a whole number from -2147483648 to 2147483647".to_owned(),
            Shape::Long => "a whole number of 64 bits".to_owned(),
            Shape::Text => "text".to_owned(),
            Shape::Uuid => "a UUID such as 0199a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b".to_owned(),
            Shape::Micros => {
                "microseconds since 1970 UTC or RFC 3339 text such as 2026-03-01T09:30:00.125Z".to_owned()
            }
            Shape::Symbol(symbols) => format!("one of {}", listed(symbols)),
            Shape::Nullable { inner, .. } => format!("{} or null", inner.expectation()),
        }
    }
}

/// Puts a body into Avro single-object encoding: `C3 01`, the contract's fingerprint little-endian, the body.
pub fn frame_single_object(contract: &Contract, body: &[u8]) -> Vec<u8> {
    [&[0xC3, 0x01][..], &contract.fingerprint.to_le_bytes(), body].concat()
}

/// Puts a body into the Confluent wire format: `00`, the registry's id of the schema big-endian, the body.
pub fn frame_confluent(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0x00][..], &id.to_be_bytes(), body].concat()
}

fn symbol(symbols: &[String], text: &str) -> Result<Value, String> {
    for (index, symbol) in (0_u32..).zip(symbols) {
        if symbol == text {
            return Ok(Value::Enum(index, symbol.clone()));
        }
    }
    let hint = match nearest(text, symbols.iter().map(String::as_str)) {
        Some(symbol) => format!("did you mean {symbol}? "),
        None => String::new(),
    };
    Err(format!("unknown symbol; {hint}expected one of {}", listed(symbols)))
}

fn listed(symbols: &[String]) -> String {
    let shown = symbols.iter().take(LISTED_SYMBOLS_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match symbols.len().checked_sub(LISTED_SYMBOLS_MAX) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if given.chars().nth(QUOTED_CHARS_MAX).is_some() {
        return None;
    }
    let plain = |name: &str| name.to_lowercase().replace(['-', ' '], "_");
    let given = plain(given);
    let scored = names.map(|name| (strsim::jaro_winkler(&given, &plain(name)), name));
    scored
        .filter(|(score, _)| *score >= SIMILARITY_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Microseconds of an RFC 3339 instant; digits that would be lost are refused, and so is a leap second, which has
/// no number of its own.
fn micros(text: &str) -> Result<i64, String> {
    let time = DateTime::parse_from_rfc3339(text)
        .map_err(|_| format!("not a time; expected {}", Shape::Micros.expectation()))?;
    let nanos = time.timestamp_subsec_nanos();
    if nanos >= 1_000_000_000 {
        return Err("a leap second has no number of its own; send the second after it".to_owned());
    }
    if nanos % 1_000 != 0 || finer_than_nanos(text) {
        return Err("finer than microseconds; send at most six decimals".to_owned());
    }
    Ok(time.timestamp_micros())
}

/// Whether a digit beyond the ninth decimal, which the calendar crate drops, is not zero.
fn finer_than_nanos(text: &str) -> bool {
    let decimals = text.split_once('.').map_or("", |(_, decimals)| decimals);
    decimals.bytes().take_while(u8::is_ascii_digit).skip(9).any(|digit| digit != b'0')
}

fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(number) if number.is_f64() => "a fractional or huge number",
        Json::Number(_) => "a whole number",
        Json::String(_) => "text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests;
