//! How far the cloud of hidden states has drifted from the reference's.

use policy::Signals;

use crate::{Evidence, Loss, Needs, ObjectiveError, Outcome, Term};

/// The debiased Sinkhorn divergence between the policy's points and the reference's \[ours in
/// detail\].
///
/// Both clouds hold the points of the rows [`Evidence::cloud`], each brought to length 1; the
/// gradient goes through that. Zero drift costs 0. Fewer than two points have no shape: the term is
/// then skipped for the batch.
///
/// Metrics: `transport/points`, `transport/skipped` (1 where it was), and where it was not
/// `transport/s_epsilon` (the value, without unit), `transport/converged` (1 or 0) and
/// `transport/iterations`.
///
/// # Source
/// Attested for ENIGMA (arXiv 2510.11278) as entropic Sinkhorn on hidden states against the
/// reference; the divergence is that of Feydy et al. (2019).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SinkhornDrift {
    /// How the transport problems are regularised and solved.
    pub options: transport::Options,
}

impl Term for SinkhornDrift {
    fn name(&self) -> &'static str {
        "transport"
    }

    fn needs(&self) -> Needs {
        Needs {
            reference: true,
            contrasts: false,
            coupled: true,
        }
    }

    fn evaluate(&self, evidence: &Evidence, signals: &Signals) -> Result<Outcome, ObjectiveError> {
        let reference = evidence.reference_for(self.name())?;
        let mut loss = Loss {
            value: 0.0,
            gradient: signals.zeros_like(),
        };
        let points = evidence.cloud.len();
        let skipped = points < 2;
        let mut metrics = vec![
            ("transport/points", points as f64),
            ("transport/skipped", f64::from(skipped)),
        ];
        if skipped {
            return Ok(Outcome { loss, metrics });
        }
        let policy_nd = directions_nd("policy", signals, &evidence.cloud)?;
        let reference_nd = directions_nd("reference", reference, &evidence.cloud)?;
        let drift = transport::sinkhorn_divergence(&policy_nd, &reference_nd, &self.options)?;
        loss.value = drift.value;
        for ((&row, direction_d), incoming_d) in evidence
            .cloud
            .iter()
            .zip(&policy_nd)
            .zip(&drift.gradient_nd)
        {
            let length = math::norm(&signals.points_nd[row]);
            let radial = math::dot(direction_d, incoming_d);
            let gradient_d = loss.gradient.points_nd[row].iter_mut();
            for ((gradient, direction), incoming) in gradient_d.zip(direction_d).zip(incoming_d) {
                *gradient += (incoming - direction * radial) / length;
            }
        }
        metrics.extend([
            ("transport/s_epsilon", drift.value),
            ("transport/converged", f64::from(drift.converged)),
            ("transport/iterations", drift.iterations as f64),
        ]);
        Ok(Outcome { loss, metrics })
    }
}

/// The points of `rows`, each divided by its length.
fn directions_nd(
    whose: &'static str,
    signals: &Signals,
    rows: &[usize],
) -> Result<Vec<Vec<f64>>, ObjectiveError> {
    let direction_d = |&row: &usize| {
        let point_d = &signals.points_nd[row];
        assert!(!point_d.is_empty(), "row {row} of the cloud has no point");
        let length = math::norm(point_d);
        if length > 0.0 && length.is_finite() {
            Ok(point_d.iter().map(|value| value / length).collect())
        } else {
            Err(ObjectiveError::NoDirection { whose, row, length })
        }
    };
    rows.iter().map(direction_d).collect()
}

#[cfg(test)]
mod tests {
    use policy::{Batch, Row};
    use transport::Epsilon;

    use super::*;
    use crate::trial::{Trial, metric};

    fn drift(epsilon: Epsilon) -> SinkhornDrift {
        SinkhornDrift {
            options: transport::Options {
                epsilon,
                ..transport::Options::default()
            },
        }
    }

    const RELATIVE: Epsilon = Epsilon::RelativeToMeanCost(0.1);

