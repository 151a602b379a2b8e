//! One step of training: the only place where terms and policy meet.
//!
//! Inside the crate `updates` counts those made before a step; the step's number is one more.

use std::time::{Duration, Instant};

use objective::{Needs, TermReport, Total, Weighted};
use policy::{Policy, Request, SamplingOptions, Signals, TextCodec};
use ranks::Ranks;
use record::{CompletionRecord, Position, StepRecord};
use rollout::{Group, WeightedGrader};

use crate::accumulate::{Slicing, accumulate};
use crate::completions::completion_records;
use crate::experience::{Collected, Course, Experience, collect, questions};
use crate::failure::lost;
use crate::metrics::{difference_metrics, time_metrics, update_metrics};
use crate::{LastGood, Observer, Settings, Task, TrainError, pending};

/// Who makes a run that is told of no others.
static ALONE: Ranks = Ranks::alone();

/// A training run between its steps.
pub struct Training<'a> {
    course: Course<'a>,
    terms: Vec<Weighted>,
    needs: Needs,
    current: Option<Current>,
    /// Tokens of prompts and completions so far, a prompt counted for each of its completions.
    tokens: usize,
    done: Done,
}

/// What the steps made so far came to.
#[derive(Clone, Copy, Default)]
struct Done {
    updates: usize,
    tokens: usize,
}

/// The rollout that updates are made with.
struct Current {
    collected: Collected,
    experience: Experience,
    statistics: Vec<(String, f64)>,
    /// Tokens of the completions.
    sampled: usize,
}

/// What one update did.
pub(crate) struct Update {
    pub(crate) loss: f64,
    pub(crate) terms: Vec<TermReport>,
    /// Log-probabilities less the sampled ones, in nats.
    pub(crate) differences: Vec<f64>,
    pub(crate) grad_norm: f64,
    pub(crate) learning_rate: f64,
}

impl<'a> Training<'a> {
    /// A run before its first step.
    ///
    /// # Errors
    /// [`TrainError::Setting`] where settings and task contradict each other.
    pub fn new(
        codec: &'a dyn TextCodec,
        task: &'a Task,
        settings: &'a Settings,
    ) -> Result<Self, TrainError> {
        settings.check(task)?;
        let terms = settings.objective.terms();
        let needs = terms.iter().map(|weighted| weighted.term.needs());
        let needs = needs.fold(Needs::default(), |all, needs| Needs {
            reference: all.reference || needs.reference,
            contrasts: all.contrasts || needs.contrasts,
            coupled: all.coupled || needs.coupled,
        });
        Ok(Self {
            course: Course {
                codec,
                task,
                settings,
                ranks: &ALONE,
            },
            terms,
            needs,
            current: None,
            tokens: 0,
            done: Done::default(),
        })
    }

    /// The run as these ranks make it together: each rolls out and computes its share, and all make
    /// the same updates. Up to the rounding of sums it is the run that one process makes.
    #[must_use]
    pub fn among(mut self, ranks: &'a Ranks) -> Self {
        self.course.ranks = ranks;
        self
    }

    /// The run as it goes on from a position, whose parameters `policy` has.
    ///
    /// # Errors
    /// Where the position is not one of this run, and where the reference cannot score its rollout.
    pub fn resume(
        mut self,
        policy: &dyn Policy,
        graders: &[WeightedGrader],
        position: Position,
    ) -> Result<Self, TrainError> {
        let (step, tokens) = (
            position.global_step,
            position.num_input_tokens_seen as usize,
        );
        let contradicts = |reason| TrainError::Position { step, reason };
        let is_pending = !self.is_due(step);
        if position.pending_rollout.is_some() != is_pending {
            let [found, expected] = if is_pending {
                ["no", "one"]
            } else {
                ["a", "none"]
            };
            let iterations = self.settings().num_iterations;
            return Err(contradicts(format!(
                "{found} pending rollout, expected {expected} with num_iterations = {iterations}"
            )));
        }
        if let Some(records) = position.pending_rollout {
            let questions = questions(self.course.task, self.settings(), self.rollout(step));
            let groups = pending::from_records(records, questions.len(), graders.len());
            let groups = groups.map_err(contradicts)?;
            let collected = Collected { questions, groups };
            self.current = Some(self.prepare(policy, collected, graders, step)?);
        }
        self.tokens = tokens;
        self.done = Done {
            updates: step,
            tokens,
        };
        Ok(self)
    }

