//! The figures of a rollout, under the names that TRL logs them by.

use math::{mean, variance};
use policy::Finish;

use crate::{Completion, Group, Ungraded};

/// Rewards that differ by less are equal, as `torch.isclose` has it.
const EQUAL_REWARDS: f64 = 1e-8;

/// Name and value of each statistic of some groups; `graders` names the grades of a completion.
///
/// A mean over nothing is NaN (TRL gives 0 for the lengths of no terminated completions). Ungraded
/// completions are out of every mean of rewards. Lengths are in tokens and count the end token;
/// entropy is the mean over tokens, in nats; `reward_std` is over all completions, with divisor
/// `n − 1`; `frac_reward_zero_std` is the share of groups with no two different rewards among those
/// with a graded completion (TRL has no group without one). Of each grader and each reason the
/// completions without a grade are counted, where there are any.
///
/// # Source
/// TRL 1.16, `GRPOTrainer._generate` and `_compute_advantages`; `ungraded` (a count) and
/// `format_valid` (a rate) are ours.
pub fn statistics(groups: &[Group], graders: &[&str]) -> Vec<(String, f64)> {
    let completions: Vec<&Completion> = groups.iter().flat_map(|g| &g.completions).collect();
    let each = |f: &dyn Fn(&Completion) -> Option<f64>| -> Vec<f64> {
        completions
            .iter()
            .filter_map(|completion| f(completion))
            .collect()
    };
    let length = |completion: &Completion| completion.sample.tokens_t.len() as f64;
    let is_clipped = |completion: &Completion| completion.sample.finish == Finish::Length;

    let rewards = each(&|completion| completion.reward);
    let lengths = each(&|completion| Some(length(completion)));
    let terminated = each(&|c| (!is_clipped(c)).then(|| length(c)));
    let flat: Vec<f64> = groups
        .iter()
        .filter_map(|group| is_flat(group).map(f64::from))
        .collect();
    let entropies: Vec<f64> = completions
        .iter()
        .flat_map(|completion| completion.sample.entropies_t.iter().copied())
        .collect();

    let named = [
        ("reward", mean(&rewards)),
        ("reward_std", variance(&rewards, 1).sqrt()),
        ("frac_reward_zero_std", mean(&flat)),
        ("completions/mean_length", mean(&lengths)),
        (
            "completions/min_length",
            lengths.iter().copied().fold(f64::NAN, f64::min),
        ),
        (
            "completions/max_length",
            lengths.iter().copied().fold(f64::NAN, f64::max),
        ),
        ("completions/mean_terminated_length", mean(&terminated)),
        (
            "completions/clipped_ratio",
            mean(&each(&|c| Some(f64::from(is_clipped(c))))),
        ),
        ("entropy", mean(&entropies)),
        (
            "format_valid",
            mean(&each(&|c| Some(f64::from(c.format_valid)))),
        ),
        ("ungraded", (completions.len() - rewards.len()) as f64),
    ];
    let grade = |(index, name): (usize, &&str)| {
        let grades = each(&|completion| completion.grades[index].ok());
        (format!("rewards/{name}/mean"), mean(&grades))
    };
    let named = named.map(|(name, value)| (name.to_owned(), value));
    named
        .into_iter()
        .chain(silent(groups))
        .chain(graders.iter().enumerate().map(grade))
        .chain(missing(&completions, graders))
        .collect()
}

/// Of each grader and each reason, how many completions it left without a grade, where it left any.
fn missing(completions: &[&Completion], graders: &[&str]) -> Vec<(String, f64)> {
    let counts = graders.iter().enumerate().flat_map(|(index, name)| {
        Ungraded::ALL.map(|reason| {
            let is_so = |c: &&&Completion| c.grades[index] == Err(reason);
            let count = completions.iter().filter(is_so).count();
            (format!("ungraded/{name}/{}", reason.name()), count as f64)
        })
    });
    counts.filter(|&(_, count)| count > 0.0).collect()
}

/// Why groups teach nothing: of those with a graded completion, the shares whose rewards are equal,
/// by what their completions are, which sum to `frac_reward_zero_std`; and the share of all groups
/// where nothing was graded \[ours\].
fn silent(groups: &[Group]) -> Vec<(String, f64)> {
    let graded: Vec<(&Group, bool)> = groups
        .iter()
        .filter_map(|group| is_flat(group).map(|flat| (group, flat)))
        .collect();
    let share = |cause| {
        let of_it = |&(group, flat): &(&Group, bool)| f64::from(flat && kind(group) == cause);
        mean(&graded.iter().map(of_it).collect::<Vec<_>>())
    };
    let ungraded = groups.len() - graded.len();
    let named = [
        ("frac_reward_zero_std/valid", share(Kind::Valid)),
        ("frac_reward_zero_std/truncated", share(Kind::Truncated)),
        ("frac_reward_zero_std/invalid", share(Kind::Invalid)),
        ("frac_reward_zero_std/mixed", share(Kind::Mixed)),
        (
            "frac_groups_ungraded",
            ungraded as f64 / groups.len() as f64,
        ),
    ];
    named.map(|(name, value)| (name.to_owned(), value)).into()
}

/// What the completions of a group have in common; the first that holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// All have the format.
    Valid,
    /// The length limit cut all of them.
    Truncated,
    /// None has the format.
    Invalid,
    /// Some have it.
    Mixed,
}

