//! An event as a CloudEvents 1.0 JSON text, written straight from its row.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::collections::HashMap;
use std::sync::LazyLock;
use tally_schemas::{Kind, Topic, columns};
use uuid::Uuid;

/// Type names by topic and kind; there are as many as the contracts have kinds.
static TYPES: LazyLock<HashMap<(Topic, &'static str), String>> = LazyLock::new(|| {
    let mut types = HashMap::new();
    for topic in Topic::ALL {
        let of = topic.name().trim_end_matches("-events");
        let kind = columns(topic).iter().find(|column| column.name == "kind");
        let Some(Kind::Enum(symbols)) = kind.map(|column| &column.kind) else { continue };
        for symbol in symbols {
            types.insert((topic, symbol.as_str()), format!("{of}.{}.v1", symbol.to_lowercase()));
        }
    }
    types
});

/// CloudEvents type, such as `task.progressed.v1`.
pub(super) fn type_name(topic: Topic, kind: &'static str) -> &'static str {
    TYPES.get(&(topic, kind)).map_or("unknown", String::as_str)
}

/// Rows of a topic, and where the fields are that every event has.
pub(super) struct EventRows<'a> {
    topic: Topic,
    batch: &'a RecordBatch,
    /// Places of what stands beside the data: the event's id, source, time and key.
    head: [Option<usize>; 4],
    kind: Option<usize>,
}

impl<'a> EventRows<'a> {
    /// Rows in the topic's shape ([`tally_schemas::arrow_schema`]).
    pub(super) fn new(topic: Topic, batch: &'a RecordBatch) -> EventRows<'a> {
        let head = ["event_id", "source", "occurred_at", topic.key_field()].map(|name| place(topic, name));
        EventRows { topic, batch, head, kind: place(topic, "kind") }
    }

    /// The kind of a row's event, by the contract's symbol; empty where it has none.
    pub(super) fn kind(&self, row: usize) -> &'static str {
        let symbol = self.kind.and_then(|place| {
            let Kind::Enum(symbols) = &columns(self.topic).get(place)?.kind else { return None };
            symbol(symbols, self.batch.columns().get(place)?.as_primitive_opt::<Int8Type>()?.value(row))
        });
        symbol.unwrap_or_default()
    }

    /// A row's event, of that CloudEvents type ([`type_name`] of its kind).
    pub(super) fn text(&self, row: usize, type_name: &'static str) -> String {
        let [id, source, time, subject] = self.head.map(|place| self.field(place?, row));
        let event = CloudEvent {
            specversion: "1.0",
            id,
            source,
            type_name,
            time,
            subject,
            datacontenttype: "application/json",
            data: Data { rows: self, row },
        };
        serde_json::to_string(&event).unwrap_or_default() // nothing of it can fail
    }

    /// A field that the row has.
    fn field(&self, place: usize, row: usize) -> Option<Field<'a>> {
        let (column, array) = (columns(self.topic).get(place)?, self.batch.columns().get(place)?);
        if array.is_null(row) {
            return None;
        }
        let is_amount = column.name.ends_with("_micros") || column.name == "price_minor";
        Some(match &column.kind {
            Kind::Text => Field::Text(array.as_string::<i32>().value(row)),
            Kind::Long if is_amount => Field::Amount(array.as_primitive::<Int64Type>().value(row)),
            Kind::Long => Field::Number(array.as_primitive::<Int64Type>().value(row)),
            Kind::Int => Field::Number(array.as_primitive::<Int32Type>().value(row).into()),
            Kind::Boolean => Field::Boolean(array.as_boolean().value(row)),
            Kind::Timestamp => Field::Time(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            Kind::Uuid => Field::Id(Uuid::from_slice(array.as_fixed_size_binary().value(row)).ok()?),
            Kind::Enum(symbols) => Field::Text(symbol(symbols, array.as_primitive::<Int8Type>().value(row))?),
        })
    }
}

/// Where a field is in a topic's rows.
pub(super) fn place(topic: Topic, name: &str) -> Option<usize> {
    columns(topic).iter().position(|column| column.name == name)
}

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: Option<Field<'a>>,
    source: Option<Field<'a>>,
    #[serde(rename = "type")]
    type_name: &'static str,
    time: Option<Field<'a>>,
    subject: Option<Field<'a>>,
    datacontenttype: &'static str,
    data: Data<'a>,
}

/// The fields that a row has, by the contract's names.
struct Data<'a> {
    rows: &'a EventRows<'a>,
    row: usize,
}

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut data = serializer.serialize_map(None)?;
        for (place, column) in columns(self.rows.topic).iter().enumerate() {
            if let Some(field) = self.rows.field(place, self.row) {
                data.serialize_entry(&column.name, &field)?;
            }
        }
        data.end()
    }
}

/// A field as JSON: amounts as decimal text, since a JSON number is a float to many; times as RFC 3339.
enum Field<'a> {
    Text(&'a str),
    Amount(i64),
    Number(i64),
    Boolean(bool),
    Time(i64),
    Id(Uuid),
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Field::Text(text) => serializer.serialize_str(text),
            Field::Amount(amount) => serializer.collect_str(amount),
            Field::Number(number) => serializer.serialize_i64(*number),
            Field::Boolean(is_so) => serializer.serialize_bool(*is_so),
            Field::Time(micros) => serializer.serialize_str(&rfc3339(*micros)),
            Field::Id(id) => serializer.collect_str(id),
        }
    }
}

/// A time in UTC, `2026-03-01T12:00:00.000001Z`.
pub(super) fn rfc3339(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

/// The symbol of a number; 0 is for absent.
fn symbol(symbols: &[String], code: i8) -> Option<&str> {
    Some(symbols.get(usize::try_from(code).ok()?.checked_sub(1)?)?.as_str())
}
