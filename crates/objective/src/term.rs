//! What a loss term is.

use policy::Signals;

use crate::{Evidence, ObjectiveError};

/// A part of the objective: a pure function of evidence and signals, to be minimised.
pub trait Term {
    /// The name in recipes, logs and errors.
    fn name(&self) -> &'static str;

    /// What must be known for this term; it may cost further passes of a model.
    fn needs(&self) -> Needs;

    /// The loss at these signals, and what is worth logging.
    ///
    /// A batch that holds nothing for the term gives 0 with a zero gradient, and its metrics say
    /// so.
    ///
    /// # Errors
    /// Where the evidence lacks what the term needs, or its numbers cannot be computed.
    ///
    /// # Panics
    /// If the evidence and the signals disagree in shape.
    fn evaluate(&self, evidence: &Evidence, signals: &Signals) -> Result<Outcome, ObjectiveError>;
}

/// What costs passes of a model beyond scoring the graded completions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// [`Evidence::reference`].
    pub reference: bool,
    /// [`Evidence::contrasts`], whose rows off the diagonal are scored for them alone.
    pub contrasts: bool,
    /// All signals before the gradient in any row: in a row it depends on the others' too.
    pub coupled: bool,
}

/// A value and its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// The value, before any weight.
    pub value: f64,
    /// The gradient of the value in the signals; of their shape.
    pub gradient: Signals,
}

/// A loss, with figures to log.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// The loss.
    pub loss: Loss,
    /// Figures by name; TRL's names where TRL has the figure. A figure without data is left out.
    pub metrics: Vec<(&'static str, f64)>,
}
