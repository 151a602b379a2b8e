//! `enigma train`: evaluate, train, evaluate, and say what changed.

use std::collections::BTreeMap;
use std::time::Instant;

use model::Transformer;
use objective::SinkhornDrift;
use ranks::{Place, Ranks};
use record::{Before, Checkpoint, Position, RecordError, RunFolder, Summary};
use rollout::WeightedGrader;
use trainer::{EvaluationSettings, Keeper, Observer, TrainError, Trained, Training};

use super::begin::{self, Begun, Resumed};
use super::keeper::Checkpoints;
use super::memory::peak_mib;
use super::world::{self, Follower};
use super::{report, run, study};
use crate::arguments::{MachineArguments, TrainArguments};
use crate::error::{Failure, InputError};
use crate::hub;
use crate::machine::{self, Room};
use crate::plan::{self, Budget, TrainPlan, graders, run_folder};
use crate::recipe::{RecipeText, TrainRecipe, read};
use crate::terminal::{Progress, Screen, grouped, output};
use crate::{inputs, nano};

/// Runs the recipe, or with `--dry-run` prints what it comes to; with `--resume` goes on with a
/// run.
///
/// # Errors
/// Before anything is written where the input is wrong; afterwards where the run fails.
pub(crate) fn train(arguments: &TrainArguments, screen: &Screen) -> Result<(), Failure> {
    let place = world::place()?;
    if let Some(path) = &arguments.study {
        world::require_alone(&place, "--study")?;
        return study::study(path, arguments, screen);
    }
    let started = Instant::now();
    let (everyone, screen) = (screen, &screen.of_rank(place.rank));
    let is_json = arguments.run.json && place.is_first();
    let resumed = arguments.run.resume.as_deref();
    let resumed = resumed.map(|path| Resumed::open(path, place.is_first()));
    let resumed = resumed.transpose()?;
    let (plan, text) = plan(arguments, resumed.as_ref(), screen)?;
    let inputs = inputs::digests(plan.opened.source(), &plan.inputs)?;
    let check = |resumed: &Resumed| resumed.check(&plan.recipe, plan.settings.steps, &inputs);
    let more = resumed.as_ref().map(check).transpose()?;
    run::tell(plan.notes.iter().chain(more.iter().flatten()), screen);
    if arguments.run.dry_run {
        return if place.is_first() {
            dry_run(&plan, &text, is_json, screen)
        } else {
            Ok(())
        };
    }
    if let Some(summary) = resumed.as_ref().and_then(|r| finished(r, &plan, screen)) {
        return ended(&summary, is_json);
    }
    let ranks = world::meet(&place, &plan.recipe, &inputs, everyone)?;
    let ready = Ready {
        machine: &arguments.run.machine,
        plan: &plan,
        text: &text,
        inputs: &inputs,
        place: &place,
        ranks: &ranks,
        screen,
        started,
    };
    world::ended(&ranks, machine::on_card(|| ready.run(resumed, is_json)))
}

/// A run that can begin.
struct Ready<'a> {
    machine: &'a MachineArguments,
    plan: &'a TrainPlan,
    text: &'a str,
    inputs: &'a BTreeMap<String, String>,
    place: &'a Place,
    ranks: &'a Ranks,
    screen: &'a Screen,
    started: Instant,
}

