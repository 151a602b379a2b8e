//! Parameters from a model's tensors and back, by the one table of names.

use std::array::from_fn;

use kernel::{Device, normal};
use math::Key;

use crate::decoder::{Parameters, Part, Place, Tensor, tensors};
use crate::weights::{Dtype, Weights};
use crate::{Config, ModelError, Source, Transformer};

impl Transformer {
    /// Opens a model with its weights on a device. Beside the model itself, at most a few MiB are
    /// held at a time.
    ///
    /// # Errors
    /// Where the folder, its configuration or its weights are not whole or not supported.
    pub fn open(source: &Source, device: &Device) -> Result<Self, ModelError> {
        let config = Config::open(source)?;
        let weights = Weights::open(source, &config)?;
        weights.expect(named(&tensors(&config)))?;
        let parameters = read(&weights, &config, device, str::to_owned)?;
        Ok(Self::new(config, parameters))
    }

    /// Passes where the weights are whole and of the shapes that the configuration says, by their
    /// headers alone; what the numbers are, only [`open`](Self::open) sees.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for numbers that are not finite.
    pub fn check_weights(source: &Source, config: &Config) -> Result<(), ModelError> {
        Weights::open(source, config)?.expect(named(&tensors(config)))
    }

    /// A model of this shape with random weights: normal with the configuration's
    /// `initializer_range`, norms neutral and biases 0, as transformers initialises.
    pub fn random(config: Config, device: &Device, key: Key) -> Self {
        let mut stream = 0;
        let deviation = config.initializer_range;
        let built = Parameters::build(&config, device, |place, rows, columns| {
            stream += 1;
            let key = key.child(stream);
            Ok::<_, std::convert::Infallible>(match place.fresh(&config) {
                Some(value) => vec![value; rows * columns],
                None => normals(key, deviation, rows * columns, device.threads()),
            })
        });
        let Ok(parameters) = built;
        Self::new(config, parameters)
    }

    /// Writes `config.json` and the weights into an existing folder: `model.safetensors`, or above
    /// 5 GB several files and `model.safetensors.index.json`.
    ///
    /// # Errors
    /// Where a file cannot be written.
    ///
    /// # Panics
    /// If the model has adapters, which are merged before or saved as themselves.
    pub fn save(&self, folder: &std::path::Path, dtype: Dtype) -> Result<(), ModelError> {
        assert!(self.adapter().is_none(), "adapters are merged or saved");
        let table = tensors(&self.config);
        let entries = table.iter().map(|tensor| {
            let values = || take(&self.parameters, tensor);
            (tensor.name.clone(), tensor.shape.clone(), values)
        });
        crate::weights::write(folder, entries.collect(), dtype, SHARD_BYTES_MAX)?;
        self.config.save(folder, dtype)
    }
}

/// One value for every parameter, of the tensors to which `name` maps the parameters' names.
pub(crate) fn read(
    weights: &Weights,
    config: &Config,
    device: &Device,
    name: impl Fn(&str) -> String,
) -> Result<Parameters, ModelError> {
    let table = tensors(config);
    Parameters::build(config, device, |place, rows, columns| {
        let mut values = vec![0.0; rows * columns];
        for tensor in table.iter().filter(|tensor| tensor.place == place) {
            weights.rows(&name(&tensor.name), &tensor.shape, |first, part| {
                put(&mut values, columns, tensor, first, part);
            })?;
        }
        Ok(values)
    })
}

/// The most bytes of one file of weights.
///
/// # Source
/// transformers' `max_shard_size` up to its version 4; version 5 writes up to 50 GB a file.
const SHARD_BYTES_MAX: usize = 5_000_000_000;
/// Side of the square blocks in which matrices are transposed, so that both sides stay in cache.
const BLOCK: usize = 32;

/// Names and shapes of a table.
pub(crate) fn named(table: &[Tensor]) -> impl Iterator<Item = (&str, &[usize])> {
    table
        .iter()
        .map(|tensor| (tensor.name.as_str(), &tensor.shape[..]))
}

