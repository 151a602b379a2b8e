//! Parameters from a model's tensors and back, by the one table of names.

use kernel::Device;
use math::Key;

use crate::decoder::{Parameters, Part, Place, Tensor, tensors};
use crate::weights::{Dtype, Weights};
use crate::{Config, ModelError, Source, Transformer};

impl Transformer {
    /// Opens a model with its weights on a device.
    ///
    /// # Errors
    /// Where the folder, its configuration or its weights are not whole or not supported.
    pub fn open(source: &Source, device: &Device) -> Result<Self, ModelError> {
        let config = Config::open(source)?;
        let mut weights = Weights::open(source, &config)?;
        let parameters = read(&mut weights, &config, device, str::to_owned)?;
        weights.finish()?;
        Ok(Self::new(config, parameters))
    }

    /// Passes where the weights are whole and of the shapes that the configuration says, by their
    /// headers alone; what the numbers are, only [`open`](Self::open) sees.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for numbers that are not finite or of an unknown format.
    pub fn check_weights(source: &Source, config: &Config) -> Result<(), ModelError> {
        let mut weights = Weights::open(source, config)?;
        for tensor in tensors(config) {
            weights.pass(&tensor.name, &tensor.shape)?;
        }
        weights.finish()
    }

    /// A model of this shape with random weights: normal with the configuration's
    /// `initializer_range`, norms neutral and biases 0, as transformers initialises.
    pub fn random(config: Config, device: &Device, key: Key) -> Self {
        let mut stream = 0;
        let deviation = config.initializer_range;
        let built = Parameters::build(&config, device, |place, rows, columns| {
            stream += 1;
            let key = key.child(stream);
            let normal = |i| (deviation * key.normal(i as u64)) as f32;
            Ok::<_, std::convert::Infallible>(match place.fresh(&config) {
                Some(value) => vec![value; rows * columns],
                None => (0..rows * columns).map(normal).collect(),
            })
        });
        let Ok(parameters) = built;
        Self::new(config, parameters)
    }

    /// Writes `model.safetensors` and `config.json` into an existing folder.
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
        crate::weights::write(&folder.join("model.safetensors"), entries, dtype)?;
        self.config.save(folder, dtype)
    }
}

/// One value for every parameter, of the tensors to which `name` maps the parameters' names.
pub(crate) fn read(
    weights: &mut Weights,
    config: &Config,
    device: &Device,
    name: impl Fn(&str) -> String,
) -> Result<Parameters, ModelError> {
    let table = tensors(config);
    Parameters::build(config, device, |place, rows, columns| {
        let mut values = vec![0.0; rows * columns];
        for tensor in table.iter().filter(|tensor| tensor.place == place) {
            let source = weights.tensor(&name(&tensor.name), &tensor.shape)?;
            put(&mut values, columns, tensor, &source);
        }
        Ok(values)
    })
}

/// Side of the square blocks in which matrices are transposed, so that both sides stay in cache.
const BLOCK: usize = 32;

/// Writes a tensor into its columns of a row-major matrix.
pub(crate) fn put(values: &mut [f32], columns: usize, tensor: &Tensor, source: &[f32]) {
    each(tensor, |outer, inner, at| {
        values[inner * columns + tensor.column + outer] = source[at];
    });
}

/// A tensor out of its columns of a matrix.
pub(crate) fn take(parameters: &Parameters, tensor: &Tensor) -> Vec<f32> {
    let matrix = parameters.at(tensor.place);
    let (values, columns) = (matrix.to_vec(), matrix.columns());
    let mut target = vec![0.0; tensor.shape.iter().product()];
    each(tensor, |outer, inner, at| {
        target[at] = values[inner * columns + tensor.column + outer];
    });
    target
}

/// Visits `(outer, inner, flat index)` of a tensor `[outer, inner]` block by block; a tensor of one
/// axis has an inner axis of 1.
fn each(tensor: &Tensor, mut visit: impl FnMut(usize, usize, usize)) {
    let outer = tensor.shape[0];
    let inner = tensor.shape.get(1).copied().unwrap_or(1);
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
