//! Rewards of a group → advantages of its completions.

/// What the centred rewards of a group are divided by (TRL's `scale_rewards`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScaleRewards {
    /// The standard deviation of the group, as in GRPO.
    Group,
    /// The standard deviation of all graded rewards; the mean stays that of the group.
    Batch,
    /// Nothing, as in Dr. GRPO (arXiv 2503.20783).
    None,
}

/// The divisor of a variance over `n` rewards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// `n − 1`, as TRL.
    Sample,
    /// `n`, the deviation of the group itself.
    Population,
}

/// How rewards become advantages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdvantageOptions {
    /// The divisor.
    pub scale: ScaleRewards,
    /// How a standard deviation is taken.
    pub deviation: Deviation,
    /// Added to the standard deviation; not negative, in units of the reward.
    pub epsilon: f64,
}

impl Default for AdvantageOptions {
    /// TRL 1.16's: group scale, sample deviation, 1e-4.
    fn default() -> Self {
        Self {
            scale: ScaleRewards::Group,
            deviation: Deviation::Sample,
            epsilon: 1e-4,
        }
    }
}

/// `(r − mean of the group) / (deviation + epsilon)` for every graded completion, in the shape of
/// the rewards.
///
/// A group is all completions of one prompt under one constitution. An ungraded completion
/// (`None`) is missing data: it takes no part in a mean or deviation and gets no advantage. A group
/// whose graded rewards are equal (a lone one is) has advantages of exactly 0.
///
/// # Panics
/// If a reward is not finite: a grader without a number gives `None`.
///
/// # Source
/// Shao et al. (arXiv 2402.03300); details as TRL 1.16's
/// `GRPOTrainer`, except that TRL gives an ungraded completion the advantage 0.
pub fn advantages(
    groups: &[Vec<Option<f64>>],
    options: &AdvantageOptions,
) -> Vec<Vec<Option<f64>>> {
    let all: Vec<f64> = groups.iter().flatten().flatten().copied().collect();
    assert!(
        all.iter().all(|reward| reward.is_finite()),
        "a reward is not finite"
    );
    let of_group = |group: &Vec<Option<f64>>| {
        let graded: Vec<f64> = group.iter().flatten().copied().collect();
        let spread = has_spread(&graded);
        let mean = math::mean(&graded);
        let divisor = options.divisor(&graded, &all);
        let advantage = |reward| {
            if spread {
                (reward - mean) / divisor
            } else {
                0.0
            }
        };
        group.iter().map(|reward| reward.map(advantage)).collect()
    };
    groups.iter().map(of_group).collect()
}

impl AdvantageOptions {
    fn divisor(&self, group: &[f64], batch: &[f64]) -> f64 {
        let rewards = match self.scale {
            ScaleRewards::Group => group,
            ScaleRewards::Batch => batch,
            ScaleRewards::None => return 1.0,
        };
        let ddof = match self.deviation {
            Deviation::Sample => 1,
            Deviation::Population => 0,
        };
        math::variance(rewards, ddof).sqrt() + self.epsilon
    }
}

fn has_spread(rewards: &[f64]) -> bool {
    rewards
        .iter()
        .any(|reward| (reward - rewards[0]).abs() > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graded(rewards: &[f64]) -> Vec<Option<f64>> {
        rewards.iter().copied().map(Some).collect()
    }

    #[track_caller]
    fn check(found: &[Option<f64>], expected: &[Option<f64>], tolerance: f64) {
        let close = |(a, b): (&Option<f64>, &Option<f64>)| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() <= tolerance,
            (a, b) => a == b,
        };
        let same = found.len() == expected.len() && found.iter().zip(expected).all(close);
        assert!(same, "found {found:?}, expected {expected:?}");
    }

    #[test]
    fn two_rewards_meet_the_numbers_of_both_conventions() {
        let half_root = std::f64::consts::FRAC_1_SQRT_2;
        for (deviation, size) in [(Deviation::Population, 1.0), (Deviation::Sample, half_root)] {
            let options = AdvantageOptions {
                deviation,
                epsilon: 0.0,
                ..AdvantageOptions::default()
            };
            let found = advantages(&[graded(&[0.3, 0.9])], &options);
            check(&found[0], &graded(&[-size, size]), 1e-14);
        }
    }

    #[test]
    fn a_constant_added_to_all_rewards_of_a_group_changes_nothing() {
        for scale in [ScaleRewards::Group, ScaleRewards::Batch, ScaleRewards::None] {
            let options = AdvantageOptions {
                scale,
                ..AdvantageOptions::default()
            };
            let other = graded(&[0.5, -1.0, 0.25]);
            let group = |shift: f64| {
                let shifted = [0.1, 0.8, 0.4].map(|reward| reward + shift);
                let alone = scale != ScaleRewards::Batch;
                // The batch's deviation sees a shift between groups, so there all groups shift.
                let other = other
                    .iter()
                    .map(|r| r.map(|r| r + if alone { 0.0 } else { shift }));
                advantages(&[graded(&shifted), other.collect()], &options)
            };
            for (near, far) in group(0.0).iter().zip(&group(7.0)) {
                check(near, far, 1e-12);
            }
        }
    }

    #[test]
    fn an_ungraded_completion_changes_no_other_and_gets_nothing() {
        for scale in [ScaleRewards::Group, ScaleRewards::Batch, ScaleRewards::None] {
            let options = AdvantageOptions {
                scale,
                ..AdvantageOptions::default()
            };
            let with = [vec![Some(0.2), None, Some(0.9)], graded(&[1.0, 0.0])];
            let without = [graded(&[0.2, 0.9]), graded(&[1.0, 0.0])];
            let [with, without] = [&with, &without].map(|g| advantages(g, &options));
            let [first, last] = [without[0][0], without[0][1]];
            check(&with[0], &[first, None, last], 0.0);
            check(&with[1], &without[1], 0.0);
        }
    }

    #[test]
    fn equal_rewards_give_advantage_zero_and_no_grade_gives_none() {
        let groups = [
            // A mean of these rounds away from 0.1, so that a division would give noise.
            graded(&[0.1, 0.1, 0.1]),
            vec![None, Some(3.0)],
            vec![None, None],
            graded(&[0.0, 1.0]),
        ];
        for scale in [ScaleRewards::Group, ScaleRewards::Batch, ScaleRewards::None] {
            let options = AdvantageOptions {
                scale,
                epsilon: 0.0,
                ..AdvantageOptions::default()
            };
            let found = advantages(&groups, &options);
            check(&found[0], &graded(&[0.0; 3]), 0.0);
            check(&found[1], &[None, Some(0.0)], 0.0);
            check(&found[2], &[None, None], 0.0);
        }
    }

    #[test]
    fn batch_scale_divides_every_group_by_one_deviation() {
        let options = AdvantageOptions {
            scale: ScaleRewards::Batch,
            deviation: Deviation::Population,
            epsilon: 0.0,
        };
        let found = advantages(&[graded(&[0.0, 2.0]), graded(&[0.0, 4.0])], &options);
        // Rewards 0, 2, 0, 4 have mean 1.5 and variance 2.75.
        let deviation = 2.75_f64.sqrt();
        check(
            &found[0],
            &graded(&[-1.0, 1.0].map(|a| a / deviation)),
            1e-15,
        );
        check(
            &found[1],
            &graded(&[-2.0, 2.0].map(|a| a / deviation)),
            1e-15,
        );
    }
}
