//! Supervised warm start: the likelihood of given completions is raised before rewards exist.
//!
//! The loss is a mean over all completion tokens of a step, so each slice of a batch knows its
//! gradient at once and runs forward and backward a single time.

use std::time::Instant;

use math::Key;
use policy::{Batch, Policy, PolicyError, Row};
use ranks::Ranks;
use record::{Position, RunFolder, StepRecord};

use crate::draws::ORDER;
use crate::failure::lost;
use crate::keep::{keep_due, keep_last_good};
use crate::metrics::named;
use crate::settings::require;
use crate::{Keeper, LastGood, Observer, Schedule, TrainError, Trained, order};

/// A completion to be imitated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Token ids of the rendered prompt; not empty.
    pub prefix: Vec<u32>,
    /// Token ids of the completion, the end token last; not empty.
    pub tokens_t: Vec<u32>,
}

/// How a supervised run goes.
#[derive(Clone, Debug, PartialEq)]
pub struct SftSettings {
    /// Names the order of the examples.
    pub seed: u64,
    /// Updates in all (TRL's `max_steps`).
    pub steps: usize,
    /// Examples of an update (TRL's `per_device_train_batch_size`, on one device).
    pub batch_size: usize,
    /// The top of the schedule.
    pub learning_rate: f64,
    /// The course of the learning rate.
    pub lr_scheduler_type: Schedule,
    /// Updates over which the learning rate rises from 0.
    pub warmup_steps: usize,
    /// A batch of more computed tokens is cut into slices; the gradient is the same.
    pub micro_batch_tokens: usize,
    /// The policy is kept every so many steps, and after the last; 0 keeps the last only.
    pub save_steps: usize,
}

/// Trains `policy` on the examples from a position on, whose parameters it has, and writes each
/// step to `run` before it is kept. A step that fails is as one of [`train`](crate::train), and so
/// are `ranks` that train together: each computes its share of a batch.
///
/// The loss is the mean negative log-probability of the completion tokens of a batch, in nats; the
/// prompt has none (TRL's `completion_only_loss`).
///
/// # Errors
/// Where the batch size does not fit the examples, the policy fails, a number is not finite, a rank
/// is lost, or the record or a checkpoint cannot be written.
pub fn sft<P: Policy>(
    policy: &mut P,
    examples: &[Example],
    settings: &SftSettings,
    mut position: Position,
    ranks: &Ranks,
    run: Option<&RunFolder>,
    keeper: &mut dyn Keeper<P>,
) -> Result<Trained, TrainError> {
    let (size, length) = (settings.batch_size, examples.len());
    require(
        (1..=length).contains(&size),
        "batch_size",
        size,
        format!("1 to {length}, the number of examples"),
    )?;
    let key = Key::new(settings.seed).child(ORDER);
    let saves = [settings.save_steps, settings.steps];
    for updates in position.global_step..settings.steps {
        let start = Instant::now();
        let drawn = order::batch(key, length, size, updates);
        let batch = batch(drawn.iter().map(|&index| &examples[index]));
        let completions = batch.rows.iter().map(|row| row.tokens_t.len());
        let read = completions
            .chain(batch.prefixes.iter().map(Vec::len))
            .sum::<usize>();
        let tokens = position.num_input_tokens_seen + read as u64;
        let made = step(policy, &batch, settings, updates, ranks, keeper);
        let [loss, grad_norm, learning_rate] = match made {
            Ok(figures) => figures,
            Err(failure) => return Err(keep_last_good(failure, policy, keeper, &position)),
        };
        let step_time = start.elapsed().as_secs_f64();
        let metrics = named(&[
            ("loss", loss),
            ("grad_norm", grad_norm),
            ("learning_rate", learning_rate),
            ("num_tokens", tokens as f64),
            ("step_time", step_time),
            (
                "update_tokens_per_second",
                batch.computed_tokens() as f64 / step_time,
            ),
        ]);
        let record = StepRecord {
            step: updates + 1,
            metrics: metrics.into_iter().collect(),
        };
        if let Some(run) = run {
            run.append_step(&record)?;
        }
        keeper.step(&record);
        position = Position {
            global_step: record.step,
            num_input_tokens_seen: tokens,
            pending_rollout: None,
        };
        if keep_due(policy, keeper, || position.clone(), record.step, saves)? {
            break;
        }
    }
    Ok(Trained {
        steps: position.global_step,
        tokens: position.num_input_tokens_seen,
    })
}

fn batch<'a>(examples: impl Iterator<Item = &'a Example>) -> Batch {
    let mut batch = Batch {
        prefixes: Vec::new(),
        rows: Vec::new(),
        temperature: 1.0,
    };
    for example in examples {
        batch.rows.push(Row {
            prefix: batch.prefixes.len(),
            tokens_t: example.tokens_t.clone(),
            reasoning: None,
        });
        batch.prefixes.push(example.prefix.clone());
    }
    batch
}

/// One update; its loss, the gradient's norm and the learning rate.
fn step(
    policy: &mut dyn Policy,
    batch: &Batch,
    settings: &SftSettings,
    updates: usize,
    ranks: &Ranks,
    observer: &mut dyn Observer,
) -> Result<[f64; 3], TrainError> {
    let (step, last_good) = (updates + 1, LastGood { updates });
    let failed = |source: PolicyError| TrainError::Policy {
        step,
        source,
        last_good,
    };
    let tokens: usize = batch.rows.iter().map(|row| row.tokens_t.len()).sum();
    let weight = -1.0 / tokens as f64;
    let own = &batch.shares(ranks.size())[ranks.rank()];
    let slices = own.batch.slices(settings.micro_batch_tokens);
    let mut loss = 0.0;
    for (done, slice) in slices.iter().enumerate() {
        observer.update(step, done, slices.len());
        let signals = policy.forward(&slice.batch).map_err(failed)?;
        loss += weight * signals.logprobs_nt.iter().flatten().sum::<f64>();
        let mut gradient = signals.zeros_like();
        gradient
            .logprobs_nt
            .iter_mut()
            .flatten()
            .for_each(|entry| *entry = weight);
        policy.backward(&gradient);
    }
    let mut sum = [loss];
    let summed = ranks.all_reduce(&mut sum);
    let summed = summed.and_then(|()| policy.sum_gradient(ranks));
    summed.map_err(|source| lost(step, source))?;
    let [loss] = sum;
    if !loss.is_finite() {
        return Err(TrainError::Loss {
            step,
            found: loss,
            last_good,
        });
    }
    let schedule = settings.lr_scheduler_type;
    let factor = schedule.factor(updates, settings.steps, settings.warmup_steps);
    let learning_rate = settings.learning_rate * factor;
    let grad_norm = policy.update(learning_rate).grad_norm;
    if !grad_norm.is_finite() {
        return Err(TrainError::Update {
            step,
            grad_norm,
            last_good,
        });
    }
    Ok([loss, grad_norm, learning_rate])
}
