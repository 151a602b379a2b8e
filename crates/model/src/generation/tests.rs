//! Sampling: what is drawn does not depend on what is drawn beside it, nor on where it lies.

use math::Key;
use policy::{Batch, Policy, Request, Row, Sample, Sampler, SamplingOptions, Scorer};

use super::Kept;
use super::batch::{Decoding, Limits};
use crate::decoder::{Copied, CopyKind, Packing, Scratch, Trace};
use crate::parity::{FAMILIES, largest_difference, open};
use crate::{Dtype, Transformer};

const OPTIONS: SamplingOptions = SamplingOptions {
    temperature: 0.8,
    top_k: None,
    top_p: None,
    max_completion_length: 20,
};

fn requests(vocabulary: usize) -> Vec<Request> {
    let key = Key::new(4);
    let token = |request: u64, at: u64| key.child(request).below(at, vocabulary) as u32;
    let request = |(i, (length, count)): (u64, &(u64, usize))| Request {
        prefix: (0..*length).map(|at| token(i, at)).collect(),
        count: *count,
        key: Key::new(i),
    };
    let shapes = [(9, 4), (3, 0), (14, 1), (1, 7), (6, 5)];
    (0..).zip(&shapes).map(request).collect()
}

/// A model whose completions end at different lengths.
fn ending() -> Transformer {
    let (mut model, _) = open("llama");
    let vocabulary = model.config().vocabulary as u32;
    model.set_end_tokens(&(0..vocabulary / 8).collect::<Vec<_>>());
    model
}

fn within(model: &Transformer, requests: &[Request], limits: Limits) -> Vec<Vec<Sample>> {
    let mut decoding = Decoding::new(model, None, requests, &OPTIONS, limits, None);
    while decoding.step().unwrap() {}
    decoding.finish().0
}

#[test]
fn completions_do_not_depend_on_how_many_are_drawn_at_once() {
    let model = ending();
    let requests = requests(model.config().vocabulary);
    let expected = model.sample(&requests, &OPTIONS, &mut |_| {}).unwrap();
    let counts: Vec<usize> = expected.iter().map(Vec::len).collect();
    assert_eq!(counts, [4, 0, 1, 7, 5]);
    let lengths = |groups: &[Vec<Sample>]| -> Vec<usize> {
        groups.iter().flatten().map(|s| s.tokens_t.len()).collect()
    };
    let ended = lengths(&expected).iter().filter(|n| **n < 20).count();
    assert!(ended > 5, "{ended} of 17 end early");
    // 34 slots hold the longest prefix and one completion.
    for (rows, slots) in [(1, 34), (2, 54), (3, 61), (5, 110), (17, 40), (8, 400)] {
        let found = within(&model, &requests, Limits { rows, slots });
        for (found, expected) in found.iter().flatten().zip(expected.iter().flatten()) {
            assert_eq!(
                found.tokens_t, expected.tokens_t,
                "{rows} rows, {slots} slots"
            );
            assert_eq!(found.finish, expected.finish);
            let expected_t = &expected.logprobs_t;
            let off = largest_difference(found.logprobs_t.iter().copied(), expected_t);
            assert!(off < 1e-5, "{rows} rows, {slots} slots: {off}");
        }
        assert_eq!(lengths(&found), lengths(&expected));
    }
}

/// The completions of some requests as they are trained on.
fn drawn_batch(requests: &[Request], groups: &[Vec<Sample>]) -> Batch {
    let rows = groups.iter().enumerate().flat_map(|(prefix, group)| {
        group.iter().map(move |sample| Row {
            prefix,
            tokens_t: sample.tokens_t.clone(),
            reasoning: None,
        })
    });
    Batch {
        prefixes: requests.iter().map(|r| r.prefix.clone()).collect(),
        rows: rows.collect(),
        temperature: OPTIONS.temperature,
    }
}

/// Requests that a model has room for, each with a completion at least.
fn short_requests(model: &Transformer) -> Vec<Request> {
    let mut requests = requests(model.config().vocabulary);
    let length = OPTIONS.max_completion_length;
    requests.retain(|r| r.count > 0 && model.check_length(r.prefix.len(), length).is_ok());
    requests
}

