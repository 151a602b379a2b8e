//! How much memory a run plans for, before its first step.
//!
//! A run holds the weights, moments and the reference, and the activations of its largest pass;
//! beside them, at one moment or another, what a rollout, a pass of the reference or an update
//! needs.

use crate::generation::{Capacity, LOGITS_MAX, PREFILL_TOKENS_MAX};
use crate::lora::{LoraOptions, Module};
use crate::{Config, Dtype, Rotation};

/// What a run computes at once.
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
    /// Whether the backward pass computes each layer again.
    pub gradient_checkpointing: bool,
    /// In which type completions are drawn; in another than `f32`, by a copy of the weights.
    pub sampling_dtype: Dtype,
}

impl Workload {
    /// Of a command that trains nothing: it draws completions of prompts, given as their tokens and
    /// how many are drawn of each, and scores so many tokens at once.
    pub fn untrained(
        prompts: impl IntoIterator<Item = (usize, usize)>,
        max_completion_length: usize,
        scored_tokens: usize,
    ) -> Self {
        let (mut lengths, counts): (Vec<_>, Vec<_>) = prompts.into_iter().unzip();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        Self {
            computed_tokens: scored_tokens,
            completions: counts.iter().sum(),
            max_completion_length,
            prompt_tokens: lengths.iter().take(Capacity::CARD.rows).sum(),
            gradient_checkpointing: false,
            sampling_dtype: Dtype::F32,
        }
    }
}

/// What a run trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trained<'a> {
    /// All weights, by AdamW.
    Full {
        /// Whether a frozen copy is kept to compare with.
        keeps_reference: bool,
    },
    /// Adapters of low rank, by AdamW. The frozen weights are their own reference.
    Lora(&'a LoraOptions),
}

const BYTES: usize = size_of::<f32>();
/// Two moments of each trained weight, which stay; its gradient goes with each update.
const MOMENTS: usize = 2;
/// Gradients in logits that the head's backward holds, where the rows are few enough.
const HEAD_VALUES: usize = 1 << 21;
/// Columns of these gradients at least.
const HEAD_COLUMNS_MIN: usize = 256;

impl Config {
    /// Bytes of weights and what is trained of them with gradients and AdamW's moments, of the
    /// reference, activations and caches, when all completions are as long as they may be.
    ///
    /// It counts buffers at their full size and nothing of the program around them (its code,
    /// text, records, optimal transport): some 20 to 60 MiB.
    ///
    /// # Panics
    /// If a target of LoRA is no module of this model.
    pub fn training_bytes(&self, workload: &Workload, trained: Trained) -> usize {
        let panels = match trained {
            Trained::Full { .. } if workload.sampling_dtype == Dtype::F32 => self.copied_values(),
            _ => 0,
        };
        self.training_bytes_within(workload, trained, Capacity::CPU, panels)
    }

    /// With so many values of weights in panels while completions are drawn.
    fn training_bytes_within(
        &self,
        workload: &Workload,
        trained: Trained,
        capacity: Capacity,
        panels: usize,
    ) -> usize {
        let tokens = workload.computed_tokens;
        let (weights, gradient, adapted) = match trained {
            Trained::Full { keeps_reference } => {
                let copies = 1 + usize::from(keeps_reference);
                (copies * self.parameters(), self.parameters(), 0)
            }
            Trained::Lora(options) => {
                let adapters = self.lora_parameters(options);
                let adapted = options.r * (self.adapted(options).len() + 1);
                (self.parameters() + adapters, adapters, adapted)
            }
        };
        let trace = tokens * self.trace_values(workload);
        let held = weights + MOMENTS * gradient + self.rope_values() + trace;
        let head = 2 * tokens * self.hidden_size + HEAD_VALUES.max(tokens * HEAD_COLUMNS_MIN);
        let update = gradient + tokens * (self.update_values() + adapted) + head;
        let scored = match trained {
            Trained::Full {
                keeps_reference: false,
            } => 0,
            _ => self.scoring_values(tokens),
        };
        let drawn = panels + self.rollout_values(workload, capacity);
        BYTES * (held + update.max(scored).max(drawn))
    }

    /// Bytes of an NVIDIA card that training takes: more is decoded at once than on a processor,
    /// and beside that there are the weights in bfloat16, the operands of the largest product as
    /// they are rounded, a chunk of logits and the products' own room. No card has been measured
    /// yet.
    pub fn card_training_bytes(&self, workload: &Workload, trained: Trained) -> usize {
        let copies = match trained {
            Trained::Full {
                keeps_reference: true,
            } => 2,
            _ => 1,
        };
        let values = self.training_bytes_within(workload, trained, Capacity::CARD, 0);
        values + self.card_scratch_bytes(workload, copies)
    }

    /// As [`card_training_bytes`](Self::card_training_bytes), of drawing and scoring alone.
    pub fn card_inference_bytes(&self, workload: &Workload) -> usize {
        let drawn = self.rollout_values(workload, Capacity::CARD);
        let scored = self.scoring_values(workload.computed_tokens);
        let held = self.parameters() + self.rope_values() + drawn.max(scored);
        BYTES * held + self.card_scratch_bytes(workload, 1)
    }

