//! How a policy does on held-out questions, through the same rollout that training uses.

use math::{Interval, Key, bootstrap_mean, mean};
use objective::{Evidence, SinkhornDrift, Term};
use policy::{Batch, Policy, Request, SampleProgress, SamplingOptions, Signals, TextCodec};
use principle::{Principle, contrast};
use ranks::Ranks;
use record::{CompletionRecord, Evaluation};
use rollout::{Completion, Group, Rollout, WeightedGrader};

use crate::accumulate::signals_of;
use crate::completions::completion_records;
use crate::draws::{BOOTSTRAP, CLOUD, EVALUATION};
use crate::failure::Failure;
use crate::prompts::prompts;
use crate::rows::{cloud, contrasted_qk, own_rows};
use crate::settings::require_temperature;
use crate::{Observer, Task, TrainError, share};

/// How an evaluation goes.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationSettings {
    /// Names every draw: the same seed before and after a run compares like with like.
    pub seed: u64,
    /// The most held-out questions that are asked, each under every constitution.
    pub questions: usize,
    /// Completions of each question under each constitution.
    pub samples: usize,
    /// How completions are drawn; the temperature is positive.
    pub sampling: SamplingOptions,
    /// Resamples of the questions behind each interval.
    pub bootstrap_resamples: usize,
    /// How drift from the reference is measured; `None` where there is none to measure, and then
    /// no pass of the reference is made.
    pub drift: Option<SinkhornDrift>,
    /// Batches of more computed tokens are cut into slices.
    pub micro_batch_tokens: usize,
}

impl EvaluationSettings {
    /// The key of the resamples, the same for every figure.
    fn bootstrap(&self) -> Key {
        Key::new(self.seed).child(BOOTSTRAP)
    }
}

/// The figures of an evaluation, and the completions behind them.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// The figures.
    pub evaluation: Evaluation,
    /// The completions, question by question within each principle.
    pub completions: Vec<CompletionRecord>,
}

/// Asks the held-out questions under every constitution of every principle, each rank its share;
/// every rank has the figures of all.
///
/// Intervals are of the bootstrap over questions, each with all its completions and contrasts: they
/// depend on each other. `kl_reference` is the mean of k3 over the tokens drawn. `s_epsilon` is
/// left out where its transport did not converge.
///
/// # Errors
/// Where a prompt cannot be rendered, the policy fails, the drift cannot be measured, or a rank is
/// lost.
pub fn evaluate(
    policy: &dyn Policy,
    codec: &dyn TextCodec,
    task: &Task,
    graders: &mut [WeightedGrader],
    settings: &EvaluationSettings,
    ranks: &Ranks,
    observer: &mut dyn Observer,
) -> Result<Evaluated, TrainError> {
    require_temperature(&settings.sampling)?;
    let asked = ask(policy, codec, task, graders, settings, ranks, observer);
    let asked = asked.map_err(Failure::in_evaluation)?;
    let mut evaluation = asked.rates(settings);
    let scored = Scored::new(policy, &asked.groups, settings, ranks);
    let scored = scored.map_err(Failure::in_evaluation)?;
    scored.bounds(&asked, settings, &mut evaluation);
    scored.drift(settings, &mut evaluation)?;
    Ok(Evaluated {
        evaluation,
        completions: asked.completions,
    })
}

/// What the held-out questions gave under all principles.
struct Asked {
    /// A group's question is the number of a pair of principle and question.
    groups: Vec<Group>,
    completions: Vec<CompletionRecord>,
    /// Questions asked under each principle.
    questions: usize,
}

fn ask(
    policy: &dyn Policy,
    codec: &dyn TextCodec,
    task: &Task,
    graders: &mut [WeightedGrader],
    settings: &EvaluationSettings,
    ranks: &Ranks,
    observer: &mut dyn Observer,
) -> Result<Asked, Failure> {
    let questions = &task.held_out[..settings.questions.min(task.held_out.len())];
    let rollout = Rollout {
        questions,
        format: &task.format,
        group_size: settings.samples,
        sampling: &settings.sampling,
    };
    let mut principles: Vec<Option<&Principle>> = task.principles.iter().map(Some).collect();
    if principles.is_empty() {
        principles.push(None);
    }
    let constitutions = |p: Option<&Principle>| p.map_or(1, |p| 1 + p.negatives.len());
    let prompted: usize = principles.iter().copied().map(constitutions).sum();
    let total = prompted * questions.len() * settings.samples;
    let mut asked = Asked {
        groups: Vec::new(),
        completions: Vec::new(),
        questions: questions.len(),
    };
    for (index, &principle) in principles.iter().enumerate() {
        let mut rendered = Vec::new();
        for (q, question) in questions.iter().enumerate() {
            rendered.extend(prompts(codec, task, q, question, principle)?);
        }
        let finished = asked.completions.len();
        let tokens: usize = asked.completions.iter().map(|c| c.tokens).sum();
        let progress = &mut |progress: SampleProgress| {
            observer.evaluation(SampleProgress {
                tokens: tokens + progress.tokens,
                finished: finished + progress.finished,
                total,
            });
        };
        let key = Key::new(settings.seed).child(EVALUATION);
        let key = key.child(index as u64);
        let own = share::prompts(ranks, &rendered, questions.len());
        let draw = &mut |requests: &[Request], options: &SamplingOptions| {
            policy.sample(requests, options, progress)
        };
        let groups = rollout::collect(draw, codec, &rollout, own, graders, key)?;
        let groups = share::gather_groups(ranks, groups, [questions.len(), graders.len()])?;
        let records = completion_records(questions, &groups, graders);
        asked.completions.extend(records);
        asked.groups.extend(groups.into_iter().map(|group| Group {
            question: group.question + index * questions.len(),
            ..group
        }));
    }
    Ok(asked)
}

