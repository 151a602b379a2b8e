//! Reading safetensors: one file, several shards, or bytes in memory.
//!
//! A file is an eight-byte length, a JSON header of that length, and the numbers. The header is
//! checked against the file's length when it is opened, so no later read can run past the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;

use super::number::Stored;
use crate::{Config, ModelError, Source};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const INPUT: &str = "model.embed_tokens.weight";
const OUTPUT: &str = "lm_head.weight";
/// The longest header that the reference reader accepts.
const HEADER_BYTES_MAX: u64 = 100_000_000;
/// Bytes converted at once, a multiple of every number's width.
const CHUNK_BYTES: usize = 1 << 20;

/// The tensors of a model, read one at a time.
#[derive(Debug)]
pub struct Weights {
    files: Vec<Shard>,
    tensors: BTreeMap<String, Entry>,
    taken: BTreeSet<String>,
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
    Memory(Cursor<&'static [u8]>),
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
        let mut weights = Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
            taken: BTreeSet::new(),
        };
        match source {
            Source::Embedded(embedded) => {
                let content = Content::Memory(Cursor::new(embedded.weights));
                weights.add("the built-in weights".to_owned(), content)?;
            }
            Source::Folder(folder) if folder.join(SINGLE).exists() => {
                weights.add(SINGLE.to_owned(), open_file(folder, SINGLE)?)?;
            }
            Source::Folder(folder) => {
                let text = source.text(INDEX)?.ok_or_else(|| ModelError::MissingFile {
                    place: source.place(),
                    file: SINGLE,
                })?;
                weights.add_shards(folder, &text)?;
            }
        }
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
            taken: BTreeSet::new(),
        };
        weights.add(name.to_owned(), open_file(folder, name)?)?;
        Ok(weights)
    }

    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Reads a tensor of this shape, in row-major order, as `f32`.
    ///
    /// # Errors
    /// Where there is none, its shape is another, its number format is not read, or a value is not
    /// finite.
    pub fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        let Entry { shard, header } = entry(&self.tensors, name, shape)?;
        let values = self.files[*shard].read(name, header)?;
        self.taken.insert(name.to_owned());
        Ok(values)
    }

    /// Counts a tensor of this shape as read, after a look at its header alone.
    ///
    /// # Errors
    /// Where there is none, or its shape is another.
    pub(crate) fn pass(&mut self, name: &str, shape: &[usize]) -> Result<(), ModelError> {
        entry(&self.tensors, name, shape)?;
        self.taken.insert(name.to_owned());
        Ok(())
    }

    /// Ends reading. Rotation tables that old checkpoints carry along count for nothing.
    ///
    /// # Errors
    /// Where a tensor was never read: then the model is another than its configuration says.
    pub fn finish(self) -> Result<(), ModelError> {
        let extra: Vec<String> = self
            .tensors
            .into_keys()
            .filter(|name| !self.taken.contains(name) && !name.ends_with("rotary_emb.inv_freq"))
            .collect();
        let count = extra.len();
        match extra.into_iter().next() {
            Some(first) => Err(ModelError::ExtraTensors { count, first }),
            None => Ok(()),
        }
    }

    /// Leaves one matrix, under the input's name, of two that are said to be one.
    fn tie(&mut self, shape: &[usize]) -> Result<(), ModelError> {
        if !self.tensors.contains_key(OUTPUT) {
            return Ok(());
        }
        if self.tensors.contains_key(INPUT)
            && self.tensor(INPUT, shape)? != self.tensor(OUTPUT, shape)?
        {
            return Err(ModelError::TiedMatricesDiffer {
                input: INPUT,
                output: OUTPUT,
            });
        }
        if let Some(entry) = self.tensors.remove(OUTPUT) {
            self.tensors.insert(INPUT.to_owned(), entry);
        }
        self.taken.clear();
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

fn entry<'a>(
    tensors: &'a BTreeMap<String, Entry>,
    name: &str,
    shape: &[usize],
) -> Result<&'a Entry, ModelError> {
    let entry = tensors.get(name).ok_or_else(|| ModelError::MissingTensor {
        name: name.to_owned(),
        expected: shape.to_vec(),
    })?;
    if entry.header.shape != shape {
        return Err(ModelError::TensorShape {
            name: name.to_owned(),
            found: entry.header.shape.clone(),
            expected: shape.to_vec(),
        });
    }
    Ok(entry)
}

impl Shard {
    fn open(
        name: String,
        mut content: Content,
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

    /// Reads and widens chunk by chunk, so that no second copy of a tensor is ever held.
    fn read(&mut self, name: &str, header: &TensorHeader) -> Result<Vec<f32>, ModelError> {
        let stored = Stored::from_name(&header.dtype).ok_or_else(|| ModelError::TensorType {
            name: name.to_owned(),
            found: header.dtype.clone(),
        })?;
        let [start, end] = header.data_offsets;
        let values = count(&header.shape).unwrap_or(usize::MAX);
        if values
            .checked_mul(stored.width())
            .is_none_or(|size| size as u64 != end - start)
        {
            let reason = format!(
                "{name} has {} bytes, expected {values} numbers of {} bytes",
                end - start,
                stored.width()
            );
            return Err(damaged(&self.name, reason));
        }
        let mut numbers = Vec::with_capacity(values);
        let mut chunk = vec![0; CHUNK_BYTES.min((end - start) as usize)];
        let mut at = start;
        while at < end {
            let length = chunk.len().min((end - at) as usize);
            self.content
                .read_at(self.data_start + at, &mut chunk[..length])?;
            stored.extend(&chunk[..length], &mut numbers);
            at += length as u64;
        }
        match numbers.iter().position(|number| !number.is_finite()) {
            Some(position) => Err(ModelError::NotFinite {
                name: name.to_owned(),
                value: numbers[position],
                position,
            }),
            None => Ok(numbers),
        }
    }
}

impl Content {
    fn length(&mut self) -> Result<u64, ModelError> {
        let length = match self {
            Self::File { file, .. } => file.seek(SeekFrom::End(0)),
            Self::Memory(bytes) => bytes.seek(SeekFrom::End(0)),
        };
        length.map_err(|source| self.failure(source))
    }

    fn read_at(&mut self, at: u64, into: &mut [u8]) -> Result<(), ModelError> {
        let from = SeekFrom::Start(at);
        let read = match self {
            Self::File { file, .. } => file.seek(from).and_then(|_| file.read_exact(into)),
            Self::Memory(bytes) => bytes.seek(from).and_then(|_| bytes.read_exact(into)),
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
