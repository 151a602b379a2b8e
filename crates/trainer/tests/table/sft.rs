//! Supervised steps.

use policy::TabularPolicy;
use ranks::Ranks;
use record::Position;
use trainer::{Example, Schedule, SftSettings, sft};

use crate::record::Scratch;

/// Ten completions of one token: five of token 0, three of token 1, two of token 2.
fn examples() -> Vec<Example> {
    let example = |token| Example {
        prefix: vec![0],
        tokens_t: vec![token],
    };
    [0, 0, 0, 0, 0, 1, 1, 1, 2, 2].map(example).to_vec()
}

fn settings() -> SftSettings {
    SftSettings {
        seed: 3,
        steps: 300,
        batch_size: 10,
        learning_rate: 1.0,
        lr_scheduler_type: Schedule::Constant,
        warmup_steps: 5,
        micro_batch_tokens: usize::MAX,
        save_steps: 0,
    }
}

fn trained(name: &str, settings: &SftSettings) -> (Vec<f64>, Vec<f64>) {
    let (_scratch, run) = Scratch::run(name);
    let mut policy = TabularPolicy::new(3, &[vec![0.0, 1.0, -2.0]], &[]);
    sft(
        &mut policy,
        &examples(),
        settings,
        Position::default(),
        &Ranks::alone(),
        Some(&run),
        &mut (),
    )
    .expect("a run");
    let steps = run.steps().expect("written");
    let losses = steps.iter().map(|record| record.metrics["loss"]).collect();
    (policy.start_probabilities(0), losses)
}

#[test]
fn a_table_learns_the_frequencies_of_its_examples_and_ends_at_their_entropy() {
    let frequencies = [0.5_f64, 0.3, 0.2];
    let (found, losses) = trained("frequencies", &settings());
    for (found, expected) in found.iter().zip(frequencies) {
        assert!(
            (found - expected).abs() < 1e-9,
            "{found}, expected {expected}"
        );
    }
    let entropy: f64 = frequencies.iter().map(|p| -p * p.ln()).sum();
    let last = losses[losses.len() - 1];
    assert!((last - entropy).abs() < 1e-12, "{last}, expected {entropy}");
    assert!(
        losses[1..]
            .windows(2)
            .all(|pair| pair[1] <= pair[0] + 1e-15)
    );
}

#[test]
fn slices_of_a_batch_give_the_run_of_the_whole_batch() {
    let (whole, losses) = trained("whole", &settings());
    let micro_batch_tokens = 3;
    let (sliced, same) = trained(
        "sliced",
        &SftSettings {
            micro_batch_tokens,
            ..settings()
        },
    );
    let pairs = whole.iter().zip(&sliced).chain(losses.iter().zip(&same));
    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-12, "{worst}");
}

#[test]
fn more_examples_in_a_batch_than_there_are_is_an_error() {
    let (_scratch, run) = Scratch::run("too-many");
    let mut policy = TabularPolicy::new(3, &[vec![0.0; 3]], &[]);
    let settings = SftSettings {
        batch_size: 11,
        ..settings()
    };
    let found = sft(
        &mut policy,
        &examples(),
        &settings,
        Position::default(),
        &Ranks::alone(),
        Some(&run),
        &mut (),
    )
    .expect_err("refused");
    assert_eq!(
        found.to_string(),
        "batch_size is 11, expected 1 to 10, the number of examples"
    );
}
