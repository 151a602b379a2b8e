//! Checkpoints of a run while it goes on, and the signals that end it early.

use std::path::PathBuf;
use std::time::Instant;

use model::{Dtype, ModelError, Transformer};
use policy::SampleProgress;
use ranks::{RankError, Ranks};
use record::{Best, Checkpoint, Position, RecordError, RunFolder, StepRecord, TrainerState};
use trainer::{Keeper, NotKept, Observer, TrainError};

use super::begin::Begun;
use super::world::Agreement;
use crate::error::{Failure, Left};
use crate::machine::{self, Opened};
use crate::recipe::SaveOptions;
use crate::terminal::{Progress, Screen};

/// Writes checkpoints, removes old ones, and passes on to the screen what it hears.
pub(super) struct Checkpoints<'a> {
    run: &'a RunFolder,
    opened: &'a Opened,
    dtype: Dtype,
    saves: SaveOptions,
    agreement: Agreement<'a>,
    screen: &'a Screen,
    pub(super) progress: Progress,
    started: Instant,
    /// Seconds of the processes before this one.
    seconds_before: f64,
    latest: Option<Checkpoint>,
    best: Option<Best>,
    record: Option<StepRecord>,
    steps: usize,
    has_told: bool,
}

#[derive(Debug, thiserror::Error)]
enum SaveError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl<'a> Checkpoints<'a> {
    /// Of a run as it begins or goes on.
    ///
    /// # Errors
    /// Where the system does not let signals be watched.
    pub(super) fn new(
        begun: &'a Begun,
        opened: &'a Opened,
        dtype: Dtype,
        saves: SaveOptions,
        ranks: &'a Ranks,
        screen: &'a Screen,
        progress: Progress,
    ) -> Result<Self, Failure> {
        Ok(Self {
            run: &begun.folder,
            opened,
            dtype,
            saves,
            agreement: Agreement::new(ranks)?,
            screen,
            steps: progress.steps(),
            progress,
            started: begun.started,
            seconds_before: begun.seconds,
            latest: begun.checkpoint.clone(),
            best: begun.best,
            record: None,
            has_told: false,
        })
    }

    /// Has `steps` make the steps of the run; a signal meanwhile ends it after a step.
    ///
    /// # Errors
    /// Where a step fails, which says what is left, or a signal ended the run.
    pub(super) fn watch<T>(
        &mut self,
        steps: impl FnOnce(&mut Self) -> Result<T, TrainError>,
    ) -> Result<T, Failure> {
        self.agreement.signals.wait_for_steps();
        let made = steps(self);
        self.agreement.signals.end_at_once();
        let made = made.map_err(|error| self.stopped(&error))?;
        let Some(signal) = self.agreement.stopped() else {
            return Ok(made);
        };
        Err(Failure::Interrupted {
            signal,
            step: self.latest.as_ref().map_or(0, |checkpoint| checkpoint.step),
            steps: self.steps,
            run: self.run.path().to_owned(),
        })
    }

