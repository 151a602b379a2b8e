//! What is timed: a model of random weights, its prompts, and how long completions are.

use math::Key;
use model::{Device, Dtype, LoraOptions, TargetModules, Trained, Transformer, Workload};
use policy::SamplingOptions;

use crate::arguments::{BenchGrpoArguments, LengthsChoice, WorkArguments};
use crate::error::InputError;
use crate::machine;
use crate::plan;
use crate::range::some;

/// A policy to be timed.
pub(super) struct Subject {
    pub(super) policy: Transformer,
    /// The ids that end a completion; none where all are as long as they may be.
    pub(super) end_tokens: Vec<u32>,
    pub(super) lora: Option<LoraOptions>,
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
    /// Where a number is out of range.
    pub(super) fn new(work: &WorkArguments) -> Result<Self, InputError> {
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
        let device = machine::device(&work.machine)?;
        let mut policy = Transformer::random(config, &device, Key::new(WEIGHTS));
        policy.set_end_tokens(&end_tokens);
        let lora = (work.lora > 0).then(|| lora(work.lora));
        if let Some(lora) = &lora {
            let added = policy.add_adapter(lora, Key::new(ADAPTERS));
            added.map_err(|error| refused(&error))?;
        }
        Ok(Self {
            policy,
            end_tokens,
            lora,
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

    /// MiB that the steps plan for, with all completions as long as they may be.
    pub(super) fn planned_mib(&self, arguments: &BenchGrpoArguments) -> f64 {
        let work = &arguments.work;
        let (completions, prompt_tokens) =
            (work.prompts * work.group, work.prompts * work.prompt_tokens);
        let computed = prompt_tokens + completions * (work.new_tokens - 1);
        let workload = Workload {
            computed_tokens: computed.min(arguments.micro_batch_tokens),
            completions,
            max_completion_length: work.new_tokens,
            prompt_tokens,
            gradient_checkpointing: arguments.gradient_checkpointing,
            sampling_dtype: plan::dtype(arguments.sampling_dtype),
        };
        let trained = match &self.lora {
            Some(lora) => Trained::Lora(lora),
            None => Trained::Full {
                keeps_reference: arguments.beta > 0.0,
            },
        };
        self.policy.config().training_bytes(&workload, trained) as f64 / f64::from(1 << 20)
    }
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

/// As the peer's: adapters of every linear module, scaled by 2.
fn lora(rank: usize) -> LoraOptions {
    LoraOptions {
        r: rank,
        lora_alpha: 2.0 * rank as f64,
        lora_dropout: 0.0,
        target_modules: TargetModules::AllLinear,
        use_rslora: false,
    }
}
