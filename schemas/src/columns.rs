//! The shape of a topic's rows: the newest contract's fields as plain, typed Arrow columns.
//!
//! Enums become numbers: a symbol's place in the contract counted from 1, and 0 for absent, which is also its
//! number in ClickHouse's `Enum8`. So no dictionary travels, and symbols compare as bytes.

use crate::contract::{self, Topic};
use apache_avro::Schema;
use arrow_array::builder::{
    BooleanBuilder, FixedSizeBinaryBuilder, Int8Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array, ArrayRef, Int8Array, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, SchemaRef, TimeUnit};
use std::sync::{Arc, LazyLock};

/// The type of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// 64-bit integer.
    Long,
    /// 32-bit integer.
    Int,
    /// True or false.
    Boolean,
    /// Microseconds since 1970-01-01 UTC.
    Timestamp,
    /// Sixteen bytes.
    Uuid,
    /// One of these symbols; stored as its place counted from 1, 0 for absent.
    Enum(Vec<String>),
}

/// One field of a topic's newest contract.
#[derive(Clone, Debug)]
pub struct Column {
    /// The field's name, which is the column's name in ClickHouse too.
    pub name: String,
    /// The field's number in content digests: never reused.
    pub field_id: u8,
    /// Its type.
    pub kind: Kind,
    /// Whether it may be absent.
    pub nullable: bool,
    /// For an enum with a default, that symbol's number: it says no more than an absent field does.
    pub default_code: i8,
    /// The contract's words.
    pub doc: String,
}

static COLUMNS: LazyLock<[Vec<Column>; 4]> = LazyLock::new(|| Topic::ALL.map(columns_of));
static SCHEMAS: LazyLock<[SchemaRef; 4]> = LazyLock::new(|| Topic::ALL.map(schema_of));

/// The columns of a topic's rows, in the order of its newest contract.
pub fn columns(topic: Topic) -> &'static [Column] {
    match topic {
        Topic::Credit => &COLUMNS[0],
        Topic::License => &COLUMNS[1],
        Topic::Task => &COLUMNS[2],
        Topic::Moderation => &COLUMNS[3],
    }
}

/// The Arrow schema of a topic's rows.
pub fn arrow_schema(topic: Topic) -> &'static SchemaRef {
    match topic {
        Topic::Credit => &SCHEMAS[0],
        Topic::License => &SCHEMAS[1],
        Topic::Task => &SCHEMAS[2],
        Topic::Moderation => &SCHEMAS[3],
    }
}

fn columns_of(topic: Topic) -> Vec<Column> {
    let Schema::Record(record) = &contract::latest(topic).schema else { return Vec::new() };
    let column = |field: &apache_avro::schema::RecordField| {
        let (schema, nullable) = match &field.schema {
            Schema::Union(union) => (union.variants().iter().find(|v| !matches!(v, Schema::Null)), true),
            other => (Some(other), false),
        };
        let kind = schema.and_then(kind_of);
        let id = field.custom_attributes.get("field_id").and_then(serde_json::Value::as_u64);
        let default = field.default.as_ref().and_then(|d| d.as_str());
        let place = match &kind {
            Some(Kind::Enum(symbols)) => symbols.iter().position(|s| Some(s.as_str()) == default),
            _ => None,
        };
        Column {
            name: field.name.clone(),
            field_id: id
                .and_then(|id| u8::try_from(id).ok())
                .unwrap_or_else(|| panic!("{}: field_id", field.name)),
            kind: kind.unwrap_or_else(|| panic!("{topic}: {} has a type that rows do not have", field.name)),
            nullable,
            default_code: place.map_or(0, code),
            doc: field.doc.clone().unwrap_or_default(),
        }
    };
    record.fields.iter().map(column).collect()
}

fn kind_of(schema: &Schema) -> Option<Kind> {
    Some(match schema {
        Schema::String => Kind::Text,
        Schema::Long => Kind::Long,
        Schema::Int => Kind::Int,
        Schema::Boolean => Kind::Boolean,
        Schema::TimestampMicros => Kind::Timestamp,
        Schema::Uuid(_) => Kind::Uuid,
        Schema::Enum(symbols) => Kind::Enum(symbols.symbols.clone()),
        _ => return None,
    })
}

fn code(place: usize) -> i8 {
    i8::try_from(place + 1).unwrap_or_else(|_| panic!("an Enum8 has at most 127 symbols"))
}

fn schema_of(topic: Topic) -> SchemaRef {
    let field = |column: &Column| {
        let (data_type, nullable) = match column.kind {
            Kind::Text => (DataType::Utf8, column.nullable),
            Kind::Long => (DataType::Int64, column.nullable),
            Kind::Int => (DataType::Int32, column.nullable),
            Kind::Boolean => (DataType::Boolean, column.nullable),
            Kind::Timestamp => {
                (DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), column.nullable)
            }
            Kind::Uuid => (DataType::FixedSizeBinary(16), column.nullable),
            Kind::Enum(_) => (DataType::Int8, false),
        };
        Field::new(&column.name, data_type, nullable)
    };
    Arc::new(arrow_schema::Schema::new(columns(topic).iter().map(field).collect::<Vec<_>>()))
}

/// Rows of one topic that grow batch by batch, so that of many batches only one is held beside what was made of them.
#[derive(Debug)]
pub struct Rows {
    topic: Topic,
    columns: Vec<Growing>,
}

