//! `[rewards]`: what completions are rewarded for.

use serde::{Deserialize, Serialize};

use crate::range::{OutOfRange, not_negative, positive, require, some};

/// `[rewards]`: the weight of each; at least one is above 0.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RewardSection {
    /// 1 for a completion in the asked format, 0 otherwise. Default 1: format rewards alone
    /// (arXiv 2510.11278).
    pub(crate) format: f64,
    /// 1 for the reference answer inside the last answer tags, whatever else the completion is, 0
    /// otherwise. Default 0.
    pub(crate) answer: f64,
    /// Rewards by regular expressions. By default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) regex: Vec<RegexSection>,
    /// Rewards by programs. By default none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) command: Vec<CommandSection>,
}

/// `[[rewards.regex]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegexSection {
    /// Names its metrics. Required.
    pub(crate) name: String,
    /// 1 for a completion in which it matches somewhere, 0 otherwise. Required.
    pub(crate) pattern: String,
    /// Default 1.
    #[serde(default = "one")]
    pub(crate) weight: f64,
}

/// `[[rewards.command]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CommandSection {
    /// Names its metrics. Required.
    pub(crate) name: String,
    /// The program and its arguments; no shell reads them. Required.
    pub(crate) program: Vec<String>,
    /// Default 1.
    #[serde(default = "one")]
    pub(crate) weight: f64,
    /// Where it runs. By default the recipe's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) working_directory: Option<String>,
    /// Seconds that it may take for a batch. Default 60 [ours].
    #[serde(default = "timeout_s")]
    pub(crate) timeout_s: f64,
    /// The most completions that it is asked about at once. Default 64 [ours].
    #[serde(default = "batch_size")]
    pub(crate) batch_size: usize,
    /// Copies that work side by side. Default 1.
    #[serde(default = "workers")]
    pub(crate) workers: usize,
    /// The run stops after so many batches in a row without a grade. Default 3 [ours].
    #[serde(default = "max_failures")]
    pub(crate) max_failures: usize,
}

fn one() -> f64 {
    1.0
}

fn timeout_s() -> f64 {
    60.0
}

fn batch_size() -> usize {
    64
}

fn workers() -> usize {
    1
}

fn max_failures() -> usize {
    3
}

impl Default for RewardSection {
    fn default() -> Self {
        Self {
            format: 1.0,
            answer: 0.0,
            regex: Vec::new(),
            command: Vec::new(),
        }
    }
}

impl RewardSection {
    /// # Errors
    /// At the first number or name that is not allowed.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        not_negative("rewards.format", self.format)?;
        not_negative("rewards.answer", self.answer)?;
        self.regex.iter().try_for_each(|regex| {
            let is_finite = regex.weight.is_finite();
            require(is_finite, "rewards.regex.weight", regex.weight, "a number")
        })?;
        self.command.iter().try_for_each(CommandSection::check)?;
        let names = self.regex.iter().map(|regex| &regex.name);
        let names = names.chain(self.command.iter().map(|command| &command.name));
        let mut known = vec!["format", "answer"];
        for name in names {
            let is_sign = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let is_name = !name.is_empty() && name.chars().all(is_sign);
            let expected = "letters, digits, `_` and `-`, and no other reward's name";
            let holds = is_name && !known.contains(&name.as_str());
            require(holds, "rewards: a name", format!("{name:?}"), expected)?;
            known.push(name);
        }
        let weights = self.regex.iter().map(|regex| regex.weight);
        let weights = weights.chain(self.command.iter().map(|command| command.weight));
        let any = [self.format, self.answer].into_iter().chain(weights);
        require(
            any.into_iter().any(|weight| weight != 0.0),
            "rewards.format",
            "0 and every other reward too",
            "at least one reward with a weight",
        )
    }
}

impl CommandSection {
    fn check(&self) -> Result<(), OutOfRange> {
        let program = self
            .program
            .first()
            .is_some_and(|program| !program.is_empty());
        require(
            program,
            "rewards.command.program",
            "empty",
            "a program and its arguments",
        )?;
        let is_finite = self.weight.is_finite();
        require(is_finite, "rewards.command.weight", self.weight, "a number")?;
        positive("rewards.command.timeout_s", self.timeout_s)?;
        require(
            self.timeout_s <= 86_400.0,
            "rewards.command.timeout_s",
            self.timeout_s,
            "at most 86400, a day",
        )?;
        some("rewards.command.batch_size", self.batch_size)?;
        require(
            (1..=256).contains(&self.workers),
            "rewards.command.workers",
            self.workers,
            "1 to 256",
        )?;
        some("rewards.command.max_failures", self.max_failures)
    }
}
