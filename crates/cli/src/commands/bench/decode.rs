//! `enigma bench decode`: the sampler alone.

use std::time::Instant;

use math::Key;
use model::{MachineRates, Pass, Workload};
use policy::{Request, Sampler};
use serde_json::json;

use super::failed;
use super::lengths::lengths;
use super::report::{Fact, Part, Report, median};
use super::subject::{DRAWS, Planned, Subject, sampling, whole};
use super::watch::Watch;
use crate::arguments::BenchDecodeArguments;
use crate::commands::memory::peak_mib;
use crate::error::Failure;
use crate::plan;
use crate::terminal::Screen;

/// Seconds of one repetition.
struct Round {
    lengths_pg: Vec<Vec<usize>>,
    /// Until the first token of each completion is drawn.
    prefill: f64,
    /// From there to the last token.
    decode: f64,
    whole: f64,
}

/// Times sampling, after one repetition that is not counted.
///
/// # Errors
/// Where an argument is out of range, or a number of the model is not finite.
pub(super) fn decode(
    arguments: &BenchDecodeArguments,
    launch: Instant,
    screen: &Screen,
) -> Result<(), Failure> {
    let work = &arguments.work;
    let dtype = plan::dtype(arguments.sampling_dtype);
    let planned = || Planned {
        workload: Workload {
            computed_tokens: 0,
            sampling_dtype: dtype,
            ..whole(work)
        },
        keeps_reference: None,
    };
    let mut subject = Subject::new(work, planned)?;
    subject.policy.set_sampling_dtype(dtype);
    let count = work.steps + 1;
    let mut watch = Watch::new(screen, count, launch);
    let rounds: Result<Vec<Round>, Failure> = (0..count)
        .map(|index| round(&subject, arguments, index, &mut watch))
        .collect();
    let rounds = rounds?.split_off(1);
    let (peak, of_card) = (peak_mib(), subject.card_memory());
    watch.finish();
    let machine = MachineRates::measure(subject.policy.device());
    let (config, lora) = (subject.policy.config(), subject.lora.as_ref());
    let dtype = subject.read_dtype(dtype);
    let read = rounds.iter().map(|round| {
        config.decode_bytes(work.prompt_tokens, &round.lengths_pg, lora, dtype) / round.decode
    });
    let read = median(&read.collect::<Vec<_>>());
    let drawn: Vec<usize> = rounds.iter().flat_map(|r| r.lengths_pg.concat()).collect();
    let rate = rounds.iter().map(|round| {
        let drawn: usize = round.lengths_pg.concat().iter().sum();
        drawn as f64 / round.whole
    });
    let rate = median(&rate.collect::<Vec<_>>());
    let mut facts = lengths(&subject, work, &drawn, screen).to_vec();
    facts.extend([
        Fact::new("new_tokens_per_s", "tokens drawn a second", rate),
        Fact::new(
            "decode_share_of_memory_bandwidth",
            "decoding's share of what can be read",
            read / machine.memory_bandwidth,
        ),
        Fact::optional(
            "launch_to_first_token_s",
            "launch to first token, s",
            watch.first_token(),
        ),
        Fact::optional("peak_mib", "peak memory, MiB", peak),
    ]);
    facts.extend(of_card);
    let report = Report {
        work,
        settings: json!({ "bench": "decode", "sampling_dtype": arguments.sampling_dtype }),
        threads: subject.policy.device().threads(),
        parts: parts(&subject, arguments, &rounds),
        facts,
        machine,
    };
    report.print(screen)
}

fn round(
    subject: &Subject,
    arguments: &BenchDecodeArguments,
    index: usize,
    watch: &mut Watch,
) -> Result<Round, Failure> {
    let work = &arguments.work;
    let request = |(prompt, prefix): (usize, Vec<u32>)| Request {
        prefix,
        count: work.group,
        key: Key::new(DRAWS).child(index as u64).child(prompt as u64),
    };
    let prompts = subject.prompts(work, work.prompts);
    let requests: Vec<Request> = prompts.into_iter().enumerate().map(request).collect();
    let start = Instant::now();
    let samples = subject
        .policy
        .sample(&requests, &sampling(work.new_tokens), &mut |progress| {
            watch.drawn(index, progress);
        })
        .map_err(failed)?;
    let whole = start.elapsed().as_secs_f64();
    let decode = watch.decode_seconds();
    let prefill = watch.first_draw(start);
    let parts = [("prefill", prefill), ("decode", decode), ("step", whole)];
    watch.done(index + 1, work.steps + 1, &parts);
    let lengths = |group: &Vec<policy::Sample>| group.iter().map(|s| s.tokens_t.len()).collect();
    Ok(Round {
        lengths_pg: samples.iter().map(lengths).collect(),
        prefill,
        decode,
        whole,
    })
}

fn parts(subject: &Subject, arguments: &BenchDecodeArguments, rounds: &[Round]) -> Vec<Part> {
    let (config, lora) = (subject.policy.config(), subject.lora.as_ref());
    let work = &arguments.work;
    // The first token of every completion is drawn from what the prompts gave.
    let first = vec![vec![1; work.group]; work.prompts];
    let prefill = config.forward_flops(&Pass::of_groups(work.prompt_tokens, &first), lora);
    let whole = |round: &Round| {
        let pass = Pass::of_groups(work.prompt_tokens, &round.lengths_pg);
        config.forward_flops(&pass, lora)
    };
    let part = |name, seconds: fn(&Round) -> f64, flops: &dyn Fn(&Round) -> f64| Part {
        name,
        seconds: rounds.iter().map(seconds).collect(),
        flops: rounds.iter().map(flops).collect(),
    };
    vec![
        part("prefill", |round| round.prefill, &|_| prefill),
        part("decode", |round| round.decode, &|round| {
            whole(round) - prefill
        }),
        part("step", |round| round.whole, &whole),
    ]
}
