//! Adapters in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::{Path, PathBuf};

use math::Key;
use serde_json::{Map, Value, json};

use crate::decoder::Adapter;
use crate::lora::{LoraOptions, Module, TargetModules, modules};
use crate::weights::{Dtype, Weights, write_file};
use crate::{ModelError, Source, Transformer};

const CONFIG: &str = "adapter_config.json";
pub(crate) const WEIGHTS: &str = "adapter_model.safetensors";
/// What PEFT puts before a module's name.
const PREFIX: &str = "base_model.model";

/// A folder that holds an adapter and names the model it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterFolder {
    /// Where it lies.
    pub folder: PathBuf,
    /// `base_model_name_or_path`, nothing where it names none.
    pub base: Option<String>,
    /// How its adapters are shaped, and how they were trained.
    pub options: LoraOptions,
}

impl AdapterFolder {
    /// Reads `adapter_config.json`; nothing where the folder has none.
    ///
    /// # Errors
    /// Where the file is not valid, or the adapter is of a kind that is not computed: then the
    /// error names the key.
    pub fn open(folder: &Path) -> Result<Option<Self>, ModelError> {
        let source = Source::Folder(folder.to_owned());
        let Some(config) = source.object(CONFIG)? else {
            return Ok(None);
        };
        refuse_others(&config)?;
        let text = |key| config.get(key).and_then(Value::as_str).map(str::to_owned);
        let r = number(&config, "r", 8.0, "a whole number from 1 to 65536", |r| {
            (1.0..=65536.0).contains(&r) && r.fract() == 0.0
        })?;
        let below_one = |p: f64| (0.0..1.0).contains(&p);
        let dropout = "a number in [0, 1)";
        let target_modules = match config.get("target_modules") {
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str);
                TargetModules::Named(names.map(str::to_owned).collect())
            }
            _ => TargetModules::AllLinear,
        };
        Ok(Some(Self {
            folder: folder.to_owned(),
            base: text("base_model_name_or_path"),
            options: LoraOptions {
                r: r as usize,
                lora_alpha: number(&config, "lora_alpha", 8.0, "a number", f64::is_finite)?,
                lora_dropout: number(&config, "lora_dropout", 0.0, dropout, below_one)?,
                target_modules,
                use_rslora: config.get("use_rslora") == Some(&Value::Bool(true)),
            },
        }))
    }
}

/// A number of the configuration, PEFT's default where it is absent.
fn number(
    config: &Map<String, Value>,
    key: &'static str,
    default: f64,
    expected: &'static str,
    is_valid: impl Fn(f64) -> bool,
) -> Result<f64, ModelError> {
    let Some(value) = config.get(key) else {
        return Ok(default);
    };
    let found = value.as_f64().filter(|&number| is_valid(number));
    found.ok_or_else(|| refused(key, value, expected))
}

fn refused(key: &'static str, value: &Value, expected: &'static str) -> ModelError {
    ModelError::AdapterValue {
        key,
        found: value.to_string(),
        expected,
    }
}

/// Keys of PEFT that change what an adapter computes or which weights it stands beside, and the one
/// value that is computed. Absent, null, false and empty values change nothing.
const PLAIN: [(&str, &str); 19] = [
    ("peft_type", "LORA"),
    ("bias", "none"),
    ("use_dora", "false"),
    ("use_qalora", "false"),
    ("use_bdlora", "null"),
    ("lora_bias", "false"),
    ("fan_in_fan_out", "false"),
    ("modules_to_save", "null"),
    ("rank_pattern", "{}"),
    ("alpha_pattern", "{}"),
    ("layer_replication", "null"),
    ("megatron_config", "null"),
    ("trainable_token_indices", "null"),
    ("target_parameters", "null"),
    ("alora_invocation_tokens", "null"),
    ("arrow_config", "null"),
    ("kasa_config", "null"),
    ("monteclora_config", "null"),
    ("velora_config", "null"),
];

/// Beginnings that leave the base as it was, so that the adapter stands beside it.
const BEGINNINGS: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

fn refuse_others(config: &Map<String, Value>) -> Result<(), ModelError> {
    for (key, expected) in PLAIN {
        let Some(value) = config.get(key) else {
            continue;
        };
        let is_plain = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            value => value.as_str() == Some(expected),
        };
        if !is_plain {
            return Err(refused(key, value, expected));
        }
    }
    match config.get("init_lora_weights") {
        Some(value @ Value::String(name)) if !BEGINNINGS.contains(&name.as_str()) => {
            let expected = "true, or the adapter converted by PEFT to stand beside the plain base";
            Err(refused("init_lora_weights", value, expected))
        }
        _ => Ok(()),
    }
}

