//! Reading safetensors: one file, several shards, or bytes in memory.
//!
//! A file is an eight-byte length, a JSON header of that length, and the numbers. The header is
//! checked against the file's length when it is opened. Numbers are read a few rows at a time to
//! where they are wanted, not mapped: a mapped file that shrinks ends the program, and the pages
//! read count as memory all the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::{INDEX, SINGLE, number::Stored};
use crate::{Config, ModelError, Source};

const INPUT: &str = "model.embed_tokens.weight";
const OUTPUT: &str = "lm_head.weight";
/// The longest header that the reference reader accepts.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// What stands in the place of safetensors and is not read.
const OTHERS: [&str; 4] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "consolidated.00.pth",
    "tf_model.h5",
];
/// Numbers converted at once, where a row has no more.
const CHUNK_VALUES: usize = 1 << 18;

/// The tensors of a model, read one at a time.
#[derive(Debug)]
pub struct Weights {
    files: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Shard {
    name: String,
    content: Content,
    data_start: u64,
}

#[derive(Debug)]
enum Content {
    File { file: File, path: PathBuf },
    Memory(&'static [u8]),
}

#[derive(Debug)]
struct Entry {
    shard: usize,
    header: TensorHeader,
}

#[derive(Debug, Deserialize)]
struct TensorHeader {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Opens `model.safetensors`, or else the shards of `model.safetensors.index.json`; reads the
    /// headers alone. A tied matrix may be stored under either of its two names, or under both; it
    /// is read as `model.embed_tokens.weight`.
    ///
    /// # Errors
    /// Where there is neither; where a file is damaged or shorter than its header says; and where a
    /// tied matrix is stored twice with different values.
    pub fn open(source: &Source, config: &Config) -> Result<Self, ModelError> {
        let mut weights = Self::headers(source)?;
        if config.tie_word_embeddings {
            weights.tie(&[config.vocabulary, config.hidden_size])?;
        }
        Ok(weights)
    }

    /// Opens one file of a folder, whatever tensors it holds.
    ///
    /// # Errors
    /// Where it is not there, is damaged or shorter than its header says.
    pub(crate) fn file(folder: &Path, name: &str) -> Result<Self, ModelError> {
        let mut weights = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        weights.add(name.to_owned(), open_file(folder, name)?)?;
        Ok(weights)
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Opens them as they are stored, whatever the configuration says.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for a tied matrix.
    pub(crate) fn headers(source: &Source) -> Result<Self, ModelError> {
        let mut weights = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
        };
        match source {
            Source::Embedded(embedded) => {
                let content = Content::Memory(embedded.weights);
                weights.add("the built-in weights".to_owned(), content)?;
            }
            Source::Folder(folder) if folder.join(SINGLE).exists() => {
                weights.add(SINGLE.to_owned(), open_file(folder, SINGLE)?)?;
            }
            Source::Folder(folder) => {
                let text = source.text(INDEX)?.ok_or_else(|| missing(source))?;
                weights.add_shards(folder, &text)?;
            }
        }
        Ok(weights)
    }

    /// Passes where there are exactly these tensors, each of its shape and in a number format that
    /// is read; by the headers alone. Rotation tables that old checkpoints carry count for nothing.
    ///
    /// # Errors
    /// The first that is missing, misshaped or mistyped, or else not asked for.
    pub fn expect<'a>(
        &self,
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<(), ModelError> {
        let asked: BTreeMap<&str, &[usize]> = tensors.into_iter().collect();
        let unasked = |name: &&String| {
            !asked.contains_key(name.as_str()) && !name.ends_with("rotary_emb.inv_freq")
        };
        let extra: Vec<&String> = self.tensors.keys().filter(unasked).collect();
        let missing = asked
            .keys()
            .filter(|name| !self.tensors.contains_key(**name));
        let missing = missing.count();
        for (name, shape) in asked {
            if missing > 0 && !self.tensors.contains_key(name) {
                return Err(ModelError::MissingTensor {
                    name: name.to_owned(),
                    expected: shape.to_vec(),
                    missing,
                    instead: extra.first().map(ToString::to_string),
                });
            }
            self.entry(name, shape)?;
        }
        match extra.first() {
            Some(first) => Err(ModelError::ExtraTensors {
                count: extra.len(),
                first: (*first).clone(),
            }),
            None => Ok(()),
        }
    }

    /// Numbers by the name of their format, as the headers say.
    pub fn formats(&self) -> BTreeMap<String, usize> {
        let mut formats = BTreeMap::new();
        for Entry { header, .. } in self.tensors.values() {
            // A format that is not read may have any shape.
            let format: &mut usize = formats.entry(header.dtype.clone()).or_insert(0);
            *format = format.saturating_add(count(&header.shape).unwrap_or(usize::MAX));
        }
        formats
    }

