//! One gradient of a batch that may be larger than what a policy computes at once.
//!
//! A loss whose terms look across the batch needs every signal before any gradient. Where the batch
//! fits, one forward pass keeps its tape; where it does not, the signals are gathered without one
//! and each slice is run again with its part of the gradient, which is the same gradient.

use policy::{Batch, Policy, PolicyError, Signals, Slice};

/// Adds to `policy` the gradient of a loss over `batch`, in slices of at most `tokens_max` tokens.
///
/// `differentiate` is called once, with the signals of the whole batch, and returns the gradient in
/// them. `progress` hears the slices done and their number. A batch without rows reaches
/// `differentiate`, but not the policy. Cost: one forward and one backward pass; in slices, one
/// forward pass more.
///
/// # Errors
/// Where the policy or `differentiate` fails; the policy may then hold a part of the gradient.
///
/// # Source
/// Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"
/// (GradCache), arXiv 2101.06983, section 3.2.
pub(crate) fn accumulate<E: From<PolicyError>>(
    policy: &mut dyn Policy,
    batch: &Batch,
    tokens_max: usize,
    differentiate: impl FnOnce(&Signals) -> Result<Signals, E>,
    mut progress: impl FnMut(usize, usize),
) -> Result<(), E> {
    if batch.rows.is_empty() {
        differentiate(&Signals::default())?;
        return Ok(());
    }
    if batch.computed_tokens() <= tokens_max {
        progress(0, 1);
        let gradient = differentiate(&policy.forward(batch)?)?;
        policy.backward(&gradient);
        progress(1, 1);
        return Ok(());
    }
    let slices = batch.slices(tokens_max);
    // Both passes over the slices count.
    let passes = 2 * slices.len();
    let mut done = 0;
    let whole = batch.scored(tokens_max, |slice| {
        progress(done, passes);
        done += 1;
        // Not `signals`: where training drops entries, both passes are to drop the same.
        policy.forward(slice)
    })?;
    let gradient = differentiate(&whole)?;
    for slice in &slices {
        progress(done, passes);
        done += 1;
        policy.forward(&slice.batch)?;
        policy.backward(&slice.select(&gradient));
    }
    progress(passes, passes);
    Ok(())
}

/// The signals of some rows of a batch, scored in slices of at most `tokens_max` tokens; those of
/// the others are empty.
///
/// # Errors
/// Where `score` fails.
pub(crate) fn signals_of(
    rows: Vec<usize>,
    batch: &Batch,
    tokens_max: usize,
    score: impl FnMut(&Batch) -> Result<Signals, PolicyError>,
) -> Result<Signals, PolicyError> {
    let part = Slice {
        batch: Batch {
            prefixes: batch.prefixes.clone(),
            rows: rows.iter().map(|&row| batch.rows[row].clone()).collect(),
            temperature: batch.temperature,
        },
        rows,
    };
    let unscored = vec![Vec::new(); batch.rows.len()];
    let mut whole = Signals {
        logprobs_nt: unscored.clone(),
        points_nd: unscored,
    };
    part.place(part.batch.scored(tokens_max, score)?, &mut whole);
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use math::Key;
    use policy::{Row, Scorer, TabularPolicy};

    use super::*;

    fn policy() -> TabularPolicy {
        TabularPolicy::new(
            4,
            &[vec![0.3, -0.2, 0.9, 0.0], vec![0.1, 0.7, -1.0, 0.4]],
            &[3],
        )
    }

    fn batch() -> Batch {
        let key = Key::new(2);
        let rows = (0..9).map(|i| Row {
            prefix: i % 2,
            tokens_t: (0..3 + i)
                .map(|t| key.child(i as u64).below(t as u64, 4) as u32)
                .collect(),
            reasoning: (i % 3 > 0).then_some(0..2),
        });
        Batch {
            prefixes: vec![vec![0; 5], vec![1; 3]],
            rows: rows.collect(),
            temperature: 0.8,
        }
    }

    /// A loss that couples every entry with every other: (Σ w·s)²/2, gradient (Σ w·s)·w.
    fn coupled(signals: &Signals) -> Signals {
        let mut weights = signals.zeros_like();
        let rows = weights.logprobs_nt.iter_mut().chain(&mut weights.points_nd);
        for (i, entry) in rows.flatten().enumerate() {
            *entry = 0.1 * Key::new(3).normal(i as u64);
        }
        let pairs = signals.logprobs_nt.iter().zip(&weights.logprobs_nt);
        let points = signals.points_nd.iter().zip(&weights.points_nd);
        let inner: f64 = pairs.chain(points).map(|(a, b)| math::dot(a, b)).sum();
        let mut gradient = signals.zeros_like();
        gradient.add_scaled(inner, &weights);
        gradient
    }

    fn trained(tokens_max: usize) -> (Signals, usize) {
        let (mut policy, mut passes) = (policy(), 0);
        let differentiate = |signals: &Signals| Ok::<_, PolicyError>(coupled(signals));
        let progress = |_, of| passes = of;
        accumulate(&mut policy, &batch(), tokens_max, differentiate, progress)
            .expect("known tokens");
        let norm = policy.update(0.5).grad_norm;
        assert!(norm > 1e-3, "the loss is not flat: {norm}");
        (policy.signals(&batch()).expect("known tokens"), passes)
    }

    #[test]
    fn slices_of_any_size_give_the_gradient_of_the_whole_batch() {
        let (whole, _) = trained(usize::MAX);
        for tokens_max in [1, 9, 17, 40] {
            let (mut sliced, passes) = trained(tokens_max);
            assert!(passes > 2, "{tokens_max} tokens do not cut the batch");
            sliced.add_scaled(-1.0, &whole);
            assert!(sliced.norm() < 1e-12, "at {tokens_max}: {}", sliced.norm());
        }
    }

    #[test]
    fn a_batch_without_rows_is_differentiated_but_never_reaches_the_policy() {
        let mut called = false;
        let empty = Batch {
            prefixes: vec![],
            rows: vec![],
            temperature: 1.0,
        };
        let flat = |signals: &Signals| -> Result<Signals, PolicyError> {
            called = true;
            Ok(signals.zeros_like())
        };
        accumulate(&mut policy(), &empty, 10, flat, |_, _| {}).expect("nothing to fail");
        assert!(called);
    }
}