#[derive(Debug)]
enum Growing {
    Text(StringBuilder),
    Long(Int64Builder),
    Int(Int32Builder),
    Boolean(BooleanBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Uuid(FixedSizeBinaryBuilder),
    Enum(Int8Builder),
}

impl Rows {
    /// None yet, with room for so many.
    pub fn with_capacity(topic: Topic, rows: usize) -> Rows {
        let columns =
            columns(topic).iter().map(|column| Growing::with_capacity(&column.kind, rows)).collect();
        Rows { topic, columns }
    }

    /// Appends a batch in the topic's shape.
    ///
    /// # Errors
    /// Where it has another shape, or a column of texts would have 2 GiB.
    pub fn append(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        if batch.schema_ref() != arrow_schema(self.topic) {
            return Err(ArrowError::SchemaError(format!("a batch that is none of {}", self.topic)));
        }
        self.columns.iter_mut().zip(batch.columns()).try_for_each(|(column, array)| column.append(array))
    }

    /// All rows, in the order in which they were appended.
    ///
    /// # Errors
    /// Where a value is absent that must not be.
    pub fn finish(self) -> Result<RecordBatch, ArrowError> {
        let arrays = self.columns.into_iter().map(Growing::finish).collect();
        RecordBatch::try_new(arrow_schema(self.topic).clone(), arrays)
    }
}

impl Growing {
    fn with_capacity(kind: &Kind, rows: usize) -> Growing {
        match kind {
            Kind::Text => Growing::Text(StringBuilder::with_capacity(rows, 0)),
            Kind::Long => Growing::Long(Int64Builder::with_capacity(rows)),
            Kind::Int => Growing::Int(Int32Builder::with_capacity(rows)),
            Kind::Boolean => Growing::Boolean(BooleanBuilder::with_capacity(rows)),
            Kind::Timestamp => {
                Growing::Timestamp(TimestampMicrosecondBuilder::with_capacity(rows).with_timezone("UTC"))
            }
            Kind::Uuid => Growing::Uuid(FixedSizeBinaryBuilder::with_capacity(rows, 16)),
            Kind::Enum(_) => Growing::Enum(Int8Builder::with_capacity(rows)),
        }
    }

    fn append(&mut self, array: &ArrayRef) -> Result<(), ArrowError> {
        match self {
            Growing::Text(column) => column.append_array(array.as_string())?,
            Growing::Long(column) => column.append_array(array.as_primitive()),
            Growing::Int(column) => column.append_array(array.as_primitive()),
            Growing::Boolean(column) => column.append_array(array.as_boolean()),
            Growing::Timestamp(column) => column.append_array(array.as_primitive()),
            Growing::Uuid(column) => column.append_array(array.as_fixed_size_binary())?,
            Growing::Enum(column) => column.append_array(array.as_primitive()),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Growing::Text(mut column) => Arc::new(column.finish()),
            Growing::Long(mut column) => Arc::new(column.finish()),
            Growing::Int(mut column) => Arc::new(column.finish()),
            Growing::Boolean(mut column) => Arc::new(column.finish()),
            Growing::Timestamp(mut column) => Arc::new(column.finish()),
            Growing::Uuid(mut column) => Arc::new(column.finish()),
            Growing::Enum(mut column) => Arc::new(column.finish()),
        }
    }
}

/// Gives a decoded batch the topic's shape.
pub(crate) fn shape(topic: Topic, decoded: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(columns(topic).len());
    for column in columns(topic) {
        let array = decoded
            .column_by_name(&column.name)
            .ok_or_else(|| ArrowError::SchemaError(format!("the decoder made no column {}", column.name)))?;
        arrays.push(match &column.kind {
            Kind::Enum(_) => Arc::new(codes(array)?),
            _ => array.clone(),
        });
    }
    RecordBatch::try_new(arrow_schema(topic).clone(), arrays)
}

/// The decoder's dictionaries hold the contract's symbols in their order: the key is the place.
fn codes(array: &ArrayRef) -> Result<Int8Array, ArrowError> {
    let dictionary = array.as_dictionary_opt::<Int32Type>();
    let keys = dictionary
        .ok_or_else(|| ArrowError::SchemaError(format!("{} where an enum was expected", array.data_type())))?
        .keys();
    let code = |key: Option<i32>| key.map_or(0, |key| i8::try_from(key + 1).unwrap_or(0));
    Ok(Int8Array::from_iter_values(match keys.null_count() {
        0 => keys.values().iter().map(|key| code(Some(*key))).collect::<Vec<_>>(),
        _ => keys.iter().map(code).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::{Column, columns};
    use crate::contract::Topic;
    use std::collections::BTreeMap;

    /// Scenario: a field is added with a number that another field has, here or in another topic's header.
    /// Guarantees: a number means one field within a topic, and the shared fields (1 to 31) mean the same everywhere.
    #[test]
    fn field_numbers_are_unique() {
        let mut shared: BTreeMap<u8, &str> = BTreeMap::new();
        for topic in Topic::ALL {
            let mut seen = BTreeMap::new();
            for Column { name, field_id, .. } in columns(topic) {
                assert_eq!(seen.insert(field_id, name), None, "{topic}: {name}");
                if *field_id < 32 {
                    assert_eq!(*shared.entry(*field_id).or_insert(name), name, "{topic}");
                }
            }
        }
    }
}
