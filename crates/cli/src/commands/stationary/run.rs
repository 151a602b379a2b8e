//! Where a recorded run is heading on one of its questions.
//!
//! GRPO sees completions only through their rewards, so the answers are the distinct rewards that
//! the question's completions got. The earliest recorded group stands for the reference: step 1 is
//! drawn from it. Its counts give a posterior of the reference's probabilities (Jeffreys' prior),
//! and draws from that, each solved, give the interval of what follows.

use std::path::Path;

use ::stationary::{Answers, Group, Question, Scale, Stationary, Variant, nlhf, rlhf, solve};
use math::Key;
use record::{CompletionRecord, RunFolder};
use serde_json::{Value, json};

use super::show::probability;
use super::variant::{Defaults, group_name, variant};
use super::{refused, said};
use crate::arguments::StationaryArguments;
use crate::error::{Failure, InputError};
use crate::terminal::{Screen, Table, output};

/// Draws from the posterior.
const DRAWS: u64 = 400;
/// Names them; the figures of a run are a function of the run.
const SEED: u64 = 0;

/// What a run recorded of one question under one constitution.
struct Recorded {
    /// Distinct rewards, ascending.
    rewards_l: Vec<f64>,
    /// Step and counts by reward, of the earliest and of the latest group.
    first: (usize, Vec<usize>),
    latest: (usize, Vec<usize>),
    text: String,
}

/// Estimates, solves and prints a table, or with `--json` one object.
///
/// # Errors
/// Where the folder is no run, has no such question, or its settings have no stationary policy.
pub(super) fn from_run(arguments: &StationaryArguments, screen: &Screen) -> Result<(), Failure> {
    let path = arguments.run.as_deref().expect("the caller has a run");
    refuse_others(arguments)?;
    let wrong = |error: record::RecordError| InputError::refused("--run", &error);
    let run = RunFolder::open(path).map_err(wrong)?;
    let defaults = defaults(&run.plan().map_err(wrong)?, path)?;
    let variant = variant(arguments, defaults)?;
    let recorded = recorded(&run, arguments)?;
    if recorded.rewards_l.len() == 1 {
        return single(&recorded, arguments.json);
    }
    let heading = Heading::new(&recorded, variant)?;
    if arguments.json {
        output(&object(arguments, &recorded, &heading).to_string())?;
        return Ok(());
    }
    print(&recorded, &heading, screen)
}

/// What else could say what answers are worth.
fn refuse_others(arguments: &StationaryArguments) -> Result<(), InputError> {
    let given = [
        ("--rewards", arguments.rewards.is_some()),
        ("--success", arguments.success.is_some()),
        ("--preference", arguments.preference.is_some()),
        ("--reference", arguments.reference.is_some()),
        ("--model", arguments.model.is_some()),
        ("--sweep", arguments.sweep.is_some()),
    ];
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(said(format!(
            "{name} is given with --run; expected one of them"
        ))),
        None => Ok(()),
    }
}

/// Where the question's policy goes, with 95 % intervals.
struct Heading {
    variant: Variant,
    question: Question,
    reference_l: Vec<f64>,
    found: Stationary,
    interval_l: Vec<[f64; 2]>,
    reward: f64,
    reward_interval: [f64; 2],
}

impl Heading {
    fn new(recorded: &Recorded, variant: Variant) -> Result<Self, InputError> {
        let rewards_l = &recorded.rewards_l;
        let solved = |reference_l: &[f64]| -> Result<(Question, Stationary), InputError> {
            let answers = Answers::Rewards {
                mean_k: rewards_l.clone(),
                noise: 0.0,
            };
            let question = Question::new(answers, reference_l).map_err(|error| refused(&error))?;
            let found = solve(&question, &variant).map_err(|error| refused(&error))?;
            Ok((question, found))
        };
        let counts_l = &recorded.first.1;
        let total = counts_l.iter().sum::<usize>() as f64 + 0.5 * rewards_l.len() as f64;
        let reference_l: Vec<f64> = counts_l.iter().map(|n| (*n as f64 + 0.5) / total).collect();
        let (question, found) = solved(&reference_l)?;
        let mut policies = Vec::new();
        for draw in 0..DRAWS {
            let reference_l = posterior(counts_l, Key::new(SEED).child(draw));
            policies.push(solved(&reference_l)?.1.policy);
        }
        let interval = |pick: &dyn Fn(&Vec<f64>) -> f64| {
            let mut values: Vec<f64> = policies.iter().map(pick).collect();
            values.sort_by(f64::total_cmp);
            [0.025, 0.975].map(|share| values[((values.len() - 1) as f64 * share).round() as usize])
        };
        let levels = 0..rewards_l.len();
        Ok(Self {
            interval_l: levels.map(|l| interval(&|policy| policy[l])).collect(),
            reward_interval: interval(&|policy| math::dot(policy, rewards_l)),
            reward: math::dot(&found.policy, rewards_l),
            variant,
            question,
            reference_l,
            found,
        })
    }
}

