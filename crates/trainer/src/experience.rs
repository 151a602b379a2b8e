//! What a policy learns from: the graded groups of one rollout, and the batch they make.
//!
//! Rows of the batch are first the completions under their own constitution, in the order of the
//! groups, then those that the contrasts add. An ungraded completion is no part of the policy
//! gradient; with neither a grade nor reasoning it is not scored at all.

use math::Key;
use objective::{Contrast, Evidence, Graded, Needs};
use policy::{Batch, Policy, Signals, TextCodec};
use principle::contrast;
use ranks::Ranks;
use rollout::{Completion, Draw, Group, Question, Rollout, WeightedGrader};

use crate::accumulate::signals_of;
use crate::draws::{CLOUD, COMPLETIONS, ORDER, PRINCIPLE};
use crate::failure::Failure;
use crate::prompts::prompts;
use crate::rows::{cloud, contrasted_qk, own_rows};
use crate::{Settings, Task, order, share};

/// What a run is made with, from its first step to its last.
#[derive(Clone, Copy)]
pub(crate) struct Course<'a> {
    pub(crate) codec: &'a dyn TextCodec,
    pub(crate) task: &'a Task,
    pub(crate) settings: &'a Settings,
    pub(crate) ranks: &'a Ranks,
}

/// The graded groups of one rollout.
pub(crate) struct Collected {
    /// The questions that the groups index.
    pub(crate) questions: Vec<Question>,
    /// The groups of a question side by side, one for each constitution.
    pub(crate) groups: Vec<Group>,
}

/// Asks the questions of rollout `index` under the constitutions of a principle each: each rank
/// its share of the questions, and every rank has the groups of all.
///
/// # Errors
/// Where a prompt cannot be rendered, the sampler or a grader fails, or a rank is lost.
pub(crate) fn collect(
    draw: &mut Draw,
    course: Course,
    graders: &mut [WeightedGrader],
    index: usize,
) -> Result<Collected, Failure> {
    let Course {
        codec,
        task,
        settings,
        ranks,
    } = course;
    let key = Key::new(settings.seed);
    let questions = questions(task, settings, index);
    let principle_key = key.child(PRINCIPLE).child(index as u64);
    let mut asked = Vec::new();
    for (q, question) in questions.iter().enumerate() {
        let count = task.principles.len();
        let drawn = (count > 0).then(|| principle_key.below(question.id as u64, count));
        let principle = drawn.map(|index| &task.principles[index]);
        asked.extend(prompts(codec, task, q, question, principle)?);
    }
    let rollout = Rollout {
        questions: &questions,
        format: &task.format,
        group_size: settings.num_generations,
        sampling: &settings.sampling,
    };
    let key = key.child(COMPLETIONS).child(index as u64);
    let own = share::prompts(ranks, &asked, questions.len());
    let groups = rollout::collect(draw, codec, &rollout, own, graders, key)?;
    let groups = share::gather_groups(ranks, groups, [questions.len(), graders.len()])?;
    Ok(Collected { questions, groups })
}

/// The questions of rollout `index`.
pub(crate) fn questions(task: &Task, settings: &Settings, index: usize) -> Vec<Question> {
    let key = Key::new(settings.seed).child(ORDER);
    let (length, size) = (task.questions.len(), settings.questions_per_step);
    let drawn = order::batch(key, length, size, index).into_iter();
    drawn.map(|q| task.questions[q].clone()).collect()
}

/// A rollout made ready for updates.
pub(crate) struct Experience {
    /// In the shape of the groups; `None` for an ungraded completion.
    pub(crate) advantages: Vec<Vec<Option<f64>>>,
    pub(crate) batch: Batch,
    /// The log-probabilities that the completions were sampled with; of the rows that contrasts
    /// add, none.
    pub(crate) sampled: Signals,
    graded: Vec<Graded>,
    contrasts: Vec<Contrast>,
    cloud: Vec<usize>,
    /// Of the rows that terms compare with it; empty for the others.
    reference: Option<Signals>,
    importance_sampling_clip_max: Option<f64>,
    /// Questions without a gated completion under every constitution, where contrasts are needed.
    pub(crate) incomplete: Option<usize>,
}

