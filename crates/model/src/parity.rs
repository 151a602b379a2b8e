//! Parity with transformers on tiny random models; fixtures by
//! `scripts/reference/transformers_models.py`.

use std::path::PathBuf;

use kernel::Device;
use math::Key;
use policy::{Batch, Policy, Request, Row, Sampler, SamplingOptions, Scorer, Signals};
use serde_json::Value;

use crate::decoder::tensors;
use crate::{Source, Transformer};

pub(crate) const FAMILIES: [&str; 12] = [
    "llama",
    "llama_tied",
    "llama3",
    "qwen2",
    "qwen2_yarn",
    "qwen3",
    "mistral",
    "smollm3",
    "phi3",
    "phi3_long",
    "gemma2",
    "gemma3",
];

pub(crate) fn open(family: &str) -> (Transformer, Value) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(family);
    let text = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let model = Transformer::open(&Source::Folder(folder), &Device::cpu(Some(2))).unwrap();
    (model, serde_json::from_str(&text).unwrap())
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .collect()
}

pub(crate) fn ids(value: &Value) -> Vec<u32> {
    numbers(value).into_iter().map(|id| id as u32).collect()
}

pub(crate) fn largest_difference(found: impl IntoIterator<Item = f64>, expected: &[f64]) -> f64 {
    let mut count = 0;
    let differences = found.into_iter().zip(expected).map(|(found, expected)| {
        count += 1;
        (found - expected).abs()
    });
    let largest = differences.fold(0.0, f64::max);
    assert_eq!(count, expected.len(), "as many numbers as expected");
    largest
}

#[test]
fn logits_are_those_of_transformers_within_1e_4() {
    for family in FAMILIES {
        let (model, expected) = open(family);
        for sequence in expected["sequences"].as_array().unwrap() {
            let found = model.logits(&ids(&sequence["ids"])).unwrap();
            let found = found.into_iter().map(f64::from);
            let difference = largest_difference(found, &numbers(&sequence["logits"]));
            assert!(difference < 1e-4, "{family}: {difference}");
        }
    }
}

#[test]
fn a_grown_vocabulary_leaves_old_logits_alone_and_gives_new_tokens_their_mean() {
    for family in FAMILIES {
        let (mut model, expected) = open(family);
        let tokens = ids(&expected["sequences"][0]["ids"]);
        // Where logits are capped, it is the mean before the cap.
        model.decoder.logit_softcap = None;
        let before = model.logits(&tokens).unwrap();
        let rows = before.len() / tokens.len();
        model.grow_vocabulary(rows + 3);
        model.grow_vocabulary(rows);
        let after = model.logits(&tokens).unwrap();
        for (before, after) in before.chunks(rows).zip(after.chunks(rows + 3)) {
            let mean = before.iter().map(|&logit| f64::from(logit)).sum::<f64>() / rows as f64;
            let mut expected: Vec<f64> = before.iter().map(|&logit| f64::from(logit)).collect();
            expected.extend([mean; 3]);
            let difference = largest_difference(after.iter().map(|&x| f64::from(x)), &expected);
            assert!(difference < 1e-5, "{family}: {difference}");
        }
    }
}

#[test]
fn a_grown_model_opens_as_it_was_saved() {
    for family in FAMILIES {
        let (mut model, expected) = open(family);
        let tokens = ids(&expected["prompt"]);
        model.grow_vocabulary(model.config.vocabulary + 3);
        let saved = std::env::temp_dir().join(format!("enigma-{family}-{}", std::process::id()));
        std::fs::create_dir_all(&saved).unwrap();
        model.save(&saved, crate::Dtype::F32).unwrap();
        let reopened = Transformer::open(&Source::Folder(saved.clone()), &Device::cpu(Some(2)));
        std::fs::remove_dir_all(&saved).unwrap();
        let found = reopened.unwrap().logits(&tokens).unwrap();
        assert_eq!(found, model.logits(&tokens).unwrap(), "{family}");
    }
}

