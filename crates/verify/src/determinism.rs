//! Two runs of one seed.

use record::StepRecord;
use trainer::Training;

use crate::play::{Play, graders};
use crate::{Bench, Finding, Subject, VerifyError};

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let play = bench.play()?;
    let (first, parameters) = trained(&play, &mut bench.own, &bench.start)?;
    let (second, others) = trained(&play, &mut bench.own, &bench.start)?;
    bench.own.policy.set_parameters(&bench.start);
    let moved = parameters
        .iter()
        .zip(&bench.start)
        .any(|(a, b)| a.to_bits() != b.to_bits());
    let pairs = parameters.iter().zip(&others);
    let unequal = pairs.filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    let figures = first
        .iter()
        .zip(&second)
        .map(|(a, b)| different(a, b))
        .sum::<usize>();
    // Weights that never moved would be equal too.
    let figure = if moved {
        (unequal + figures) as f64
    } else {
        f64::INFINITY
    };
    let detail = format!(
        "weights and figures that differ, of {} and {}",
        parameters.len(),
        first
            .iter()
            .map(|record| record.metrics.len())
            .sum::<usize>()
    );
    Ok(vec![Finding::new("", figure, 0.0, detail)])
}

/// Two steps from the start: sampled, graded, updated.
fn trained(
    play: &Play,
    subject: &mut Subject,
    start: &[f64],
) -> Result<(Vec<StepRecord>, Vec<f64>), VerifyError> {
    subject.policy.set_parameters(start);
    let (task, settings) = play.training();
    let mut graders = graders(task, true);
    let mut training = Training::new(subject.codec, task, &settings)?;
    let mut records = Vec::new();
    for updates in 0..2 {
        records.push(training.step(subject.policy, &mut graders, updates, &mut ())?);
    }
    Ok((records, subject.policy.parameters()))
}

/// Figures that differ in any bit, times aside.
fn different(a: &StepRecord, b: &StepRecord) -> usize {
    let timed = |name: &str| name.ends_with("_time") || name.ends_with("_per_second");
    let differs = |(name, value): (&String, &f64)| {
        !timed(name) && b.metrics.get(name).map(|v| v.to_bits()) != Some(value.to_bits())
    };
    a.metrics
        .iter()
        .filter(|&(name, value)| differs((name, value)))
        .count()
}
