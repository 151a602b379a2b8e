//! Weights as checkpoints store them: safetensors in and out.
//!
//! Everything is read as `f32`, one tensor at a time, so that opening a model needs no more memory
//! than the model and one tensor. A matrix lies as `[outputs, inputs]` in a file.

mod number;
mod read;
mod write;

pub use number::Dtype;
pub use read::Weights;
pub use write::write;

#[cfg(test)]
mod tests;