    /// As `work`, which makes and judges the run; where the card could not go on, the failure says
    /// what is left.
    ///
    /// # Errors
    /// Those of `work`, and of the card.
    pub(super) fn holding<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let made = machine::on_card(|| work(self));
        self.agreement.signals.end_at_once();
        made.map_err(|failure| match failure {
            Failure::Card { fault, left: None } => {
                let left = self.left();
                Failure::Card { fault, left }
            }
            other => other,
        })
    }

    /// What there is of the run, once a step was made.
    fn left(&self) -> Option<Left> {
        let checkpoint = self.latest.as_ref();
        let kept = checkpoint.map(|checkpoint| checkpoint.step);
        let made = self.record.as_ref().map(|record| record.step);
        Some(Left {
            step: made.or(kept)?,
            checkpoint: checkpoint.map(|checkpoint| checkpoint.path.clone()),
            run: self.run.path().to_owned(),
        })
    }

    /// The last checkpoint; there is one after the last step.
    pub(super) fn latest(&self) -> PathBuf {
        let checkpoint = self.latest.as_ref().expect("the last step is kept");
        checkpoint.path.clone()
    }

    /// The best checkpoint, where a metric was named for it.
    pub(super) fn best(&self) -> Option<PathBuf> {
        let step = self.best?.step;
        let checkpoints = self.run.checkpoints().ok()?;
        let best = checkpoints.into_iter().find(|found| found.step == step);
        best.map(|checkpoint| checkpoint.path)
    }

    /// Wall-clock time of the run so far, over all processes that worked on it.
    pub(super) fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    /// What a failed run leaves.
    fn stopped(&self, error: &TrainError) -> Failure {
        let reason = error.to_string();
        let is_machine = matches!(
            error,
            TrainError::Record(_) | TrainError::Checkpoint { .. } | TrainError::Lost { .. }
        );
        match &self.latest {
            Some(checkpoint) if matches!(error, TrainError::Ranks { .. }) => {
                let path = checkpoint.path.display();
                Failure::RankLost {
                    reason: format!("{reason}; last good checkpoint: {path}"),
                    run: self.run.path().to_owned(),
                }
            }
            Some(checkpoint) if is_machine => {
                let path = checkpoint.path.display();
                Failure::Run(format!("{reason}; last good checkpoint: {path}"))
            }
            Some(checkpoint) => Failure::Stopped {
                reason,
                checkpoint: checkpoint.path.clone(),
            },
            None => Failure::Run(reason),
        }
    }

    /// The best checkpoint once that of the latest step is written.
    fn best_with_latest(&self) -> Option<Best> {
        let (name, is_more_better) = self.saves.best.as_ref()?;
        let record = self.record.as_ref()?;
        let metric = record.metrics.get(name).copied();
        let Some(metric) = metric.filter(|metric| metric.is_finite()) else {
            return self.best;
        };
        let is_better = self.best.is_none_or(|best| {
            if *is_more_better {
                metric > best.metric
            } else {
                metric < best.metric
            }
        });
        let latest = Best {
            step: record.step,
            metric,
        };
        if is_better { Some(latest) } else { self.best }
    }

    fn write(&mut self, policy: &Transformer, position: &Position) -> Result<(), SaveError> {
        let best = self.best_with_latest();
        let state = TrainerState {
            position: position.clone(),
            seconds: self.seconds(),
            best,
        };
        let (opened, dtype) = (self.opened, self.dtype);
        let written = self.run.write_checkpoint::<SaveError>(&state, |folder| {
            match policy.adapter() {
                Some(_) => policy.save_adapter(folder, &opened.base, dtype)?,
                None => policy.save(folder, dtype)?,
            }
            policy.save_training(folder, dtype)?;
            Ok(opened.tokenizer.save(folder)?)
        })?;
        self.best = best;
        self.latest = Some(written);
        if let Some(limit) = self.saves.total_limit {
            self.run.prune(limit, best.map(|best| best.step))?;
        }
        Ok(())
    }

    /// Says once, as soon as it is noticed, that a signal is heeded.
    fn heed(&mut self, step: usize) {
        if self.has_told {
            return;
        }
        if let Some(signal) = self.agreement.signals.caught() {
            self.has_told = true;
            self.screen.line(format!(
                "{signal}: finishing step {step}, then saving; again to stop at once"
            ));
        }
    }
}

impl Observer for Checkpoints<'_> {
    fn rollout(&mut self, step: usize, progress: SampleProgress) {
        self.heed(step);
        self.progress.rollout(step, progress);
    }

    fn update(&mut self, step: usize, done: usize, passes: usize) {
        self.heed(step);
        self.progress.update(step, done, passes);
    }

    fn step(&mut self, record: &StepRecord) {
        self.progress.step(record);
        let is_first = self.record.replace(record.clone()).is_none();
        let named = self.saves.best.as_ref().map(|(name, _)| name);
        if let Some(name) = named.filter(|name| is_first && !record.metrics.contains_key(*name)) {
            let step = record.step;
            self.screen.line(format!(
                "note: run.metric_for_best_model is `{name}`, which step {step} did not log"
            ));
        }
    }

    fn evaluation(&mut self, progress: SampleProgress) {
        self.progress.evaluation(progress);
    }
}

impl Keeper<Transformer> for Checkpoints<'_> {
    fn is_stopped(&mut self) -> Result<bool, RankError> {
        self.agreement.is_stopped()
    }

    fn agree(&mut self, policy: &Transformer) -> Result<(), RankError> {
        self.agreement.agree(policy)
    }

    fn keep(&mut self, policy: &Transformer, position: &Position) -> Result<(), NotKept> {
        let kept = self.latest.as_ref().map(|checkpoint| checkpoint.step);
        if kept == Some(position.global_step) {
            return Ok(());
        }
        Ok(self.write(policy, position)?)
    }
}