/// Writes a tensor's rows from `first` on into its columns of a row-major matrix.
pub(crate) fn put(values: &mut [f32], columns: usize, tensor: &Tensor, first: usize, part: &[f32]) {
    let inner = inner(tensor);
    each(part.len() / inner, inner, |o, i, at| {
        values[i * columns + tensor.column + first + o] = part[at];
    });
}

/// A tensor out of its columns of a matrix.
pub(crate) fn take(parameters: &Parameters, tensor: &Tensor) -> Vec<f32> {
    let matrix = parameters.at(tensor.place);
    let (values, columns) = (matrix.to_vec(), matrix.columns());
    let mut target = vec![0.0; tensor.shape.iter().product()];
    each(tensor.shape[0], inner(tensor), |o, i, at| {
        target[at] = values[i * columns + tensor.column + o];
    });
    target
}

/// The second axis of a tensor; of one axis it has 1.
fn inner(tensor: &Tensor) -> usize {
    tensor.shape.get(1).copied().unwrap_or(1)
}

/// Visits `(outer, inner, flat index)` of `[outer, inner]` block by block.
fn each(outer: usize, inner: usize, mut visit: impl FnMut(usize, usize, usize)) {
    for outer_block in (0..outer).step_by(BLOCK) {
        for inner_block in (0..inner).step_by(BLOCK) {
            for o in outer_block..outer.min(outer_block + BLOCK) {
                for i in inner_block..inner.min(inner_block + BLOCK) {
                    visit(o, i, o * inner + i);
                }
            }
        }
    }
}

/// Entries that are worth a thread: some hundred microseconds.
const DRAWN_MIN: usize = 1 << 15;
/// Pairs that are drawn at a time, so that their bits stay in a core's first cache.
const PAIRS: usize = 512;

/// Normal numbers of mean 0, entries `2i` and `2i + 1` at counter `i`, drawn by so many threads:
/// up to rounding what [`Key::normal_pair`] gives.
fn normals(key: Key, deviation: f64, count: usize, threads: usize) -> Vec<f32> {
    let mut values = vec![0.0; count];
    let part = count.div_ceil(threads).max(DRAWN_MIN).next_multiple_of(2);
    std::thread::scope(|scope| {
        for (index, values) in values.chunks_mut(part).enumerate() {
            scope.spawn(move || {
                let first = part / 2 * index;
                for (block, values) in values.chunks_mut(2 * PAIRS).enumerate() {
                    let counter = |pair: usize| (first + PAIRS * block + pair) as u64;
                    let bits: [_; PAIRS] = from_fn(|pair| key.normal_bits(counter(pair)));
                    normal::from_bits(&bits, deviation, values);
                }
            });
        }
    });
    values
}

impl Place {
    /// The value that every entry starts from, where it is not random.
    fn fresh(self, config: &Config) -> Option<f32> {
        let neutral = Some(1.0 - config.norm_offset as f32);
        match self {
            Self::Norm => neutral,
            Self::Embedding | Self::Head => None,
            Self::Layer(_, part) => match part {
                Part::AttentionNorm
                | Part::AttentionPostNorm
                | Part::MlpNorm
                | Part::MlpPostNorm
                | Part::QueryNorm
                | Part::KeyNorm => neutral,
                Part::QkvBias | Part::OutputBias => Some(0.0),
                Part::Qkv | Part::Output | Part::GateUp | Part::Down => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_the_drawn_normals_whatever_the_number_of_threads() {
        let (key, count) = (Key::new(3), 3 * DRAWN_MIN + 77);
        let values = normals(key, 0.02, count, 1);
        for threads in [2, 3, 8] {
            assert_eq!(
                normals(key, 0.02, count, threads),
                values,
                "{threads} threads"
            );
        }
        for (counter, pair) in values.chunks(2).enumerate() {
            let expected = key.normal_pair(counter as u64);
            for (found, expected) in pair.iter().zip(expected) {
                let error = (f64::from(*found) - 0.02 * expected).abs();
                let unit = (0.02 * expected).abs() * f64::from(f32::EPSILON);
                assert!(
                    error <= unit,
                    "{found} at {counter}, drawn {}",
                    0.02 * expected
                );
            }
        }
    }
}
