//! How far the policy has gone from the reference, on its own tokens.

use policy::Signals;

use crate::{Aggregation, Evidence, Loss, Needs, ObjectiveError, Outcome, Term};

/// The estimate k3 of `KL(policy ‖ reference)`, `exp(ref − lp) − (ref − lp) − 1` for each token of
/// the graded completions.
///
/// It enters the objective with TRL's weight `beta`. TRL adds it to the loss of each token before
/// aggregating; an aggregation is linear, so a term of its own with GRPO's aggregation is the same.
///
/// Metric: `kl`, the mean over tokens, in nats.
///
/// # Source
/// Schulman, "Approximating KL divergence" (2020); Shao et al. (arXiv 2402.03300).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kl {
    /// How the losses of tokens are averaged.
    pub aggregation: Aggregation,
}

impl Term for Kl {
    fn name(&self) -> &'static str {
        "kl"
    }

    fn needs(&self) -> Needs {
        Needs {
            reference: true,
            contrasts: false,
            coupled: false,
        }
    }

    fn evaluate(&self, evidence: &Evidence, signals: &Signals) -> Result<Outcome, ObjectiveError> {
        let reference = evidence.reference_for(self.name())?;
        let mut loss = Loss {
            value: 0.0,
            gradient: signals.zeros_like(),
        };
        let mut divergences: Vec<f64> = Vec::new();
        let weights_n = self.aggregation.weights_n(evidence);
        for (graded, weight) in evidence.graded.iter().zip(weights_n) {
            let logprobs_t = &signals.logprobs_nt[graded.row];
            let reference_t = &reference.logprobs_nt[graded.row];
            assert_eq!(
                logprobs_t.len(),
                reference_t.len(),
                "tokens of row {} under the policy and the reference",
                graded.row
            );
            let gradient_t = &mut loss.gradient.logprobs_nt[graded.row];
            for ((gradient, &logprob), &reference) in
                gradient_t.iter_mut().zip(logprobs_t).zip(reference_t)
            {
                let (divergence, slope) = information::k3(logprob, reference);
                loss.value += weight * divergence;
                *gradient += weight * slope;
                divergences.push(divergence);
            }
        }
        let metrics = if divergences.is_empty() {
            Vec::new()
        } else {
            vec![("kl", math::mean(&divergences))]
        };
        Ok(Outcome { loss, metrics })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::{Trial, metric};

    const TERM: Kl = Kl {
        aggregation: Aggregation::Grpo,
    };

    #[test]
    fn the_gradient_agrees_with_differences() {
        let found = Trial::new(41, 2).check_term(&TERM);
        assert!(found.error < 1e-10, "{found:?}");
    }

    #[test]
    fn the_reference_itself_has_no_divergence_and_any_other_policy_a_positive_one() {
        let trial = Trial::new(41, 2);
        let evidence = trial.evidence();
        let same = TERM.evaluate(&evidence, &trial.reference).unwrap();
        assert!(
            same.loss.value.abs() <= 0.0 && same.loss.gradient.norm() <= 0.0,
            "{same:?}"
        );
        let other = TERM.evaluate(&evidence, &trial.signals).unwrap();
        let logged = metric(&other, "kl").expect("graded rows");
        assert!(other.loss.value > 0.01 && logged > 0.01, "{logged}");
    }

    #[test]
    fn a_missing_reference_is_named() {
        let trial = Trial::new(41, 2);
        let mut evidence = trial.evidence();
        evidence.reference = None;
        let found = TERM.evaluate(&evidence, &trial.signals).unwrap_err();
        let expected = "the term kl needs the signals of the reference, found none";
        assert_eq!(found.to_string(), expected);
    }
}
