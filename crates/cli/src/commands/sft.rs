//! `enigma sft`: raise the likelihood of given completions.

use std::time::{Duration, Instant};

use serde_json::json;

use super::memory::peak_mib;
use super::run;
use crate::arguments::SftArguments;
use crate::error::{Failure, InputError};
use crate::machine;
use crate::plan::{SftPlan, run_folder};
use crate::recipe::{RecipeText, SftRecipe, read};
use crate::terminal::{Progress, Screen, duration, grouped, output, short};

/// Runs the recipe, or with `--dry-run` prints what it comes to.
///
/// # Errors
/// Before anything is written where the input is wrong; afterwards where the run fails.
pub(crate) fn sft(arguments: &SftArguments, screen: &Screen) -> Result<(), Failure> {
    let start = Instant::now();
    let (plan, text) = plan(arguments)?;
    for note in &plan.notes {
        screen.line(format!("{} {note}", screen.dim("note:")));
    }
    if arguments.run.dry_run {
        return dry_run(&plan, &text, arguments.run.json, screen);
    }
    let SftRecipe {
        model,
        optimizer,
        run: section,
        ..
    } = &plan.recipe;
    let device = machine::device(&arguments.run.machine);
    let mut policy = run::learner(&plan.opened, model, optimizer, section.seed, &device)?;
    let folder = run::begin(&plan.out, &text)?;

    let (codec, dtype) = (&plan.opened.tokenizer, model.checkpoint_dtype);
    let mut progress = Progress::sft(screen, plan.settings.steps);
    let trained = trainer::sft(
        &mut policy,
        &plan.examples,
        &plan.settings,
        &folder,
        &mut progress,
    );
    progress.finish();
    let trained = trained.map_err(|error| {
        run::stopped(&error, |updates| {
            run::save(&folder, updates, &policy, codec, dtype)
        })
    })?;
    let checkpoint = run::save(&folder, trained.steps, &policy, codec, dtype)?;
    let (seconds, peak_mib) = (start.elapsed().as_secs_f64(), peak_mib());
    let loss = progress.latest("loss");
    let spent = format!(
        "{} tokens · {} · loss {}",
        grouped(usize::try_from(trained.tokens).unwrap_or(usize::MAX)),
        duration(Duration::from_secs_f64(seconds)),
        short(loss),
    );
    let lines = [
        ("spent", spent),
        ("run", folder.path().display().to_string()),
        (
            "checkpoint",
            screen.accent(&checkpoint.display().to_string()),
        ),
    ];
    for (name, value) in lines {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<12}"))));
    }
    if arguments.run.json {
        let object = json!({
            "steps": trained.steps,
            "tokens": trained.tokens,
            "loss": loss,
            "seconds": seconds,
            "peak_mib": peak_mib,
            "run": folder.path(),
            "checkpoint": checkpoint,
        });
        output(&object.to_string())?;
    }
    Ok(())
}

/// The plan and its text.
fn plan(arguments: &SftArguments) -> Result<(SftPlan, String), InputError> {
    let source = RecipeText::open(&arguments.recipe)?;
    let recipe: SftRecipe = read(&source, &arguments.run.overrides)?;
    recipe.check()?;
    let out = run_folder(arguments.run.out.as_deref(), &source.name)?;
    let plan = SftPlan::resolve(&source, recipe, out)?;
    let text = toml::to_string(&plan.recipe).expect("a recipe is TOML");
    Ok((plan, text))
}

fn dry_run(plan: &SftPlan, text: &str, json: bool, screen: &Screen) -> Result<(), Failure> {
    let completion_tokens: usize = plan.examples.iter().map(|e| e.tokens_t.len()).sum();
    if json {
        let examples = plan.examples.len();
        let budget = json!({"examples": examples, "completion_tokens": completion_tokens});
        output(&json!({"plan": plan.recipe, "budget": budget, "run": plan.out}).to_string())?;
        return Ok(());
    }
    output(text.trim_end())?;
    let counted = [
        ("run folder", plan.out.display().to_string()),
        ("examples", grouped(plan.examples.len())),
        (
            "their completions",
            format!("{} tokens", grouped(completion_tokens)),
        ),
    ];
    for (name, value) in counted {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<20}"))));
    }
    Ok(())
}
