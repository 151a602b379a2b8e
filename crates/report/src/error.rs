//! Why there is nothing to say of a run.

/// What a reader asked for that the record does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// A run before its first step.
    #[error("the run has no step on record yet, expected one or more")]
    NoSteps,
    /// A step that was not made.
    #[error("step {asked} is not on record, expected {first} to {last}")]
    NoStep {
        /// As asked.
        asked: usize,
        /// The first on record.
        first: usize,
        /// The last.
        last: usize,
    },
    /// A plan that is not TOML.
    #[error("plan.toml: {reason}")]
    Plan {
        /// The parser's words.
        reason: String,
    },
}
