//! Gradients against differences of the loss through the whole model.
//!
//! Along a direction `d` the slope of the loss is `g·d`. It is compared with a five-point
//! difference
//! quotient, whose error is of fourth order in the step. One direction is the gradient itself,
//! which
//! shows a wrong size or sign best; the others are random and weigh every parameter alike, so that
//! a missing part of the gradient shows by its share of the norm.

use math::Key;

use crate::play::{Parts, Play, Played};
use crate::stage::Score;
use crate::{Bench, Finding, Subject, VerifyError};

/// Random directions for each term.
const DIRECTIONS: u64 = 2;

/// How far a difference reaches along the gradient, as the change of the loss it is meant to make.
const RISE: f64 = 2e-3;
/// The same for a term that is 0 at the reference and grows as a square, as a share of its value.
const RISE_SHARE: f64 = 0.1;
/// How far it reaches along a random direction, as a share of the parameters' norm.
const REACH: f64 = 4e-3;

/// Values in `f32`: rounding of the loss, about 1e-7, over its change along the direction.
const TOLERANCE: f64 = 1e-2;

pub(crate) fn run(bench: &mut Bench) -> Result<Vec<Finding>, VerifyError> {
    let play = bench.play()?;
    let (start, moved) = (bench.start.clone(), bench.moved.clone());
    let gradients = gradients(&play, &mut bench.own, &moved)?;
    let policy = std::cell::RefCell::new(&mut *bench.own.policy);
    let mut values = |parameters: &[f64]| {
        policy.borrow_mut().set_parameters(parameters);
        let now: &Score = &|batch| policy.borrow().signals(batch);
        let reference: &Score = &|batch| policy.borrow().reference_signals(batch);
        play.speak(now, reference)
    };
    let errors = errors(&moved, &gradients, &mut values)?;
    policy.borrow_mut().set_parameters(&start);
    let finding = |(parts, error): (Parts, f64)| {
        let detail = "relative to the gradient's norm; differences of values in f32";
        Finding::new(parts.name(), error, TOLERANCE, detail)
    };
    Ok(Parts::EACH.into_iter().zip(errors).map(finding).collect())
}

/// The gradient of each part at some parameters.
pub(crate) fn gradients(
    play: &Play,
    subject: &mut Subject,
    parameters: &[f64],
) -> Result<Vec<Vec<f64>>, VerifyError> {
    let gradient = |parts: Parts| {
        let played = play.learn(subject.policy, parameters, parts, usize::MAX)?;
        Ok(played.gradient)
    };
    Parts::EACH.into_iter().map(gradient).collect()
}

/// For each part, the largest error of its gradient over the directions, as a share of its norm.
///
/// `values` plays the step at other parameters.
pub(crate) fn errors(
    parameters: &[f64],
    gradients: &[Vec<f64>],
    values: &mut dyn FnMut(&[f64]) -> Result<Played, VerifyError>,
) -> Result<Vec<f64>, VerifyError> {
    let mut errors = vec![0.0; gradients.len()];
    let here = values(parameters)?;
    let count = (parameters.len() as f64).sqrt();
    for stream in 0..DIRECTIONS {
        let key = Key::new(23).child(stream);
        let direction: Vec<f64> = (0..parameters.len())
            .map(|i| key.normal(i as u64))
            .collect();
        let step = REACH * math::norm(parameters) / count;
        let slopes = slopes(parameters, &direction, step, values)?;
        for ((error, gradient), numeric) in errors.iter_mut().zip(gradients).zip(slopes) {
            let analytic = math::dot(gradient, &direction);
            worst(error, (analytic - numeric).abs() / math::norm(gradient));
        }
    }
    for ((parts, gradient), error) in Parts::EACH.into_iter().zip(gradients).zip(&mut errors) {
        let norm = math::norm(gradient);
        if norm <= 0.0 || !norm.is_finite() {
            *error = f64::INFINITY;
            continue;
        }
        let direction: Vec<f64> = gradient.iter().map(|g| g / norm).collect();
        let rise = match parts {
            Parts::Kl | Parts::Transport => RISE_SHARE * here.metric(parts.metric()),
            Parts::All | Parts::Grpo | Parts::Sami => RISE,
        };
        let slopes = slopes(parameters, &direction, rise / norm, values)?;
        let slope = Parts::EACH
            .into_iter()
            .zip(slopes)
            .find(|(other, _)| *other == parts);
        let numeric = slope.map_or(f64::NAN, |(_, slope)| slope);
        worst(error, (norm - numeric).abs() / norm);
    }
    Ok(errors)
}

/// The slope of every part's value along a direction.
fn slopes(
    parameters: &[f64],
    direction: &[f64],
    step: f64,
    values: &mut dyn FnMut(&[f64]) -> Result<Played, VerifyError>,
) -> Result<Vec<f64>, VerifyError> {
    let mut at = |offset: f64| {
        let pairs = parameters.iter().zip(direction);
        let moved: Vec<f64> = pairs.map(|(x, d)| x + offset * step * d).collect();
        values(&moved)
    };
    let [near, behind, far, far_behind] = [at(1.0)?, at(-1.0)?, at(2.0)?, at(-2.0)?];
    let slope = |parts: Parts| {
        let [a, b, c, d] =
            [&near, &behind, &far, &far_behind].map(|played| played.metric(parts.metric()));
        (8.0 * (a - b) - (c - d)) / (12.0 * step)
    };
    Ok(Parts::EACH.map(slope).to_vec())
}

/// Keeps the larger; a NaN is the largest.
fn worst(error: &mut f64, found: f64) {
    if found > *error || found.is_nan() {
        *error = if found.is_nan() { f64::INFINITY } else { found };
    }
}