    /// Reads a tensor of this shape, in row-major order, as `f32`.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let (_, header, _) = self.entry(name, shape)?;
        let mut values = Vec::with_capacity(count(&header.shape).unwrap_or(0));
        self.rows(name, shape, |_, part| values.extend_from_slice(part))?;
        Ok(values)
    }

    /// Reads a tensor of this shape as `f32`, a few rows of its first axis at a time: `visit` is
    /// given the first row's index and the rows' values. It holds 2 MiB of the tensor at most,
    /// unless a row is longer.
    ///
    /// # Errors
    /// Where there is none, its shape is another, its number format is not read, or a value is not
    /// finite.
    pub fn rows(
        &self,
        name: &str,
        shape: &[usize],
        mut visit: impl FnMut(usize, &[f32]),
    ) -> Result<(), ModelError> {
        let (shard, header, stored) = self.entry(name, shape)?;
        let width = header.shape.iter().skip(1).product::<usize>();
        let rows_at_once = (CHUNK_VALUES / width.max(1)).max(1);
        let rows = header.shape.first().copied().unwrap_or(1);
        let mut numbers = Vec::with_capacity(rows_at_once.min(rows) * width);
        let mut bytes = vec![0; rows_at_once.min(rows) * width * stored.width()];
        for first in (0..rows).step_by(rows_at_once) {
            let count = rows_at_once.min(rows - first) * width;
            let bytes = &mut bytes[..count * stored.width()];
            let offset = (first * width * stored.width()) as u64;
            let at = shard.data_start + header.data_offsets[0] + offset;
            shard.content.read_at(at, bytes)?;
            numbers.clear();
            stored.extend(bytes, &mut numbers);
            if let Some(position) = numbers.iter().position(|number| !number.is_finite()) {
                return Err(ModelError::NotFinite {
                    name: name.to_owned(),
                    value: numbers[position],
                    position: first * width + position,
                });
            }
            visit(first, &numbers);
        }
        Ok(())
    }

