//! `enigma principles score`: how strongly a model's reasoning tells each principle from its
//! negatives, before any training.

use std::path::Path;
use std::time::Instant;

use math::Key;
use policy::TextCodec;
use record::{PrincipleScore, Scores};

use super::measure::{Measured, measure, room};
use super::{metrics, report};
use crate::arguments::ScorePrinciplesArguments;
use crate::error::{Failure, InputError};
use crate::machine;
use crate::plan::{ScoringPlan, matched_principles, new_file};
use crate::range::positive;
use crate::terminal::{Bars, Screen, grouped, output};

/// Scores every principle, then prints the table and writes the file.
///
/// # Errors
/// Where an argument, the model or a file is wrong, the model's numbers are not finite, or an
/// interval is wider than was asked for.
pub(super) fn score(arguments: &ScorePrinciplesArguments, screen: &Screen) -> Result<(), Failure> {
    let start = Instant::now();
    let model = &arguments.scoring.model;
    let out = new_file(arguments.out.as_deref(), "scores", ".json")?;
    if let Some(width) = arguments.half_width {
        positive("--half-width", width).map_err(InputError::from)?;
    }
    let principles = matched_principles(arguments)?;
    let given = arguments.completions.as_deref();
    let plan = ScoringPlan::resolve(&arguments.scoring, principles, given)?;
    let device = machine::device(&arguments.machine, &room(&plan))?;
    let policy = plan.opened.weights(&device, Key::new(0));
    let mut policy = policy.map_err(|error| InputError::refused(model, &error))?;
    policy.set_end_tokens(plan.opened.tokenizer.end_tokens());
    introduce(&plan, model, screen);
    let mut bars = Bars::new(screen, plan.subjects.len());
    let measured = measure(&plan, &policy, &mut bars);
    bars.finish();
    let Measured {
        mut principles,
        tokens,
        forward_passes,
    } = measured.map_err(|error| error.of(model))?;
    if let Some(asked) = arguments.half_width {
        narrow_enough(&principles, asked)?;
    }
    let index = |score: &PrincipleScore| score.si.unwrap_or(f64::NEG_INFINITY);
    principles.sort_by(|a, b| index(b).total_cmp(&index(a)));
    let scores = Scores {
        principles,
        tokens,
        forward_passes,
        seconds: start.elapsed().as_secs_f64(),
        model: model.clone(),
        seed: arguments.scoring.seed,
        given: arguments.completions.clone(),
    };
    write(&scores, &out)?;
    if arguments.json {
        output(&serde_json::to_string(&scores).expect("scores are plain values"))?;
    } else {
        for line in report::lines(&scores, screen) {
            output(&line)?;
        }
    }
    report::spent(&scores, &out, screen);
    Ok(())
}

/// What is about to be computed.
pub(super) fn introduce(plan: &ScoringPlan, model: &str, screen: &Screen) {
    let prompts = plan.subjects.iter().map(|s| s.asked.len()).max();
    let lines = [
        ("model", model.to_owned()),
        ("principles", plan.subjects.len().to_string()),
        ("prompts", grouped(prompts.unwrap_or(0))),
        (
            "cost",
            format!(
                "at most {} tokens to draw, {} to score",
                grouped(plan.cost.drawn),
                grouped(plan.cost.scored)
            ),
        ),
    ];
    for (name, value) in lines {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<12}"))));
    }
    screen.line("");
}

/// Every index is known as narrowly as was asked for.
fn narrow_enough(principles: &[PrincipleScore], asked: f64) -> Result<(), InputError> {
    for score in principles {
        let found = score.si_interval.map_or(f64::INFINITY, metrics::half_width);
        if found > asked {
            return Err(InputError::WideInterval {
                id: score.id.clone(),
                prompts: score.prompts,
                found,
                asked,
                needed: metrics::prompts_for(score.prompts, found, asked),
            });
        }
    }
    Ok(())
}

fn write(scores: &Scores, path: &Path) -> Result<(), InputError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let made = folder.map_or(Ok(()), std::fs::create_dir_all);
    let refused = |reason: String| InputError::FileNotWritable {
        path: path.to_owned(),
        reason,
    };
    made.map_err(|error| refused(error.to_string()))?;
    scores
        .write(path)
        .map_err(|error| refused(error.to_string()))
}
