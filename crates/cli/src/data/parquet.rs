//! Parquet: rows of a file, of the columns asked for alone. A page of each column is held at a
//! time.

use std::fmt::Display;
use std::sync::Arc;

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
    let reader = SerializedFileReader::new(file).map_err(refused)?;
    let schema = reader.metadata().file_metadata().schema();
    let asked = |name: &str| columns.is_none_or(|columns| columns.contains(&name));
    let fields = schema.get_fields().iter().filter(|f| asked(f.name()));
    let projection = Type::group_type_builder(schema.name())
        .with_fields(fields.map(Arc::clone).collect())
        .build()
        .map_err(refused)?;
    let rows = RowIter::from_file_into(Box::new(reader));
    let rows = rows.project(Some(projection)).map_err(refused)?;
    Ok((1..).zip(rows).map(|(number, row)| match row {
        Ok(row) => Ok((number, object(&row))),
        Err(error) => Err(Fault::at(number, format!("damaged Parquet: {error}"))),
    }))
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