impl Ready<'_> {
    fn run(&self, resumed: Option<Resumed>, is_json: bool) -> Result<(), Failure> {
        let TrainRecipe {
            model,
            optimizer,
            rewards,
            run: section,
            ..
        } = &self.plan.recipe;
        let room = Room {
            bytes: self.plan.budget.memory.card_bytes,
            lower: "lower run.micro_batch_tokens or sampling.max_completion_length, or train \
                    adapters ([lora])",
        };
        let device = machine::device_of(self.machine, self.place, &room)?;
        let seed = section.seed;
        let mut policy = run::learner(&self.plan.opened, model, optimizer, seed, &device)?;
        policy.keep_reference();
        policy.set_sampling_dtype(plan::dtype(self.plan.recipe.sampling.dtype));
        run::take_up(&mut policy, resumed.as_ref())?;
        let mut graders = graders(rewards, &self.plan.task.format)?;
        let agreed = world::agree(self.ranks, &policy)
            .and_then(|()| run::connect(&mut policy, self.ranks, self.screen));
        agreed.map_err(|error| Failure::Run(error.to_string()))?;
        if self.ranks.is_first() {
            self.lead(&mut policy, &mut graders, resumed, is_json)
        } else {
            self.follow(&mut policy, &mut graders, resumed.as_ref())
        }
    }

    /// The part of rank 0, which writes the run and shows it.
    fn lead(
        &self,
        policy: &mut Transformer,
        graders: &mut [WeightedGrader],
        resumed: Option<Resumed>,
        is_json: bool,
    ) -> Result<(), Failure> {
        let Self { plan, screen, .. } = *self;
        let resumed_from = resumed.as_ref().map(Resumed::step);
        let (out, text, inputs) = (&plan.out, self.text, self.inputs);
        let begun = begin::begun(out, text, inputs, resumed, self.started, screen)?;
        let written = begun.folder.write_data(&plan.data);
        written.map_err(|error| Failure::Run(error.to_string()))?;
        introduce(plan, begun.checkpoint.as_ref(), self.ranks, screen);
        run::tell(self.idle().iter(), screen);

        let progress = Progress::train(screen, plan.settings.steps, begun.position.global_step);
        let dtype = plan::dtype(plan.recipe.model.checkpoint_dtype);
        let (opened, saves) = (&plan.opened, plan.recipe.run.saves());
        let mut keeper =
            Checkpoints::new(&begun, opened, dtype, saves, self.ranks, screen, progress)?;
        let result = keeper.holding(|keeper| self.learn(policy, graders, &begun, keeper));
        keeper.progress.finish();
        let Learnt {
            before,
            trained,
            after,
        } = result?;
        tell_faults(graders, screen);
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
        ended(&summary, is_json)
    }

    /// A note where there are more ranks than questions of a step.
    fn idle(&self) -> Option<String> {
        let (questions, ranks) = (self.plan.settings.questions_per_step, self.ranks.size());
        let idle = ranks.checked_sub(questions).filter(|&idle| idle > 0)?;
        Some(format!(
            "run.questions_per_step is {questions}: {idle} of {ranks} ranks roll nothing out"
        ))
    }

    /// The part of any other rank, which computes its share of the same evaluations and steps.
    fn follow(
        &self,
        policy: &mut Transformer,
        graders: &mut [WeightedGrader],
        resumed: Option<&Resumed>,
    ) -> Result<(), Failure> {
        let failed = |error: TrainError| Failure::Run(error.to_string());
        if resumed.is_none() {
            self.evaluate(policy, graders, None, &mut ())
                .map_err(failed)?;
        }
        let position = resumed.map(Resumed::position).unwrap_or_default();
        let (out, of_steps) = (&self.plan.out, self.plan.settings.steps);
        Follower::new(self.ranks)?.watch(out, of_steps, |follower| {
            self.steps(policy, graders, position, None, follower)
        })?;
        let drift = self.plan.evaluation.drift;
        self.evaluate(policy, graders, drift, &mut ())
            .map_err(failed)?;
        Ok(())
    }

    fn learn(
        &self,
        policy: &mut Transformer,
        graders: &mut [WeightedGrader],
        begun: &Begun,
        keeper: &mut Checkpoints,
    ) -> Result<Learnt, Failure> {
        let before = self.before(policy, graders, begun, &mut keeper.progress)?;
        let trained = keeper.watch(|keeper| {
            let position = begun.position.clone();
            self.steps(policy, graders, position, Some(&begun.folder), keeper)
        })?;
        // What was learnt is safe before it is judged.
        let drift = self.plan.evaluation.drift;
        keeper.progress.begin_evaluation();
        let after = self.evaluate(policy, graders, drift, &mut keeper.progress);
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
        &self,
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
        progress.begin_evaluation();
        let measured = machine::on_card(|| {
            let measured = self.evaluate(policy, graders, None, progress);
            measured.map_err(|error| match error {
                TrainError::Ranks { .. } => Failure::Run(error.to_string()),
                _ => InputError::refused(&self.plan.recipe.model.path, &error).into(),
            })
        });
        let before = measured.inspect_err(|_| folder.clone().withdraw())?;
        folder.write_before(&before).map_err(failed)?;
        Ok(before)
    }

    /// The steps from a position on; `run` is where they are written.
    fn steps(
        &self,
        policy: &mut Transformer,
        graders: &mut [WeightedGrader],
        position: Position,
        run: Option<&RunFolder>,
        keeper: &mut dyn Keeper<Transformer>,
    ) -> Result<Trained, TrainError> {
        let TrainPlan {
            task,
            settings,
            opened,
            ..
        } = self.plan;
        let training = Training::new(&opened.tokenizer, task, settings)?.among(self.ranks);
        let mut training = training.resume(policy, graders, position)?;
        trainer::train(policy, &mut training, graders, run, keeper)
    }

    fn evaluate(
        &self,
        policy: &Transformer,
        graders: &mut [WeightedGrader],
        drift: Option<SinkhornDrift>,
        observer: &mut dyn Observer,
    ) -> Result<Before, TrainError> {
        let settings = EvaluationSettings {
            drift,
            ..self.plan.evaluation.clone()
        };
        let (codec, task) = (&self.plan.opened.tokenizer, &self.plan.task);
        let ranks = self.ranks;
        let found = trainer::evaluate(policy, codec, task, graders, &settings, ranks, observer)?;
        Ok(Before {
            evaluation: found.evaluation,
            completions: found.completions,
        })
    }
}

/// What a run gave.
struct Learnt {
    before: Before,
    trained: Trained,
    after: Before,
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
        ("planned memory", run::mebibytes(budget.memory.memory_bytes)),
        ("planned disk", run::disk_words(&plan.disk)),
        ("on an NVIDIA card", run::card_words(&budget.memory)),
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

fn introduce(plan: &TrainPlan, checkpoint: Option<&Checkpoint>, ranks: &Ranks, screen: &Screen) {
    let principles: Vec<&str> = plan.task.principles.iter().map(|p| p.id.as_str()).collect();
    let mut lines = vec![
        ("model", plan.recipe.model.path.clone()),
        ("principles", principles.join(", ")),
        ("questions", grouped(plan.task.questions.len())),
        ("run", plan.out.display().to_string()),
    ];
    if ranks.size() > 1 {
        lines.push(("ranks", ranks.size().to_string()));
    }
    if let Some(Checkpoint { step, path }) = checkpoint {
        let from = format!("after step {step}, from {}", path.display());
        lines.push(("goes on", from));
    }
    for (name, value) in lines {
        screen.line(format!("{} {value}", screen.dim(&format!("{name:<12}"))));
    }
    screen.line("");
}
