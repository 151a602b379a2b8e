//! `enigma train`: evaluate, train, evaluate, and say what changed.

use std::path::PathBuf;
use std::time::Instant;

use model::Transformer;
use objective::SinkhornDrift;
use record::{RunFolder, Summary};
use rollout::WeightedGrader;
use trainer::{Evaluated, EvaluationSettings, TrainError, Trained};

use super::memory::peak_mib;
use super::{report, run};
use crate::arguments::TrainArguments;
use crate::error::{Failure, InputError};
use crate::machine;
use crate::nano;
use crate::plan::{TrainPlan, graders, run_folder};
use crate::recipe::{RecipeText, TrainRecipe, read};
use crate::terminal::{Progress, Screen, grouped, output};

/// Runs the recipe, or with `--dry-run` prints what it comes to.
///
/// # Errors
/// Before anything is written where the input is wrong; afterwards where the run fails.
pub(crate) fn train(arguments: &TrainArguments, screen: &Screen) -> Result<(), Failure> {
    let start = Instant::now();
    let (plan, text) = plan(arguments)?;
    for note in &plan.notes {
        screen.line(format!("{} {note}", screen.dim("note:")));
    }
    if arguments.run.dry_run {
        return dry_run(&plan, &text, arguments.run.json, screen);
    }
    let TrainRecipe {
        model,
        optimizer,
        run: section,
        ..
    } = &plan.recipe;
    let device = machine::device(&arguments.run.machine);
    let mut policy = run::learner(&plan.opened, model, optimizer, section.seed, &device)?;
    policy.keep_reference();
    let folder = run::begin(&plan.out, &text)?;
    folder
        .write_data(&plan.data)
        .map_err(|error| Failure::Run(error.to_string()))?;
    introduce(&plan, screen);

    let mut progress = Progress::train(screen, plan.settings.steps);
    let result = learn(&plan, &mut policy, &folder, &mut progress);
    progress.finish();
    let Learnt {
        before,
        trained,
        after,
        checkpoint,
    } = result?;
    let summary = Summary {
        before: before.evaluation,
        after: after.evaluation,
        seconds: start.elapsed().as_secs_f64(),
        peak_mib: peak_mib(),
        tokens: trained.tokens,
        run: folder.path().to_owned(),
        checkpoint,
    };
    folder
        .write_summary(&summary)
        .map_err(|error| Failure::Run(error.to_string()))?;
    report::samples(&plan.task, &before.completions, &after.completions, screen);
    report::summary(&summary, screen);
    if arguments.run.json {
        output(&serde_json::to_string(&summary).expect("a summary is plain values"))?;
    }
    Ok(())
}

/// The plan and its text.
fn plan(arguments: &TrainArguments) -> Result<(TrainPlan, String), InputError> {
    let source = match &arguments.recipe {
        Some(path) => RecipeText::open(path)?,
        None => nano::recipe(),
    };
    let recipe: TrainRecipe = read(&source, &arguments.run.overrides)?;
    recipe.check()?;
    let out = run_folder(arguments.run.out.as_deref(), &source.name)?;
    let plan = TrainPlan::resolve(&source, recipe, out)?;
    let text = toml::to_string(&plan.recipe).expect("a recipe is TOML");
    Ok((plan, text))
}

fn dry_run(plan: &TrainPlan, text: &str, json: bool, screen: &Screen) -> Result<(), Failure> {
    let budget = &plan.budget;
    if json {
        let object = serde_json::json!({"plan": plan.recipe, "budget": budget, "data": plan.data, "run": plan.out});
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
        (
            "planned memory",
            format!("{} MiB", grouped(budget.memory_bytes >> 20)),
        ),
    ];
    for (name, value) in counted {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<20}"))));
    }
    Ok(())
}

fn introduce(plan: &TrainPlan, screen: &Screen) {
    let principles: Vec<&str> = plan.task.principles.iter().map(|p| p.id.as_str()).collect();
    let lines = [
        ("model", plan.recipe.model.path.clone()),
        ("principles", principles.join(", ")),
        ("questions", grouped(plan.task.questions.len())),
        ("run", plan.out.display().to_string()),
    ];
    for (name, value) in lines {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<12}"))));
    }
    screen.line("");
}

/// What a run gave.
struct Learnt {
    before: Evaluated,
    trained: Trained,
    after: Evaluated,
    checkpoint: PathBuf,
}

fn learn(
    plan: &TrainPlan,
    policy: &mut Transformer,
    folder: &RunFolder,
    progress: &mut Progress,
) -> Result<Learnt, Failure> {
    let TrainPlan {
        task,
        settings,
        opened,
        recipe,
        ..
    } = plan;
    let codec = &opened.tokenizer;
    let mut graders = graders(&recipe.rewards, &task.format);
    let before = evaluate(plan, policy, &mut graders, None, progress).map_err(|error| {
        folder.clone().withdraw();
        InputError::refused(&recipe.model.path, &error)
    })?;
    let trained = trainer::train(
        policy,
        codec,
        task,
        &mut graders,
        settings,
        folder,
        progress,
    );
    let dtype = recipe.model.checkpoint_dtype;
    let trained = trained.map_err(|error| {
        run::stopped(&error, |updates| {
            run::save(folder, updates, policy, codec, dtype)
        })
    })?;
    // What was learnt is safe before it is judged.
    let checkpoint = run::save(folder, trained.steps, policy, codec, dtype)?;
    let after = evaluate(plan, policy, &mut graders, plan.evaluation.drift, progress);
    let after = after.map_err(|error| Failure::Stopped {
        reason: format!("after step {}, {error}", trained.steps),
        checkpoint: checkpoint.clone(),
    })?;
    Ok(Learnt {
        before,
        trained,
        after,
        checkpoint,
    })
}

fn evaluate(
    plan: &TrainPlan,
    policy: &Transformer,
    graders: &mut [WeightedGrader],
    drift: Option<SinkhornDrift>,
    progress: &mut Progress,
) -> Result<Evaluated, TrainError> {
    progress.begin_evaluation();
    let settings = EvaluationSettings {
        drift,
        ..plan.evaluation.clone()
    };
    let codec = &plan.opened.tokenizer;
    trainer::evaluate(policy, codec, &plan.task, graders, &settings, progress)
}
