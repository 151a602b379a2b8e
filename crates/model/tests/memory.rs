//! Planned memory against the measured peak; alone in its process, for the peak is the process's.

use std::fs;

use math::Key;
use model::{Config, Device, Family, Shape, Trained, Transformer, Workload};
use policy::{Batch, Policy, Request, Row, Sampler, SamplingOptions, Signals};

/// How far the plan may be from the peak, as a share of the peak.
const ERROR_MAX: f64 = 0.15;

/// About 25 million weights, or as many as nano has.
fn shape(is_large: bool) -> Shape {
    let (hidden_size, layers, vocabulary) = if is_large {
        (512, 6, 8192)
    } else {
        (128, 6, 1024)
    };
    Shape {
        family: Family::Llama,
        hidden_size,
        layers,
        query_heads: 4,
        key_value_heads: 2,
        intermediate_size: 3 * hidden_size,
        vocabulary,
        max_position_embeddings: 512,
        eos_token_ids: vec![0],
    }
}

const GROUPS: usize = 4;
const COMPLETIONS: usize = 8;
const PROMPT_TOKENS: usize = 100;
const COMPLETION_TOKENS: usize = 128;

/// A rollout and an update on it, as a step of training has them, and another rollout.
fn step(model: &mut Transformer) {
    model.keep_reference();
    let prefix = |group: usize| {
        (0..PROMPT_TOKENS)
            .map(|at| 1 + (group + at) as u32 % 500)
            .collect()
    };
    let prefixes: Vec<Vec<u32>> = (0..GROUPS).map(prefix).collect();
    let request = |(group, prefix): (usize, &Vec<u32>)| Request {
        prefix: prefix.clone(),
        count: COMPLETIONS,
        key: Key::new(1).child(group as u64),
    };
    let requests: Vec<Request> = prefixes.iter().enumerate().map(request).collect();
    let options = SamplingOptions {
        temperature: 1.0,
        top_k: None,
        top_p: None,
        max_completion_length: COMPLETION_TOKENS,
    };
    // No id ends a completion, so that all are as long as they may be.
    model.set_end_tokens(&[]);
    for _ in 0..2 {
        let drawn = model
            .sample(&requests, &options, &mut |_| ())
            .expect("finite");
        let rows = drawn.into_iter().enumerate().flat_map(|(prefix, samples)| {
            samples.into_iter().map(move |sample| Row {
                prefix,
                tokens_t: sample.tokens_t,
                reasoning: None,
            })
        });
        let batch = Batch {
            prefixes: prefixes.clone(),
            rows: rows.collect(),
            temperature: 1.0,
        };
        model.reference_signals(&batch).expect("finite");
        let signals = model.forward(&batch).expect("finite");
        model.backward(&Signals {
            logprobs_nt: signals
                .logprobs_nt
                .iter()
                .map(|row| vec![1e-3; row.len()])
                .collect(),
            points_nd: signals.points_nd,
        });
        model.update(1e-4);
    }
}

fn resident_peak() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024.0 * kib)
}

#[test]
fn planned_memory_is_near_the_measured_peak() {
    let sizes = if std::env::var_os("SLOW_TESTS").is_some() {
        vec![false, true]
    } else {
        eprintln!("the model of 25 million weights is skipped: SLOW_TESTS is not set");
        vec![false]
    };
    let workload = Workload {
        gradient_checkpointing: false,
        computed_tokens: GROUPS * PROMPT_TOKENS + GROUPS * COMPLETIONS * COMPLETION_TOKENS,
        completions: GROUPS * COMPLETIONS,
        max_completion_length: COMPLETION_TOKENS,
        prompt_tokens: GROUPS * PROMPT_TOKENS,
    };
    for is_large in sizes {
        let config = Config::fresh(&shape(is_large)).expect("a valid shape");
        let trained = Trained::Full {
            keeps_reference: true,
        };
        let planned = config.training_bytes(&workload, trained) as f64;
        // Sets the peak back to what is resident now: proc_pid_clear_refs(5).
        let reset = fs::write("/proc/self/clear_refs", "5");
        let before = resident_peak().filter(|_| reset.is_ok());
        step(&mut Transformer::random(
            config,
            &Device::cpu(Some(2)),
            Key::new(7),
        ));
        let (Some(before), Some(peak)) = (before, resident_peak()) else {
            eprintln!("skipped: this system tells no peak of memory");
            return;
        };
        let (measured, mib) = (peak - before, f64::from(1 << 20));
        let (shown, found) = (planned / mib, measured / mib);
        eprintln!("planned {shown:.1} MiB, measured {found:.1} MiB");
        let error = (planned - measured).abs() / measured;
        assert!(
            error < ERROR_MAX,
            "planned {shown:.1} MiB, measured {found:.1} MiB"
        );
    }
}