fn object(arguments: &StationaryArguments, recorded: &Recorded, heading: &Heading) -> Value {
    let found = &heading.found;
    json!({
        "prompt": arguments.prompt,
        "constitution": arguments.constitution,
        "beta": heading.variant.beta(),
        "group": group_name(heading.variant.group()),
        "rewards": recorded.rewards_l,
        "reference": heading.reference_l,
        "reference_step": recorded.first.0,
        "reference_counts": recorded.first.1,
        "latest_step": recorded.latest.0,
        "latest_counts": recorded.latest.1,
        "policy": found.policy,
        "interval": heading.interval_l,
        "expected_reward": heading.reward,
        "expected_reward_interval": heading.reward_interval,
        "residual": found.residual.is_finite().then_some(found.residual),
        "unique": found.unique,
        "method": found.method.name(),
        "rlhf": rlhf(&heading.question, &heading.variant),
        "nlhf": nlhf(&heading.question, &heading.variant),
    })
}

fn print(recorded: &Recorded, heading: &Heading, screen: &Screen) -> Result<(), Failure> {
    output(&recorded.text)?;
    output("")?;
    let steps = [recorded.first.0, recorded.latest.0].map(|step| format!("step {step}"));
    let head = [
        "reward",
        &steps[0],
        &steps[1],
        "reference",
        "heading for",
        "95 % interval",
    ];
    let mut table = Table::new(&head);
    for (l, reward) in recorded.rewards_l.iter().enumerate() {
        let [low, high] = heading.interval_l[l];
        table.row(vec![
            reward.to_string(),
            recorded.first.1[l].to_string(),
            recorded.latest.1[l].to_string(),
            probability(heading.reference_l[l]),
            probability(heading.found.policy[l]),
            format!("{} – {}", probability(low), probability(high)),
        ]);
    }
    for line in table.lines(screen) {
        output(&line)?;
    }
    let [low, high] = heading.reward_interval;
    output("")?;
    output(&format!(
        "expected reward there: {} ({} – {})",
        probability(heading.reward),
        probability(low),
        probability(high)
    ))?;
    for line in assumptions(recorded, heading.variant.beta(), heading.variant.group()) {
        output(&screen.dim(&line))?;
    }
    Ok(())
}

/// What must hold for the figures to do so.
fn assumptions(recorded: &Recorded, beta: f64, group: Group) -> Vec<String> {
    let (step, counts) = &recorded.first;
    let total: usize = counts.iter().sum();
    let drawn = if *step == 1 {
        "which were drawn from the reference".to_owned()
    } else {
        format!(
            "taken for the reference's, though {} updates came before",
            step - 1
        )
    };
    vec![
        String::new(),
        format!(
            "Assumed: beta {beta}, groups of {}; no other term of the objective acts;",
            group_name(group)
        ),
        format!("the reference is known from {total} completions of step {step}, {drawn}"),
        "(interval: their posterior by Jeffreys' prior); a reward has one level for each value"
            .to_owned(),
        "seen; the penalty is of whole completions, where the trainer's is of tokens; and this"
            .to_owned(),
        "prompt's policy is free to move, whatever training on others does to it.".to_owned(),
    ]
}

fn single(recorded: &Recorded, is_json: bool) -> Result<(), Failure> {
    let reward = recorded.rewards_l[0];
    if is_json {
        let object = json!({
            "rewards": [reward], "reference": [1.0], "policy": [1.0], "residual": 0.0,
            "unique": true, "method": "closed form", "rlhf": [1.0], "nlhf": [1.0],
            "expected_reward": reward,
        });
        output(&object.to_string())?;
        return Ok(());
    }
    output(&recorded.text)?;
    output(&format!(
        "every recorded completion has the reward {reward}: a group without spread has no \
         advantage, so the policy stays at the reference as far as is known"
    ))?;
    Ok(())
}