    fn card_scratch_bytes(&self, workload: &Workload, copies: usize) -> usize {
        let read = workload.prompt_tokens.min(PREFILL_TOKENS_MAX);
        let tokens = workload.computed_tokens.max(read);
        let operands = tokens * (3 * self.intermediate_size + self.hidden_size);
        let rounded = copies * self.parameters() + operands;
        size_of::<u16>() * rounded + kernel::scratch_bytes(workload.computed_tokens)
    }

    /// Bytes of weights and caches while completions are drawn and nothing is trained.
    pub fn sampling_bytes(&self, workload: &Workload) -> usize {
        let drawn = self.rollout_values(workload, Capacity::CPU);
        BYTES * (self.parameters() + self.rope_values() + drawn)
    }

    /// Weights that LoRA trains: `r · (in + out)` for each adapted module.
    ///
    /// # Panics
    /// If a target is no module of this model.
    ///
    /// # Source
    /// Hu et al., arXiv 2106.09685, section 4.1.
    pub fn lora_parameters(&self, options: &LoraOptions) -> usize {
        let adapted = self.adapted(options).into_iter();
        let sides = adapted.map(|module| module.inputs + module.outputs);
        options.r * sides.sum::<usize>()
    }

    fn adapted(&self, options: &LoraOptions) -> Vec<Module> {
        options.modules(self).expect("targets that the model has")
    }

    /// Sines and cosines of every position, for each rotation; where short sequences turn by other
    /// factors, theirs once more.
    fn rope_values(&self) -> usize {
        let values = |rotation: &Rotation| {
            let short = rotation.changes_at().unwrap_or(0);
            (self.max_position_embeddings + short) * rotation.entries
        };
        self.rotations.iter().map(values).sum()
    }

    /// Values of a pass of which no gradient is taken.
    fn scoring_values(&self, tokens: usize) -> usize {
        tokens * (self.layer_values() + self.pass_values() + self.hidden_size)
    }

    /// Values that training keeps for each token: those of layers, and input and output of the
    /// last norm.
    fn trace_values(&self, workload: &Workload) -> usize {
        let layers = if workload.gradient_checkpointing {
            self.layers * self.hidden_size + self.layer_values()
        } else {
            self.layers * self.layer_values()
        };
        layers + 2 * self.hidden_size
    }

    /// Values of an update for each token beside the trace: scratch, and the gradients in the
    /// activations that all layers share.
    fn update_values(&self) -> usize {
        let streams = 3 + usize::from(self.post_norms);
        let fused = (1 + usize::from(self.qk_norm)) * self.fused_columns();
        let columns = self.intermediate_size + self.query_columns() + fused;
        streams * self.hidden_size + columns + self.scratch_values()
    }

    fn scratch_values(&self) -> usize {
        self.hidden_size + self.intermediate_size
    }

    /// Values of a pass for each token beside those of layers: input and output of the last norm,
    /// and scratch.
    fn pass_values(&self) -> usize {
        2 * self.hidden_size + self.scratch_values()
    }

    /// Values that one layer keeps for each token.
    fn layer_values(&self) -> usize {
        let norms = 2;
        let raw = if self.qk_norm {
            self.fused_columns() + self.query_heads + self.key_value_heads
        } else {
            0
        };
        let posts = if self.post_norms { 2 } else { 0 };
        let streams = (2 + posts) * self.hidden_size + 2 * self.intermediate_size;
        streams + norms + self.fused_columns() + raw + self.query_columns() + self.query_heads
    }

    /// Keys and values of what is drawn at once, beside them the prefill or one step's logits.
    fn rollout_values(&self, workload: &Workload, capacity: Capacity) -> usize {
        let rows = workload.completions.min(capacity.rows);
        let slots = workload.prompt_tokens + rows * workload.max_completion_length;
        let columns = 2 * self.key_value_heads * self.head_size;
        let caches = (self.layers * slots * columns).min(capacity.cache_values);
        let logits = (rows * self.vocabulary).min(LOGITS_MAX.max(self.vocabulary));
        let read = workload.prompt_tokens.min(PREFILL_TOKENS_MAX);
        let prefill = read * (self.layer_values() + self.pass_values());
        self.rounded_values(workload.sampling_dtype) + caches + logits.max(prefill)
    }

    /// A rounded copy of the layers and the head, in values of four bytes.
    fn rounded_values(&self, sampling_dtype: Dtype) -> usize {
        match sampling_dtype {
            Dtype::F32 => 0,
            Dtype::Bf16 => self.copied_values().div_ceil(2),
        }
    }

