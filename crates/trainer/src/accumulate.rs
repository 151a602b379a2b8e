//! One gradient of a batch that may be larger than what a policy computes at once.
//!
//! A loss whose terms look across the batch needs every signal before any gradient. Each rank
//! computes its share of the rows. Where that fits, one forward pass keeps its tape; where it does
//! not, the signals are gathered without one and each slice is run again with its part of the
//! gradient, which is the same gradient. Where no term looks from one row at another, each slice
//! has its gradient as soon as it has its signals, and no pass is made twice.

use policy::{Batch, Policy, PolicyError, Signals, Slice};
use ranks::Ranks;

use crate::failure::Failure;
use crate::share::{gather_signals, unscored};

/// How a batch is cut.
#[derive(Clone, Copy)]
pub(crate) struct Slicing<'a> {
    /// The most tokens of a slice.
    pub(crate) tokens_max: usize,
    /// Where the gradient in a row depends on no other row: signals that stand in for rows that are
    /// not computed yet.
    pub(crate) before: Option<&'a Signals>,
}

/// Adds to `policy` this rank's part of the gradient of a loss over `batch`, in slices of at most
/// so many tokens; the parts of all ranks add up to the gradient.
///
/// `differentiate` is called with signals of the whole batch and returns the gradient in them; the
/// last call has the signals of every row. `progress` hears the passes done and their number. A
/// share without rows does not reach the policy. Cost: one forward and one backward pass; in slices
/// of a loss whose rows look at each other, one forward pass more.
///
/// # Errors
/// Where the policy or `differentiate` fails, or a rank is lost; the policy may then hold a part of
/// the gradient.
///
/// # Source
/// Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"
/// (GradCache), arXiv 2101.06983, section 3.2, for rows that look at each other.
pub(crate) fn accumulate(
    policy: &mut dyn Policy,
    batch: &Batch,
    slicing: Slicing,
    ranks: &Ranks,
    mut differentiate: impl FnMut(&Signals) -> Result<Signals, Failure>,
    mut progress: impl FnMut(usize, usize),
) -> Result<(), Failure> {
    let shares = batch.shares(ranks.size());
    let own = &shares[ranks.rank()];
    let slices = slices(&own.batch, slicing.tokens_max);
    let gather = |scored: &Signals| gather_signals(ranks, batch, &shares, scored);
    if let Some(before) = slicing.before.filter(|_| slices.len() > 1) {
        let mut scored = own.select(before);
        for (done, slice) in slices.iter().enumerate() {
            progress(done, slices.len());
            slice.place(policy.forward(&slice.batch)?, &mut scored);
            let mut whole = before.clone();
            own.place(scored.clone(), &mut whole);
            let gradient = own.select(&differentiate(&whole)?);
            policy.backward(&slice.select(&gradient));
        }
        differentiate(&gather(&scored)?)?;
        progress(slices.len(), slices.len());
        return Ok(());
    }
    let mut scored = unscored(&own.batch);
    // Both passes over several slices count; one slice keeps its tape, and is run once.
    let passes = if slices.len() > 1 {
        2 * slices.len()
    } else {
        1
    };
    for (done, slice) in slices.iter().enumerate() {
        progress(done, passes);
        // Not `signals`: where training drops entries, both passes are to drop the same.
        slice.place(policy.forward(&slice.batch)?, &mut scored);
    }
    let gradient = own.select(&differentiate(&gather(&scored)?)?);
    for (done, slice) in slices.iter().enumerate() {
        if slices.len() > 1 {
            progress(slices.len() + done, passes);
            policy.forward(&slice.batch)?;
        }
        policy.backward(&slice.select(&gradient));
    }
    progress(passes, passes);
    Ok(())
}

/// The parts of a batch that are computed one after the other: it as it is where it fits.
fn slices(batch: &Batch, tokens_max: usize) -> Vec<Slice> {
    let mut slices = if batch.computed_tokens() <= tokens_max {
        batch.shares(1)
    } else {
        batch.slices(tokens_max)
    };
    slices.retain(|slice| !slice.rows.is_empty());
    slices
}