/// The settings of a plan that shape a stationary policy.
fn defaults(plan: &str, path: &Path) -> Result<Defaults, InputError> {
    let refused = |reason: &str| InputError::Refused {
        context: path.join("plan.toml").display().to_string(),
        reason: reason.to_owned(),
    };
    let plan: toml::Table = plan.parse().map_err(|_| refused("expected TOML"))?;
    let value = |section: &str, key: &str| plan.get(section)?.get(key).cloned();
    let beta =
        value("grpo", "beta").and_then(|v| v.as_float().or(v.as_integer().map(|i| i as f64)));
    let group = value("sampling", "num_generations").and_then(|v| v.as_integer());
    let (Some(beta), Some(group)) = (beta, group) else {
        return Err(refused(
            "no grpo.beta and sampling.num_generations; expected a run of `enigma train`",
        ));
    };
    let scale = match value("grpo", "scale_rewards")
        .as_ref()
        .and_then(|v| v.as_str())
    {
        Some("none") => Scale::None,
        Some("batch") => {
            return Err(refused(
                "grpo.scale_rewards is batch; expected group or none: with the deviation of a \
                 batch, what one prompt converges to depends on all the others",
            ));
        }
        _ => Scale::Sample,
    };
    Ok(Defaults {
        beta: Some(beta),
        group: Some(Group::Of(group as usize)),
        scale,
    })
}

fn recorded(run: &RunFolder, arguments: &StationaryArguments) -> Result<Recorded, InputError> {
    let wrong = |error: record::RecordError| InputError::refused("--run", &error);
    let prompt = arguments
        .prompt
        .ok_or_else(|| said("--prompt is missing; expected the id of a question with --run"))?;
    let mut groups: Vec<(usize, Vec<CompletionRecord>)> = Vec::new();
    let mut known: Vec<usize> = Vec::new();
    for step in run.completion_steps().map_err(wrong)? {
        let all = run.completions(step).map_err(wrong)?;
        known.extend(all.iter().map(|completion| completion.question));
        let is_asked = |completion: &CompletionRecord| {
            completion.question == prompt
                && completion.constitution == arguments.constitution
                && completion.reward.is_some()
        };
        let group: Vec<CompletionRecord> = all.into_iter().filter(is_asked).collect();
        if !group.is_empty() {
            groups.push((step, group));
        }
    }
    let (Some(first), Some(latest)) = (groups.first(), groups.last()) else {
        known.sort_unstable();
        known.dedup();
        let few: Vec<String> = known.iter().take(8).map(ToString::to_string).collect();
        let more = if known.len() > 8 { ", …" } else { "" };
        return Err(said(format!(
            "--prompt is {prompt} under constitution {}, of which the run recorded no graded \
             completion; expected one of {}{more}",
            arguments.constitution,
            few.join(", ")
        )));
    };
    let rewards = groups.iter().flat_map(|(_, group)| group);
    let mut rewards_l: Vec<f64> = rewards.filter_map(|completion| completion.reward).collect();
    rewards_l.sort_by(f64::total_cmp);
    rewards_l.dedup_by(|a, b| (*a - *b).abs() <= 0.0);
    let counts = |(step, group): &(usize, Vec<CompletionRecord>)| {
        let count = |level: &f64| {
            let same = |c: &&CompletionRecord| c.reward.is_some_and(|r| (r - level).abs() <= 0.0);
            group.iter().filter(same).count()
        };
        (*step, rewards_l.iter().map(count).collect::<Vec<usize>>())
    };
    Ok(Recorded {
        first: counts(first),
        latest: counts(latest),
        text: first.1[0].prompt.clone(),
        rewards_l,
    })
}

/// A draw from Dirichlet(counts + ½): shares of gamma variables of those shapes, each the sum of
/// `count` exponentials and half the square of a normal.
fn posterior(counts_l: &[usize], key: Key) -> Vec<f64> {
    let gamma = |(l, &count): (usize, &usize)| -> f64 {
        let key = key.child(l as u64);
        let half = key.normal(0);
        let exponentials = (0..count as u64).map(|i| -(1.0 - key.uniform(i)).ln());
        exponentials.sum::<f64>() + 0.5 * half * half + f64::MIN_POSITIVE
    };
    let shapes: Vec<f64> = counts_l.iter().enumerate().map(gamma).collect();
    let total = math::sum(&shapes);
    shapes.iter().map(|shape| shape / total).collect()
}