    /// The outcome for clouds in the plane, each point a row of its own.
    fn on_points(term: SinkhornDrift, x_nd: &[[f64; 2]], y_nd: &[[f64; 2]]) -> Outcome {
        let row = Row {
            prefix: 0,
            tokens_t: vec![1, 2],
            reasoning: Some(0..1),
        };
        let batch = Batch {
            prefixes: vec![vec![1]],
            rows: vec![row; x_nd.len()],
            temperature: 1.0,
        };
        let signals = |points_nd: &[[f64; 2]]| Signals {
            logprobs_nt: vec![vec![-1.0; 2]; x_nd.len()],
            points_nd: points_nd.iter().map(|point| point.to_vec()).collect(),
        };
        let evidence = Evidence {
            batch: &batch,
            graded: Vec::new(),
            contrasts: Vec::new(),
            cloud: (0..x_nd.len()).collect(),
            reference: Some(&signals(y_nd)),
            active_tokens: 0.0,
        };
        term.evaluate(&evidence, &signals(x_nd)).unwrap()
    }

    #[test]
    fn the_gradient_agrees_with_differences_through_the_normalisation() {
        for epsilon in [RELATIVE, Epsilon::Absolute(0.3)] {
            let trial = Trial::new(17, 3);
            let found = trial.check_term(&drift(epsilon));
            assert!(found.error < 1e-8, "{epsilon:?}: {found:?}");
        }
    }

    #[test]
    fn zero_drift_has_no_loss_and_no_gradient() {
        let trial = Trial::new(17, 2);
        let outcome = drift(RELATIVE)
            .evaluate(&trial.evidence(), &trial.reference)
            .unwrap();
        let norm = outcome.loss.gradient.norm();
        assert!(
            outcome.loss.value.abs() < 1e-12 && norm < 1e-8,
            "{outcome:?}"
        );
    }

    /// For two opposite points against the same pair turned by an angle, the plan is symmetric and
    /// `OT_ε = −ε·ln ½(exp(−near/ε) + exp(−far/ε))`.
    #[test]
    fn a_turned_pair_of_points_meets_its_closed_form_whatever_its_lengths() {
        let (angle, epsilon) = (0.4_f64, 0.5);
        let transport = |near: f64, far: f64| {
            -epsilon * (0.5 * ((-near / epsilon).exp() + (-far / epsilon).exp())).ln()
        };
        let cross = transport(2.0 - 2.0 * angle.cos(), 2.0 + 2.0 * angle.cos());
        let expected = cross - transport(0.0, 4.0);
        let y_nd = [1.0, -0.2].map(|length: f64| [length * angle.cos(), length * angle.sin()]);
        let outcome = on_points(
            drift(Epsilon::Absolute(epsilon)),
            &[[3.0, 0.0], [-0.5, 0.0]],
            &y_nd,
        );
        assert!(
            (outcome.loss.value - expected).abs() < 1e-12,
            "{outcome:?}, {expected}"
        );
        assert_eq!(metric(&outcome, "transport/converged"), Some(1.0));
    }

    #[test]
    fn at_a_large_epsilon_the_loss_is_the_squared_distance_of_mean_directions() {
        let outcome = on_points(
            drift(Epsilon::Absolute(1e5)),
            &[[2.0, 0.0], [0.0, 5.0], [3.0, 4.0]],
            &[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]],
        );
        let expected = (1.6_f64 / 3.0).powi(2) + (0.8_f64 / 3.0).powi(2);
        assert!(
            (outcome.loss.value - expected).abs() < 1e-4,
            "{outcome:?}, {expected}"
        );
    }

    #[test]
    fn a_cloud_of_fewer_than_two_points_is_skipped_and_says_so() {
        let trial = Trial::new(17, 2);
        for points in [0, 1] {
            let mut evidence = trial.evidence();
            evidence.cloud.truncate(points);
            let outcome = drift(RELATIVE).evaluate(&evidence, &trial.signals).unwrap();
            assert_eq!(outcome.loss.gradient, trial.signals.zeros_like());
            assert_eq!(metric(&outcome, "transport/skipped"), Some(1.0));
            assert_eq!(metric(&outcome, "transport/s_epsilon"), None);
        }
    }

    #[test]
    fn a_point_of_length_zero_and_a_missing_reference_are_named() {
        let trial = Trial::new(17, 2);
        let mut evidence = trial.evidence();
        let row = evidence.cloud[1];
        let mut signals = trial.signals.clone();
        signals.points_nd[row].fill(0.0);
        let found = drift(RELATIVE).evaluate(&evidence, &signals).unwrap_err();
        let expected =
            format!("the policy point of row {row} has length 0, expected a positive one");
        assert_eq!(found.to_string(), expected);
        evidence.reference = None;
        let found = drift(RELATIVE).evaluate(&evidence, &signals).unwrap_err();
        assert_eq!(
            found,
            ObjectiveError::MissingReference { term: "transport" }
        );
    }
}
