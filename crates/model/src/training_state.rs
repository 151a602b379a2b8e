//! What a checkpoint holds beside a model, so that training goes on from it to the bit.
//!
//! `optimizer.safetensors` has, in float32 and under the names of PyTorch's flattened optimiser
//! state, `state.{parameter}.exp_avg` and `state.{parameter}.exp_avg_sq` for each parameter, and
//! the number of updates as `step`. Where `model.safetensors` rounds the weights, they stand here once
//! more as they are, as `weights.{parameter}`. Of a model with adapters the parameters are those
//! of
//! the adapters, by PEFT's names, and stand here always.

use std::path::Path;

use kernel::Matrix;

use crate::adapter_folder::{tensor_name, transposed};
use crate::decoder::{Adapter, Layer, Parameters, Tensor, tensors};
use crate::lora::modules;
use crate::optimizer::Optimizer;
use crate::store::{read, take};
use crate::weights::{Dtype, Weights, write};
use crate::{ModelError, Source, Transformer};

const FILE: &str = "optimizer.safetensors";
const STEP: &str = "step";
const MOMENTS: [&str; 2] = ["exp_avg", "exp_avg_sq"];

/// A tensor to be written: name, shape, and what gives its values.
type Entry<'a> = (String, Vec<usize>, Box<dyn FnOnce() -> Vec<f32> + 'a>);

impl Transformer {
    /// Writes the optimiser's state into the folder of a checkpoint whose weights are
    /// [`save`](Self::save)d as `stored`. Before the first update all moments are 0.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save_training(&self, folder: &Path, stored: Dtype) -> Result<(), ModelError> {
        let (table, optimizer) = (tensors(&self.config), self.optimizer());
        let steps = optimizer.map_or(0, Optimizer::steps) as f32;
        let mut entries: Vec<Entry> =
            vec![(STEP.to_owned(), Vec::new(), Box::new(move || vec![steps]))];
        if self.adapter().is_some() {
            entries.extend(self.factor_entries());
            return write(&folder.join(FILE), entries, Dtype::F32);
        }
        for tensor in &table {
            for (index, moment) in MOMENTS.into_iter().enumerate() {
                let of = optimizer.map(|optimizer| optimizer.moments()[index]);
                let values = move || values(of, tensor);
                let name = moment_name(&tensor.name, moment);
                entries.push((name, tensor.shape.clone(), Box::new(values)));
            }
            if stored != Dtype::F32 {
                let values = || take(&self.parameters, tensor);
                let name = exact_name(&tensor.name);
                entries.push((name, tensor.shape.clone(), Box::new(values)));
            }
        }
        write(&folder.join(FILE), entries, Dtype::F32)
    }

    /// Takes training up again from a checkpoint of this model: weights, moments and the number of
    /// updates, to the bit. The reference and the optimiser's options stay as they are.
    ///
    /// # Errors
    /// Where a file is missing or damaged, a tensor has another shape or a number is not finite;
    /// nothing is changed then.
    pub fn resume(&mut self, folder: &Path) -> Result<(), ModelError> {
        let mut state = Weights::file(folder, FILE)?;
        if self.adapter().is_some() {
            return self.resume_factors(state);
        }
        let (config, device) = (&self.config, self.device().clone());
        let is_exact_here = state.has(&exact_name(&tensors(config)[0].name));
        let parameters = if is_exact_here {
            read(&mut state, config, &device, exact_name)?
        } else {
            let mut weights = Weights::open(&Source::Folder(folder.to_owned()), config)?;
            let parameters = read(&mut weights, config, &device, str::to_owned)?;
            weights.finish()?;
            parameters
        };
        let [first, second] = MOMENTS.map(|moment| {
            read(&mut state, config, &device, |name| {
                moment_name(name, moment)
            })
        });
        let moments = [first?, second?];
        let step = state.tensor(STEP, &[])?[0];
        state.finish()?;
        self.restore(parameters, moments, step as u64);
        Ok(())
    }
}