impl Asked {
    /// The question of a group, whatever its principle.
    fn question(&self, group: &Group) -> usize {
        group.question % self.questions
    }

    /// The shares of valid formats and of right answers.
    fn rates(&self, settings: &EvaluationSettings) -> Evaluation {
        let rate = |found: fn(&Completion) -> Option<bool>| {
            let of_group = |group: &Group| {
                let question = self.question(group);
                let found = group.completions.iter().filter_map(found);
                found
                    .map(|found| (question, f64::from(found)))
                    .collect::<Vec<_>>()
            };
            let values: Vec<(usize, f64)> = self.groups.iter().flat_map(of_group).collect();
            estimate(bootstrap_mean(
                &values,
                settings.bootstrap_resamples,
                settings.bootstrap(),
            ))
        };
        let (format_valid, format_valid_interval) = rate(|c| Some(c.format_valid));
        let (accuracy, accuracy_interval) = rate(|c| c.answer_right);
        Evaluation {
            format_valid,
            format_valid_interval,
            accuracy,
            accuracy_interval,
            completions: self.completions.len(),
            ..Evaluation::default()
        }
    }
}

/// The completions under their own constitutions and, after them, what the contrasts add.
struct Scored {
    batch: Batch,
    /// Rows under their own constitution.
    own: usize,
    /// Those of them whose points are compared with the reference's.
    cloud: Vec<usize>,
    rows_qkk: Vec<Vec<Vec<usize>>>,
    /// Of every row where drift is measured, else of those of the contrasts.
    signals: Signals,
    /// Of the rows under their own constitution.
    reference: Option<Signals>,
}

impl Scored {
    fn new(
        policy: &dyn Policy,
        groups: &[Group],
        settings: &EvaluationSettings,
        ranks: &Ranks,
    ) -> Result<Self, Failure> {
        let temperature = settings.sampling.temperature;
        let (mut batch, _) = own_rows(groups, temperature, |_| true);
        let tokens_max = settings.micro_batch_tokens;
        let reference = settings.drift.map(|_| {
            let all = (0..batch.rows.len()).collect();
            let score = |slice: &Batch| policy.reference_signals(slice);
            signals_of(all, &batch, tokens_max, ranks, score)
        });
        let key = Key::new(settings.seed).child(CLOUD);
        let (own, cloud) = (batch.rows.len(), cloud(&batch, key));
        let rows_qkk = contrast::rows(&mut batch, &contrasted_qk(groups)).rows_qkk;
        let needed = if settings.drift.is_some() {
            (0..batch.rows.len()).collect()
        } else {
            let mut needed = rows_qkk.concat().concat();
            needed.sort_unstable();
            needed
        };
        let signals = signals_of(needed, &batch, tokens_max, ranks, |slice| {
            policy.signals(slice)
        })?;
        Ok(Self {
            batch,
            own,
            cloud,
            rows_qkk,
            signals,
            reference: reference.transpose()?,
        })
    }

    fn bounds(&self, asked: &Asked, settings: &EvaluationSettings, evaluation: &mut Evaluation) {
        let matrix = |rows_kk: &Vec<Vec<usize>>| {
            let group = &asked.groups[self.batch.rows[rows_kk[0][0]].prefix];
            let matrix_kk = contrast::matrix(rows_kk, &self.batch, &self.signals);
            (asked.question(group), matrix_kk)
        };
        let matrices: Vec<_> = self.rows_qkk.iter().map(matrix).collect();
        let (resamples, key) = (settings.bootstrap_resamples, settings.bootstrap());
        let bounds = information::bounds(&matrices, resamples, key);
        evaluation.contrasts = matrices.len();
        (
            evaluation.bound_constitutions_nats,
            evaluation.bound_constitutions_nats_interval,
        ) = estimate(bounds.over_constitutions);
        (
            evaluation.bound_completions_nats,
            evaluation.bound_completions_nats_interval,
        ) = estimate(bounds.over_completions);
    }