/// The signals of some rows of a batch, of which each rank scores its share in slices of at most
/// `tokens_max` tokens; those of the others are empty.
///
/// # Errors
/// Where `score` fails, or a rank is lost.
pub(crate) fn signals_of(
    rows: Vec<usize>,
    batch: &Batch,
    tokens_max: usize,
    ranks: &Ranks,
    score: impl FnMut(&Batch) -> Result<Signals, PolicyError>,
) -> Result<Signals, Failure> {
    let part = Slice {
        batch: Batch {
            prefixes: batch.prefixes.clone(),
            rows: rows.iter().map(|&row| batch.rows[row].clone()).collect(),
            temperature: batch.temperature,
        },
        rows,
    };
    let shares = part.batch.shares(ranks.size());
    let own = shares[ranks.rank()].batch.scored(tokens_max, score)?;
    let mut whole = unscored(batch);
    let gathered = gather_signals(ranks, &part.batch, &shares, &own)?;
    part.place(gathered, &mut whole);
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

    /// A loss of each entry alone: Σ w s²/2, gradient w s.
    fn separate(signals: &Signals) -> Signals {
        let mut gradient = signals.clone();
        for (row, logprobs_t) in gradient.logprobs_nt.iter_mut().enumerate() {
            for s in logprobs_t {
                *s *= 0.1 * row as f64;
            }
        }
        for s in gradient.points_nd.iter_mut().flatten() {
            *s *= 0.3;
        }
        gradient
    }

    /// Where `before` is something, the loss is one of each entry alone.
    fn trained(tokens_max: usize, before: Option<&Signals>) -> (Signals, usize) {
        let (mut policy, mut passes) = (policy(), 0);
        let slicing = Slicing { tokens_max, before };
        let mut last = Signals::default();
        let differentiate = |signals: &Signals| {
            last = signals.clone();
            Ok(before.map_or_else(|| coupled(signals), |_| separate(signals)))
        };
        let (alone, progress) = (Ranks::alone(), |_, of| passes = of);
        accumulate(
            &mut policy,
            &batch(),
            slicing,
            &alone,
            differentiate,
            progress,
        )
        .expect("known tokens");
        let mut apart = policy.signals(&batch()).expect("known tokens");
        apart.add_scaled(-1.0, &last);
        assert!(apart.norm() < 1e-12, "the last call has the signals of all");
        let norm = policy.update(0.5).grad_norm;
        assert!(norm > 1e-3, "the loss is not flat: {norm}");
        (policy.signals(&batch()).expect("known tokens"), passes)
    }

    #[test]
    fn slices_of_any_size_give_the_gradient_of_the_whole_batch() {
        let before = Signals {
            logprobs_nt: (3..12).map(|length| vec![-7.0; length]).collect(),
            points_nd: vec![Vec::new(); 9],
        };
        for before in [None, Some(&before)] {
            let (whole, _) = trained(usize::MAX, before);
            for tokens_max in [1, 9, 17, 40] {
                let (mut sliced, passes) = trained(tokens_max, before);
                let slices = batch().slices(tokens_max).len();
                assert_eq!(passes, if before.is_some() { slices } else { 2 * slices });
                assert!(slices > 1, "{tokens_max} tokens do not cut the batch");
                sliced.add_scaled(-1.0, &whole);
                assert!(sliced.norm() < 1e-12, "at {tokens_max}: {}", sliced.norm());
            }
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
        let flat = |signals: &Signals| {
            called = true;
            Ok(signals.zeros_like())
        };
        let alone = Ranks::alone();
        let slicing = Slicing {
            tokens_max: 10,
            before: None,
        };
        let made = accumulate(&mut policy(), &empty, slicing, &alone, flat, |_, _| {});
        made.expect("nothing to fail");
        assert!(called);
    }
}
