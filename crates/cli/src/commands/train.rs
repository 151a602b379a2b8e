//! `enigma train`: evaluate, train, evaluate, and say what changed.

use std::time::Instant;

use model::Transformer;
use objective::SinkhornDrift;
use record::{Before, Checkpoint, RecordError, Summary};
use rollout::WeightedGrader;
use trainer::{EvaluationSettings, TrainError, Trained, Training};

use super::begin::{self, Begun, Resumed};
use super::keeper::Checkpoints;
use super::memory::peak_mib;
use super::{report, run, study};
use crate::arguments::TrainArguments;
use crate::error::{Failure, InputError};
use crate::hub;
use crate::plan::{self, Budget, TrainPlan, graders, run_folder};
use crate::recipe::{RecipeText, TrainRecipe, read};
use crate::terminal::{Progress, Screen, grouped, output};
use crate::{inputs, machine, nano};

/// Runs the recipe, or with `--dry-run` prints what it comes to; with `--resume` goes on with a
/// run.
///
/// # Errors
/// Before anything is written where the input is wrong; afterwards where the run fails.
pub(crate) fn train(arguments: &TrainArguments, screen: &Screen) -> Result<(), Failure> {
    if let Some(path) = &arguments.study {
        return study::study(path, arguments, screen);
    }
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
    run::tell(plan.notes.iter().chain(more.iter().flatten()), screen);
    if arguments.run.dry_run {
        return dry_run(&plan, &text, arguments.run.json, screen);
    }
    if let Some(summary) = resumed.as_ref().and_then(|r| finished(r, &plan, screen)) {
        return ended(&summary, arguments.run.json);
    }
    let TrainRecipe {
        model,
        optimizer,
        run: section,
        ..
    } = &plan.recipe;
    let device = machine::device(&arguments.run.machine)?;
    machine::expect_room(&device, plan.budget.card_bytes)?;
    let mut policy = run::learner(&plan.opened, model, optimizer, section.seed, &device)?;
    policy.keep_reference();
    policy.set_sampling_dtype(plan::dtype(plan.recipe.sampling.dtype));
    run::take_up(&mut policy, resumed.as_ref())?;
    let mut graders = graders(&plan.recipe.rewards, &plan.task.format)?;
    let resumed_from = resumed.as_ref().map(Resumed::step);
    let begun = begin::begun(&plan.out, &text, &inputs, resumed, screen)?;
    let written = begun.folder.write_data(&plan.data);
    written.map_err(|error| Failure::Run(error.to_string()))?;
    introduce(&plan, begun.checkpoint.as_ref(), screen);

    let progress = Progress::train(screen, plan.settings.steps, begun.position.global_step);
    let (opened, dtype) = (&plan.opened, plan::dtype(model.checkpoint_dtype));
    let saves = section.saves();
    let mut keeper = Checkpoints::new(&begun, opened, dtype, saves, screen, progress, start)?;
    let result = learn(&plan, &mut policy, &mut graders, &begun, &mut keeper);
    keeper.progress.finish();
    let Learnt {
        before,
        trained,
        after,
    } = result?;
    tell_faults(&graders, screen);
    let summary = Summary {
        before: before.evaluation,
        after: after.evaluation,
        seconds: keeper.seconds(),
        peak_mib: peak_mib(),
        tokens: trained.tokens,
        run: plan.out.clone(),
        checkpoint: keeper.latest(),
        best_checkpoint: keeper.best(),
        resumed_from,
    };
    begun
        .folder
        .write_summary(&summary)
        .map_err(|error| Failure::Run(error.to_string()))?;
    report::samples(&plan.task, &before.completions, &after.completions, screen);
    report::summary(&summary, screen);
    ended(&summary, arguments.run.json)
}

/// What went wrong with graders.
fn tell_faults(graders: &[WeightedGrader], screen: &Screen) {
    for weighted in graders {
        if let Some(faults) = weighted.grader.faults() {
            let name = weighted.grader.name();
            screen.line(format!("{} grader {name}: {faults}", screen.dim("note:")));
        }
    }
}

/// The summary of a run that has nothing left to do, which is said.
fn finished(resumed: &Resumed, plan: &TrainPlan, screen: &Screen) -> Option<Summary> {
    let steps = plan.settings.steps;
    let is_last = resumed.step() == steps;
    let summary = is_last.then(|| resumed.folder().summary().ok()).flatten()?;
    screen.line(format!(
        "{} is finished, after {steps} steps; --set run.max_steps=N makes it longer",
        plan.out.display()
    ));
    Some(summary)
}

/// What scripts read.
fn ended(summary: &Summary, json: bool) -> Result<(), Failure> {
    if json {
        output(&serde_json::to_string(summary).expect("a summary is plain values"))?;
    }
    Ok(())
}

/// The plan and its text.
fn plan(
    arguments: &TrainArguments,
    resumed: Option<&Resumed>,
    screen: &Screen,
) -> Result<(TrainPlan, String), InputError> {
    let source = match (&arguments.recipe, resumed) {
        (Some(path), _) => RecipeText::open(path)?,
        (None, Some(resumed)) => resumed.plan.clone(),
        (None, None) => nano::recipe(),
    };
    let mut recipe: TrainRecipe = read(&source, &arguments.run.overrides)?;
    recipe.check()?;
    let folder = source.folder.as_deref();
    hub::fetch("model.path", &mut recipe.model.path, folder, screen)?;
    let out = match resumed {
        Some(resumed) => resumed.path(),
        None => run_folder(arguments.run.out.as_deref(), &source.name)?,
    };
    let plan = TrainPlan::resolve(&source, recipe, out)?;
    let text = toml::to_string(&plan.recipe).expect("a recipe is TOML");
    Ok((plan, text))
}

