//! `enigma train --study`: does the index of principles before training predict the training? Sets
//! of high, low and random index are trained on side by side. Runs that are finished are kept, so
//! that a study that was broken off goes on.

mod outcome;
mod plan;
mod report;

use std::path::Path;
use std::process::Command;

use record::{RunFolder, Scores, write_atomic};

use self::outcome::Outcome;
use self::plan::{StudyPlan, StudyRun};
use crate::arguments::TrainArguments;
use crate::error::{Failure, InputError};
use crate::terminal::{Screen, output};

/// Scores, trains what is not trained yet, and compares.
///
/// # Errors
/// Where the study or a run of it is wrong.
pub(super) fn study(
    path: &Path,
    arguments: &TrainArguments,
    screen: &Screen,
) -> Result<(), Failure> {
    let plan = StudyPlan::open(path, arguments)?;
    plan.begin()?;
    let scores = scores(&plan, screen)?;
    let runs = plan.runs(&scores)?;
    let mut outcomes = Vec::with_capacity(runs.len());
    for (number, run) in runs.iter().enumerate() {
        let folder = plan.out.join(run.name());
        if !folder.join("summary.json").is_file() {
            screen.line(format!("{} of {}: {}", number + 1, runs.len(), run.name()));
            train(&plan, run, &folder)?;
        }
        let broken = |error: record::RecordError| Failure::Run(error.to_string());
        let record = RunFolder::open(&folder).map_err(broken)?;
        let (summary, steps) = (record.summary(), record.steps());
        outcomes.push(Outcome::new(
            run,
            &summary.map_err(broken)?,
            &steps.map_err(broken)?,
        ));
    }
    let result = report::result(&plan, &outcomes);
    let text = format!("{result:#}\n");
    write_atomic(&plan.out.join("study.json"), text.as_bytes())
        .map_err(|error| Failure::Run(error.to_string()))?;
    if arguments.run.json {
        output(&result.to_string())?;
    } else {
        for line in report::lines(&plan, &outcomes, screen) {
            output(&line)?;
        }
    }
    screen.line(format!("{} {}", screen.dim("study"), plan.out.display()));
    Ok(())
}

/// The scores of the pool, made once.
fn scores(plan: &StudyPlan, screen: &Screen) -> Result<Scores, Failure> {
    let path = plan.out.join("scores.json");
    if !path.is_file() {
        screen.line("scoring the principles");
        run(&plan.score_arguments(&path), "scoring")?;
    }
    Ok(Scores::read(&path).map_err(|error| InputError::refused(path.display(), &error))?)
}

/// One run by the binary itself, from the beginning: what a broken one left is taken away.
fn train(plan: &StudyPlan, study_run: &StudyRun, folder: &Path) -> Result<(), Failure> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|error| {
            Failure::Run(format!("{} cannot be removed: {error}", folder.display()))
        })?;
    }
    run(&plan.train_arguments(study_run, folder), &study_run.name())
}

fn run(arguments: &[String], name: &str) -> Result<(), Failure> {
    let program = std::env::current_exe().map_err(|error| Failure::Run(error.to_string()))?;
    let done = Command::new(program).args(arguments).output();
    let done = done.map_err(|error| Failure::Run(format!("{name}: {error}")))?;
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr);
    let last = words.lines().next_back().unwrap_or("it said nothing");
    let last = last.strip_prefix("error: ").unwrap_or(last);
    Err(InputError::Said(format!("{name}: {last}")).into())
}
