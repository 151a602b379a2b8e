//! `enigma bench update`: the policy's passes and its optimiser, on completions that are given.

use std::time::Instant;

use math::Key;
use model::{MachineRates, Pass, Workload};
use policy::{Batch, Policy, Row, Signals};
use serde_json::json;

use super::failed;
use super::lengths::lengths;
use super::report::{Fact, Part, Report};
use super::subject::{DRAWS, LEARNING_RATE, Planned, Subject, whole};
use super::watch::Watch;
use crate::arguments::{BenchUpdateArguments, WorkArguments};
use crate::commands::memory::peak_mib;
use crate::error::Failure;
use crate::terminal::Screen;

/// Seconds of one repetition: forward pass, backward pass, AdamW with clipping, all three.
type Round = [f64; 4];

/// Times updates, after one that is not counted.
///
/// # Errors
/// Where an argument is out of range, or a number of the model is not finite.
pub(super) fn update(
    arguments: &BenchUpdateArguments,
    launch: Instant,
    screen: &Screen,
) -> Result<(), Failure> {
    let work = &arguments.work;
    let checkpointing = arguments.gradient_checkpointing;
    let copies = if arguments.separate_prompts {
        work.group
    } else {
        1
    };
    let planned = || Planned {
        workload: Workload {
            computed_tokens: work.prompts * work.prompt_tokens * (copies - 1)
                + whole(work).computed_tokens,
            completions: 0,
            gradient_checkpointing: checkpointing,
            ..whole(work)
        },
        keeps_reference: Some(false),
    };
    let mut subject = Subject::new(work, planned)?;
    subject.policy.set_gradient_checkpointing(checkpointing);
    let batch = batch(&subject, arguments);
    let drawn: Vec<usize> = batch.rows.iter().map(|row| row.tokens_t.len()).collect();
    let count = work.steps + 1;
    let mut watch = Watch::new(screen, count, launch);
    let rounds: Result<Vec<Round>, Failure> = (0..count)
        .map(|index| round(&mut subject, &batch, index, count, &mut watch))
        .collect();
    let rounds = rounds?.split_off(1);
    let (peak, of_card) = (peak_mib(), subject.card_memory());
    watch.finish();
    let machine = MachineRates::measure(subject.policy.device());
    let tokens = batch.computed_tokens() as f64;
    let mut facts = lengths(&subject, work, &drawn, screen).to_vec();
    facts.extend([
        Fact::new("computed_tokens", "tokens computed", tokens),
        Fact::optional("peak_mib", "peak memory, MiB", peak),
    ]);
    facts.extend(of_card);
    let report = Report {
        work,
        settings: json!({
            "bench": "update",
            "separate_prompts": arguments.separate_prompts,
            "gradient_checkpointing": checkpointing,
        }),
        threads: subject.policy.device().threads(),
        parts: parts(&subject, work, &batch, &rounds),
        facts,
        machine,
    };
    report.print(screen)
}

/// Rows of random ids, of the lengths that are asked for.
fn batch(subject: &Subject, arguments: &BenchUpdateArguments) -> Batch {
    let work = &arguments.work;
    let vocabulary = subject.policy.config().vocabulary;
    let prompts = subject.prompts(work, work.prompts);
    let row = |index: usize| {
        let key = Key::new(DRAWS).child(index as u64);
        let id = |at| key.child(0).below(at as u64, vocabulary) as u32;
        let length = subject.length(key.child(1).uniform(0), work.new_tokens);
        Row {
            prefix: if arguments.separate_prompts {
                index
            } else {
                index / work.group
            },
            tokens_t: (0..length).map(id).collect(),
            reasoning: None,
        }
    };
    let copies = if arguments.separate_prompts {
        work.group
    } else {
        1
    };
    let prefixes = prompts.into_iter().flat_map(|prompt| vec![prompt; copies]);
    Batch {
        prefixes: prefixes.collect(),
        rows: (0..work.prompts * work.group).map(row).collect(),
        temperature: 1.0,
    }
}

fn round(
    subject: &mut Subject,
    batch: &Batch,
    index: usize,
    count: usize,
    watch: &mut Watch,
) -> Result<Round, Failure> {
    let policy = &mut subject.policy;
    let start = Instant::now();
    let signals = policy.forward(batch).map_err(failed)?;
    let forward = start.elapsed().as_secs_f64();
    policy.backward(&mean_gradient(&signals));
    policy.device().wait();
    let passes = start.elapsed().as_secs_f64();
    let grad_norm = policy.update(LEARNING_RATE).grad_norm;
    policy.device().wait();
    let whole = start.elapsed().as_secs_f64();
    if !grad_norm.is_finite() {
        return Err(failed(format!("the gradient's norm is {grad_norm}")));
    }
    let round = [forward, passes - forward, whole - passes, whole];
    let named: Vec<(&str, f64)> = NAMES.into_iter().zip(round).collect();
    watch.done(index + 1, count, &named);
    Ok(round)
}

/// Of the mean negative log-probability of all tokens.
fn mean_gradient(signals: &Signals) -> Signals {
    let mut gradient = signals.zeros_like();
    let entries: usize = signals.logprobs_nt.iter().map(Vec::len).sum();
    for entry in gradient.logprobs_nt.iter_mut().flatten() {
        *entry = -1.0 / entries as f64;
    }
    gradient
}

const NAMES: [&str; 4] = ["forward", "backward", "optimizer", "step"];

fn parts(subject: &Subject, work: &WorkArguments, batch: &Batch, rounds: &[Round]) -> Vec<Part> {
    let (config, lora) = (subject.policy.config(), subject.lora.as_ref());
    let length = |&row: &usize| batch.rows[row].tokens_t.len();
    let lengths_pg: Vec<Vec<usize>> = batch
        .rows_by_prefix()
        .iter()
        .map(|rows| rows.iter().map(length).collect())
        .collect();
    let pass = Pass::of_groups(work.prompt_tokens, &lengths_pg);
    let forward = config.forward_flops(&pass, lora);
    let whole = config.training_flops(&pass, lora);
    let flops = [Some(forward), Some(whole - forward), None, Some(whole)];
    let part = |(index, name): (usize, &'static str)| Part {
        name,
        seconds: rounds.iter().map(|round| round[index]).collect(),
        flops: flops[index].map_or_else(Vec::new, |flops| vec![flops; rounds.len()]),
    };
    NAMES.into_iter().enumerate().map(part).collect()
}