    fn drift(
        &self,
        settings: &EvaluationSettings,
        evaluation: &mut Evaluation,
    ) -> Result<(), TrainError> {
        let (Some(drift), Some(reference)) = (&settings.drift, &self.reference) else {
            return Ok(());
        };
        let pairs = (0..self.own).flat_map(|row| {
            self.signals.logprobs_nt[row]
                .iter()
                .zip(&reference.logprobs_nt[row])
        });
        let divergences: Vec<f64> = pairs
            .map(|(&logprob, &reference)| information::k3(logprob, reference).0)
            .collect();
        evaluation.kl_reference = Some(mean(&divergences)).filter(|kl| kl.is_finite());
        let evidence = Evidence {
            batch: &self.batch,
            graded: Vec::new(),
            contrasts: Vec::new(),
            cloud: self.cloud.clone(),
            reference: Some(reference),
            active_tokens: 0.0,
        };
        let outcome = drift.evaluate(&evidence, &self.signals);
        let outcome = outcome.map_err(|source| TrainError::Drift { source })?;
        let named = |name| outcome.metrics.iter().find(|(found, _)| *found == name);
        let [converged, s_epsilon] =
            ["transport/converged", "transport/s_epsilon"].map(|name| Some(named(name)?.1));
        evaluation.s_epsilon = s_epsilon.filter(|_| converged == Some(1.0));
        Ok(())
    }
}

/// A figure and its ends; nothing where it rests on no data, and no ends where it rests on one
/// question.
fn estimate(interval: Interval) -> (Option<f64>, Option<[f64; 2]>) {
    let value = Some(interval.value).filter(|value| value.is_finite());
    (value, value.and(interval.ends()))
}

#[cfg(test)]
mod tests {
    use policy::{Finish, Sample, TabularPolicy};

    use super::*;

    fn completion(is_gated: bool) -> Completion {
        Completion {
            sample: Sample {
                tokens_t: vec![0, 1],
                logprobs_t: vec![-1.0; 2],
                entropies_t: vec![0.0; 2],
                finish: Finish::Stop,
            },
            text: String::new(),
            grades: Vec::new(),
            reward: None,
            format_valid: is_gated,
            reasoning: is_gated.then_some(0..1),
            answer_right: None,
        }
    }

    /// A question under two constitutions with a contrast, and one without.
    fn groups() -> Vec<Group> {
        let group = |(index, gated): (usize, [bool; 3])| Group {
            question: index / 2,
            constitution: index % 2,
            prefix: vec![index as u32 % 2],
            completions: gated.map(completion).to_vec(),
        };
        let gated_g = [
            [false, true, true],
            [true, false, true],
            [true; 3],
            [false; 3],
        ];
        gated_g.into_iter().enumerate().map(group).collect()
    }

    #[test]
    fn a_figure_of_one_question_has_no_interval_and_of_none_no_value() {
        let of = |values: &[(usize, f64)]| estimate(bootstrap_mean(values, 100, Key::new(1)));
        assert_eq!(of(&[(0, 1.0), (0, 0.0)]), (Some(0.5), None));
        assert_eq!(of(&[]), (None, None));
        assert_eq!(of(&[(0, 1.0), (1, 1.0)]), (Some(1.0), Some([1.0; 2])));
    }

    #[test]
    fn without_drift_only_the_rows_of_contrasts_are_scored() {
        let policy = TabularPolicy::new(2, &[vec![0.5, 0.0], vec![0.0, 0.3]], &[]);
        let scored_rows = |drift| -> Vec<usize> {
            let settings = EvaluationSettings {
                seed: 1,
                questions: 2,
                samples: 3,
                sampling: SamplingOptions {
                    temperature: 1.0,
                    top_k: None,
                    top_p: None,
                    max_completion_length: 2,
                },
                bootstrap_resamples: 10,
                drift,
                micro_batch_tokens: 8,
            };
            let scored =
                Scored::new(&policy, &groups(), &settings, &Ranks::alone()).expect("known tokens");
            let lengths = scored.signals.logprobs_nt.iter().map(Vec::len);
            let found = lengths.enumerate().filter(|&(_, length)| length > 0);
            found.map(|(row, _)| row).collect()
        };
        // The first gated completions are rows 1 and 3; 12 and 13 set each under the other's.
        assert_eq!(scored_rows(None), [1, 3, 12, 13]);
        let options = transport::Options::default();
        let all = scored_rows(Some(SinkhornDrift { options }));
        assert_eq!(all, (0..14).collect::<Vec<_>>());
    }
}
