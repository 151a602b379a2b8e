//! What training and sampling a model take at a batch.

use model::{Config, LoraOptions, Trained, Workload};

use crate::arguments::InspectArguments;

/// Memory of a model at a batch, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    /// Weights that LoRA trains.
    pub(super) adapters: usize,
    /// AdamW on all weights, with the frozen reference.
    pub(super) full: usize,
    /// AdamW on LoRA's.
    pub(super) lora: usize,
    /// Completions alone.
    pub(super) sample: usize,
}

/// What a model takes, of adapters on all linear modules at the rank that is asked for.
pub(super) fn memory(config: &Config, arguments: &InspectArguments) -> Memory {
    let InspectArguments {
        rows,
        tokens,
        prompt_tokens,
        rank,
        ..
    } = *arguments;
    let workload = Workload {
        computed_tokens: rows * (prompt_tokens + tokens),
        completions: rows,
        max_completion_length: tokens,
        prompt_tokens: rows * prompt_tokens,
        gradient_checkpointing: false,
        sampling_dtype: model::Dtype::F32,
    };
    let options = LoraOptions::all_linear(rank);
    let full = Trained::Full {
        keeps_reference: true,
    };
    Memory {
        adapters: config.lora_parameters(&options),
        full: config.training_bytes(&workload, full),
        lora: config.training_bytes(&workload, Trained::Lora(&options)),
        sample: config.sampling_bytes(&workload),
    }
}
