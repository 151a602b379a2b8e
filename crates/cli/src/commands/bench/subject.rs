//! What is timed: a model of random weights, its prompts, and how long completions are.

use math::Key;
use model::{Config, Device, Dtype, LoraOptions, Trained, Transformer, Workload};
use policy::SamplingOptions;

use super::report::Fact;
use crate::arguments::{LengthsChoice, WorkArguments};
use crate::error::InputError;
use crate::machine::{self, Room};
use crate::plan::Memory;
use crate::range::some;

/// A policy to be timed.
pub(super) struct Subject {
    pub(super) policy: Transformer,
    /// The ids that end a completion; none where all are as long as they may be.
    pub(super) end_tokens: Vec<u32>,
    pub(super) lora: Option<LoraOptions>,
    /// What is planned for.
    pub(super) memory: Memory,
}

/// How much a bench computes at once.
pub(super) struct Planned {
    pub(super) workload: Workload,
    /// Whether a reference is kept beside what is trained; `None` where nothing is.
    pub(super) keeps_reference: Option<bool>,
}

/// Streams of the key that names the draws of a bench.
const WEIGHTS: u64 = 0;
const ADAPTERS: u64 = 1;
const PROMPTS: u64 = 2;
/// And of what is drawn by the sampler, or in its place.
pub(super) const DRAWS: u64 = 3;

/// So small that weights stay what they are.
pub(super) const LEARNING_RATE: f64 = 1e-6;

/// `−ln P(a completion is cut)` of the drawn lengths, at which their mean is 40 % of the most.
const ENDS: f64 = 2.23;

impl Subject {
    /// The model that the arguments name, before its first step.
    ///
    /// # Errors
    /// Where a number is out of range, or a card has less room than is planned for.
    pub(super) fn new(
        work: &WorkArguments,
        planned: impl FnOnce() -> Planned,
    ) -> Result<Self, InputError> {
        check(work)?;
        let refused = |error: &dyn std::error::Error| InputError::refused("--shape", error);
        let config = work.shape.config().map_err(|error| refused(&error))?;
        let (asked, context) = (work.new_tokens, config.context(work.prompt_tokens));
        if work.prompt_tokens.saturating_add(asked) > context {
            let key = "--prompt-tokens and --new-tokens";
            let found = format!("{} and {asked}", work.prompt_tokens);
            let expected = format!("at most {context} together, the context of this shape");
            return Err(InputError::Said(format!(
                "{key} are {found}; expected {expected}"
            )));
        }
        let end_tokens = match work.lengths {
            LengthsChoice::Maximum => Vec::new(),
            LengthsChoice::Drawn => end_tokens(config.vocabulary, asked),
        };
        // As the peer's.
        let lora = (work.lora > 0).then(|| LoraOptions::all_linear(work.lora));
        let memory = memory(&config, lora.as_ref(), &planned());
        let room = Room {
            bytes: memory.card_bytes,
            lower: "lower --prompts, --group or --new-tokens",
        };
        let device = machine::device(&work.machine, &room)?;
        let mut policy = Transformer::random(config, &device, Key::new(WEIGHTS));
        policy.set_end_tokens(&end_tokens);
        if let Some(lora) = &lora {
            let added = policy.add_adapter(lora, Key::new(ADAPTERS));
            added.map_err(|error| refused(&error))?;
        }
        Ok(Self {
            policy,
            end_tokens,
            lora,
            memory,
        })
    }

    /// The type that decoding reads weights in: a card's products take bfloat16 whatever is asked.
    pub(super) fn read_dtype(&self, asked: Dtype) -> Dtype {
        match self.policy.device() {
            Device::Cpu(_) => asked,
            Device::Cuda(_) => Dtype::Bf16,
        }
    }