impl Transformer {
    /// The tensors of the adapters and of their moments.
    fn factor_entries(&self) -> Vec<Entry<'_>> {
        let weights = factors(&self.parameters);
        let moments = self.optimizer().map(|o| o.moments().map(factors));
        let mut entries: Vec<Entry> = Vec::new();
        for (place, name) in self.factor_names().into_iter().enumerate() {
            let shape = vec![weights[place].columns(), weights[place].rows()];
            for kind in 0..=MOMENTS.len() {
                let matrix = match kind.checked_sub(1) {
                    None => Some(weights[place]),
                    Some(moment) => moments.as_ref().map(|moments| moments[moment][place]),
                };
                let length = shape.iter().product();
                let values = move || match matrix {
                    Some(matrix) => transposed(&matrix.to_vec(), matrix.columns()),
                    None => vec![0.0; length],
                };
                entries.push((factor_name(&name, kind), shape.clone(), Box::new(values)));
            }
        }
        entries
    }

    /// As [`resume`](Self::resume), of adapters.
    fn resume_factors(&mut self, mut state: Weights) -> Result<(), ModelError> {
        let mut all = Vec::new();
        for (name, matrix) in self.factor_names().iter().zip(factors(&self.parameters)) {
            let (rows, columns) = (matrix.rows(), matrix.columns());
            let mut read = |kind| {
                let values = state.tensor(&factor_name(name, kind), &[columns, rows])?;
                Ok::<_, ModelError>(transposed(&values, rows))
            };
            all.push([read(0)?, read(1)?, read(2)?]);
        }
        let step = state.tensor(STEP, &[])?[0];
        state.finish()?;
        self.restore_trained(all, step as u64);
        Ok(())
    }

    /// Names of the adapters' matrices, in the order of [`factors`].
    fn factor_names(&self) -> Vec<String> {
        let modules = modules(&self.config);
        let names = adapters(&self.parameters).flat_map(|adapter| {
            let module = &modules[adapter.index as usize];
            ["A", "B"].map(|side| tensor_name(module, side))
        });
        names.collect()
    }
}

/// The adapters, in the order of [`Parameters::trained_mut`].
fn adapters(parameters: &Parameters) -> impl Iterator<Item = &Adapter> {
    let projections = parameters.layers.iter().flat_map(Layer::projections);
    projections.flat_map(|projection| &projection.adapters)
}

/// Both matrices of each adapter.
fn factors(parameters: &Parameters) -> Vec<&Matrix> {
    adapters(parameters)
        .flat_map(|adapter| [&adapter.down_ik, &adapter.up_ko])
        .collect()
}

/// Of the weights themselves, then of their moments.
fn factor_name(parameter: &str, kind: usize) -> String {
    match kind.checked_sub(1) {
        None => exact_name(parameter),
        Some(moment) => moment_name(parameter, MOMENTS[moment]),
    }
}

fn values(of: Option<&Parameters>, tensor: &Tensor) -> Vec<f32> {
    match of {
        Some(parameters) => take(parameters, tensor),
        None => vec![0.0; tensor.shape.iter().product()],
    }
}

fn moment_name(parameter: &str, moment: &str) -> String {
    format!("state.{parameter}.{moment}")
}

