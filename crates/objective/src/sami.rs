//! How well completions tell the constitutions apart that they were drawn under.

use policy::Signals;

use crate::{Contrast, Evidence, Loss, Needs, ObjectiveError, Outcome, Term};

/// The symmetric InfoNCE loss over constitutions and completions, averaged over prompts.
///
/// For a prompt, `M[i][j]` is the mean log-probability of the reasoning tokens of completion `j`
/// under constitution `i`. All k² entries carry gradient; the completions are data.
///
/// Metrics: `sami/prompts` (contrasts in the batch), and where there are any the mean bounds
/// `ln k − loss` on the mutual information, in nats: `sami/bound_constitutions` (which constitution
/// a completion came from) and `sami/bound_completions`.
///
/// # Source
/// Fränken et al., "Self-supervised alignment with mutual information" (arXiv 2404.14313) and its
/// reference code, which takes the mean over all tokens of a completion; the restriction to its
/// reasoning is \[ours\].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sami;

impl Term for Sami {
    fn name(&self) -> &'static str {
        "sami"
    }

    fn needs(&self) -> Needs {
        Needs {
            reference: false,
            contrasts: true,
            coupled: true,
        }
    }

    fn evaluate(&self, evidence: &Evidence, signals: &Signals) -> Result<Outcome, ObjectiveError> {
        let mut loss = Loss {
            value: 0.0,
            gradient: signals.zeros_like(),
        };
        let prompts = evidence.contrasts.len() as f64;
        let (mut over_constitutions, mut over_completions) = (0.0, 0.0);
        for contrast in &evidence.contrasts {
            let matrix_kk = matrix_kk(contrast, evidence, signals);
            let losses = information::contrast_losses(&matrix_kk);
            let gradient_kk = information::contrast_gradient(&matrix_kk);
            let bounds = losses.bounds(matrix_kk.len());
            loss.value += losses.half_sum() / prompts;
            over_constitutions += bounds.over_constitutions / prompts;
            over_completions += bounds.over_completions / prompts;
            let rows = contrast.rows_kk.iter().flatten();
            for (&row, slope) in rows.zip(gradient_kk.into_iter().flatten()) {
                let reasoning_t = &mut loss.gradient.logprobs_nt[row][evidence.reasoning(row)];
                let share = slope / (prompts * reasoning_t.len() as f64);
                for gradient in reasoning_t {
                    *gradient += share;
                }
            }
        }
        let mut metrics = vec![("sami/prompts", prompts)];
        if !evidence.contrasts.is_empty() {
            metrics.extend([
                ("sami/bound_constitutions", over_constitutions),
                ("sami/bound_completions", over_completions),
            ]);
        }
        Ok(Outcome { loss, metrics })
    }
}

/// `M`: constitutions down, completions across.
fn matrix_kk(contrast: &Contrast, evidence: &Evidence, signals: &Signals) -> Vec<Vec<f64>> {
    let k = contrast.rows_kk.len();
    let square = contrast.rows_kk.iter().all(|rows_k| rows_k.len() == k);
    assert!(k >= 2 && square, "a contrast is square and at least 2 x 2");
    let entry = |&row: &usize| math::mean(&signals.logprobs_nt[row][evidence.reasoning(row)]);
    contrast
        .rows_kk
        .iter()
        .map(|rows_k| rows_k.iter().map(entry).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use policy::{Batch, Row};

    use super::*;
    use crate::trial::{Trial, metric};

    /// The outcome for one prompt whose matrix is given; beside its reasoning a row has tokens that
    /// must not count.
    fn on_matrix(matrix_kk: &[&[f64]]) -> Outcome {
        let k = matrix_kk.len();
        let row = Row {
            prefix: 0,
            tokens_t: vec![1; 5],
            reasoning: Some(1..3),
        };
        let batch = Batch {
            prefixes: vec![vec![1]],
            rows: vec![row; k * k],
            temperature: 1.0,
        };
        let logprobs_t = |entry: &f64| vec![-7.0, entry - 0.3, entry + 0.3, -9.0, -2.0];
        let signals = Signals {
            logprobs_nt: matrix_kk
                .iter()
                .copied()
                .flatten()
                .map(logprobs_t)
                .collect(),
            points_nd: vec![Vec::new(); k * k],
        };
        let rows_kk = (0..k).map(|i| (i * k..(i + 1) * k).collect()).collect();
        let evidence = Evidence {
            batch: &batch,
            graded: Vec::new(),
            contrasts: vec![Contrast { rows_kk }],
            cloud: Vec::new(),
            reference: None,
            active_tokens: 0.0,
        };
        Sami.evaluate(&evidence, &signals).unwrap()
    }

    #[test]
    fn the_gradient_agrees_with_differences_for_two_and_three_constitutions() {
        for k in [2, 3] {
            let found = Trial::new(29, k).check_term(&Sami);
            assert!(found.error < 1e-10, "k = {k}: {found:?}");
        }
    }

    #[test]
    fn the_worked_matrix_meets_its_loss_and_bounds() {
        let outcome = on_matrix(&[&[-1.0, -1.5], &[-1.4, -0.9]]);
        assert!(
            (outcome.loss.value - 0.474_664_292_8).abs() < 1e-10,
            "{outcome:?}"
        );
        let limit = 2.0_f64.ln();
        for (name, loss) in [
            ("sami/bound_completions", 0.474_076_984_2),
            ("sami/bound_constitutions", 0.475_251_601_4),
        ] {
            let bound = metric(&outcome, name).expect("one prompt");
            assert!((bound - (limit - loss)).abs() < 1e-10, "{name}: {bound}");
        }
    }

    #[test]
    fn completions_that_tell_nothing_cost_the_logarithm_of_k_and_bound_nothing() {
        let outcome = on_matrix(&[&[-2.0; 3], &[-2.0; 3], &[-2.0; 3]]);
        assert!(
            (outcome.loss.value - 3.0_f64.ln()).abs() < 1e-14,
            "{outcome:?}"
        );
        let bound = metric(&outcome, "sami/bound_constitutions").expect("one prompt");
        assert!(bound.abs() < 1e-14, "{bound}");
    }

    #[test]
    fn only_reasoning_tokens_carry_gradient_and_those_of_a_row_equally() {
        let outcome = on_matrix(&[&[-1.0, -1.5], &[-1.4, -0.9]]);
        for gradient_t in &outcome.loss.gradient.logprobs_nt {
            let [before, first, second, after, end] = gradient_t[..] else {
                panic!("five tokens, found {gradient_t:?}");
            };
            assert_eq!([before, after, end].map(f64::to_bits), [0; 3]);
            assert!(
                first.abs() > 0.01 && (first - second).abs() < 1e-15,
                "{gradient_t:?}"
            );
        }
    }

    #[test]
    fn a_batch_without_contrasts_gives_nothing_and_says_so() {
        let trial = Trial::new(29, 2);
        let mut evidence = trial.evidence();
        evidence.contrasts.clear();
        let outcome = Sami.evaluate(&evidence, &trial.signals).unwrap();
        assert_eq!(outcome.loss.gradient, trial.signals.zeros_like());
        assert_eq!(outcome.metrics, [("sami/prompts", 0.0)]);
    }
}