impl Experience {
    /// The rows, advantages and contrasts of the groups of rollout `index`, and the reference's
    /// signals if needed.
    ///
    /// # Errors
    /// Where the policy fails, or a rank is lost.
    pub(crate) fn new(
        policy: &dyn Policy,
        groups: &[Group],
        course: Course,
        needs: Needs,
        index: usize,
    ) -> Result<Self, Failure> {
        let Course {
            settings, ranks, ..
        } = course;
        let rewards_g = |group: &Group| group.completions.iter().map(|c| c.reward).collect();
        let rewards: Vec<Vec<Option<f64>>> = groups.iter().map(rewards_g).collect();
        let advantages = objective::advantages(&rewards, &settings.advantages);
        let is_scored = |c: &Completion| c.reward.is_some() || c.reasoning.is_some();
        let (mut batch, places_n) = own_rows(groups, settings.sampling.temperature, is_scored);
        let graded = |(row, &(group, number)): (usize, &(usize, usize))| {
            let sample = &groups[group].completions[number].sample;
            advantages[group][number].map(|advantage| Graded {
                row,
                advantage,
                old_logprobs_t: sample.logprobs_t.clone(),
                importance_t: None,
            })
        };
        let graded = places_n.iter().enumerate().filter_map(graded).collect();
        let logprobs_t = |&(group, number): &(usize, usize)| {
            groups[group].completions[number].sample.logprobs_t.clone()
        };
        let sampled = Signals {
            logprobs_nt: places_n.iter().map(logprobs_t).collect(),
            points_nd: vec![Vec::new(); places_n.len()],
        };
        let key = Key::new(settings.seed).child(CLOUD).child(index as u64);
        let cloud = cloud(&batch, key);
        // A penalty on drift of log-probabilities reads every row, one of points the cloud's.
        let compared = if settings.objective.beta.abs() > 0.0 {
            (0..batch.rows.len()).collect()
        } else {
            cloud.clone()
        };
        let (mut contrasts, mut incomplete) = (Vec::new(), None);
        if needs.contrasts {
            let found = contrast::rows(&mut batch, &contrasted_qk(groups));
            let found_q = found.rows_qkk.into_iter();
            contrasts.extend(found_q.map(|rows_kk| Contrast { rows_kk }));
            incomplete = Some(found.incomplete);
        }
        let mut reference = None;
        if needs.reference {
            let score = |slice: &Batch| policy.reference_signals(slice);
            let tokens_max = settings.micro_batch_tokens;
            reference = Some(signals_of(compared, &batch, tokens_max, ranks, score)?);
        }
        Ok(Self {
            advantages,
            batch,
            sampled,
            graded,
            contrasts,
            cloud,
            reference,
            importance_sampling_clip_max: settings.importance_sampling_clip_max,
            incomplete,
        })
    }

    /// What the terms are told, given the signals of the policy that is to be updated.
    pub(crate) fn evidence(&self, signals: &Signals) -> Evidence<'_> {
        let graded = self.graded.iter();
        let graded = match self.importance_sampling_clip_max {
            None => graded.cloned().collect(),
            Some(max) => graded
                .map(|graded| corrected(graded, signals, max))
                .collect(),
        };
        let tokens = self.graded.iter().map(|graded| graded.old_logprobs_t.len());
        Evidence {
            batch: &self.batch,
            graded,
            contrasts: self.contrasts.clone(),
            cloud: self.cloud.clone(),
            reference: self.reference.as_ref(),
            active_tokens: tokens.sum::<usize>() as f64,
        }
    }

    /// `now − sampled` of each log-probability of the graded completions, in nats.
    pub(crate) fn logprob_differences(&self, signals: &Signals) -> Vec<f64> {
        let differences = |graded: &Graded| {
            let now_t = signals.logprobs_nt[graded.row].iter();
            let pairs = now_t.zip(&graded.old_logprobs_t);
            pairs
                .map(|(now, sampled)| now - sampled)
                .collect::<Vec<_>>()
        };
        self.graded.iter().flat_map(differences).collect()
    }
}

/// A completion whose old log-probabilities are those of training, before its only update, and
/// whose tokens count by how much likelier training finds them than sampling did, at most `max`.
///
/// # Source
/// Truncated importance sampling: Ionides (2008), for language models Yao et al., "Your Efficient
/// RL Framework Secretly Brings You Off-Policy RL Training" (2025); TRL's `token_truncate`.
fn corrected(graded: &Graded, signals: &Signals, max: f64) -> Graded {
    let now_t = &signals.logprobs_nt[graded.row];
    let pairs = now_t.iter().zip(&graded.old_logprobs_t);
    let importance_t = pairs.map(|(now, sampled)| (now - sampled).exp().min(max));
    Graded {
        importance_t: Some(importance_t.collect()),
        old_logprobs_t: now_t.clone(),
        ..*graded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_count_by_how_much_likelier_training_finds_them_up_to_the_bound() {
        let graded = Graded {
            row: 1,
            advantage: 0.5,
            old_logprobs_t: vec![-2.0, -1.0, -3.0],
            importance_t: None,
        };
        let now_t = vec![-2.5, -1.0, -1.0];
        let signals = Signals {
            logprobs_nt: vec![vec![0.0], now_t.clone()],
            points_nd: vec![Vec::new(); 2],
        };
        let found = corrected(&graded, &signals, 3.0);
        assert_eq!(found.importance_t, Some(vec![(-0.5_f64).exp(), 1.0, 3.0]));
        assert_eq!(
            found.old_logprobs_t, now_t,
            "the ratio before the update is 1"
        );
        assert_eq!((found.row, found.advantage), (1, 0.5));
    }
}
