//! The weighted sum of the terms.

use policy::Signals;

use crate::{Evidence, ObjectiveError, Outcome, Term};

/// A linear rise of a weight from 0 at step 0 to its whole at step `steps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WarmUp {
    /// Length in steps; 0 gives the whole weight from the start.
    pub steps: u64,
}

/// A term with its part in the sum.
pub struct Weighted {
    /// The term.
    pub term: Box<dyn Term>,
    /// Its weight once warmed up.
    pub weight: f64,
    /// How the weight rises.
    pub warm_up: WarmUp,
}

/// The objective of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct Total {
    /// `Σ weight · value`.
    pub value: f64,
    /// `Σ weight · gradient`, in the signals.
    pub gradient: Signals,
    /// What each term contributed, in the order given.
    pub terms: Vec<TermReport>,
}

/// What one term contributed to a step.
#[derive(Clone, Debug, PartialEq)]
pub struct TermReport {
    /// The term.
    pub name: &'static str,
    /// Its value, before the weight.
    pub value: f64,
    /// Euclidean norm of its gradient *in the signals*, before the weight. It is not the norm in
    /// the parameters, which only a backward pass for each term would give: compare a term's norm
    /// with its own at other steps, not with another term's.
    pub gradient_norm: f64,
    /// The weight at this step.
    pub weight: f64,
    /// The term's figures.
    pub metrics: Vec<(&'static str, f64)>,
}

impl Weighted {
    /// A term with its weight and how the weight rises.
    pub fn new(term: impl Term + 'static, weight: f64, warm_up: WarmUp) -> Self {
        Self {
            term: Box::new(term),
            weight,
            warm_up,
        }
    }
}

impl WarmUp {
    /// The share of the weight at a step, counted from 0: `min(1, step/steps)`, as transformers'
    /// linear warm-up.
    pub fn share(self, step: u64) -> f64 {
        if step >= self.steps {
            return 1.0;
        }
        step as f64 / self.steps as f64
    }
}

/// The sum of the terms at a step, each with its share.
///
/// A term of weight 0 is evaluated too, so that its metrics are there from the first step on.
///
/// # Errors
/// The first error of a term, or [`ObjectiveError::NotFinite`] where a value or gradient is not.
///
/// # Panics
/// As [`Term::evaluate`].
pub fn total(
    terms: &[Weighted],
    step: u64,
    evidence: &Evidence,
    signals: &Signals,
) -> Result<Total, ObjectiveError> {
    let mut total = Total {
        value: 0.0,
        gradient: signals.zeros_like(),
        terms: Vec::with_capacity(terms.len()),
    };
    for weighted in terms {
        let name = weighted.term.name();
        let Outcome { loss, metrics } = weighted.term.evaluate(evidence, signals)?;
        let not_finite = |part| Err(ObjectiveError::NotFinite { term: name, part });
        if !loss.value.is_finite() {
            return not_finite("value");
        }
        if !loss.gradient.is_finite() {
            return not_finite("gradient");
        }
        let weight = weighted.weight * weighted.warm_up.share(step);
        total.value += weight * loss.value;
        total.gradient.add_scaled(weight, &loss.gradient);
        total.terms.push(TermReport {
            name,
            value: loss.value,
            gradient_norm: loss.gradient.norm(),
            weight,
            metrics,
        });
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Trial;
    use crate::{Aggregation, Grpo, Kl, Loss, Needs, RatioLevel, Sami};

    /// A term whose value and gradient are given.
    struct Fixed(f64, f64);

    impl Term for Fixed {
        fn name(&self) -> &'static str {
            "fixed"
        }

        fn needs(&self) -> Needs {
            Needs::default()
        }

        fn evaluate(&self, _: &Evidence, signals: &Signals) -> Result<Outcome, ObjectiveError> {
            let mut gradient = signals.zeros_like();
            gradient.logprobs_nt[0][0] = self.1;
            let loss = Loss {
                value: self.0,
                gradient,
            };
            let metrics = Vec::new();
            Ok(Outcome { loss, metrics })
        }
    }

    #[test]
    fn the_total_is_the_weighted_sum_and_its_gradient_agrees_with_differences() {
        let trial = Trial::new(3, 2);
        let grpo = Grpo {
            level: RatioLevel::Token,
            epsilon: 0.2,
            epsilon_high: 0.2,
            aggregation: Aggregation::Bnpo,
        };
        let kl = Kl {
            aggregation: Aggregation::Bnpo,
        };
        let terms = [
            Weighted::new(grpo, 1.0, WarmUp::default()),
            Weighted::new(kl, 0.04, WarmUp::default()),
            Weighted::new(Sami, 0.5, WarmUp { steps: 50 }),
        ];
        let at = |signals: &Signals| total(&terms, 20, &trial.evidence(), signals).unwrap();
        let found = at(&trial.signals);
        let weights: Vec<f64> = found.terms.iter().map(|term| term.weight).collect();
        assert_eq!(weights, [1.0, 0.04, 0.2]);
        let sum: f64 = found.terms.iter().map(|t| t.weight * t.value).sum();
        assert!((found.value - sum).abs() < 1e-15, "{}", found.value);
        let check = trial.check(|signals| at(signals).value, &found.gradient);
        assert!(check.error < 1e-9, "{check:?}");
    }

    #[test]
    fn a_term_is_reported_before_its_weight() {
        let trial = Trial::new(3, 2);
        let terms = [Weighted::new(Fixed(2.0, -3.0), 0.5, WarmUp::default())];
        let found = total(&terms, 0, &trial.evidence(), &trial.signals).unwrap();
        let expected = TermReport {
            name: "fixed",
            value: 2.0,
            gradient_norm: 3.0,
            weight: 0.5,
            metrics: Vec::new(),
        };
        assert_eq!(found.terms, [expected]);
        assert!((found.gradient.norm() - 1.5).abs() < 1e-15, "{found:?}");
    }

    #[test]
    fn a_term_that_is_not_finite_is_named() {
        let trial = Trial::new(3, 2);
        for (fixed, part) in [
            (Fixed(f64::NAN, 0.0), "value"),
            (Fixed(1.0, f64::INFINITY), "gradient"),
        ] {
            let terms = [Weighted::new(fixed, 1.0, WarmUp::default())];
            let found = total(&terms, 0, &trial.evidence(), &trial.signals);
            let term = "fixed";
            assert_eq!(found, Err(ObjectiveError::NotFinite { term, part }));
        }
    }

    #[test]
    fn a_warm_up_rises_linearly_and_stays() {
        let shares = [0, 25, 50, 51].map(|step| WarmUp { steps: 50 }.share(step));
        assert_eq!(
            shares.map(f64::to_bits),
            [0.0, 0.5, 1.0, 1.0].map(f64::to_bits)
        );
        assert_eq!(WarmUp::default().share(0).to_bits(), 1.0_f64.to_bits());
    }
}