/// Draws as a rollout in training does.
fn draw(
    model: &Transformer,
    requests: &[Request],
    keep: Option<(&mut Trace, usize)>,
) -> (Vec<Vec<Sample>>, Option<Kept>) {
    let copy = model.copy_kind(true);
    assert_eq!(copy, Some(CopyKind::Panels));
    let drawn = model.draw(requests, &OPTIONS, copy, keep, &mut |_| {});
    drawn.unwrap()
}

#[test]
fn what_drawing_keeps_is_what_a_forward_pass_computes_in_every_family() {
    for family in FAMILIES {
        let (mut model, _) = open(family);
        let vocabulary = model.config().vocabulary as u32;
        model.set_end_tokens(&(0..vocabulary / 8).collect::<Vec<_>>());
        let requests = short_requests(&model);
        let decoder = &model.decoder;
        let mut found = decoder.training_trace(&model.parameters, false);
        let keep = Some((&mut found, usize::MAX));
        let (groups, kept) = draw(&model, &requests, keep);
        let batch = drawn_batch(&requests, &groups);
        let rows_n = kept.unwrap().rows(&batch).expect("every token is kept");
        found.arrange(&rows_n);
        let mut expected = decoder.training_trace(&model.parameters, false);
        let packing = Packing::new(&batch, |prompt| model.config.first_position(prompt));
        let mut scratch = Scratch::new(&model.parameters);
        decoder.forward_tree(&model.parameters, &packing, &mut expected, &mut scratch);
        let pairs = found.matrices_mut().zip(expected.matrices_mut());
        for (index, (found, expected)) in pairs.enumerate() {
            let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
            let (found, expected) = (wide(found.to_vec()), wide(expected.to_vec()));
            let largest = expected.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
            assert!(largest > 0.0, "{family}, matrix {index} says nothing");
            let off = largest_difference(found, &expected) / largest;
            assert!(off < 1e-5, "{family}, matrix {index}: {off}");
        }
    }
}

#[test]
fn of_more_tokens_than_are_kept_the_first_requests_stay_whole() {
    let model = ending();
    let requests = short_requests(&model);
    let whole = model.sample(&requests, &OPTIONS, &mut |_| {}).unwrap();
    let tokens = |count: usize| drawn_batch(&requests[..count], &whole[..count]).computed_tokens();
    for tokens_max in [
        0,
        8,
        tokens(1) - 1,
        tokens(1),
        tokens(3) - 1,
        tokens(3),
        tokens(4),
    ] {
        let mut trace = model.decoder.training_trace(&model.parameters, false);
        let keep = Some((&mut trace, tokens_max));
        let (groups, kept) = draw(&model, &requests, keep);
        assert_eq!(groups, whole, "keeping changes what is drawn");
        let kept = kept.unwrap();
        for count in 1..=requests.len() {
            let rows = kept.rows(&drawn_batch(&requests[..count], &whole[..count]));
            let fits = tokens(count) <= tokens_max;
            assert_eq!(
                rows.is_some(),
                fits,
                "{count} requests, {tokens_max} tokens"
            );
            let mut distinct = rows.unwrap_or_default();
            let all = distinct.len();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), all, "a row holds two tokens");
        }
        assert!(trace.hidden_nd.rows() <= tokens_max);
    }
}

