//! Adapters against PEFT and against their own laws; fixtures by `scripts/reference/peft_lora.py`.

use std::fs;
use std::path::{Path, PathBuf};

use kernel::Device;
use math::Key;
use policy::{Batch, Policy, Row, Scorer, Signals};
use serde_json::{Value, json};

use crate::decoder::tensors;
use crate::lora::modules;
use crate::parity::{FAMILIES, ids, largest_difference, mixed_batch, numbers, open};
use crate::{AdapterFolder, Dtype, LoraOptions, ModelError, Source, TargetModules, Transformer};

const ADAPTED: [&str; 3] = ["llama", "qwen2", "qwen3"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

fn load(folder: &Path, family: &str) -> Transformer {
    let (mut model, _) = open(family);
    let adapter = AdapterFolder::open(folder).unwrap().expect("an adapter");
    model.load_adapter(&adapter, Key::new(1)).unwrap();
    model
}

/// A model with the adapter that PEFT made for it, and what PEFT computes.
fn adapted(family: &str) -> (Transformer, Value) {
    let folder = fixture(&format!("lora_{family}"));
    let text = fs::read_to_string(folder.join("expected.json")).unwrap();
    (load(&folder, family), serde_json::from_str(&text).unwrap())
}

fn options(lora_dropout: f64) -> LoraOptions {
    LoraOptions {
        r: 4,
        lora_alpha: 6.0,
        lora_dropout,
        target_modules: TargetModules::AllLinear,
        use_rslora: false,
    }
}

fn fresh(family: &str, threads: usize, options: &LoraOptions) -> Transformer {
    let (source, device) = (Source::Folder(fixture(family)), Device::cpu(Some(threads)));
    let mut model = Transformer::open(&source, &device).unwrap();
    model.add_adapter(options, Key::new(5)).unwrap();
    model
}

/// Weights of a loss over the signals of [`mixed_batch`].
fn loss_weights(signals: &Signals) -> Signals {
    let mut weights = signals.zeros_like();
    let rows = weights.logprobs_nt.iter_mut().chain(&mut weights.points_nd);
    for (i, value) in rows.flatten().enumerate() {
        *value = Key::new(3).normal(i as u64);
    }
    weights
}

/// Takes some steps on [`mixed_batch`].
fn train(model: &mut Transformer, updates: usize) {
    for _ in 0..updates {
        let signals = model.forward(&mixed_batch()).unwrap();
        model.backward(&loss_weights(&signals));
        assert!(model.update(1e-2).grad_norm > 1e-3);
    }
}

fn flat(signals: &Signals) -> Vec<f64> {
    let rows = signals.logprobs_nt.iter().chain(&signals.points_nd);
    rows.flatten().copied().collect()
}

/// The base's weights, bit for bit.
fn base_bits(model: &Transformer) -> Vec<u32> {
    let tensors = tensors(&model.config);
    let values = tensors
        .iter()
        .flat_map(|tensor| crate::store::take(&model.parameters, tensor));
    values.map(f32::to_bits).collect()
}

#[test]
fn logits_with_an_adapter_of_peft_are_those_of_peft_within_1e_4() {
    for family in ADAPTED {
        let (model, expected) = adapted(family);
        for sequence in expected["sequences"].as_array().unwrap() {
            let found = model.logits(&ids(&sequence["ids"])).unwrap();
            let found = found.into_iter().map(f64::from);
            let difference = largest_difference(found, &numbers(&sequence["logits"]));
            assert!(difference < 1e-4, "{family}: {difference}");
        }
    }
}

#[test]
fn gradients_of_an_adapter_are_those_of_autograd_within_a_thousandth() {
    for family in ADAPTED {
        let (mut model, expected) = adapted(family);
        let expected = &expected["gradient"];
        let row = Row {
            prefix: 0,
            tokens_t: ids(&expected["completion"]),
            reasoning: None,
        };
        let batch = Batch {
            prefixes: vec![ids(&expected["prompt"])],
            rows: vec![row],
            temperature: 1.0,
        };
        model.lora.as_mut().unwrap().options.lora_dropout = 0.0;
        model.forward(&batch).unwrap();
        model.backward(&Signals {
            logprobs_nt: vec![numbers(&expected["weights"])],
            points_nd: vec![vec![]],
        });
        let expected = expected["tensors"].as_object().unwrap();
        let mut compared = 0;
        for module in modules(&model.config) {
            let layer = &model.gathered().layers[module.layer];
            let adapters = &layer.projection(module.part).adapters;
            let Some(adapter) = adapters.iter().find(|a| a.index == module.index) else {
                continue;
            };
            for (side, matrix) in [("A", &adapter.down_ik), ("B", &adapter.up_ko)] {
                let name = format!("base_model.model.{}.lora_{side}.weight", module.name);
                let expected = numbers(&expected[&name]);
                let (values, width) = (matrix.to_vec(), matrix.columns());
                let column = |at: usize| values[at..].iter().step_by(width);
                let found = (0..width).flat_map(column).map(|&value| f64::from(value));
                let largest = expected.iter().fold(0.0_f64, |a, b| a.max(b.abs()));
                let difference = largest_difference(found, &expected) / largest;
                assert!(difference < 1e-3, "{family}, {name}: {difference}");
                compared += 1;
            }
        }
        assert_eq!(compared, expected.len(), "{family}");
    }
}

#[test]
fn an_adapter_saved_and_opened_again_gives_the_same_logits() {
    for family in ADAPTED {
        let (model, expected) = adapted(family);
        let name = format!("enigma-lora-{family}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        model
            .save_adapter(&folder, "somewhere", Dtype::F32)
            .unwrap();
        let read = AdapterFolder::open(&folder).unwrap().unwrap();
        let reopened = load(&folder, family);
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(read.base.as_deref(), Some("somewhere"));
        let ids = ids(&expected["sequences"][0]["ids"]);
        assert_eq!(
            reopened.logits(&ids).unwrap(),
            model.logits(&ids).unwrap(),
            "{family}"
        );
        // One layer of two is adapted in the last fixture, so its modules need their whole names.
        let TargetModules::Named(targets) = read.options.target_modules else {
            panic!("{family}: no list of modules");
        };
        let is_whole = |name: &String| name.starts_with("model.layers.1.");
        assert_eq!(
            targets.iter().all(is_whole),
            family == "qwen3",
            "{targets:?}"
        );
    }
}

#[test]
fn a_fresh_adapter_changes_no_bit_and_the_reference_is_the_base() {
    for family in FAMILIES {
        let (base, _) = open(family);
        let mut model = fresh(family, 2, &options(0.1));
        let expected = base.signals(&mixed_batch()).unwrap();
        assert_eq!(model.signals(&mixed_batch()).unwrap(), expected, "{family}");
        model.keep_reference();
        train(&mut model, 3);
        let moved = model.signals(&mixed_batch()).unwrap();
        assert!(largest_difference(flat(&moved), &flat(&expected)) > 1e-2);
        assert_eq!(
            model.reference_signals(&mixed_batch()).unwrap(),
            expected,
            "{family}"
        );
        assert_eq!(
            base_bits(&model),
            base_bits(&base),
            "{family}: training moved the base"
        );
    }
}

#[test]
fn the_reference_of_an_adapter_at_work_is_the_adapter_that_training_began_with() {
    let (mut model, _) = adapted("llama");
    let expected = model.signals(&mixed_batch()).unwrap();
    model.keep_reference();
    train(&mut model, 2);
    assert_eq!(model.reference_signals(&mixed_batch()).unwrap(), expected);
    assert_ne!(model.signals(&mixed_batch()).unwrap(), expected);
}

#[test]
fn frozen_weights_have_neither_gradient_nor_moments() {
    let mut model = fresh("llama", 2, &options(0.0));
    let adapters: usize = modules(&model.config)
        .iter()
        .map(|m| 4 * (m.inputs + m.outputs))
        .sum();
    assert_eq!(model.trainable_parameters(), adapters);
    let signals = model.forward(&mixed_batch()).unwrap();
    model.backward(&loss_weights(&signals));
    let gradient = model.gathered();
    let frozen = gradient
        .layers
        .iter()
        .flat_map(|layer| layer.projections().into_iter());
    let rows = frozen.map(|projection| projection.weight_io.rows());
    assert_eq!(
        rows.sum::<usize>() + gradient.embedding_dv.rows() + gradient.head().rows(),
        0
    );
}

#[test]
fn a_merged_adapter_gives_what_it_gave_beside_the_weights_within_1e_5() {
    for family in ADAPTED {
        let (mut model, expected) = adapted(family);
        let ids = ids(&expected["sequences"][0]["ids"]);
        let apart: Vec<f64> = model
            .logits(&ids)
            .unwrap()
            .into_iter()
            .map(f64::from)
            .collect();
        model.merge_adapter();
        let merged = model.logits(&ids).unwrap().into_iter().map(f64::from);
        let difference = largest_difference(merged, &apart);
        assert!(difference < 1e-5, "{family}: {difference}");
    }
}

#[test]
fn one_thread_trains_an_adapter_to_the_bits_of_two() {
    let trained = |threads| {
        let mut model = fresh("qwen2", threads, &options(0.2));
        train(&mut model, 3);
        let matrices = model.parameters.trained_mut();
        let values = matrices.into_iter().flat_map(|matrix| matrix.to_vec());
        values.map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(trained(1), trained(2));
}

/// A model whose adapters do something, with dropout.
fn dropping() -> Transformer {
    let mut model = fresh("llama", 2, &options(0.3));
    train(&mut model, 4);
    model
}

#[test]
fn dropout_is_the_same_for_a_batch_whole_again_and_in_slices_and_another_after_an_update() {
    let mut model = dropping();
    let whole = model.forward(&mixed_batch()).unwrap();
    assert_eq!(model.forward(&mixed_batch()).unwrap(), whole);
    for slice in mixed_batch().slices(1) {
        let part = model.forward(&slice.batch).unwrap();
        let difference = largest_difference(flat(&part), &flat(&slice.select(&whole)));
        assert!(difference < 1e-5, "{difference}");
    }
    let without = model.signals(&mixed_batch()).unwrap();
    assert!(largest_difference(flat(&without), &flat(&whole)) > 1e-3);
    model.forward(&mixed_batch()).unwrap();
    model.backward(&whole.zeros_like());
    model.update(0.0);
    let later = model.forward(&mixed_batch()).unwrap();
    assert!(largest_difference(flat(&later), &flat(&whole)) > 1e-3);
}

#[test]
fn the_gradient_of_an_adapter_agrees_with_differences_under_dropout() {
    const STEP: f32 = 2e-3;
    let mut model = dropping();
    let signals = model.forward(&mixed_batch()).unwrap();
    let weights = loss_weights(&signals);
    model.backward(&weights);
    let directions = |count: usize, at: usize| -> Vec<f32> {
        let draw = |i| Key::new(9).child(at as u64).normal(i as u64) as f32;
        (0..count).map(draw).collect()
    };
    let mut slope = 0.0;
    let mut gradient = model.gathered().clone();
    for (at, matrix) in gradient.trained_mut().into_iter().enumerate() {
        let values = matrix.to_vec();
        let direction = directions(values.len(), at);
        let products = values
            .iter()
            .zip(direction)
            .map(|(g, d)| f64::from(*g) * f64::from(d));
        slope += products.sum::<f64>();
    }
    let mut loss = |by: f32| {
        for (at, matrix) in model.parameters.trained_mut().into_iter().enumerate() {
            let mut values = matrix.to_vec();
            let direction = directions(values.len(), at);
            values
                .iter_mut()
                .zip(direction)
                .for_each(|(x, d)| *x += by * d);
            matrix.write(&values);
        }
        let signals = model.forward(&mixed_batch()).unwrap();
        math::dot(&flat(&signals), &flat(&weights))
    };
    let (up, down) = (loss(STEP), loss(-2.0 * STEP));
    let found = (up - down) / (2.0 * f64::from(STEP));
    assert!(
        (found - slope).abs() < 1e-2 * slope.abs(),
        "by differences {found}, {slope}"
    );
}

#[test]
fn what_is_not_computed_is_refused_by_its_key() {
    let config = fs::read_to_string(fixture("lora_llama").join("adapter_config.json")).unwrap();
    let folder = std::env::temp_dir().join(format!("enigma-refused-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    for (key, value) in [
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("peft_type", json!("IA3")),
        ("modules_to_save", json!(["lm_head"])),
        ("rank_pattern", json!({"q_proj": 2})),
        ("init_lora_weights", json!("pissa")),
        ("r", json!(0)),
        ("lora_dropout", json!(1.0)),
    ] {
        let mut config: Value = serde_json::from_str(&config).unwrap();
        config[key] = value;
        fs::write(folder.join("adapter_config.json"), config.to_string()).unwrap();
        let error = AdapterFolder::open(&folder).expect_err(key).to_string();
        assert!(
            error.starts_with(&format!("adapter_config.json: {key} is ")),
            "{error}"
        );
    }
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(AdapterFolder::open(&fixture("llama")).unwrap(), None);
}

#[test]
fn a_target_that_the_model_lacks_is_refused_with_those_it_has() {
    let (mut model, _) = open("llama");
    let target_modules = TargetModules::Named(vec!["q_proj".to_owned(), "proj".to_owned()]);
    let options = LoraOptions {
        target_modules,
        ..options(0.0)
    };
    let error = model.add_adapter(&options, Key::new(0)).unwrap_err();
    assert!(matches!(error, ModelError::UnknownModule { .. }));
    let known = "o_proj, gate_proj, up_proj, down_proj, q_proj, k_proj, v_proj";
    let expected = format!("target_modules names proj; the model's modules are {known}");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn an_adapter_of_another_shape_is_refused_by_its_tensor() {
    let (mut model, _) = open("qwen2");
    let adapter = AdapterFolder::open(&fixture("lora_llama"))
        .unwrap()
        .unwrap();
    let error = model.load_adapter(&adapter, Key::new(0)).unwrap_err();
    assert!(matches!(error, ModelError::TensorShape { .. }), "{error}");
}

#[test]
fn an_adapter_taken_up_again_learns_on_to_the_bit() {
    for (family, dtype) in [("llama", Dtype::F32), ("qwen2", Dtype::Bf16)] {
        let folder =
            std::env::temp_dir().join(format!("enigma-up-{family}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mut model = fresh(family, 2, &options(0.2));
        model.keep_reference();
        train(&mut model, 2);
        model.save_adapter(&folder, family, dtype).unwrap();
        model.save_training(&folder, dtype).unwrap();
        let mut again = fresh(family, 2, &options(0.2));
        again.keep_reference();
        again.resume(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        train(&mut model, 2);
        train(&mut again, 2);
        let signals = |model: &Transformer| model.signals(&mixed_batch()).unwrap();
        assert_eq!(signals(&again), signals(&model), "{family}");
    }
}
