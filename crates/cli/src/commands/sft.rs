//! `enigma sft`: raise the likelihood of given completions.

use std::time::{Duration, Instant};

use serde_json::json;
use trainer::Trained;

use super::begin::{self, Resumed};
use super::keeper::Checkpoints;
use super::memory::peak_mib;
use super::run;
use crate::arguments::SftArguments;
use crate::error::{Failure, InputError};
use crate::hub;
use crate::plan::{self, SftPlan, run_folder};
use crate::recipe::{RecipeText, SftRecipe, read};
use crate::terminal::{Progress, Screen, duration, grouped, output, short};
use crate::{inputs, machine};

/// Runs the recipe, or with `--dry-run` prints what it comes to; with `--resume` goes on with a
/// run.
///
/// # Errors
/// Before anything is written where the input is wrong; afterwards where the run fails.
pub(crate) fn sft(arguments: &SftArguments, screen: &Screen) -> Result<(), Failure> {
    let start = Instant::now();
    let resumed = arguments
        .run
        .resume
        .as_deref()
        .map(Resumed::open)
        .transpose()?;
    let (plan, text) = plan(arguments, resumed.as_ref(), screen)?;
    let inputs = inputs::digests(plan.opened.source(), &plan.inputs)?;
    let check = |resumed: &Resumed| resumed.check(&plan.recipe, plan.settings.steps, &inputs);
    let more = resumed.as_ref().map(check).transpose()?;
    let from = resumed.as_ref().map(Resumed::step);
    let from = from.map(|step| format!("goes on after step {step}"));
    run::tell(
        plan.notes.iter().chain(more.iter().flatten()).chain(&from),
        screen,
    );
    if arguments.run.dry_run {
        return dry_run(&plan, &text, arguments.run.json, screen);
    }
    let SftRecipe {
        model,
        optimizer,
        run: section,
        ..
    } = &plan.recipe;
    let device = machine::device(&arguments.run.machine)?;
    let mut policy = run::learner(&plan.opened, model, optimizer, section.seed, &device)?;
    run::take_up(&mut policy, resumed.as_ref())?;
    let resumed_from = resumed.as_ref().map(Resumed::step);
    let begun = begin::begun(&plan.out, &text, &inputs, resumed, screen)?;

    let progress = Progress::sft(screen, plan.settings.steps, begun.position.global_step);
    let (opened, dtype) = (&plan.opened, plan::dtype(model.checkpoint_dtype));
    let saves = section.saves();
    let mut keeper = Checkpoints::new(&begun, opened, dtype, saves, screen, progress, start)?;
    let trained = keeper.watch(|keeper| {
        let (examples, settings) = (&plan.examples, &plan.settings);
        let position = begun.position.clone();
        trainer::sft(
            &mut policy,
            examples,
            settings,
            position,
            &begun.folder,
            keeper,
        )
    });
    keeper.progress.finish();
    let trained = trained?;
    let steps = begun.folder.steps();
    let steps = steps.map_err(|error| Failure::Run(error.to_string()))?;
    let loss = steps
        .last()
        .and_then(|record| record.metrics.get("loss").copied());
    report(&plan, &keeper, trained, loss, screen);
    if arguments.run.json {
        let object = json!({
            "steps": trained.steps,
            "tokens": trained.tokens,
            "loss": loss,
            "seconds": keeper.seconds(),
            "peak_mib": peak_mib(),
            "run": plan.out,
            "checkpoint": keeper.latest(),
            "best_checkpoint": keeper.best(),
            "resumed_from": resumed_from,
        });
        output(&object.to_string())?;
    }
    Ok(())
}

/// What a run came to, for a reader.
fn report(
    plan: &SftPlan,
    keeper: &Checkpoints,
    trained: Trained,
    loss: Option<f64>,
    screen: &Screen,
) {
    let spent = format!(
        "{} tokens · {} · loss {}",
        grouped(usize::try_from(trained.tokens).unwrap_or(usize::MAX)),
        duration(Duration::from_secs_f64(keeper.seconds())),
        short(loss),
    );
    let checkpoint = keeper.latest().display().to_string();
    let lines = [
        ("spent", spent),
        ("run", plan.out.display().to_string()),
        ("checkpoint", screen.accent(&checkpoint)),
    ];
    for (name, value) in lines {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<12}"))));
    }
}

/// The plan and its text.
fn plan(
    arguments: &SftArguments,
    resumed: Option<&Resumed>,
    screen: &Screen,
) -> Result<(SftPlan, String), InputError> {
    let source = match (&arguments.recipe, resumed) {
        (Some(path), _) => RecipeText::open(path)?,
        (None, Some(resumed)) => resumed.plan.clone(),
        (None, None) => unreachable!("a recipe is required without --resume"),
    };
    let mut recipe: SftRecipe = read(&source, &arguments.run.overrides)?;
    recipe.check()?;
    let folder = source.folder.as_deref();
    hub::fetch("model.path", &mut recipe.model.path, folder, screen)?;
    let out = match resumed {
        Some(resumed) => resumed.path(),
        None => run_folder(arguments.run.out.as_deref(), &source.name)?,
    };
    let plan = SftPlan::resolve(&source, recipe, out)?;
    let text = toml::to_string(&plan.recipe).expect("a recipe is TOML");
    Ok((plan, text))
}

fn dry_run(plan: &SftPlan, text: &str, json: bool, screen: &Screen) -> Result<(), Failure> {
    let completion_tokens: usize = plan.examples.iter().map(|e| e.tokens_t.len()).sum();
    if json {
        let examples = plan.examples.len();
        let budget = json!({"examples": examples, "completion_tokens": completion_tokens});
        let (recipe, disk, out) = (&plan.recipe, &plan.disk, &plan.out);
        let object = json!({"plan": recipe, "budget": budget, "disk": disk, "run": out});
        output(&object.to_string())?;
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
        ("planned disk", run::disk_words(&plan.disk)),
    ];
    for (name, value) in counted {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<20}"))));
    }
    Ok(())
}