    /// Prompts of random ids, the same for the same count.
    pub(super) fn prompts(&self, work: &WorkArguments, count: usize) -> Vec<Vec<u32>> {
        let vocabulary = self.policy.config().vocabulary;
        let prompt = |index| {
            let key = Key::new(PROMPTS).child(index as u64);
            let id = |at| key.below(at as u64, vocabulary) as u32;
            (0..work.prompt_tokens).map(id).collect()
        };
        (0..count).map(prompt).collect()
    }

    /// The probability that a token ends its completion, if all ids are equally likely.
    fn ending(&self) -> f64 {
        self.end_tokens.len() as f64 / self.policy.config().vocabulary as f64
    }

    /// The mean length of completions by the law that was asked for.
    pub(super) fn expected_length(&self, new_tokens: usize) -> f64 {
        let ending = self.ending();
        if ending > 0.0 {
            (1.0 - (1.0 - ending).powf(new_tokens as f64)) / ending
        } else {
            new_tokens as f64
        }
    }

    /// A length by that law, at a uniform draw of `[0, 1)`.
    pub(super) fn length(&self, uniform: f64, new_tokens: usize) -> usize {
        let ending = self.ending();
        if ending <= 0.0 {
            return new_tokens;
        }
        let failures = (1.0 - uniform).ln() / (1.0 - ending).ln();
        (1.0 + failures.min(new_tokens as f64)).min(new_tokens as f64) as usize
    }

    /// Peak of a card's memory, and what was planned for; neither on a processor.
    pub(super) fn card_memory(&self) -> Vec<Fact> {
        let Device::Cuda(card) = self.policy.device() else {
            return Vec::new();
        };
        let (peak, planned) = (card.peak_bytes(), self.memory.card_bytes);
        vec![
            Fact::new("card_peak_mib", "peak memory of the card, MiB", mib(peak)),
            Fact::new("card_planned_mib", "planned of the card, MiB", mib(planned)),
        ]
    }
}

/// As MiB.
pub(super) fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn memory(config: &Config, lora: Option<&LoraOptions>, planned: &Planned) -> Memory {
    let workload = &planned.workload;
    let trained = match (planned.keeps_reference, lora) {
        (None, _) => {
            return Memory {
                memory_bytes: config.sampling_bytes(workload),
                card_bytes: config.card_inference_bytes(workload),
            };
        }
        (Some(_), Some(lora)) => Trained::Lora(lora),
        (Some(keeps_reference), None) => Trained::Full { keeps_reference },
    };
    Memory::training(config, workload, trained)
}

/// All prompts and their completions, each as long as it may be.
pub(super) fn whole(work: &WorkArguments) -> Workload {
    let prompts = (0..work.prompts).map(|_| (work.prompt_tokens, work.group));
    let (prompt_tokens, rows) = (work.prompts * work.prompt_tokens, work.prompts * work.group);
    let computed_tokens = prompt_tokens + rows * work.new_tokens.saturating_sub(1);
    Workload::untrained(prompts, work.new_tokens, computed_tokens)
}

/// From every id that the model knows, at temperature 1.
pub(super) fn sampling(new_tokens: usize) -> SamplingOptions {
    SamplingOptions {
        temperature: 1.0,
        top_k: None,
        top_p: None,
        max_completion_length: new_tokens,
    }
}

fn check(work: &WorkArguments) -> Result<(), InputError> {
    some("--prompts", work.prompts)?;
    some("--group", work.group)?;
    some("--prompt-tokens", work.prompt_tokens)?;
    some("--new-tokens", work.new_tokens)?;
    some("--steps", work.steps)?;
    Ok(())
}

/// So many ids that a token is one of them with probability 2.23 over the most tokens. Random
/// weights draw nearly evenly from the vocabulary, so lengths follow a geometric law, cut there.
fn end_tokens(vocabulary: usize, new_tokens: usize) -> Vec<u32> {
    let count = (ENDS * vocabulary as f64 / new_tokens as f64).round();
    (0..(count.max(1.0) as u32).min(vocabulary as u32)).collect()
}
