//! What an Avro body says, for people: as many fields as can be read, and where the reading stopped.
//!
//! Reads dead letters, so it trusts nothing: no length is believed beyond the bytes that are there, and nesting and
//! the number of values have bounds.

#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use apache_avro::Schema;
use apache_avro::schema::{InnerDecimalSchema, NamesRef, RecordSchema, ResolvedSchema, UuidSchema};
use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::{Map, Value as Json};

/// Types within types; a recursive schema ends here instead of on the stack.
const DEPTH_MAX: u32 = 32;
/// Values in one body: a block of nothings could claim 2^62 of them in two bytes.
const VALUES_MAX: u32 = 100_000;

/// What could be read of a body.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Explained {
    /// The fields in the order of the writer's schema. Times are RFC 3339 text, enums their symbols, bytes hex; what
    /// stands here for a whole event is what [`crate::Encoder`] takes.
    pub fields: Vec<(String, Json)>,
    /// Where the reading stopped; `None` if every field was read.
    pub stopped_at: Option<Stopped>,
    /// Bytes after the last field, or from where the reading stopped.
    pub trailing_bytes: usize,
}

/// Where and why a body could not be read on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// The field, such as `amount_micros`; nested ones with dots.
    pub path: String,
    /// Bytes of the body before the value that could not be read.
    pub byte_offset: usize,
    /// What was found there.
    pub problem: String,
}

/// Reads a body (no frame) under the schema that wrote it, field by field, for as long as it makes sense.
pub fn explain(schema: &Schema, body: &[u8]) -> Explained {
    let unreadable = |problem: String| Explained {
        stopped_at: Some(Stopped { path: String::new(), byte_offset: 0, problem }),
        trailing_bytes: body.len(),
        ..Explained::default()
    };
    let Schema::Record(record) = schema else {
        return unreadable("the writer's schema is not a record".to_owned());
    };
    let resolved = match ResolvedSchema::new(schema) {
        Ok(resolved) => resolved,
        Err(e) => return unreadable(format!("the writer's schema: {e}")),
    };
    let names = resolved.get_names();
    let mut reader = Reader { rest: body, at: 0, names, depth: 0, values: 0 };
    let mut explained = Explained::default();
    for field in &record.fields {
        let before = reader;
        match reader.value(&field.schema) {
            Ok(value) => explained.fields.push((field.name.clone(), value)),
            Err(stop) => {
                explained.stopped_at = Some(Stopped {
                    path: stop.within(&field.name).path,
                    byte_offset: stop.at,
                    problem: stop.problem,
                });
                reader = before;
                break;
            }
        }
    }
    explained.trailing_bytes = reader.rest.len();
    explained
}

#[derive(Clone)]
struct Stop {
    path: String,
    at: usize,
    problem: String,
}

