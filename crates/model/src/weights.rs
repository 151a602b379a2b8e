//! Weights as checkpoints store them: safetensors in and out.
//!
//! Everything is read as `f32`, a few rows at a time, so that opening a model needs no more memory
//! than the model and these. A matrix lies as `[outputs, inputs]` in a file.

mod number;
mod read;
mod write;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

pub use number::Dtype;
pub use read::Weights;
pub(crate) use write::write_file;
pub use write::{Written, write};

#[cfg(test)]
mod tests;