fn kind(group: &Group) -> Kind {
    let completions = &group.completions;
    if completions.iter().all(|c| c.format_valid) {
        Kind::Valid
    } else if completions
        .iter()
        .all(|c| c.sample.finish == Finish::Length)
    {
        Kind::Truncated
    } else if completions.iter().any(|c| c.format_valid) {
        Kind::Mixed
    } else {
        Kind::Invalid
    }
}

/// Whether a group's rewards are all equal; `None` where nothing was graded.
fn is_flat(group: &Group) -> Option<bool> {
    let rewards = || group.completions.iter().filter_map(|c| c.reward);
    let (low, high) = (rewards().reduce(f64::min)?, rewards().reduce(f64::max)?);
    Some(high - low < EQUAL_REWARDS)
}

#[cfg(test)]
mod tests {
    use policy::Sample;

    use super::*;

    fn completion(reward: Option<f64>, entropies_t: &[f64], finish: Finish) -> Completion {
        Completion {
            sample: Sample {
                tokens_t: vec![0; entropies_t.len()],
                logprobs_t: vec![0.0; entropies_t.len()],
                entropies_t: entropies_t.to_vec(),
                finish,
            },
            text: String::new(),
            grades: vec![reward.ok_or(Ungraded::Null), Err(Ungraded::Late)],
            reward,
            format_valid: reward == Some(1.0),
            reasoning: None,
            answer_right: None,
        }
    }

    fn group(completions: Vec<Completion>) -> Group {
        Group {
            question: 0,
            constitution: 0,
            prefix: vec![0],
            completions,
        }
    }

    fn check(groups: &[Group], expected: &[(&str, f64)]) {
        let found = statistics(groups, &["format", "command"]);
        for &(name, expected) in expected {
            let (_, found) = found.iter().find(|(key, _)| key == name).expect(name);
            let agrees = (found - expected).abs() < 1e-12 || (found.is_nan() && expected.is_nan());
            assert!(agrees, "{name} is {found}, expected {expected}");
        }
    }

    #[test]
    fn an_ungraded_completion_is_counted_and_in_no_mean_of_rewards() {
        let groups = [
            group(vec![
                completion(Some(1.0), &[0.5, 0.1], Finish::Stop),
                completion(Some(0.0), &[0.3; 5], Finish::Length),
                completion(None, &[0.2; 3], Finish::Stop),
            ]),
            group(vec![
                completion(Some(1.0), &[0.0; 4], Finish::Stop),
                completion(Some(1.0), &[0.0; 6], Finish::Length),
            ]),
        ];
        check(
            &groups,
            &[
                ("reward", 0.75),
                ("reward_std", 0.5),
                ("frac_reward_zero_std", 0.5),
                ("rewards/format/mean", 0.75),
                ("rewards/command/mean", f64::NAN),
                ("ungraded", 1.0),
                ("ungraded/format/null", 1.0),
                ("ungraded/command/late", 5.0),
                ("format_valid", 0.6),
                ("completions/mean_length", 4.0),
                ("completions/min_length", 2.0),
                ("completions/max_length", 6.0),
                ("completions/mean_terminated_length", 3.0),
                ("completions/clipped_ratio", 0.4),
                ("entropy", (0.6 + 1.5 + 0.6) / 20.0),
            ],
        );
    }

    #[test]
    fn groups_of_equal_rewards_are_told_apart_by_what_their_completions_are() {
        let of = |rewards: [Option<f64>; 2], finish| {
            group(
                rewards
                    .map(|reward| completion(reward, &[0.1], finish))
                    .into(),
            )
        };
        let groups = [
            of([Some(1.0), Some(1.0)], Finish::Stop),
            of([Some(1.0), Some(1.0)], Finish::Length),
            of([Some(0.0), Some(0.0)], Finish::Length),
            of([Some(0.0), Some(0.0)], Finish::Stop),
            of([Some(1.0), Some(0.0)], Finish::Stop),
            of([None, None], Finish::Stop),
        ];
        let expected = [
            ("frac_reward_zero_std", 0.8),
            ("frac_reward_zero_std/valid", 0.4),
            ("frac_reward_zero_std/truncated", 0.2),
            ("frac_reward_zero_std/invalid", 0.2),
            ("frac_reward_zero_std/mixed", 0.0),
            ("frac_groups_ungraded", 1.0 / 6.0),
        ];
        check(&groups, &expected);
    }

    #[test]
    fn a_reason_that_did_not_occur_has_no_figure() {
        let groups = [group(vec![completion(Some(1.0), &[0.5], Finish::Stop)])];
        let found = statistics(&groups, &["format", "command"]);
        let found = found
            .iter()
            .filter(|(name, _)| name.starts_with("ungraded/"));
        let names: Vec<&str> = found.map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ungraded/command/late"]);
    }

    #[test]
    fn a_group_where_nothing_was_graded_is_neither_flat_nor_spread() {
        let ungraded = group(vec![completion(None, &[0.1], Finish::Stop)]);
        let lone = group(vec![completion(Some(1.0), &[0.1], Finish::Stop)]);
        let expected = [
            ("frac_reward_zero_std", f64::NAN),
            ("reward", f64::NAN),
            ("ungraded", 1.0),
        ];
        check(std::slice::from_ref(&ungraded), &expected);
        check(&[ungraded, lone], &[("frac_reward_zero_std", 1.0)]);
    }
}
