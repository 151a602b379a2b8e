//! Parquet: rows of a file, of the columns asked for alone. A page of each column is held at a
//! time.
//!
//! The record reader of `parquet` 60 indexes and unwraps where a file contradicts itself, as where
//! a page holds fewer values than it says, so it is read behind a guard.

use std::fmt::Display;
use std::sync::Arc;

use guard::guarded;
use parquet::file::reader::{ChunkReader, FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

use super::rows::{Fault, Numbered};

/// The rows of a file, each with its number; `columns` are read where it has them, all without.
///
/// # Errors
/// Where it is no Parquet file, or is compressed by a codec that is not built in.
pub(super) fn rows<R: ChunkReader + 'static>(
    file: R,
    columns: Option<&[&str]>,
) -> Result<impl Iterator<Item = Result<Numbered, Fault>> + use<R>, Fault> {
    let opened = guarded(|| opened(file, columns));
    opened.unwrap_or_else(|panic| Err(refused(panic)))
}

fn opened<R: ChunkReader + 'static>(file: R, columns: Option<&[&str]>) -> Result<Rows, Fault> {
    let reader = SerializedFileReader::new(file).map_err(refused)?;
    let schema = reader.metadata().file_metadata().schema();
    let asked = |name: &str| columns.is_none_or(|columns| columns.contains(&name));
    let fields = schema.get_fields().iter().filter(|f| asked(f.name()));
    let projection = Type::group_type_builder(schema.name())
        .with_fields(fields.map(Arc::clone).collect())
        .build()
        .map_err(refused)?;
    let rows = RowIter::from_file_into(Box::new(reader));
    Ok(Rows {
        iterator: rows.project(Some(projection)).map_err(refused)?,
        number: 0,
        is_damaged: false,
    })
}

/// Rows up to the first that is damaged.
struct Rows {
    iterator: RowIter<'static>,
    number: usize,
    is_damaged: bool,
}

impl Iterator for Rows {
    type Item = Result<Numbered, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_damaged {
            return None;
        }
        self.number += 1;
        let read = guarded(|| self.iterator.next().map(|row| row.map(|row| object(&row))));
        let reason = match read {
            Ok(row) => match row? {
                Ok(fields) => return Some(Ok((self.number, fields))),
                Err(error) => error.to_string(),
            },
            Err(panic) => panic,
        };
        self.is_damaged = true;
        let fault = Fault::at(self.number, format!("damaged Parquet: {reason}"));
        Some(Err(fault))
    }
}

fn refused(error: impl Display) -> Fault {
    Fault::whole(format!("not a Parquet file that can be read: {error}"))
}

fn object(row: &Row) -> Map<String, Value> {
    row.get_column_iter()
        .map(|(name, field)| (name.clone(), value(field)))
        .collect()
}

/// Whole numbers stay whole; dates, times and decimals become text; bytes become text where they
/// are UTF-8, as those of writers without a type for text are, and null elsewhere.
fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => Value::from(*value),
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        Field::Float16(value) => Value::from(value.to_f64()),
        Field::Float(value) => Value::from(*value),
        Field::Double(value) => Value::from(*value),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => bytes.as_utf8().map_or(Value::Null, Value::from),
        Field::Group(row) => Value::Object(object(row)),
        Field::ListInternal(list) => list.elements().iter().map(value).collect(),
        Field::MapInternal(map) => Value::Object(
            map.entries()
                .iter()
                .map(|(key, field)| (name(key), value(field)))
                .collect(),
        ),
        Field::Decimal(_)
        | Field::Date(_)
        | Field::TimeMillis(_)
        | Field::TimeMicros(_)
        | Field::TimestampMillis(_)
        | Field::TimestampMicros(_) => Value::from(field.to_string()),
    }
}

fn name(key: &Field) -> String {
    match key {
        Field::Str(text) => text.clone(),
        other => other.to_string(),
    }
}
