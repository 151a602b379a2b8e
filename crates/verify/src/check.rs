//! What a check is, and the only list of them.

use crate::{
    Bench, VerifyError, advantages, bandit, determinism, difference, head, mask, micro_batch,
    on_policy, optimizer, points, prefix, sinkhorn, terms, tiny,
};

/// How a check is asked.
pub type Run = fn(&mut Bench) -> Result<Vec<Finding>, VerifyError>;

/// One question to the policy and its training step.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// A word for it.
    pub name: &'static str,
    /// What holds where it passes.
    pub claim: &'static str,
    /// Its answer: one finding or more.
    pub run: Run,
}

/// A figure beside what it may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// What was measured, after its check's name.
    pub name: &'static str,
    /// What was found: a distance from what it should be, never negative.
    pub figure: f64,
    /// The most that passes.
    pub tolerance: f64,
    /// Where the tolerance comes from, or what else was seen.
    pub detail: String,
}

impl Finding {
    /// A finding.
    pub fn new(name: &'static str, figure: f64, tolerance: f64, detail: impl Into<String>) -> Self {
        Self {
            name,
            figure,
            tolerance,
            detail: detail.into(),
        }
    }

    /// Whether the figure is within its tolerance; one that is not a number is not.
    pub fn passes(&self) -> bool {
        self.figure <= self.tolerance
    }
}

/// Every check, in the order in which they run: first what a step computes from given numbers,
/// then the policy alone, then gradients through all of it, then what comes of many steps.
pub fn checks() -> Vec<Check> {
    CHECKS.to_vec()
}

const fn check(name: &'static str, claim: &'static str, run: Run) -> Check {
    Check { name, claim, run }
}

const CHECKS: [Check; 14] = [
    check(
        "advantages",
        "rewards become advantages by (r − mean)/(std + 1e-4), with divisor n − 1",
        advantages::run,
    ),
    check(
        "mask",
        "the step scores the tokens that were sampled, and reasoning is where the text has it",
        mask::run,
    ),
    check(
        "terms",
        "each term's value is that of its formula, written out again",
        terms::run,
    ),
    check(
        "sinkhorn",
        "plans have their marginals, equal clouds no distance, and ε → ∞ its closed form",
        sinkhorn::run,
    ),
    check(
        "head",
        "log-probabilities are those of the whole matrix of logits",
        head::run,
    ),
    check(
        "points",
        "a point is the mean of its tokens' points",
        points::run,
    ),
    check(
        "on-policy",
        "sampled and recomputed log-probabilities agree; at step 0 the ratio is 1, KL and drift 0",
        on_policy::run,
    ),
    check(
        "prefix",
        "a shared prefix gives what a prefix for each row gives",
        prefix::run,
    ),
    check(
        "micro-batch",
        "slices of a batch give the gradient of the whole",
        micro_batch::run,
    ),
    check(
        "gradient",
        "each term's gradient is the slope of its value through the whole model",
        difference::run,
    ),
    check(
        "reference",
        "a tiny model and its gradients agree with a forward pass in f64",
        tiny::run,
    ),
    check(
        "optimizer",
        "two updates are those of AdamW, written out again",
        optimizer::run,
    ),
    check(
        "bandit",
        "the real step settles where the theory of GRPO says",
        bandit::run,
    ),
    check(
        "determinism",
        "the same seed gives the same steps and the same weights, bit for bit",
        determinism::run,
    ),
];
