//! The transformer policy: models in and out of Hugging Face folders, text to ids and back, and
//! the decoder that samples, scores and learns.
//!
//! Legend: `n` packed tokens, `m` scored tokens, `r` rows, `d` hidden width, `v` vocabulary.
//! Only this crate names `kernel`. Start at [`Transformer`].

mod error;
mod source;

mod config;
mod tokenizer;
pub mod weights;

mod adapter_folder;
mod decoder;
mod generation;
mod learning;
mod lora;
mod machine;
mod memory;
mod optimizer;
mod probe;
mod shared;
mod store;
mod training_state;
mod transformer;
mod work;

mod inspect;

#[cfg(test)]
mod lora_parity;
#[cfg(test)]
mod parity;

pub use adapter_folder::AdapterFolder;
pub use config::{Config, Family, Gate, LayerKind, Rotation, Scaling, Shape};
pub use error::ModelError;
pub use inspect::Inspection;
pub use kernel::{Cuda, CudaError, CudaFault, CudaOptions, Device, Precision, on_card};
pub use lora::{LoraOptions, TargetModules};
pub use machine::MachineRates;
pub use memory::{Trained, Workload};
pub use optimizer::OptimizerOptions;
pub use shared::Sums;
pub use source::{Embedded, Source};
pub use tokenizer::{ChatTokenizer, PLAIN_TEMPLATE, TemplateFacts, TokenizerFacts};
pub use transformer::Transformer;
pub use weights::Dtype;
pub use work::Pass;