fn dry_run(plan: &TrainPlan, text: &str, json: bool, screen: &Screen) -> Result<(), Failure> {
    let budget = &plan.budget;
    if json {
        let object = serde_json::json!({
            "plan": plan.recipe,
            "budget": budget,
            "disk": plan.disk,
            "data": plan.data,
            "run": plan.out,
        });
        output(&object.to_string())?;
        return Ok(());
    }
    output(text.trim_end())?;
    let counted = [
        ("run folder", plan.out.display().to_string()),
        ("questions", grouped(plan.task.questions.len())),
        ("held out", grouped(plan.task.held_out.len())),
        (
            "longest prompt",
            format!("{} tokens", budget.longest_prompt),
        ),
        (
            "completions a step",
            format!("at most {}", grouped(budget.completions_per_step)),
        ),
        (
            "sampled in training",
            format!("at most {} tokens", grouped(budget.sampled_tokens_max)),
        ),
        (
            "sampled to evaluate",
            format!("at most {} tokens", grouped(budget.evaluation_tokens_max)),
        ),
        ("trained", trained_words(budget)),
        (
            "planned memory",
            format!("{} MiB", grouped(budget.memory_bytes >> 20)),
        ),
        ("planned disk", run::disk_words(&plan.disk)),
        (
            "on an NVIDIA card",
            format!("{} MiB, not yet measured", grouped(budget.card_bytes >> 20)),
        ),
    ];
    for (name, value) in counted {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<20}"))));
    }
    Ok(())
}

/// How many of how many numbers are trained.
fn trained_words(budget: &Budget) -> String {
    let Budget {
        trainable_parameters: trained,
        parameters,
        ..
    } = *budget;
    let share = 100.0 * trained as f64 / parameters as f64;
    if trained == parameters {
        return format!("all {} parameters", grouped(parameters));
    }
    let (trained, frozen) = (grouped(trained), grouped(parameters));
    format!("{trained} parameters beside {frozen} frozen ({share:.2} %)")
}

fn introduce(plan: &TrainPlan, checkpoint: Option<&Checkpoint>, screen: &Screen) {
    let principles: Vec<&str> = plan.task.principles.iter().map(|p| p.id.as_str()).collect();
    let mut lines = vec![
        ("model", plan.recipe.model.path.clone()),
        ("principles", principles.join(", ")),
        ("questions", grouped(plan.task.questions.len())),
        ("run", plan.out.display().to_string()),
    ];
    if let Some(Checkpoint { step, path }) = checkpoint {
        let from = format!("after step {step}, from {}", path.display());
        lines.push(("goes on", from));
    }
    for (name, value) in lines {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<12}"))));
    }
    screen.line("");
}

/// What a run gave.
struct Learnt {
    before: Before,
    trained: Trained,
    after: Before,
}

fn learn(
    plan: &TrainPlan,
    policy: &mut Transformer,
    graders: &mut [WeightedGrader],
    begun: &Begun,
    keeper: &mut Checkpoints,
) -> Result<Learnt, Failure> {
    let TrainPlan {
        task,
        settings,
        opened,
        ..
    } = plan;
    let codec = &opened.tokenizer;
    let before = before(plan, policy, graders, begun, &mut keeper.progress)?;
    let trained = keeper.watch(|keeper| {
        let position = begun.position.clone();
        let training = Training::new(codec, task, settings)?;
        let mut training = training.resume(policy, graders, position)?;
        trainer::train(policy, &mut training, graders, &begun.folder, keeper)
    })?;
    // What was learnt is safe before it is judged.
    let drift = plan.evaluation.drift;
    let after = evaluate(plan, policy, graders, drift, &mut keeper.progress);
    let after = after.map_err(|error| Failure::Stopped {
        reason: format!("after step {}, {error}", trained.steps),
        checkpoint: keeper.latest(),
    })?;
    Ok(Learnt {
        before,
        trained,
        after,
    })
}

/// The figures of before the first step: measured once, and then on record.
fn before(
    plan: &TrainPlan,
    policy: &Transformer,
    graders: &mut [WeightedGrader],
    begun: &Begun,
    progress: &mut Progress,
) -> Result<Before, Failure> {
    let folder = &begun.folder;
    let failed = |error: RecordError| Failure::Run(error.to_string());
    if begun.checkpoint.is_some() {
        return folder.before().map_err(failed);
    }
    let before = evaluate(plan, policy, graders, None, progress).map_err(|error| {
        folder.clone().withdraw();
        InputError::refused(&plan.recipe.model.path, &error)
    })?;
    folder.write_before(&before).map_err(failed)?;
    Ok(before)
}

fn evaluate(
    plan: &TrainPlan,
    policy: &Transformer,
    graders: &mut [WeightedGrader],
    drift: Option<SinkhornDrift>,
    progress: &mut Progress,
) -> Result<Before, TrainError> {
    progress.begin_evaluation();
    let settings = EvaluationSettings {
        drift,
        ..plan.evaluation.clone()
    };
    let codec = &plan.opened.tokenizer;
    let found = trainer::evaluate(policy, codec, &plan.task, graders, &settings, progress)?;
    Ok(Before {
        evaluation: found.evaluation,
        completions: found.completions,
    })
}
