//! How much memory a training run plans for, before its first step.

use crate::Config;
use crate::generation::{LOGITS_MAX, PREFILL_TOKENS_MAX, WAVE_CACHE_VALUES_MAX, WAVE_ROWS_MAX};

/// What a run holds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Tokens of a batch or slice, each prefix counted once.
    pub computed_tokens: usize,
    /// Completions drawn in one rollout.
    pub completions: usize,
    /// The most tokens of a completion.
    pub max_completion_length: usize,
    /// Tokens of all prompts of one rollout.
    pub prompt_tokens: usize,
}

const BYTES: usize = size_of::<f32>();
/// Weights, reference, gradient and two moments.
const WEIGHT_COPIES: usize = 5;

impl Config {
    /// Bytes of weights, the reference's, gradients, AdamW's moments, activations and caches of a
    /// run that trains all weights.
    ///
    /// Counts every buffer of the passes at its full size and nothing of the program around them
    /// (text, records, optimal transport): a measured peak is some 100 MiB above it.
    pub fn training_bytes(&self, workload: &Workload) -> usize {
        let weights = WEIGHT_COPIES * self.parameters();
        let passes = workload.computed_tokens * self.values_per_token();
        // Reading the reference takes a trace of one layer, beside that of all layers.
        let scored = workload.computed_tokens * (self.layer_values() + 4 * self.hidden_size);
        BYTES * (weights + passes + scored + self.rollout_values(workload))
    }

    /// Values that a training pass holds for each token: the trace, gradients in the activations
    /// that all layers share, and hidden states gathered for the head with their gradient.
    fn values_per_token(&self) -> usize {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let trace = self.layers * self.layer_values() + 2 * hidden;
        let scratch = hidden + inner;
        let gradients = 4 * hidden + 3 * inner + self.query_columns() + 2 * self.fused_columns();
        trace + scratch + gradients + 2 * hidden
    }

    /// Values that one layer keeps for each token.
    fn layer_values(&self) -> usize {
        let raw = if self.qk_norm {
            self.fused_columns()
        } else {
            0
        };
        let posts = if self.post_norms { 2 } else { 0 };
        let streams = (2 + posts) * self.hidden_size + 2 * self.intermediate_size;
        streams + self.fused_columns() + raw + self.query_columns() + self.query_heads
    }

    /// Keys and values of a wave of completions, one step's logits, and the prefill.
    fn rollout_values(&self, workload: &Workload) -> usize {
        let rows = workload.completions.min(WAVE_ROWS_MAX);
        let slots = workload.prompt_tokens + rows * workload.max_completion_length;
        let columns = 2 * self.key_value_heads * self.head_size;
        let caches = (self.layers * slots * columns).min(WAVE_CACHE_VALUES_MAX);
        let logits = (rows * self.vocabulary).min(LOGITS_MAX.max(self.vocabulary));
        let prefill = workload.prompt_tokens.min(PREFILL_TOKENS_MAX) * self.layer_values();
        caches + logits + prefill
    }

    fn query_columns(&self) -> usize {
        self.query_heads * self.head_size
    }

    fn fused_columns(&self) -> usize {
        self.query_columns() + 2 * self.key_value_heads * self.head_size
    }
}

#[cfg(test)]
mod tests {
    use crate::{Family, Shape};

    use super::*;

    fn config() -> Config {
        Config::fresh(&Shape {
            family: Family::Llama,
            hidden_size: 8,
            layers: 2,
            query_heads: 2,
            key_value_heads: 1,
            intermediate_size: 16,
            vocabulary: 32,
            max_position_embeddings: 64,
            eos_token_ids: vec![1],
        })
        .expect("a valid shape")
    }

    #[test]
    fn memory_is_the_weights_times_their_copies_where_nothing_is_computed() {
        let idle = Workload {
            computed_tokens: 0,
            completions: 0,
            max_completion_length: 0,
            prompt_tokens: 0,
        };
        let config = config();
        assert_eq!(config.training_bytes(&idle), 4 * 5 * config.parameters());
    }

    #[test]
    fn memory_grows_with_tokens_and_never_with_tokens_times_vocabulary() {
        let mut config = config();
        let bytes = |config: &Config, computed_tokens| {
            config.training_bytes(&Workload {
                computed_tokens,
                completions: 4,
                max_completion_length: 10,
                prompt_tokens: 20,
            })
        };
        let slope = bytes(&config, 101) - bytes(&config, 100);
        assert_eq!(bytes(&config, 1100) - bytes(&config, 100), 1000 * slope);
        config.vocabulary *= 10;
        assert_eq!(bytes(&config, 101) - bytes(&config, 100), slope);
    }

    #[test]
    fn caches_and_logits_stop_growing_at_the_limits_of_a_wave() {
        let config = config();
        let bytes = |completions| {
            config.training_bytes(&Workload {
                computed_tokens: 0,
                completions,
                max_completion_length: 1 << 20,
                prompt_tokens: 0,
            })
        };
        let largest = 4 * (WAVE_CACHE_VALUES_MAX + WAVE_ROWS_MAX * config.vocabulary);
        assert_eq!(bytes(1 << 20) - bytes(0), largest);
    }
}
