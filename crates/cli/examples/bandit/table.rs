//! Bandits over a table of logits, where a step costs nothing.

use std::path::Path;

use policy::{Message, TabularPolicy, TextCodec, TextError};
use stationary::{Answers, Question, Scale, solve};

use super::figures::{self, Figure};
use super::{Plan, Point, estimate, train};

/// Tokens are their own numbers as text.
struct Numbers;

impl TextCodec for Numbers {
    fn render(&self, _: &[Message]) -> Result<Vec<u32>, TextError> {
        Ok(vec![0])
    }

    fn encode(&self, _: &str) -> Result<Vec<u32>, TextError> {
        Ok(vec![0])
    }

    fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
        tokens_t.iter().map(ToString::to_string).collect()
    }

    fn end_tokens(&self) -> &[u32] {
        &[]
    }
}

/// A bandit: deterministic rewards and the reference's probabilities.
#[derive(Clone, Copy)]
struct Bandit {
    rewards_k: &'static [f64],
    reference_k: &'static [f64],
}

const TWO: Bandit = Bandit {
    rewards_k: &[1.0, 0.0],
    reference_k: &[0.3, 0.7],
};
const FOUR: Bandit = Bandit {
    rewards_k: &[0.0, 0.2, 0.7, 1.0],
    reference_k: &[0.4, 0.3, 0.2, 0.1],
};

impl Bandit {
    fn question(&self) -> Result<Question, String> {
        let answers = Answers::Rewards {
            mean_k: self.rewards_k.to_vec(),
            noise: 0.0,
        };
        Question::new(answers, self.reference_k).map_err(|error| error.to_string())
    }

    fn predicted(&self, plan: Plan) -> Result<Vec<f64>, String> {
        let found = solve(&self.question()?, &plan.variant()?).map_err(|e| e.to_string())?;
        Ok(found.policy)
    }

    fn trained(&self, plan: Plan) -> Result<Vec<Vec<f64>>, String> {
        let logits = self.reference_k.iter().map(|p| p.ln()).collect();
        let mut policy = TabularPolicy::new(self.rewards_k.len(), &[logits], &[]);
        let rewards_k = self.rewards_k;
        let reward = move |text: &str| rewards_k[text.parse::<usize>().expect("a token's number")];
        train(&mut policy, &Numbers, reward, plan, |policy| {
            policy.start_probabilities(0)
        })
    }
}

fn plan(beta: f64, group: usize, scale: Scale) -> Plan {
    Plan {
        beta,
        group,
        scale,
        // The slower of penalty and reward sets how many steps are forgotten; larger steps bend
        // the mean by their noise.
        learning_rate: 1.0 / beta.max(1.0),
        groups: 100,
        steps: [300, 1200],
    }
}

/// Two answers: groups of 2, 4 and 8, three β each.
pub(super) fn two_answers(out: &Path, said: &mut dyn FnMut(&str)) -> Result<Vec<Point>, String> {
    let series: Vec<(String, usize, Scale)> = [2, 4, 8]
        .map(|group| (format!("G = {group}"), group, Scale::Population))
        .to_vec();
    let betas = [0.25, 0.5, 1.0, 2.0];
    let title = "Two answers, π_ref = 0.3 for the better";
    curves(
        TWO,
        0,
        "2 answers, ",
        &series,
        &betas,
        (out, "two-answers.svg", title),
        said,
    )
}

/// The three normalisations that the trainer has, in groups of four.
pub(super) fn variants(out: &Path, said: &mut dyn FnMut(&str)) -> Result<Vec<Point>, String> {
    let series = [
        ("std, ddof 0".to_owned(), 4, Scale::Population),
        ("std, ddof 1 (TRL)".to_owned(), 4, Scale::Sample),
        ("no scale".to_owned(), 4, Scale::None),
    ];
    let betas = [0.5, 1.0, 2.0];
    let title = "Four answers, the best one, groups of 4";
    curves(
        FOUR,
        3,
        "4 answers, best, ",
        &series,
        &betas,
        (out, "variants.svg", title),
        said,
    )
}

