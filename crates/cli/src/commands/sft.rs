//! `enigma sft`: raise the likelihood of given completions.

use std::time::{Duration, Instant};

use model::Transformer;
use ranks::{Place, Ranks};
use record::{Position, RunFolder};
use serde_json::json;
use trainer::{Keeper, TrainError, Trained};

use super::begin::{self, Begun, Resumed};
use super::keeper::Checkpoints;
use super::memory::peak_mib;
use super::run;
use super::world::{self, Follower};
use crate::arguments::{RunArguments, SftArguments};
use crate::error::{Failure, InputError};
use crate::hub;
use crate::inputs;
use crate::machine::{self, Room};
use crate::plan::{self, SftPlan, run_folder};
use crate::recipe::{RecipeText, SftRecipe, read};
use crate::terminal::{Progress, Screen, duration, grouped, output, short};

/// Runs the recipe, or with `--dry-run` prints what it comes to; with `--resume` goes on with a
/// run.
///
/// # Errors
/// Before anything is written where the input is wrong; afterwards where the run fails.
pub(crate) fn sft(arguments: &SftArguments, screen: &Screen) -> Result<(), Failure> {
    let started = Instant::now();
    let place = world::place()?;
    let (everyone, screen) = (screen, &screen.of_rank(place.rank));
    let resumed = arguments.run.resume.as_deref();
    let resumed = resumed.map(|path| Resumed::open(path, place.is_first()));
    let resumed = resumed.transpose()?;
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
        return if place.is_first() {
            dry_run(&plan, &text, arguments.run.json, screen)
        } else {
            Ok(())
        };
    }
    let ranks = world::meet(&place, &plan.recipe, &inputs, everyone)?;
    let ready = Ready {
        arguments: &arguments.run,
        plan: &plan,
        place: &place,
        ranks: &ranks,
        screen,
    };
    let made = || {
        let mut policy = ready.learner(resumed.as_ref())?;
        if !ranks.is_first() {
            return ready.follow(&mut policy, resumed.as_ref());
        }
        let from = resumed.as_ref().map(Resumed::step);
        let begun = begin::begun(&plan.out, &text, &inputs, resumed, started, screen)?;
        ready.lead(&mut policy, &begun, from)
    };
    world::ended(&ranks, machine::on_card(made))
}

/// A run that can begin.
struct Ready<'a> {
    arguments: &'a RunArguments,
    plan: &'a SftPlan,
    place: &'a Place,
    ranks: &'a Ranks,
    screen: &'a Screen,
}

impl Ready<'_> {
    /// The model that learns, the same on all ranks.
    fn learner(&self, resumed: Option<&Resumed>) -> Result<Transformer, Failure> {
        let SftRecipe {
            model,
            optimizer,
            run: section,
            ..
        } = &self.plan.recipe;
        let room = Room {
            bytes: self.plan.memory.card_bytes,
            lower: "lower run.micro_batch_tokens or data.max_length, or train adapters ([lora])",
        };
        let device = machine::device_of(&self.arguments.machine, self.place, &room)?;
        let seed = section.seed;
        let mut policy = run::learner(&self.plan.opened, model, optimizer, seed, &device)?;
        run::take_up(&mut policy, resumed)?;
        let agreed = world::agree(self.ranks, &policy)
            .and_then(|()| run::connect(&mut policy, self.ranks, self.screen));
        agreed.map_err(|error| Failure::Run(error.to_string()))?;
        Ok(policy)
    }

    /// The part of rank 0, which writes the run and shows it.
    fn lead(
        &self,
        policy: &mut Transformer,
        begun: &Begun,
        resumed_from: Option<usize>,
    ) -> Result<(), Failure> {
        let Self { plan, screen, .. } = *self;
        let progress = Progress::sft(screen, plan.settings.steps, begun.position.global_step);
        let dtype = plan::dtype(plan.recipe.model.checkpoint_dtype);
        let (opened, saves) = (&plan.opened, plan.recipe.run.saves());
        let mut keeper =
            Checkpoints::new(begun, opened, dtype, saves, self.ranks, screen, progress)?;
        let position = begun.position.clone();
        let steps = |keeper: &mut Checkpoints| {
            keeper.watch(|keeper| self.steps(policy, position, Some(&begun.folder), keeper))
        };
        let trained = keeper.holding(steps);
        keeper.progress.finish();
        let trained = trained?;
        let steps = begun.folder.steps();
        let steps = steps.map_err(|error| Failure::Run(error.to_string()))?;
        let loss = steps
            .last()
            .and_then(|record| record.metrics.get("loss").copied());
        report(plan, &keeper, trained, loss, screen);
        if self.arguments.json {
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

    /// The part of any other rank.
    fn follow(&self, policy: &mut Transformer, resumed: Option<&Resumed>) -> Result<(), Failure> {
        let position = resumed.map(Resumed::position).unwrap_or_default();
        let (out, of_steps) = (&self.plan.out, self.plan.settings.steps);
        Follower::new(self.ranks)?.watch(out, of_steps, |follower| {
            self.steps(policy, position, None, follower)
        })?;
        Ok(())
    }

    /// The steps from a position on; `run` is where they are written.
    fn steps(
        &self,
        policy: &mut Transformer,
        position: Position,
        run: Option<&RunFolder>,
        keeper: &mut dyn Keeper<Transformer>,
    ) -> Result<Trained, TrainError> {
        let (examples, settings) = (&self.plan.examples, &self.plan.settings);
        trainer::sft(
            policy, examples, settings, position, self.ranks, run, keeper,
        )
    }
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
        let mut budget = json!(plan.memory);
        budget["examples"] = json!(examples);
        budget["completion_tokens"] = json!(completion_tokens);
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
        ("planned memory", run::mebibytes(plan.memory.memory_bytes)),
        ("planned disk", run::disk_words(&plan.disk)),
        ("on an NVIDIA card", run::card_words(&plan.memory)),
    ];
    for (name, value) in counted {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<20}"))));
    }
    Ok(())
}
