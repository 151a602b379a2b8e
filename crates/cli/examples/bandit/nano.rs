//! The built-in model as a bandit: answers of one token after a fixed prompt, rewarded by what the
//! token spells. The rest of its vocabulary has reward 0, so nothing is left out of the theory.

use std::path::Path;

use model::{ChatTokenizer, Config, Device, OptimizerOptions, PLAIN_TEMPLATE, Source, Transformer};
use policy::{Message, TextCodec, TextError};
use stationary::{Answers, Question, Scale, solve};

use super::figures::{self, Figure};
use super::{Plan, Point, estimate, train};

/// Where the next token is anything but certain.
const PROMPT: &str = "Ned keeps";

/// Rewards of the likeliest tokens after the prompt, by rank: the likeliest has none.
const REWARDS: [f64; 4] = [0.0, 1.0, 0.5, 1.0];

/// Those rewards, and that of all other tokens.
const LEVELS: [f64; 3] = [1.0, 0.5, 0.0];

/// The tokenizer with one prompt, whatever is asked.
struct OnePrompt {
    tokenizer: ChatTokenizer,
    prefix: Vec<u32>,
}

impl TextCodec for OnePrompt {
    fn render(&self, _: &[Message]) -> Result<Vec<u32>, TextError> {
        Ok(self.prefix.clone())
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.tokenizer.encode(text)
    }

    fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
        self.tokenizer.pieces(tokens_t)
    }

    fn end_tokens(&self) -> &[u32] {
        self.tokenizer.end_tokens()
    }
}

fn plan(beta: f64) -> Plan {
    Plan {
        beta,
        group: 4,
        scale: Scale::Sample,
        learning_rate: 1e-4,
        groups: 64,
        steps: [300, 400],
    }
}

/// Three β in groups of four, with TRL's normalisation and AdamW.
pub(super) fn one_token(out: &Path, said: &mut dyn FnMut(&str)) -> Result<Vec<Point>, String> {
    let source = Source::Folder("assets/nano/model".into());
    let config = Config::open(&source).map_err(|error| error.to_string())?;
    let tokenizer = ChatTokenizer::open(&source, &config, Some(PLAIN_TEMPLATE));
    let tokenizer = tokenizer.map_err(|error| error.to_string())?;
    let prefix = tokenizer
        .encode(PROMPT)
        .map_err(|error| error.to_string())?;
    let codec = OnePrompt { tokenizer, prefix };
    let open = || Transformer::open(&source, &Device::cpu(None)).map_err(|e| e.to_string());
    let reference_v = probabilities(&open()?, &codec.prefix)?;
    let texts: Vec<String> = (0..reference_v.len() as u32)
        .map(|token| codec.pieces(&[token]).concat())
        .collect();
    let mut ranked: Vec<usize> = (0..reference_v.len()).collect();
    ranked.sort_by(|a, b| reference_v[*b].total_cmp(&reference_v[*a]));
    let chosen: Vec<(String, f64)> = ranked
        .iter()
        .zip(REWARDS)
        .map(|(&token, reward)| (texts[token].clone(), reward))
        .collect();
    let reward = move |text: &str| {
        chosen
            .iter()
            .find(|(known, _)| known == text)
            .map_or(0.0, |(_, reward)| *reward)
    };
    let rewards_v: Vec<f64> = texts.iter().map(|text| reward(text)).collect();
    let answers = Answers::Rewards {
        mean_k: rewards_v.clone(),
        noise: 0.0,
    };
    let question = Question::new(answers, &reference_v).map_err(|error| error.to_string())?;
    let masses = |policy_v: &[f64]| -> Vec<f64> {
        let mass = |level: f64| {
            let pairs = policy_v.iter().zip(&rewards_v);
            pairs
                .filter(|(_, r)| (**r - level).abs() <= 0.0)
                .map(|(p, _)| p)
                .sum()
        };
        LEVELS.map(mass).to_vec()
    };
    let betas = [0.25, 0.5, 1.0];
    let predicted = |beta: f64| -> Result<Vec<f64>, String> {
        let found = solve(&question, &plan(beta).variant()?).map_err(|e| e.to_string())?;
        Ok(masses(&found.policy))
    };
    let mut runs = Vec::new();
    for beta in betas {
        let mut policy = open()?;
        policy.keep_reference();
        policy.set_optimizer(OptimizerOptions {
            max_grad_norm: 0.0,
            ..OptimizerOptions::default()
        });
        let read = |policy: &Transformer| {
            let policy_v = probabilities(policy, &codec.prefix).expect("it was just trained");
            masses(&policy_v)
        };
        runs.push(train(
            &mut policy,
            &codec,
            reward.clone(),
            plan(beta),
            read,
        )?);
        said(&format!("nano, one token, β = {beta}: done"));
    }
    draw(out, &betas, &runs, &predicted)
}

/// A line a level, with its trained points.
fn draw(
    out: &Path,
    betas: &[f64],
    runs: &[Vec<Vec<f64>>],
    predicted: &dyn Fn(f64) -> Result<Vec<f64>, String>,
) -> Result<Vec<Point>, String> {
    let mut figure = Figure::over_beta("nano, answers of one token, groups of 4, TRL's deviation");
    let mut points = Vec::new();
    for (index, level) in LEVELS.into_iter().enumerate() {
        let theory = |beta: f64| Ok(predicted(beta)?[index]);
        figure.curve(&format!("reward {level}"), figures::betas(betas), &theory)?;
        for (beta, run) in betas.iter().copied().zip(runs) {
            let trained = estimate(run, index);
            figure.mark(beta, trained);
            points.push(Point {
                setting: format!("nano, G = 4, ddof 1, β = {beta}, reward {level}"),
                predicted: theory(beta)?,
                trained,
                derived_error: None,
                plan: plan(beta),
            });
        }
    }
    figure.write(out, "nano.svg")?;
    Ok(points)
}

/// The law of the next token.
fn probabilities(policy: &Transformer, prefix: &[u32]) -> Result<Vec<f64>, String> {
    let logits = policy.logits(prefix).map_err(|error| error.to_string())?;
    let vocabulary = policy.config().vocabulary;
    let last: Vec<f64> = logits[logits.len() - vocabulary..]
        .iter()
        .map(|&l| f64::from(l))
        .collect();
    Ok(math::softmax(&last))
}
