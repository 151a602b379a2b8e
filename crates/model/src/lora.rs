//! LoRA: which modules have adapters, what they start from, and merging them into the weights.
//!
//! # Source
//! Hu et al., arXiv 2106.09685, section 4.1; names, scales and beginnings as in PEFT.

use math::Key;

use crate::decoder::{Adapter, Dropout, Packing, Part, Place, Projection, tensors};
use crate::{Config, ModelError, Transformer};

/// How adapters are shaped and trained; names of PEFT's `LoraConfig`.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraOptions {
    /// The rank; at least 1.
    pub r: usize,
    /// The adapters are scaled by `lora_alpha / r`.
    pub lora_alpha: f64,
    /// Share of an adapter's inputs that training drops, in `[0, 1)`.
    pub lora_dropout: f64,
    /// Which modules have adapters.
    pub target_modules: TargetModules,
    /// Scales by `lora_alpha / √r` instead (Kalajdzievski, arXiv 2312.03732, equation 4).
    pub use_rslora: bool,
}

/// Which modules have adapters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetModules {
    /// Every linear module of every layer; never the head.
    AllLinear,
    /// Those whose name is one of these or ends in a point and one of these.
    Named(Vec<String>),
}

/// A linear module of a layer: some columns of a projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its name, as `model.layers.0.self_attn.q_proj`.
    pub(crate) name: String,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) layer: usize,
    pub(crate) part: Part,
    pub(crate) column: usize,
    /// Its number among all modules that could be adapted.
    pub(crate) index: u64,
}

/// The adapters of a model: how they are trained, and the name of their draws.
#[derive(Clone, Debug)]
pub(crate) struct Lora {
    pub(crate) options: LoraOptions,
    key: Key,
}

/// Streams of the key that names the draws of adapters.
const WEIGHTS: u64 = 0;
const DROPOUT: u64 = 1;

impl LoraOptions {
    /// Adapters of this rank beside every linear module, scaled by 2 and without dropout.
    pub fn all_linear(r: usize) -> Self {
        Self {
            r,
            lora_alpha: 2.0 * r as f64,
            lora_dropout: 0.0,
            target_modules: TargetModules::AllLinear,
            use_rslora: false,
        }
    }

    /// Factor of an adapter's product.
    pub fn scale(&self) -> f64 {
        let rank = self.r as f64;
        self.lora_alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Names of the adapted modules without those of layers, as `q_proj`, each once.
    ///
    /// # Errors
    /// Where a target is no module of this model.
    pub fn module_names(&self, config: &Config) -> Result<Vec<String>, ModelError> {
        Ok(last_names(&self.modules(config)?))
    }

    /// The adapted modules of a model.
    ///
    /// # Errors
    /// Where a target is no module of this model.
    pub(crate) fn modules(&self, config: &Config) -> Result<Vec<Module>, ModelError> {
        let modules = modules(config);
        let TargetModules::Named(targets) = &self.target_modules else {
            return Ok(modules);
        };
        let missing = |target: &&String| !modules.iter().any(|module| module.is(target));
        if let Some(found) = targets.iter().find(missing) {
            return Err(ModelError::UnknownModule {
                found: found.clone(),
                known: last_names(&modules).join(", "),
            });
        }
        let adapted = |module: &Module| targets.iter().any(|target| module.is(target));
        Ok(modules.into_iter().filter(adapted).collect())
    }
}

impl Module {
    /// As PEFT matches a target: by the whole name or by its end.
    fn is(&self, target: &str) -> bool {
        let before = self.name.strip_suffix(target);
        before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    }