    /// Where the run stands after the last step that did not fail.
    pub fn position(&self) -> Position {
        let Done { updates, tokens } = self.done;
        let current = self.current.as_ref().filter(|_| !self.is_due(updates));
        Position {
            global_step: updates,
            num_input_tokens_seen: tokens as u64,
            pending_rollout: current.map(|current| pending::to_records(&current.collected.groups)),
        }
    }

    /// Updates made so far.
    pub fn updates(&self) -> usize {
        self.done.updates
    }

    /// How the run goes.
    pub(crate) fn settings(&self) -> &'a Settings {
        self.course.settings
    }

    /// One update after `updates` others, and before it a rollout where it is due: at the first and
    /// then every `num_iterations` updates.
    ///
    /// Metrics whose names end in `_time` or `_per_second` are the only ones that differ between
    /// two runs of one seed.
    ///
    /// # Errors
    /// Where the rollout, a grader, the policy or a term fails, or a number is not finite. The
    /// policy's parameters are then those that it had before.
    ///
    /// # Panics
    /// If no rollout was made and none is due.
    pub fn step(
        &mut self,
        policy: &mut dyn Policy,
        graders: &mut [WeightedGrader],
        updates: usize,
        observer: &mut dyn Observer,
    ) -> Result<StepRecord, TrainError> {
        let start = Instant::now();
        let is_fresh = self.is_due(updates);
        let [mut rollout_time, mut scoring_time] = [Duration::ZERO; 2];
        if is_fresh {
            let collected = self.collect(policy, graders, updates, observer)?;
            rollout_time = start.elapsed();
            self.current = Some(self.prepare(policy, collected, graders, updates)?);
            scoring_time = start.elapsed().saturating_sub(rollout_time);
        }
        let current = self
            .current
            .as_ref()
            .expect("the first step is due a rollout");
        let update = self.update(policy, &current.experience, updates, observer)?;
        let mut metrics = update_metrics(&update);
        metrics.extend(current.statistics.iter().cloned());
        if is_fresh {
            metrics.extend(difference_metrics(
                &update.differences,
                self.settings().importance_sampling_clip_max,
            ));
        }
        metrics.push(("num_tokens".to_owned(), self.tokens as f64));
        let computed = current.experience.batch.computed_tokens();
        let times = [start.elapsed(), rollout_time, scoring_time];
        metrics.extend(time_metrics(times, current.sampled, computed));
        self.done = Done {
            updates: updates + 1,
            tokens: self.tokens,
        };
        Ok(StepRecord {
            step: updates + 1,
            metrics: metrics.into_iter().collect(),
        })
    }

    /// Tokens of prompts and completions so far, a prompt counted for each of its completions.
    pub fn tokens(&self) -> usize {
        self.tokens
    }

    /// The completions of the latest rollout, for the record; none before the first.
    pub fn completions(&self, graders: &[WeightedGrader]) -> Vec<CompletionRecord> {
        let Some(Current {
            collected,
            experience,
            ..
        }) = &self.current
        else {
            return Vec::new();
        };
        let mut records = completion_records(&collected.questions, &collected.groups, graders);
        let advantages = experience.advantages.iter().flatten();
        for (record, &advantage) in records.iter_mut().zip(advantages) {
            record.advantage = advantage;
        }
        records
    }

    /// Whether a rollout is due before the next update.
    fn is_due(&self, updates: usize) -> bool {
        updates.is_multiple_of(self.settings().num_iterations)
    }

    /// The number of the rollout that is in use after `updates` updates.
    fn rollout(&self, updates: usize) -> usize {
        updates / self.settings().num_iterations
    }

    fn collect(
        &self,
        policy: &mut dyn Policy,
        graders: &mut [WeightedGrader],
        updates: usize,
        observer: &mut dyn Observer,
    ) -> Result<Collected, TrainError> {
        let (index, step) = (self.rollout(updates), updates + 1);
        // Where the loss looks at rows beside those that are drawn, or ranks share them out anew, a
        // forward pass is never of the first of them alone.
        let is_alone = self.course.ranks.size() == 1;
        let tokens_max = if self.needs.coupled || !is_alone {
            0
        } else {
            self.settings().micro_batch_tokens
        };
        let draw = &mut |requests: &[Request], options: &SamplingOptions| {
            let progress = &mut |progress| observer.rollout(step, progress);
            policy.roll_out(requests, options, tokens_max, progress)
        };
        collect(draw, self.course, graders, index).map_err(|failure| failure.in_step(updates))
    }

    /// A rollout made ready for updates, and counted.
    fn prepare(
        &mut self,
        policy: &dyn Policy,
        collected: Collected,
        graders: &[WeightedGrader],
        updates: usize,
    ) -> Result<Current, TrainError> {
        let (groups, index) = (&collected.groups, self.rollout(updates));
        let experience = Experience::new(policy, groups, self.course, self.needs, index)
            .map_err(|failure| failure.in_step(updates))?;
        let names: Vec<&str> = graders
            .iter()
            .map(|weighted| weighted.grader.name())
            .collect();
        let mut statistics = rollout::statistics(&collected.groups, &names);
        let incomplete = experience.incomplete.map(|count| count as f64);
        statistics.extend(incomplete.map(|count| ("sami/incomplete".to_owned(), count)));
        let sampled = |group: &Group| -> usize {
            group
                .completions
                .iter()
                .map(|c| c.sample.tokens_t.len())
                .sum()
        };
        let sampled = collected.groups.iter().map(sampled).sum();
        let prompt = |group: &Group| group.prefix.len() * group.completions.len();
        self.tokens += sampled + collected.groups.iter().map(prompt).sum::<usize>();
        Ok(Current {
            collected,
            experience,
            statistics,
            sampled,
        })
    }

    fn update(
        &self,
        policy: &mut dyn Policy,
        experience: &Experience,
        updates: usize,
        observer: &mut dyn Observer,
    ) -> Result<Update, TrainError> {
        let Course {
            settings, ranks, ..
        } = self.course;
        let mut found = None;
        let differentiate = |signals: &Signals| {
            let evidence = experience.evidence(signals);
            let Total {
                value,
                gradient,
                terms,
            } = objective::total(&self.terms, updates as u64, &evidence, signals)?;
            found = Some((value, terms, experience.logprob_differences(signals)));
            Ok(gradient)
        };
        let progress = |done, passes| observer.update(updates + 1, done, passes);
        let slicing = Slicing {
            tokens_max: settings.micro_batch_tokens,
            before: (!self.needs.coupled).then_some(&experience.sampled),
        };
        accumulate(
            policy,
            &experience.batch,
            slicing,
            ranks,
            differentiate,
            progress,
        )
        .map_err(|failure| failure.in_step(updates))?;
        let summed = policy.sum_gradient(ranks);
        summed.map_err(|source| lost(updates + 1, source))?;
        let schedule = settings.lr_scheduler_type;
        let factor = schedule.factor(updates, settings.steps, settings.warmup_steps);
        let learning_rate = settings.learning_rate * factor;
        let grad_norm = policy.update(learning_rate).grad_norm;
        if !grad_norm.is_finite() {
            return Err(TrainError::Update {
                step: updates + 1,
                grad_norm,
                last_good: LastGood { updates },
            });
        }
        let (loss, terms, differences) = found.expect("a batch is differentiated");
        Ok(Update {
            loss,
            terms,
            differences,
            grad_norm,
            learning_rate,
        })
    }
}