fn exact_name(parameter: &str) -> String {
    format!("weights.{parameter}")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use kernel::Device;
    use math::Key;
    use policy::{Batch, Policy, Row};

    use super::*;
    use crate::{LoraOptions, TargetModules};

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("enigma-state-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn base(family: &str) -> Transformer {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let source = Source::Folder(folder.join("tests/fixtures").join(family));
        let mut model = Transformer::open(&source, &Device::cpu(Some(2))).unwrap();
        model.grow_vocabulary(model.config().vocabulary + 1);
        model
    }

    fn model(family: &str) -> Transformer {
        let mut model = base(family);
        model.keep_reference();
        model
    }

    fn batch() -> Batch {
        let row = |first| Row {
            prefix: 0,
            tokens_t: vec![first, 3, 1],
            reasoning: None,
        };
        Batch {
            prefixes: vec![vec![1, 2]],
            rows: vec![row(4), row(5)],
            temperature: 1.0,
        }
    }

    fn train(model: &mut Transformer, updates: std::ops::Range<u32>) {
        for update in updates {
            let mut gradient = model.forward(&batch()).unwrap().zeros_like();
            gradient.logprobs_nt[0].fill(-1.0 + 0.3 * f64::from(update));
            model.backward(&gradient);
            model.update(1e-2);
        }
    }

    /// Every bit of what the model says now and under its reference.
    fn bits(model: &Transformer) -> (Vec<u32>, Vec<u64>) {
        let logits = model.logits(&[1, 2, 3]).unwrap();
        let reference = model.reference_signals(&batch()).unwrap();
        let reference = reference.logprobs_nt.into_iter().flatten();
        (
            logits.into_iter().map(f32::to_bits).collect(),
            reference.map(f64::to_bits).collect(),
        )
    }

    fn save(model: &Transformer, folder: &Folder, dtype: Dtype) {
        model.save(&folder.0, dtype).unwrap();
        model.save_training(&folder.0, dtype).unwrap();
    }

    #[test]
    fn a_model_taken_up_again_learns_to_the_bit_as_if_never_broken_off() {
        for family in ["llama", "llama_tied", "qwen2", "qwen3"] {
            for (dtype, broken) in [(Dtype::F32, 3), (Dtype::Bf16, 3), (Dtype::F32, 0)] {
                let folder = Folder::new(&format!("{family}-{}-{broken}", dtype.name()));
                let mut unbroken = model(family);
                train(&mut unbroken, 0..6);
                let mut first = model(family);
                train(&mut first, 0..broken);
                save(&first, &folder, dtype);
                let mut second = model(family);
                second.resume(&folder.0).unwrap();
                assert_eq!(bits(&second), bits(&first));
                train(&mut second, broken..6);
                assert_eq!(bits(&second), bits(&unbroken), "{family}, {}", dtype.name());
                assert_ne!(bits(&second), bits(&model(family)));
            }
        }
    }

    #[test]
    fn adapters_taken_up_again_learn_to_the_bit_as_if_never_broken_off() {
        for broken in [0, 3] {
            let adapted = || {
                let mut model = base("llama");
                let options = LoraOptions {
                    r: 2,
                    lora_alpha: 8.0,
                    lora_dropout: 0.25,
                    target_modules: TargetModules::AllLinear,
                    use_rslora: false,
                };
                model.add_adapter(&options, Key::new(4)).unwrap();
                model.keep_reference();
                model
            };
            let folder = Folder::new(&format!("adapters-{broken}"));
            let (mut unbroken, mut first, mut second) = (adapted(), adapted(), adapted());
            train(&mut unbroken, 0..6);
            train(&mut first, 0..broken);
            first.save_training(&folder.0, Dtype::Bf16).unwrap();
            second.resume(&folder.0).unwrap();
            assert_eq!(bits(&second), bits(&first));
            train(&mut second, broken..6);
            assert_eq!(bits(&second), bits(&unbroken), "{broken}");
            assert_ne!(bits(&second), bits(&adapted()));
        }
    }

    #[test]
    fn a_damaged_state_is_named_and_changes_nothing() {
        let folder = Folder::new("damaged");
        let mut learner = model("llama");
        train(&mut learner, 0..2);
        save(&learner, &folder, Dtype::F32);
        let before = bits(&learner);
        let path = folder.0.join(FILE);
        let whole = fs::read(&path).unwrap();
        let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
        let mut infinite = whole.clone();
        infinite[header + 4..header + 8].copy_from_slice(&f32::NAN.to_le_bytes());
        for (bytes, expected) in [
            (
                &whole[..whole.len() - 1],
                "optimizer.safetensors is damaged: ",
            ),
            (&whole[..100], "optimizer.safetensors is damaged: "),
            (&[][..], "optimizer.safetensors is damaged: it has 0 bytes"),
            (
                &infinite,
                "exp_avg holds NaN at position 0, expected finite weights",
            ),
        ] {
            fs::write(&path, bytes).unwrap();
            let found = learner.resume(&folder.0).unwrap_err().to_string();
            assert!(found.contains(expected), "{found}");
            assert_eq!(bits(&learner), before);
        }
        fs::write(&path, &whole).unwrap();
        let other = model("qwen3").resume(&folder.0).unwrap_err().to_string();
        assert!(
            other.contains("expected") && !other.contains('\n'),
            "{other}"
        );
        fs::remove_file(&path).unwrap();
        let missing = learner.resume(&folder.0).unwrap_err().to_string();
        assert!(missing.contains(FILE), "{missing}");
        assert_eq!(bits(&learner), before);
    }
}