#[test]
fn points_are_means_of_the_last_hidden_states_of_transformers() {
    for family in FAMILIES {
        let (model, expected) = open(family);
        let sequence = &expected["sequences"][0];
        let (tokens, hidden) = (ids(&sequence["ids"]), numbers(&sequence["hidden"]));
        let width = hidden.len() / tokens.len();
        let row = Row {
            prefix: 0,
            tokens_t: tokens[4..].to_vec(),
            reasoning: Some(2..6),
        };
        let prefixes = vec![tokens[..4].to_vec()];
        let batch = Batch {
            prefixes,
            rows: vec![row],
            temperature: 1.0,
        };
        let point = model.signals(&batch).unwrap().points_nd.remove(0);
        let mean = |d: usize| (6..10).map(|n| hidden[n * width + d]).sum::<f64>() / 4.0;
        let expected: Vec<f64> = (0..width).map(mean).collect();
        let difference = largest_difference(point, &expected);
        assert!(difference < 1e-4, "{family}: {difference}");
    }
}

#[test]
fn sixty_four_greedy_tokens_are_those_of_transformers() {
    for family in FAMILIES {
        let (mut model, expected) = open(family);
        model.config.eos_token_ids.clear();
        let prefix = ids(&expected["prompt"]);
        let request = Request {
            prefix,
            count: 2,
            key: Key::new(0),
        };
        let options = SamplingOptions {
            temperature: 0.0,
            top_k: None,
            top_p: None,
            max_completion_length: 64,
        };
        let groups = model.sample(&[request], &options, &mut |_| {}).unwrap();
        for sample in &groups[0] {
            assert_eq!(sample.tokens_t, ids(&expected["greedy"]), "{family}");
        }
    }
}

#[test]
fn gradients_are_those_of_autograd_within_a_thousandth() {
    for family in FAMILIES {
        let (mut model, expected) = open(family);
        let expected = &expected["gradient"];
        let tokens_t = ids(&expected["completion"]);
        let row = Row {
            prefix: 0,
            tokens_t,
            reasoning: None,
        };
        let prefixes = vec![ids(&expected["prompt"])];
        let batch = Batch {
            prefixes,
            rows: vec![row],
            temperature: 1.0,
        };
        let signals = model.forward(&batch).unwrap();
        let logprobs = signals.logprobs_nt[0].iter().copied();
        let difference = largest_difference(logprobs, &numbers(&expected["logprobs"]));
        assert!(difference < 1e-4, "{family}: {difference}");
        model.backward(&Signals {
            logprobs_nt: vec![numbers(&expected["weights"])],
            points_nd: vec![vec![]],
        });
        let mut compared = 0;
        for tensor in tensors(&model.config) {
            let Some(expected) = expected["tensors"].get(&tensor.name) else {
                continue;
            };
            compared += 1;
            let expected = numbers(expected);
            let found = crate::store::take(model.gathered(), &tensor);
            let found = found.into_iter().map(f64::from);
            let largest = expected.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
            let difference = largest_difference(found, &expected) / largest;
            assert!(difference < 1e-3, "{family}, {}: {difference}", tensor.name);
        }
        let given = expected["tensors"].as_object().unwrap().len();
        assert!(
            given >= 3 && compared == given,
            "{family}: {compared} of {given}"
        );
    }
}

/// Rows of different lengths under two prefixes, one of them shared.
pub(crate) fn mixed_batch() -> Batch {
    let key = Key::new(11);
    let tokens = |stream: u64, length: u64| -> Vec<u32> {
        (0..length)
            .map(|i| key.child(stream).below(i, 39) as u32)
            .collect()
    };
    let row = |prefix, stream, length, reasoning| Row {
        prefix,
        tokens_t: tokens(stream, length),
        reasoning,
    };
    Batch {
        prefixes: vec![tokens(0, 7), tokens(1, 12)],
        rows: vec![
            row(1, 2, 9, Some(1..5)),
            row(0, 3, 1, None),
            row(1, 4, 4, None),
            row(0, 5, 11, Some(0..10)),
            row(1, 6, 17, Some(3..9)),
        ],
        temperature: 0.8,
    }
}