/// Trains each series at each β, and draws it over its theory.
fn curves(
    bandit: Bandit,
    answer: usize,
    prefix: &str,
    series: &[(String, usize, Scale)],
    betas: &[f64],
    (out, file, title): (&Path, &str, &str),
    said: &mut dyn FnMut(&str),
) -> Result<Vec<Point>, String> {
    let mut figure = Figure::over_beta(title);
    let mut points = Vec::new();
    for (name, group, scale) in series {
        let theory = |beta| Ok(bandit.predicted(plan(beta, *group, *scale))?[answer]);
        figure.curve(name, figures::betas(betas), &theory)?;
        for &beta in betas {
            let plan = plan(beta, *group, *scale);
            let trained = estimate(&bandit.trained(plan)?, answer);
            let derived_error = (bandit.rewards_k.len() == 2)
                .then(|| derived_error(bandit, plan))
                .transpose()?;
            let point = Point {
                setting: format!("{prefix}{name}, β = {beta}"),
                predicted: theory(beta)?,
                trained,
                derived_error,
                plan,
            };
            said(&format!(
                "{}: {:.4} for {:.4}",
                point.setting, trained.value, point.predicted
            ));
            figure.mark(beta, trained);
            points.push(point);
        }
    }
    figure.write(out, file)?;
    Ok(points)
}

/// All four answers in groups of 3, over β.
pub(super) fn four_answers(out: &Path, said: &mut dyn FnMut(&str)) -> Result<Vec<Point>, String> {
    let betas = [0.5, 1.0, 2.0];
    let at = |beta| plan(beta, 3, Scale::Population);
    let mut figure = Figure::over_beta("Four answers, groups of 3");
    let runs: Vec<Vec<Vec<f64>>> = betas
        .iter()
        .map(|&beta| FOUR.trained(at(beta)))
        .collect::<Result<_, _>>()?;
    let mut points = Vec::new();
    for (answer, reward) in FOUR.rewards_k.iter().enumerate() {
        let theory = |beta| Ok(FOUR.predicted(at(beta))?[answer]);
        figure.curve(&format!("reward {reward}"), figures::betas(&betas), &theory)?;
        for (&beta, run) in betas.iter().zip(&runs) {
            let trained = estimate(run, answer);
            figure.mark(beta, trained);
            points.push(Point {
                setting: format!("4 answers, G = 3, β = {beta}, reward {reward}"),
                predicted: theory(beta)?,
                trained,
                derived_error: None,
                plan: at(beta),
            });
        }
    }
    said("four answers in groups of 3: done");
    figure.write(out, "four-answers.svg")?;
    Ok(points)
}

/// The standard error of the mean probability of the better of two answers. In its logit, a group
/// with k good ones of G gives `g_k = (1/G) Σ_i (Ã_i − β(1 − π_ref,i/π_i))·(1[i good] − π)`; the
/// mean logit over T steps of n groups has variance `Var g / (n·T·H²)` with `H = dE g/d logit`.
fn derived_error(bandit: Bandit, plan: Plan) -> Result<f64, String> {
    let p = bandit.predicted(plan)?[0];
    let reference = bandit.reference_k[0];
    let size = plan.group as f64;
    // Mean and variance over groups drawn at probability `p`.
    let moments = |p: f64| {
        let gradient = |k: usize| {
            let good = k as f64;
            let deviation = (good * (size - good)).sqrt() / size;
            let advantage = |own: f64| {
                if deviation > 0.0 {
                    (own - good / size) / deviation
                } else {
                    0.0
                }
            };
            let one = (advantage(1.0) - plan.beta * (1.0 - reference / p)) * (1.0 - p);
            let zero = -(advantage(0.0) - plan.beta * (1.0 - (1.0 - reference) / (1.0 - p))) * p;
            (good * one + (size - good) * zero) / size
        };
        let mut chance = (1.0 - p).powf(size);
        let (mut mean, mut square) = (0.0, 0.0);
        for k in 0..=plan.group {
            mean += chance * gradient(k);
            square += chance * gradient(k) * gradient(k);
            chance *= (size - k as f64) / (k as f64 + 1.0) * p / (1.0 - p);
        }
        (mean, square - mean * mean)
    };
    let logit = (p / (1.0 - p)).ln();
    let at = |z: f64| 1.0 / (1.0 + (-z).exp());
    let slope = (moments(at(logit + 1e-4)).0 - moments(at(logit - 1e-4)).0) / 2e-4;
    let samples = (plan.groups * plan.steps[1]) as f64;
    Ok((moments(p).1 / samples).sqrt() / slope.abs() * p * (1.0 - p))
}