    /// Values of the layers and the head.
    fn copied_values(&self) -> usize {
        let embedding = if self.tie_word_embeddings {
            0
        } else {
            self.vocabulary * self.hidden_size
        };
        self.parameters() - embedding
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
    use crate::{Family, Scaling, Shape, TargetModules};

    use super::*;

    const FULL: Trained = Trained::Full {
        keeps_reference: true,
    };

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

    fn workload(computed_tokens: usize, completions: usize) -> Workload {
        Workload {
            computed_tokens,
            completions,
            max_completion_length: 10,
            prompt_tokens: 0,
            gradient_checkpointing: false,
            sampling_dtype: Dtype::F32,
        }
    }

    #[test]
    fn what_is_trained_is_held_four_times_and_the_reference_once_more() {
        let config = config();
        let bytes = |trained| config.training_bytes(&workload(0, 0), trained);
        let bare = bytes(Trained::Full {
            keeps_reference: false,
        });
        assert_eq!(bytes(FULL) - bare, 4 * config.parameters());
        let options = |r| LoraOptions {
            r,
            lora_alpha: 1.0,
            lora_dropout: 0.0,
            target_modules: TargetModules::Named(vec!["q_proj".to_owned(), "down_proj".to_owned()]),
            use_rslora: false,
        };
        let idle = workload(0, 0);
        let adapters = |rank| config.training_bytes(&idle, Trained::Lora(&options(rank)));
        // Each layer has a q_proj of 8 by 8 and a down_proj of 8 by 16.
        let trained = config.lora_parameters(&options(3));
        assert_eq!(trained, 2 * 3 * (8 + 8 + 8 + 16));
        assert_eq!(adapters(6) - adapters(3), 4 * 4 * trained);
        assert_eq!(bare - adapters(0), 4 * 3 * config.parameters());
    }

    #[test]
    fn memory_grows_with_tokens_and_never_with_tokens_times_vocabulary() {
        let mut config = config();
        let bytes = |config: &Config, tokens| config.training_bytes(&workload(tokens, 4), FULL);
        let slope = bytes(&config, 20_001) - bytes(&config, 20_000);
        assert_eq!(
            bytes(&config, 21_000) - bytes(&config, 20_000),
            1000 * slope
        );
        config.vocabulary *= 10;
        assert_eq!(bytes(&config, 20_001) - bytes(&config, 20_000), slope);
    }

    #[test]
    fn angles_of_short_and_of_long_texts_both_count_and_only_of_entries_that_turn() {
        let mut config = config();
        let bytes = |config: &Config| config.sampling_bytes(&workload(0, 0));
        let before = bytes(&config);
        let rotation = &mut config.rotations[0];
        assert_eq!(rotation.entries, 4);
        rotation.entries = 2;
        rotation.scaling = Scaling::LongRope {
            short: vec![1.0],
            long: vec![2.0],
            original: 16,
            attention: 1.0,
        };
        assert_eq!(before - bytes(&config), 4 * (64 * 4 - (64 + 16) * 2));
    }

    #[test]
    fn drawing_in_bfloat16_holds_two_bytes_more_for_each_weight() {
        let config = config();
        let bytes = |sampling_dtype| {
            config.sampling_bytes(&Workload {
                sampling_dtype,
                ..workload(0, 4)
            })
        };
        let more = bytes(Dtype::Bf16) - bytes(Dtype::F32);
        assert!(
            config.tie_word_embeddings && more == 2 * config.parameters(),
            "{more}"
        );
    }

    #[test]
    fn caches_and_logits_stop_growing_at_the_limits_of_a_batch() {
        let config = config();
        let bytes = |completions| {
            config.sampling_bytes(&Workload {
                max_completion_length: 1 << 20,
                ..workload(0, completions)
            })
        };
        let Capacity { rows, cache_values } = Capacity::CPU;
        let largest = 4 * (cache_values + rows * config.vocabulary);
        assert_eq!(bytes(1 << 20) - bytes(0), largest);
    }

    #[test]
    fn what_trains_nothing_takes_less_of_a_card_than_what_does() {
        let config = config();
        let prompts = [(9, 4), (30, 1)];
        let workload = Workload::untrained(prompts, 10, 50);
        assert_eq!((workload.completions, workload.prompt_tokens), (5, 39));
        let bare = Trained::Full {
            keeps_reference: false,
        };
        let trained = config.card_training_bytes(&workload, bare);
        let drawn = config.card_inference_bytes(&workload);
        assert!(trained >= drawn + 3 * BYTES * config.parameters());
        assert!(drawn > config.sampling_bytes(&workload));
    }

    #[test]
    fn a_rollout_and_a_backward_pass_are_not_held_at_once() {
        let config = config();
        // Long enough that a rollout outweighs what the head's backward holds at least.
        let bytes = |tokens, completions| {
            let workload = Workload {
                max_completion_length: 1 << 12,
                ..workload(tokens, completions)
            };
            config.training_bytes(&workload, FULL)
        };
        let (rollout, pass) = (bytes(0, 400) - bytes(0, 0), bytes(9000, 0) - bytes(0, 0));
        assert!(bytes(9000, 400) - bytes(0, 0) < rollout + pass);
    }
}