impl Stop {
    fn within(&self, field: &str) -> Stop {
        let path = if self.path.is_empty() { field.to_owned() } else { format!("{field}.{}", self.path) };
        Stop { path, ..self.clone() }
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
    names: &'a NamesRef<'a>,
    depth: u32,
    values: u32,
}

impl<'a> Reader<'a> {
    fn value(&mut self, schema: &Schema) -> Result<Json, Stop> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(self.stop(format!("more than {VALUES_MAX} values")));
        }
        Ok(match schema {
            Schema::Null => Json::Null,
            Schema::Boolean => match self.take(1)? {
                [0] => Json::Bool(false),
                [1] => Json::Bool(true),
                _ => return Err(self.stop_before(1, "a byte that is neither true nor false")),
            },
            Schema::Int | Schema::Date | Schema::TimeMillis => self.int()?.into(),
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => self.long()?.into(),
            Schema::TimestampMicros => time(self.long()?, DateTime::from_timestamp_micros),
            Schema::TimestampMillis => time(self.long()?, DateTime::from_timestamp_millis),
            Schema::Float => number(f64::from(f32::from_le_bytes(self.array()?))),
            Schema::Double => number(f64::from_le_bytes(self.array()?)),
            Schema::String | Schema::Uuid(UuidSchema::String) => Json::String(self.text()?.to_owned()),
            Schema::Bytes | Schema::BigDecimal | Schema::Uuid(UuidSchema::Bytes) => hex(self.bytes()?),
            Schema::Decimal(decimal) => match &decimal.inner {
                InnerDecimalSchema::Bytes => hex(self.bytes()?),
                InnerDecimalSchema::Fixed(fixed) => hex(self.take(fixed.size)?),
            },
            Schema::Fixed(fixed) | Schema::Duration(fixed) | Schema::Uuid(UuidSchema::Fixed(fixed)) => {
                hex(self.take(fixed.size)?)
            }
            Schema::Enum(symbols) => {
                let index = self.index(symbols.symbols.len(), "enum")?;
                symbols.symbols.get(index).map_or(Json::Null, |symbol| Json::String(symbol.clone()))
            }
            Schema::Union(union) => {
                let index = self.index(union.variants().len(), "union")?;
                match union.variants().get(index) {
                    Some(branch) => self.nested(|reader| reader.value(branch))?,
                    None => Json::Null,
                }
            }
            Schema::Array(array) => {
                let mut items = Vec::new();
                self.blocks(|reader| {
                    items.push(reader.value(&array.items)?);
                    Ok(())
                })?;
                Json::Array(items)
            }
            Schema::Map(map) => {
                let mut entries = Map::new();
                self.blocks(|reader| {
                    let key = reader.text()?.to_owned();
                    let value = reader.value(&map.types).map_err(|stop| stop.within(&key))?;
                    entries.insert(key, value);
                    Ok(())
                })?;
                Json::Object(entries)
            }
            Schema::Record(record) => self.nested(|reader| reader.record(record))?,
            Schema::Ref { name } => match self.names.get(name).copied() {
                Some(named) => self.nested(|reader| reader.value(named))?,
                None => return Err(self.stop("a type that the schema does not define")),
            },
        })
    }

    fn record(&mut self, record: &RecordSchema) -> Result<Json, Stop> {
        let mut object = Map::new();
        for field in &record.fields {
            let value = self.value(&field.schema).map_err(|stop| stop.within(&field.name))?;
            object.insert(field.name.clone(), value);
        }
        Ok(Json::Object(object))
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Stop>) -> Result<T, Stop> {
        if self.depth == DEPTH_MAX {
            return Err(self.stop(format!("types nested more than {DEPTH_MAX} deep")));
        }
        self.depth += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    /// The blocks of an array or a map, up to the empty one.
    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        self.nested(|reader| {
            loop {
                let count = reader.long()?;
                if count == 0 {
                    return Ok(());
                }
                if count < 0 {
                    reader.long()?;
                }
                for _ in 0..count.unsigned_abs() {
                    item(reader)?;
                }
            }
        })
    }

    fn index(&mut self, count: usize, what: &str) -> Result<usize, Stop> {
        let before = *self;
        let index = self.long()?;
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(before.stop(format!("{what} index {index}; the schema has {count}"))),
        }
    }

    fn text(&mut self) -> Result<&'a str, Stop> {
        let before = *self;
        std::str::from_utf8(self.bytes()?).map_err(|_| before.stop("text that is not UTF-8"))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Stop> {
        let before = *self;
        let claimed = self.long()?;
        match usize::try_from(claimed) {
            Ok(length) if length <= self.rest.len() => self.take(length),
            Ok(length) => Err(before.stop(format!("{length} bytes claimed, {} left", self.rest.len()))),
            Err(_) => Err(before.stop(format!("a length of {claimed}"))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Stop> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                self.at += length;
                Ok(taken)
            }
            None if self.rest.is_empty() => Err(self.stop("the event ends here")),
            None => Err(self.stop(format!("{length} bytes expected, {} left", self.rest.len()))),
        }
    }

    fn int(&mut self) -> Result<i32, Stop> {
        let before = *self;
        i32::try_from(self.long()?).map_err(|_| before.stop("an int beyond 32 bits"))
    }

    /// A zigzag variable-length integer of at most 64 bits.
    fn long(&mut self) -> Result<i64, Stop> {
        let before = *self;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(before.stop("an integer beyond 64 bits"))
    }

    fn stop(&self, problem: impl Into<String>) -> Stop {
        Stop { path: String::new(), at: self.at, problem: problem.into() }
    }

    fn stop_before(&self, bytes: usize, problem: &str) -> Stop {
        Stop { at: self.at - bytes, ..self.stop(problem) }
    }
}

fn time(units: i64, instant: impl Fn(i64) -> Option<DateTime<chrono::Utc>>) -> Json {
    match instant(units).filter(|time| (0..=9999).contains(&chrono::Datelike::year(time))) {
        Some(time) => Json::String(time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        None => units.into(),
    }
}

fn number(number: f64) -> Json {
    serde_json::Number::from_f64(number).map_or_else(|| Json::String(number.to_string()), Json::Number)
}

fn hex(bytes: &[u8]) -> Json {
    Json::String(hex::encode(bytes))
}

#[cfg(test)]
#[expect(clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]
mod tests;
