//! Writing safetensors: each file complete or not there at all.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use serde_json::{Map, Value, json};

use super::{INDEX, SINGLE, number::Dtype};
use crate::ModelError;

/// A tensor to be written: name, shape, and what gives the values in row-major order.
pub type Written<V> = (String, Vec<usize>, V);

/// Writes named tensors into an existing folder: `model.safetensors`, or several files of at most
/// `shard_bytes_max` bytes of numbers with their index, where one tensor alone may have more.
/// Values are asked for one tensor at a time, and each file appears under its name once it is
/// whole, the index last.
///
/// # Errors
/// Where a file cannot be written, or a value is not finite once written.
///
/// # Panics
/// If a name comes twice, or values do not fill their shape.
pub fn write<V: FnOnce() -> Vec<f32>>(
    folder: &Path,
    tensors: Vec<Written<V>>,
    dtype: Dtype,
    shard_bytes_max: usize,
) -> Result<(), ModelError> {
    let size = |tensor: &Written<V>| length(&tensor.1) * dtype.width();
    let total: usize = tensors.iter().map(size).sum();
    if total <= shard_bytes_max {
        return write_file(&folder.join(SINGLE), tensors, dtype);
    }
    let mut shards: Vec<Vec<Written<V>>> = Vec::new();
    let mut filled = 0;
    for tensor in tensors {
        let size = size(&tensor);
        match shards.last_mut() {
            Some(shard) if filled + size <= shard_bytes_max => shard.push(tensor),
            _ => {
                shards.push(vec![tensor]);
                filled = 0;
            }
        }
        filled += size;
    }
    let mut places = Map::new();
    let count = shards.len();
    for (index, shard) in shards.into_iter().enumerate() {
        let file = format!("model-{:05}-of-{count:05}.safetensors", index + 1);
        places.extend(shard.iter().map(|(name, ..)| (name.clone(), json!(file))));
        write_file(&folder.join(file), shard, dtype)?;
    }
    let index = json!({ "metadata": { "total_size": total }, "weight_map": places });
    let path = folder.join(INDEX);
    whole(&path, |path| {
        fs::write(path, format!("{index:#}\n")).map_err(|e| failure(path, e))
    })
}

/// Writes tensors as one file, whatever its name.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_file<V: FnOnce() -> Vec<f32>>(
    path: &Path,
    tensors: Vec<Written<V>>,
    dtype: Dtype,
) -> Result<(), ModelError> {
    whole(path, |path| write_tensors(path, tensors, dtype))
}

/// A file under its name once `write` has written all of it.
fn whole(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let unfinished = path.with_extension("unfinished");
    let written = write(&unfinished)
        .and_then(|()| fs::rename(&unfinished, path).map_err(|error| failure(path, error)));
    if written.is_err() {
        // The first error is the one to tell; this file may not even have been created.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_tensors<V: FnOnce() -> Vec<f32>>(
    path: &Path,
    tensors: Vec<Written<V>>,
    dtype: Dtype,
) -> Result<(), ModelError> {
    let failure = |error| failure(path, error);
    let mut file = BufWriter::new(File::create(path).map_err(failure)?);
    file.write_all(&header(&tensors, dtype)).map_err(failure)?;
    for (name, shape, values) in tensors {
        let values = values();
        assert_eq!(
            values.len(),
            length(&shape),
            "the values of {name} fill its shape"
        );
        let lost = |&value: &f32| !value.is_finite() || !dtype.rounded(value).is_finite();
        if let Some(position) = values.iter().position(lost) {
            let value = values[position];
            return Err(ModelError::NotFinite {
                name,
                value,
                position,
            });
        }
        write_values(&mut file, &values, dtype).map_err(failure)?;
    }
    let file = file
        .into_inner()
        .map_err(|error| failure(error.into_error()))?;
    file.sync_all().map_err(failure)
}

fn write_values(file: &mut impl Write, values: &[f32], dtype: Dtype) -> io::Result<()> {
    const PART: usize = 1 << 16;
    let mut bytes = Vec::with_capacity(PART * dtype.width());
    for part in values.chunks(PART) {
        bytes.clear();
        for &value in part {
            dtype.push(value, &mut bytes);
        }
        file.write_all(&bytes)?;
    }
    Ok(())
}

/// The header with its length before it, padded so that the numbers are aligned.
fn header<V>(tensors: &[Written<V>], dtype: Dtype) -> Vec<u8> {
    let mut entries = Map::new();
    entries.insert("__metadata__".to_owned(), json!({ "format": "pt" }));
    let mut start = 0;
    for (name, shape, _) in tensors {
        let end = start + length(shape) * dtype.width();
        let entry = json!({
            "dtype": dtype.stored_name(),
            "shape": shape,
            "data_offsets": [start, end],
        });
        let before = entries.insert(name.clone(), entry);
        assert!(before.is_none(), "{name} comes once");
        start = end;
    }
    let mut text = Value::Object(entries).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.append(&mut text);
    header
}

fn failure(path: &Path, source: io::Error) -> ModelError {
    ModelError::Io {
        path: path.to_owned(),
        source,
    }
}

fn length(shape: &[usize]) -> usize {
    shape.iter().product()
}