    /// The name without that of its layer.
    pub(crate) fn last_name(&self) -> &str {
        self.name.rsplit('.').next().unwrap_or(&self.name)
    }
}

/// Every linear module of every layer.
pub(crate) fn modules(config: &Config) -> Vec<Module> {
    let linear = tensors(config).into_iter().filter_map(|tensor| {
        let Place::Layer(layer, part) = tensor.place else {
            return None;
        };
        let &[outputs, inputs] = tensor.shape.as_slice() else {
            return None;
        };
        let name = tensor.name;
        Some(Module {
            name: name.strip_suffix(".weight").unwrap_or(&name).to_owned(),
            inputs,
            outputs,
            layer,
            part,
            column: tensor.column,
            index: 0,
        })
    });
    let numbered = |(index, module)| Module {
        index: index as u64,
        ..module
    };
    linear.enumerate().map(numbered).collect()
}

/// The last part of each module's name, each once.
fn last_names(modules: &[Module]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for name in modules.iter().map(Module::last_name) {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}

impl Transformer {
    /// Puts fresh adapters beside the weights, which are frozen from then on: `A` uniform in
    /// `±1/√in`, `B` zero, so that the model gives what it gave before.
    ///
    /// # Errors
    /// Where a target is no module of this model.
    ///
    /// # Panics
    /// If the model has adapters, or training has begun.
    ///
    /// # Source
    /// PEFT's `reset_lora_parameters`: Kaiming's uniform with `a = √5`.
    pub fn add_adapter(&mut self, options: &LoraOptions, key: Key) -> Result<(), ModelError> {
        let modules = options.modules(&self.config)?;
        let fill = |module: &Module| {
            let key = key.child(WEIGHTS).child(module.index);
            let bound = (module.inputs as f64).sqrt().recip();
            let draw = |at| (bound * (2.0 * key.uniform(at as u64) - 1.0)) as f32;
            let down = (0..module.inputs * options.r).map(draw).collect();
            (down, vec![0.0; options.r * module.outputs])
        };
        let fresh = modules.iter().map(fill).collect();
        self.attach(options, key, &modules, fresh);
        Ok(())
    }

    /// Adapters of these modules, `A` as `[in, r]` and `B` as `[r, out]`, row after row.
    pub(crate) fn attach(
        &mut self,
        options: &LoraOptions,
        key: Key,
        modules: &[Module],
        values: Vec<(Vec<f32>, Vec<f32>)>,
    ) {
        assert!(self.lora.is_none(), "a model has one adapter");
        self.expect_untrained("an adapter is added");
        let (device, rank) = (self.device().clone(), options.r);
        for (module, (down, up)) in modules.iter().zip(values) {
            let adapter = Adapter {
                down_ik: device.matrix(module.inputs, rank, down),
                up_ko: device.matrix(rank, module.outputs, up),
                scale: options.scale() as f32,
                column: module.column,
                index: module.index,
            };
            let layer = &mut self.parameters.layers[module.layer];
            layer.projection_mut(module.part).adapters.push(adapter);
        }
        let options = options.clone();
        self.lora = Some(Lora { options, key });
    }

    /// Adds the adapters to the weights, after which the model has none; nothing where it had none.
    ///
    /// # Panics
    /// If training has begun.
    pub fn merge_adapter(&mut self) {
        self.expect_untrained("an adapter is merged");
        for layer in &mut self.parameters.layers {
            layer
                .projections_mut()
                .into_iter()
                .for_each(Projection::merge);
        }
        self.lora = None;
    }

    /// How the model's adapters are trained; nothing where it has none.
    pub fn adapter(&self) -> Option<&LoraOptions> {
        self.lora.as_ref().map(|lora| &lora.options)
    }

    /// Numbers that training changes.
    pub fn trainable_parameters(&mut self) -> usize {
        let trained = self.parameters.trained_mut();
        trained.iter().map(|m| m.rows() * m.columns()).sum()
    }
}

impl Lora {
    /// Whether training drops entries.
    pub(crate) fn drops(&self) -> bool {
        self.options.lora_dropout > 0.0
    }

    /// The masks of a pass over these tokens after so many updates; nothing without dropout.
    ///
    /// A token's mask is a function of the update, the module and the tokens up to it: a batch that
    /// is run again, whole or in slices, meets the same ones.
    pub(crate) fn dropout(&self, packing: &Packing, updates: u64) -> Option<Dropout> {
        if !self.drops() {
            return None;
        }
        let names = packing.names(self.key.child(DROPOUT).child(updates));
        Some(Dropout {
            keys_n: names.into_iter().map(|name| name.bits(0)).collect(),
            probability: self.options.lora_dropout as f32,
        })
    }
}