#[test]
fn an_update_on_what_drawing_kept_is_the_update_that_computes_it_again() {
    let updated = |tokens_max: usize| {
        let mut model = ending();
        let requests = short_requests(&model);
        let draw =
            |model: &mut Transformer| model.roll_out(&requests, &OPTIONS, tokens_max, &mut |_| {});
        // The second rollout finds the buffers of the first, and other weights.
        for _ in 0..2 {
            let groups = draw(&mut model).unwrap();
            for part in [0..2, 2..requests.len()] {
                let batch = drawn_batch(&requests[part.clone()], &groups[part]);
                let mut weights = model.forward(&batch).unwrap();
                for (i, value) in weights.logprobs_nt.iter_mut().flatten().enumerate() {
                    *value = Key::new(3).normal(i as u64);
                }
                model.backward(&weights);
            }
            model.update(1e-3);
        }
        let batch = drawn_batch(&requests, &draw(&mut model).unwrap());
        (batch.clone(), model.signals(&batch).unwrap())
    };
    let (batch, expected) = updated(0);
    for tokens_max in [40, 120, usize::MAX] {
        let (found_batch, found) = updated(tokens_max);
        assert_eq!(batch, found_batch, "{tokens_max} tokens");
        let found = found.logprobs_nt.into_iter().flatten();
        let off = largest_difference(found, &expected.logprobs_nt.concat());
        assert!(off < 1e-4, "{tokens_max} tokens: {off}");
    }
}

#[test]
fn progress_counts_every_token_and_every_end_once() {
    let model = ending();
    let requests = requests(model.config().vocabulary);
    let mut last = None;
    let groups = model
        .sample(&requests, &OPTIONS, &mut |at| last = Some(at))
        .unwrap();
    let tokens: usize = groups.iter().flatten().map(|s| s.tokens_t.len()).sum();
    let last = last.unwrap();
    assert_eq!((last.tokens, last.finished, last.total), (tokens, 17, 17));
}

#[test]
fn rounded_weights_draw_from_nearly_the_same_distribution_in_every_family() {
    for family in FAMILIES {
        let (mut model, _) = open(family);
        model.set_sampling_dtype(Dtype::Bf16);
        let requests = short_requests(&model);
        let groups = model.sample(&requests, &OPTIONS, &mut |_| {}).unwrap();
        let batch = drawn_batch(&requests, &groups);
        let scored = model.signals(&batch).unwrap().logprobs_nt;
        let drawn = groups.iter().flatten().map(|sample| &sample.logprobs_t);
        let pairs = drawn.flatten().zip(scored.iter().flatten());
        let squares: Vec<f64> = pairs.map(|(a, b)| (a - b).powi(2)).collect();
        let off = math::mean(&squares).sqrt();
        assert!(off > 1e-4 && off < 0.05, "{family}: {off} nats");
    }
}

#[test]
fn adapters_are_part_of_the_rounded_weights() {
    let (mut model, _) = open("llama");
    let plain = Copied::new(&model.parameters, CopyKind::Rounded);
    let options = crate::LoraOptions {
        r: 2,
        lora_alpha: 4.0,
        lora_dropout: 0.0,
        target_modules: crate::TargetModules::AllLinear,
        use_rslora: false,
    };
    model.add_adapter(&options, Key::new(1)).unwrap();
    for matrix in model.parameters.trained_mut() {
        matrix.fill(0.05);
    }
    let requests = requests(model.config().vocabulary);
    let limits = Limits::new(&model, &requests, OPTIONS.max_completion_length);
    let drawn = |rounded: &Copied| {
        let mut decoding = Decoding::new(&model, Some(rounded), &requests, &OPTIONS, limits, None);
        while decoding.step().unwrap() {}
        decoding.finish().0
    };
    let (without, with) = (
        drawn(&plain),
        drawn(&Copied::new(&model.parameters, CopyKind::Rounded)),
    );
    let first = &requests[0].prefix;
    let adapted = |sample: &Sample| {
        let row = Row {
            prefix: 0,
            tokens_t: sample.tokens_t.clone(),
            reasoning: None,
        };
        let batch = Batch {
            prefixes: vec![first.clone()],
            rows: vec![row],
            temperature: OPTIONS.temperature,
        };
        let scored = model.signals(&batch).unwrap();
        largest_difference(sample.logprobs_t.iter().copied(), &scored.logprobs_nt[0])
    };
    assert!(adapted(&with[0][0]) < 0.05, "{}", adapted(&with[0][0]));
    assert!(adapted(&without[0][0]) > 0.1, "{}", adapted(&without[0][0]));
}