#[test]
fn rows_that_share_a_prefix_equal_rows_computed_alone() {
    for family in FAMILIES {
        let (mut shared, _) = open(family);
        let (mut alone, _) = open(family);
        let batch = mixed_batch();
        let together = shared.forward(&batch).unwrap();
        let mut weights = together.clone();
        for (i, value) in weights
            .logprobs_nt
            .iter_mut()
            .chain(&mut weights.points_nd)
            .flatten()
            .enumerate()
        {
            *value = Key::new(3).normal(i as u64);
        }
        shared.backward(&weights);
        for slice in batch.slices(1) {
            let part = alone.forward(&slice.batch).unwrap();
            let expected = slice.select(&together);
            let found = part
                .logprobs_nt
                .iter()
                .chain(&part.points_nd)
                .flatten()
                .copied();
            let expected = expected
                .logprobs_nt
                .iter()
                .chain(&expected.points_nd)
                .flatten();
            let difference = largest_difference(found, &expected.copied().collect::<Vec<_>>());
            assert!(difference < 1e-5, "{family}: {difference}");
            alone.backward(&slice.select(&weights));
        }
        for tensor in tensors(&shared.config) {
            let [together, apart] =
                [&shared, &alone].map(|model| crate::store::take(model.gathered(), &tensor));
            let largest = apart.iter().fold(0.0_f32, |a, b| a.max(b.abs()));
            let pairs = together.iter().zip(&apart);
            let difference = pairs.fold(0.0_f32, |a, (x, y)| a.max((x - y).abs())) / largest;
            assert!(difference < 1e-5, "{family}, {}: {difference}", tensor.name);
        }
    }
}

#[test]
fn sampled_logprobs_are_those_of_scoring_within_1e_5() {
    for family in FAMILIES {
        let (model, _) = open(family);
        let prefixes = mixed_batch().prefixes;
        let request = |i: usize| Request {
            prefix: prefixes[i].clone(),
            count: 5,
            key: Key::new(i as u64),
        };
        let options = SamplingOptions {
            temperature: 0.8,
            top_k: None,
            top_p: None,
            max_completion_length: 30,
        };
        let groups = model
            .sample(&[request(0), request(1)], &options, &mut |_| {})
            .unwrap();
        let mut rows = Vec::new();
        for (prefix, group) in groups.iter().enumerate() {
            rows.extend(group.iter().map(|sample| Row {
                prefix,
                tokens_t: sample.tokens_t.clone(),
                reasoning: None,
            }));
        }
        let signals = model
            .signals(&Batch {
                prefixes,
                rows,
                temperature: 0.8,
            })
            .unwrap();
        let samples = groups.iter().flatten();
        for (sample, scored) in samples.zip(&signals.logprobs_nt) {
            let difference = largest_difference(sample.logprobs_t.iter().copied(), scored);
            assert!(difference < 1e-5, "{family}: {difference}");
        }
    }
}

#[test]
fn layers_computed_again_give_the_same_gradient_to_the_bit() {
    for family in FAMILIES {
        let [kept, again] = [false, true].map(|gradient_checkpointing| {
            let (mut model, _) = open(family);
            model.set_gradient_checkpointing(gradient_checkpointing);
            // The second pass finds the buffers of the first.
            for _ in 0..2 {
                let mut weights = model.forward(&mixed_batch()).unwrap();
                for (i, value) in weights.logprobs_nt.iter_mut().flatten().enumerate() {
                    *value = Key::new(3).normal(i as u64);
                }
                model.backward(&weights);
            }
            model
        });
        for tensor in tensors(&kept.config) {
            let [kept, again] =
                [&kept, &again].map(|model| crate::store::take(model.gathered(), &tensor));
            assert_eq!(kept, again, "{family}, {}", tensor.name);
        }
    }
}
