//! What a checkpoint holds beside a model, so that training goes on from it to the bit.
//!
//! `optimizer.safetensors` has, in float32 and under the names of PyTorch's flattened optimiser
//! state, `state.{parameter}.exp_avg` and `state.{parameter}.exp_avg_sq` for each parameter, and
//! the number of updates as `step`. Where `model.safetensors` rounds the weights, they stand here
//! once more as they are, as `weights.{parameter}`.

use std::path::Path;

use crate::adapter_folder::{WEIGHTS, tensor_name, transposed};
use crate::decoder::{Adapter, Parameters, Tensor, tensors};
use crate::lora::{LoraOptions, modules};
use crate::optimizer::Optimizer;
use crate::store::{named, read, take};
use crate::weights::{Dtype, Weights, write_file};
use crate::{Config, ModelError, Source, Transformer};

const FILE: &str = "optimizer.safetensors";
const STEP: &str = "step";
const MOMENTS: [&str; 2] = ["exp_avg", "exp_avg_sq"];

/// A tensor to be written: name, shape, and what gives its values.
type Entry<'a> = (String, Vec<usize>, Box<dyn FnOnce() -> Vec<f32> + 'a>);

impl Config {
    /// Bytes of the numbers in a checkpoint whose weights, or adapters where there are any, are
    /// stored as `stored`: the weights, two moments of each, and where they are rounded the exact
    /// ones. The headers' and the tokenizer's come to this.
    ///
    /// # Panics
    /// If a target of LoRA is no module of this model.
    pub fn checkpoint_bytes(&self, lora: Option<&LoraOptions>, stored: Dtype) -> usize {
        let trained = lora.map_or_else(|| self.parameters(), |lora| self.lora_parameters(lora));
        let exact = usize::from(stored != Dtype::F32);
        trained * (stored.width() + (MOMENTS.len() + exact) * Dtype::F32.width())
    }
}

impl Transformer {
    /// Writes the optimiser's state into the folder of a checkpoint whose weights are
    /// [`save`](Self::save)d as `stored`. Before the first update all moments are 0.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn save_training(&self, folder: &Path, stored: Dtype) -> Result<(), ModelError> {
        if self.adapter().is_some() {
            return self.save_adapter_training(folder, stored);
        }
        let (table, optimizer) = (tensors(&self.config), self.optimizer());
        let steps = optimizer.map_or(0, Optimizer::steps) as f32;
        let mut entries: Vec<Entry> =
            vec![(STEP.to_owned(), Vec::new(), Box::new(move || vec![steps]))];
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
        write_file(&folder.join(FILE), entries, Dtype::F32)
    }

    /// Takes training up again from a checkpoint of this model: weights, moments and the number of
    /// updates, to the bit. The reference and the optimiser's options stay as they are.
    ///
    /// # Errors
    /// Where a file is missing or damaged, a tensor has another shape or a number is not finite;
    /// nothing is changed then.
    pub fn resume(&mut self, folder: &Path) -> Result<(), ModelError> {
        if self.adapter().is_some() {
            return self.resume_adapter(folder);
        }
        let (config, device) = (&self.config, self.device().clone());
        let state = Weights::file(folder, FILE)?;
        let table = tensors(config);
        let is_exact_here = state.has(&exact_name(&table[0].name));
        let names = names(&table, is_exact_here);
        state.expect(names.iter().map(|(name, shape)| (name.as_str(), *shape)))?;
        let parameters = if is_exact_here {
            read(&state, config, &device, exact_name)?
        } else {
            let weights = Weights::open(&Source::Folder(folder.to_owned()), config)?;
            weights.expect(named(&table))?;
            read(&weights, config, &device, str::to_owned)?
        };
        let [first, second] =
            MOMENTS.map(|moment| read(&state, config, &device, |name| moment_name(name, moment)));
        let moments = [first?, second?];
        let step = state.tensor(STEP, &[])?[0];
        self.parameters = parameters;
        self.restore(moments, step as u64);
        Ok(())
    }

    /// As [`save_training`](Self::save_training), of what is trained beside frozen weights.
    fn save_adapter_training(&self, folder: &Path, stored: Dtype) -> Result<(), ModelError> {
        let (names, optimizer) = (self.adapter_names(), self.optimizer());
        let step = vec![optimizer.map_or(0, Optimizer::steps) as f32];
        let mut entries = vec![(STEP.to_owned(), Vec::new(), step)];
        let mut add = |name: &dyn Fn(&str) -> String, values: Vec<Vec<f32>>| {
            let named = names.iter().zip(values);
            entries.extend(
                named.map(|((tensor, shape), values)| (name(tensor), shape.to_vec(), values)),
            );
        };
        for (index, moment) in MOMENTS.into_iter().enumerate() {
            let zeros = names
                .iter()
                .map(|(_, [rows, columns])| vec![0.0; rows * columns]);
            let kept = optimizer.map(|optimizer| adapter_values(optimizer.moments()[index]));
            let values = kept.unwrap_or_else(|| zeros.collect());
            add(&|tensor: &str| moment_name(tensor, moment), values);
        }
        if stored != Dtype::F32 {
            add(&exact_name, adapter_values(&self.parameters));
        }
        let entries = entries
            .into_iter()
            .map(|(name, shape, values)| (name, shape, move || values));
        write_file(&folder.join(FILE), entries.collect(), Dtype::F32)
    }

    /// As [`resume`](Self::resume), of what is trained beside frozen weights.
    fn resume_adapter(&mut self, folder: &Path) -> Result<(), ModelError> {
        let names = self.adapter_names();
        let read = |weights: &Weights, name: &dyn Fn(&str) -> String| {
            let one = |(tensor, shape): &(String, [usize; 2])| {
                let values = weights.tensor(&name(tensor), shape)?;
                Ok(transposed(&values, shape[1]))
            };
            names
                .iter()
                .map(one)
                .collect::<Result<Vec<_>, ModelError>>()
        };
        let state = Weights::file(folder, FILE)?;
        let values = if state.has(&exact_name(&names[0].0)) {
            read(&state, &exact_name)?
        } else {
            read(&Weights::file(folder, WEIGHTS)?, &str::to_owned)?
        };
        let mut moments = [self.parameters.gradient(), self.parameters.gradient()];
        for (moment, name) in moments.iter_mut().zip(MOMENTS) {
            let kept = read(&state, &|tensor: &str| moment_name(tensor, name))?;
            put(moment, &kept);
        }
        let step = state.tensor(STEP, &[])?[0];
        put(&mut self.parameters, &values);
        self.restore(moments, step as u64);
        Ok(())
    }

    /// PEFT's name and shape of every matrix of the adapters, in the order in which they are
    /// trained.
    fn adapter_names(&self) -> Vec<(String, [usize; 2])> {
        let (modules, rank) = (modules(&self.config), self.parameters.rank());
        let named = |adapter: &Adapter| {
            let module = &modules[adapter.index as usize];
            let sides = [("A", [rank, module.inputs]), ("B", [module.outputs, rank])];
            sides.map(|(side, shape)| (tensor_name(module, side), shape))
        };
        self.parameters.adapters().flat_map(named).collect()
    }
}