impl Transformer {
    /// Puts the adapter of a folder beside the weights, which are frozen from then on; `key` names
    /// the draws of its dropout.
    ///
    /// # Errors
    /// Where the file is missing or damaged, holds a tensor that no module of this model has, or
    /// one of another shape.
    ///
    /// # Panics
    /// If the model has adapters, or training has begun.
    pub fn load_adapter(&mut self, adapter: &AdapterFolder, key: Key) -> Result<(), ModelError> {
        let weights = Weights::file(&adapter.folder, WEIGHTS)?;
        let mut adapted = modules(&self.config);
        adapted.retain(|module| weights.has(&tensor_name(module, "A")));
        let r = adapter.options.r;
        if adapted.is_empty() {
            let first = &modules(&self.config)[0];
            let (name, expected) = (tensor_name(first, "A"), vec![r, first.inputs]);
            return Err(ModelError::MissingTensor {
                name,
                expected,
                missing: 1,
                instead: None,
            });
        }
        let mut tensors = Vec::with_capacity(adapted.len());
        for module in &adapted {
            let down = weights.tensor(&tensor_name(module, "A"), &[r, module.inputs])?;
            let up = weights.tensor(&tensor_name(module, "B"), &[module.outputs, r])?;
            tensors.push((transposed(&down, module.inputs), transposed(&up, r)));
        }
        let names = adapted.iter().flat_map(|module| {
            let down = (tensor_name(module, "A"), vec![r, module.inputs]);
            [down, (tensor_name(module, "B"), vec![module.outputs, r])]
        });
        let names: Vec<(String, Vec<usize>)> = names.collect();
        weights.expect(
            names
                .iter()
                .map(|(name, shape)| (name.as_str(), &shape[..])),
        )?;
        self.attach(&adapter.options, key, &adapted, tensors);
        Ok(())
    }

    /// Writes the adapters as a folder that PEFT opens beside the model that `base` names.
    ///
    /// # Errors
    /// Where a file cannot be written.
    ///
    /// # Panics
    /// If the model has no adapters.
    pub fn save_adapter(&self, folder: &Path, base: &str, dtype: Dtype) -> Result<(), ModelError> {
        let options = self.adapter().expect("a model with adapters");
        let adapters: Vec<(Module, &Adapter)> = modules(&self.config)
            .into_iter()
            .filter_map(|module| Some((module.clone(), self.adapter_of(&module)?)))
            .collect();
        let entries = adapters.iter().flat_map(|(module, adapter)| {
            let [down, up] = [("A", &adapter.down_ik), ("B", &adapter.up_ko)];
            [down, up].map(|(side, matrix)| {
                let shape = vec![matrix.columns(), matrix.rows()];
                let values = || transposed(&matrix.to_vec(), matrix.columns());
                (tensor_name(module, side), shape, values)
            })
        });
        write_file(&folder.join(WEIGHTS), entries.collect(), dtype)?;
        let adapted: Vec<&Module> = adapters.iter().map(|(module, _)| module).collect();
        let config = config(options, base, &self.target_names(&adapted));
        let path = folder.join(CONFIG);
        let text = serde_json::to_string_pretty(&config).expect("JSON of plain values");
        std::fs::write(&path, text + "\n").map_err(|source| ModelError::Io { path, source })
    }

    fn adapter_of(&self, module: &Module) -> Option<&Adapter> {
        let layer = &self.parameters.layers[module.layer];
        let adapters = &layer.projection(module.part).adapters;
        adapters
            .iter()
            .find(|adapter| adapter.index == module.index)
    }

    /// Names by which PEFT finds these modules and no others: without their layer where every layer
    /// has them.
    fn target_names(&self, adapted: &[&Module]) -> Vec<String> {
        let name = |module: &&Module| {
            let same = |other: &&&Module| other.last_name() == module.last_name();
            let is_everywhere = adapted.iter().filter(same).count() == self.config.layers;
            if is_everywhere {
                module.last_name().to_owned()
            } else {
                module.name.clone()
            }
        };
        let mut names: Vec<String> = adapted.iter().map(name).collect();
        names.sort();
        names.dedup();
        names
    }
}

fn config(options: &LoraOptions, base: &str, target_modules: &[String]) -> Value {
    // PEFT's own files have a whole number here.
    let alpha = options.lora_alpha;
    let is_whole = alpha.fract() == 0.0 && alpha.abs() < 1e9;
    let lora_alpha = if is_whole {
        json!(alpha as i64)
    } else {
        json!(alpha)
    };
    json!({
        "base_model_name_or_path": base,
        "bias": "none",
        "fan_in_fan_out": false,
        "inference_mode": true,
        "init_lora_weights": true,
        "lora_alpha": lora_alpha,
        "lora_dropout": options.lora_dropout,
        "modules_to_save": null,
        "peft_type": "LORA",
        "r": options.r,
        "target_modules": target_modules,
        "task_type": "CAUSAL_LM",
        "use_dora": false,
        "use_rslora": options.use_rslora,
    })
}

pub(crate) fn tensor_name(module: &Module, side: &str) -> String {
    format!("{PREFIX}.{}.lora_{side}.weight", module.name)
}

/// Rows of this width as columns.
pub(crate) fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    let column = |at: usize| values[at..].iter().step_by(width).copied();
    (0..width).flat_map(column).collect()
}
