//! Graded completions, put on record.

use policy::Finish;
use record::CompletionRecord;
use rollout::{Completion, Group, Question, WeightedGrader};

/// The completions of all groups in their order, without advantages.
pub(crate) fn completion_records(
    questions: &[Question],
    groups: &[Group],
    graders: &[WeightedGrader],
) -> Vec<CompletionRecord> {
    let names: Vec<&str> = graders
        .iter()
        .map(|weighted| weighted.grader.name())
        .collect();
    let record = |group: &Group, sample: usize, completion: &Completion| {
        let question = &questions[group.question];
        let grades = names.iter().zip(&completion.grades);
        CompletionRecord {
            question: question.id,
            constitution: group.constitution,
            sample,
            prompt: question.text.clone(),
            completion: completion.text.clone(),
            tokens: completion.sample.tokens_t.len(),
            truncated: completion.sample.finish == Finish::Length,
            format_valid: completion.format_valid,
            answer_right: completion.answer_right,
            rewards: grades
                .map(|(&name, &grade)| (name.to_owned(), grade.ok()))
                .collect(),
            reward: completion.reward,
            advantage: None,
        }
    };
    let records = groups.iter().flat_map(|group| {
        let numbered = group.completions.iter().enumerate();
        numbered.map(move |(sample, completion)| (group, sample, completion))
    });
    records
        .map(|(group, sample, completion)| record(group, sample, completion))
        .collect()
}
