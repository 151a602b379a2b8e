//! A rollout that updates still learn from, to its record and back.

use policy::{Finish, Sample};
use record::{DrawnRecord, GradeRecord, GroupRecord};
use rollout::{Completion, Grade, Group, Ungraded};

/// The groups as they are kept.
pub(crate) fn to_records(groups: &[Group]) -> Vec<GroupRecord> {
    let record = |group: &Group| GroupRecord {
        question: group.question,
        constitution: group.constitution,
        prompt_ids: group.prefix.clone(),
        completions: group.completions.iter().map(to_record).collect(),
    };
    groups.iter().map(record).collect()
}

/// The groups of a rollout of so many `questions` that so many `graders` judged.
///
/// # Errors
/// Says what contradicts what.
pub(crate) fn from_records(
    records: Vec<GroupRecord>,
    questions: usize,
    graders: usize,
) -> Result<Vec<Group>, String> {
    let group = |record: GroupRecord| {
        let asked = record.question;
        if asked >= questions {
            return Err(format!("question {asked} of a rollout of {questions}"));
        }
        let completions = record.completions.into_iter();
        let completions = completions.map(|drawn| from_record(drawn, graders));
        Ok(Group {
            question: asked,
            constitution: record.constitution,
            prefix: record.prompt_ids,
            completions: completions.collect::<Result<_, _>>()?,
        })
    };
    records.into_iter().map(group).collect()
}

fn to_record(completion: &Completion) -> DrawnRecord {
    let sample = &completion.sample;
    DrawnRecord {
        completion_ids: sample.tokens_t.clone(),
        logprobs: sample.logprobs_t.clone(),
        entropies: sample.entropies_t.clone(),
        truncated: sample.finish == Finish::Length,
        text: completion.text.clone(),
        grades: completion.grades.iter().copied().map(to_grade).collect(),
        reward: completion.reward,
        format_valid: completion.format_valid,
        reasoning: completion
            .reasoning
            .as_ref()
            .map(|span| [span.start, span.end]),
        answer_right: completion.answer_right,
    }
}

fn to_grade(grade: Grade) -> GradeRecord {
    match grade {
        Ok(grade) => GradeRecord::Given(grade),
        Err(reason) => GradeRecord::Ungraded(reason.name().to_owned()),
    }
}

fn from_grade(record: GradeRecord) -> Result<Grade, String> {
    match record {
        GradeRecord::Given(grade) => Ok(Ok(grade)),
        GradeRecord::Ungraded(name) => {
            let reason = Ungraded::ALL
                .into_iter()
                .find(|reason| reason.name() == name);
            let reason = reason.ok_or_else(|| format!("a grade that is {name:?}"))?;
            Ok(Err(reason))
        }
    }
}

fn from_record(drawn: DrawnRecord, graders: usize) -> Result<Completion, String> {
    let tokens = drawn.completion_ids.len();
    for (found, expected, name) in [
        (drawn.logprobs.len(), tokens, "log-probabilities"),
        (drawn.entropies.len(), tokens, "entropies"),
        (drawn.grades.len(), graders, "grades"),
    ] {
        if found != expected {
            return Err(format!(
                "{found} {name} of a completion, expected {expected}"
            ));
        }
    }
    let is_span = |[start, end]: [usize; 2]| start < end && end <= tokens;
    if let Some(span) = drawn.reasoning.filter(|&span| !is_span(span)) {
        return Err(format!(
            "reasoning {span:?} of a completion of {tokens} tokens"
        ));
    }
    let grades = drawn.grades.into_iter().map(from_grade);
    Ok(Completion {
        sample: Sample {
            tokens_t: drawn.completion_ids,
            logprobs_t: drawn.logprobs,
            entropies_t: drawn.entropies,
            finish: if drawn.truncated {
                Finish::Length
            } else {
                Finish::Stop
            },
        },
        text: drawn.text,
        grades: grades.collect::<Result<_, _>>()?,
        reward: drawn.reward,
        format_valid: drawn.format_valid,
        reasoning: drawn.reasoning.map(|[start, end]| start..end),
        answer_right: drawn.answer_right,
    })
}