    /// A tensor's file and header, where they are as asked.
    fn entry(
        &self,
        name: &str,
        shape: &[usize],
    ) -> Result<(&Shard, &TensorHeader, Stored), ModelError> {
        let missing = || ModelError::MissingTensor {
            name: name.to_owned(),
            expected: shape.to_vec(),
            missing: 1,
            instead: None,
        };
        let Entry { shard, header } = self.tensors.get(name).ok_or_else(missing)?;
        if header.shape != shape {
            return Err(ModelError::TensorShape {
                name: name.to_owned(),
                found: header.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        let shard = &self.files[*shard];
        Ok((shard, header, shard.format(name, header)?))
    }

    /// Leaves one matrix, under the input's name, of two that are said to be one.
    fn tie(&mut self, shape: &[usize]) -> Result<(), ModelError> {
        if !self.tensors.contains_key(OUTPUT) {
            return Ok(());
        }
        if self.tensors.contains_key(INPUT) {
            let input = self.tensor(INPUT, shape)?;
            let mut same = true;
            self.rows(OUTPUT, shape, |row, part| {
                let start = row * shape[1];
                same &= input[start..start + part.len()] == *part;
            })?;
            if !same {
                return Err(ModelError::TiedMatricesDiffer {
                    input: INPUT,
                    output: OUTPUT,
                });
            }
        }
        if let Some(entry) = self.tensors.remove(OUTPUT) {
            self.tensors.insert(INPUT.to_owned(), entry);
        }
        Ok(())
    }

    fn add_shards(&mut self, folder: &Path, index: &str) -> Result<(), ModelError> {
        let index: Index = serde_json::from_str(index).map_err(|error| ModelError::Json {
            file: INDEX.to_owned(),
            reason: error.to_string(),
        })?;
        let names: BTreeSet<&String> = index.weight_map.values().collect();
        for name in names {
            if Path::new(name)
                .file_name()
                .is_none_or(|file| file != name.as_str())
            {
                return Err(damaged(
                    INDEX,
                    format!("{name:?} is not the name of a file beside it"),
                ));
            }
            self.add(name.clone(), open_file(folder, name)?)?;
        }
        for (tensor, file) in &index.weight_map {
            let found = self
                .tensors
                .get(tensor)
                .map(|entry| &self.files[entry.shard].name);
            if found != Some(file) {
                return Err(damaged(INDEX, format!("{tensor} is not in {file}")));
            }
        }
        Ok(())
    }

    fn add(&mut self, name: String, content: Content) -> Result<(), ModelError> {
        let (shard, headers) = Shard::open(name, content)?;
        for (tensor, header) in headers {
            let entry = Entry {
                shard: self.files.len(),
                header,
            };
            if self.tensors.contains_key(&tensor) {
                return Err(damaged(
                    &shard.name,
                    format!("{tensor} is in another file as well"),
                ));
            }
            self.tensors.insert(tensor, entry);
        }
        self.files.push(shard);
        Ok(())
    }
}

impl Shard {
    fn open(
        name: String,
        content: Content,
    ) -> Result<(Self, BTreeMap<String, TensorHeader>), ModelError> {
        let length = content.length()?;
        if length < 8 {
            return Err(damaged(
                &name,
                format!("it has {length} bytes, expected at least 8"),
            ));
        }
        let mut bytes = [0; 8];
        content.read_at(0, &mut bytes)?;
        let header_length = u64::from_le_bytes(bytes);
        if header_length > HEADER_BYTES_MAX.min(length - 8) {
            let reason = format!("a header of {header_length} bytes in a file of {length}");
            return Err(damaged(&name, reason));
        }
        let mut text = vec![0; header_length as usize];
        content.read_at(8, &mut text)?;
        let headers = parse_header(&name, &text)?;
        let data_start = 8 + header_length;
        check_layout(&name, &headers, length - data_start)?;
        Ok((
            Self {
                name,
                content,
                data_start,
            },
            headers,
        ))
    }

    /// How a tensor's numbers are stored, where they fill its bytes.
    fn format(&self, name: &str, header: &TensorHeader) -> Result<Stored, ModelError> {
        let stored = Stored::from_name(&header.dtype).ok_or_else(|| ModelError::TensorType {
            name: name.to_owned(),
            found: header.dtype.clone(),
        })?;
        let [start, end] = header.data_offsets;
        let values = count(&header.shape).unwrap_or(usize::MAX);
        let size = values.checked_mul(stored.width());
        if size.is_none_or(|size| size as u64 != end - start) {
            let reason = format!(
                "{name} has {} bytes, expected {values} numbers of {} bytes",
                end - start,
                stored.width()
            );
            return Err(damaged(&self.name, reason));
        }
        Ok(stored)
    }
}

impl Content {
    fn length(&self) -> Result<u64, ModelError> {
        match self {
            Self::File { file, .. } => match file.metadata() {
                Ok(metadata) => Ok(metadata.len()),
                Err(source) => Err(self.failure(source)),
            },
            Self::Memory(bytes) => Ok(bytes.len() as u64),
        }
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> Result<(), ModelError> {
        let read = match self {
            Self::File { file, .. } => {
                let mut file = file;
                let sought = file.seek(SeekFrom::Start(at));
                sought.and_then(|_| file.read_exact(into))
            }
            Self::Memory(bytes) => (&bytes[at as usize..]).read_exact(into),
        };
        read.map_err(|source| self.failure(source))
    }

    fn failure(&self, source: std::io::Error) -> ModelError {
        let path = match self {
            Self::File { path, .. } => path.clone(),
            Self::Memory(_) => PathBuf::from("the built-in weights"),
        };
        ModelError::Io { path, source }
    }
}

fn open_file(folder: &Path, name: &str) -> Result<Content, ModelError> {
    let path = folder.join(name);
    match File::open(&path) {
        Ok(file) => Ok(Content::File { file, path }),
        Err(source) => Err(ModelError::Io { path, source }),
    }
}

/// What a folder without safetensors lacks, and what it has instead.
fn missing(source: &Source) -> ModelError {
    let place = source.place();
    match OTHERS.into_iter().find(|file| source.has(file)) {
        Some(found) => ModelError::WeightsFormat { place, found },
        None => ModelError::MissingFile {
            place,
            file: SINGLE,
        },
    }
}

fn parse_header(file: &str, text: &[u8]) -> Result<BTreeMap<String, TensorHeader>, ModelError> {
    let parsed = serde_json::from_slice::<BTreeMap<String, Value>>(text).and_then(|mut entries| {
        entries.remove("__metadata__");
        let read = |(name, value)| Ok((name, serde_json::from_value(value)?));
        entries.into_iter().map(read).collect()
    });
    parsed.map_err(|error| damaged(file, format!("its header does not parse: {error}")))
}

/// The tensors must follow one another from the first byte to the last, as the format asks.
fn check_layout(
    file: &str,
    headers: &BTreeMap<String, TensorHeader>,
    length: u64,
) -> Result<(), ModelError> {
    let range = |(name, header): (_, &TensorHeader)| (header.data_offsets, name);
    let mut ranges: Vec<([u64; 2], &String)> = headers.iter().map(range).collect();
    ranges.sort_unstable();
    let mut expected = 0;
    for ([start, end], name) in ranges {
        if start != expected || end < start {
            let reason = format!("{name} lies at {start}..{end}, expected to start at {expected}");
            return Err(damaged(file, reason));
        }
        expected = end;
    }
    if expected != length {
        let reason = format!("it has {length} bytes of numbers, expected {expected}");
        return Err(damaged(file, reason));
    }
    Ok(())
}

/// Entries of a tensor; nothing where they cannot be counted.
fn count(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
}

fn damaged(file: &str, reason: String) -> ModelError {
    ModelError::DamagedWeights {
        file: file.to_owned(),
        reason,
    }
}
