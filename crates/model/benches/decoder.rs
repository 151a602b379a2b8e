//! Seconds of a training step and of decoding; the peer is `scripts/bench/torch_decoder.py`.
//!
//! `cargo bench -p model --bench decoder -- 25m` prints one JSON object. Without a shape, as under
//! `cargo test`, a tiny model runs through the same code.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use math::Key;
use model::{Config, Device, Family, Shape, Transformer};
use policy::{Batch, Policy, Request, Row, Sampler, SamplingOptions, Signals};

/// Name, then hidden, layers, heads, kv heads, intermediate, vocabulary.
const SHAPES: [(&str, [usize; 6]); 3] = [
    ("tiny", [16, 2, 2, 1, 24, 32]),
    ("3m", [192, 6, 6, 2, 512, 512]),
    ("25m", [512, 8, 8, 4, 1408, 4096]),
];

fn main() {
    let named = std::env::args()
        .skip(1)
        .find(|arg| SHAPES.iter().any(|(name, _)| name == arg));
    let name = named.as_deref().unwrap_or("tiny");
    let steps: usize = if name == "tiny" { 2 } else { 5 };
    let mut model = random(name);
    let decode_tokens_per_second = decode(&model, steps.div_ceil(2));
    let train_s = train(&mut model, steps);
    println!(
        "{{\"peer\": \"enigma\", \"shape\": \"{name}\", \"train_s\": {train_s:.4}, \
         \"decode_tokens_per_second\": {decode_tokens_per_second:.0}}}"
    );
}

fn random(name: &str) -> Transformer {
    let (_, shape) = SHAPES
        .iter()
        .find(|(known, _)| *known == name)
        .expect("a known shape");
    let [
        hidden_size,
        layers,
        query_heads,
        key_value_heads,
        intermediate_size,
        vocabulary,
    ] = *shape;
    let shape = Shape {
        family: Family::Llama,
        hidden_size,
        layers,
        query_heads,
        key_value_heads,
        intermediate_size,
        vocabulary,
        max_position_embeddings: 1024,
        eos_token_ids: Vec::new(),
    };
    let config = Config::fresh(&shape).expect("a shape of the table");
    Transformer::random(config, &Device::cpu(None), Key::new(0))
}

fn tokens(model: &Transformer, key: Key, count: u64) -> Vec<u32> {
    (0..count)
        .map(|i| key.below(i, model.config().vocabulary) as u32)
        .collect()
}

/// Median seconds of a step on 16 sequences of 128 tokens.
fn train(model: &mut Transformer, steps: usize) -> f64 {
    let sequences: Vec<Vec<u32>> = (0..16).map(|i| tokens(model, Key::new(i), 128)).collect();
    let row = |(prefix, ids): (usize, &Vec<u32>)| Row {
        prefix,
        tokens_t: ids[1..].to_vec(),
        reasoning: None,
    };
    let batch = Batch {
        prefixes: sequences.iter().map(|ids| ids[..1].to_vec()).collect(),
        rows: sequences.iter().enumerate().map(row).collect(),
        temperature: 1.0,
    };
    let gradient = Signals {
        logprobs_nt: vec![vec![-1.0 / (16.0 * 127.0); 127]; 16],
        points_nd: vec![vec![]; 16],
    };
    let mut means: Vec<f64> = Vec::new();
    let mut step = |model: &mut Transformer| {
        let start = Instant::now();
        let signals = model.forward(&batch).expect("the batch fits");
        model.backward(&gradient);
        model.update(1e-3);
        means.push(signals.logprobs_nt.iter().flatten().sum::<f64>());
        start.elapsed().as_secs_f64()
    };
    step(model);
    let seconds = median((0..steps).map(|_| step(model)).collect());
    assert!(
        means.is_sorted(),
        "each step on the same batch raises its likelihood: {means:?}"
    );
    seconds
}

/// Tokens a second of 16 prompts of 96 tokens with 128 new tokens each.
fn decode(model: &Transformer, repeats: usize) -> f64 {
    let request = |i| Request {
        prefix: tokens(model, Key::new(i), 96),
        count: 1,
        key: Key::new(i),
    };
    let requests: Vec<Request> = (0..16).map(request).collect();
    let options = SamplingOptions {
        temperature: 1.0,
        top_k: None,
        top_p: None,
        max_completion_length: 128,
    };
    let run = || {
        let start = Instant::now();
        let groups = model
            .sample(&requests, &options, &mut |_| {})
            .expect("the prompts fit");
        let drawn: usize = groups
            .iter()
            .flatten()
            .map(|sample| sample.tokens_t.len())
            .sum();
        assert_eq!(
            drawn,
            16 * 128,
            "a shape without end tokens draws to the limit"
        );
        start.elapsed().as_secs_f64()
    };
    run();
    16.0 * 128.0 / median((0..repeats).map(|_| run()).collect())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