/// The matrices of the adapters as PEFT stores them.
fn adapter_values(parameters: &Parameters) -> Vec<Vec<f32>> {
    let matrices = parameters.adapters().flat_map(|a| [&a.down_ik, &a.up_ko]);
    matrices
        .map(|matrix| transposed(&matrix.to_vec(), matrix.columns()))
        .collect()
}

/// Overwrites the matrices of the adapters.
fn put(parameters: &mut Parameters, values: &[Vec<f32>]) {
    let matrices = parameters.trained_mut().into_iter().zip(values);
    matrices.for_each(|(matrix, values)| matrix.write(values));
}

fn values(of: Option<&Parameters>, tensor: &Tensor) -> Vec<f32> {
    match of {
        Some(parameters) => take(parameters, tensor),
        None => vec![0.0; tensor.shape.iter().product()],
    }
}

/// Name and shape of every tensor of the file.
fn names(table: &[Tensor], is_exact_here: bool) -> Vec<(String, &[usize])> {
    let step: (String, &[usize]) = (STEP.to_owned(), &[]);
    let mut names = vec![step];
    for Tensor { name, shape, .. } in table {
        names.extend(MOMENTS.map(|moment| (moment_name(name, moment), &shape[..])));
        names.extend(is_exact_here.then(|| (exact_name(name), &shape[..])));
    }
    names
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
    use policy::{Batch, Policy, Row};

    use super::*;

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

    fn model(family: &str) -> Transformer {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let source = Source::Folder(folder.join("tests/fixtures").join(family));
        let mut model = Transformer::open(&source, &Device::cpu(Some(2))).unwrap();
        model.grow_vocabulary(model.config().vocabulary + 1);
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
    fn a_checkpoint_takes_the_bytes_that_are_planned_for_it() {
        for dtype in [Dtype::F32, Dtype::Bf16] {
            let folder = Folder::new(&format!("bytes-{}", dtype.name()));
            let mut learner = model("qwen3");
            train(&mut learner, 0..1);
            save(&learner, &folder, dtype);
            let numbers = |file: &str| {
                let bytes = fs::read(folder.0.join(file)).unwrap();
                let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
                bytes.len() - 8 - header
            };
            // But for the one number of the steps.
            let found = numbers("model.safetensors") + numbers(FILE) - 4;
            assert_eq!(found, learner.config().checkpoint_bytes(None, dtype));
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
