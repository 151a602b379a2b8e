//! A rank's part of a rollout and of a batch, and how the parts of all ranks come together.
//!
//! Whole questions are rolled out by one rank, with all their constitutions. Rows of a batch are
//! shared out by what they cost, for every rank gets the signals of all: a loss looks across the
//! whole batch wherever its rows were computed. One rank has it all.

use policy::{Batch, Row, Signals, Slice};
use ranks::{RankError, Ranks};
use rollout::{Group, Prompt};

use crate::pending;

/// The prompts of this rank, of all, which name so many questions and are in their order.
pub(crate) fn prompts<'a>(ranks: &Ranks, all: &'a [Prompt], questions: usize) -> &'a [Prompt] {
    let rank = |prompt: &Prompt| prompt.question * ranks.size() / questions;
    let start = all.partition_point(|prompt| rank(prompt) < ranks.rank());
    let end = all.partition_point(|prompt| rank(prompt) <= ranks.rank());
    &all[start..end]
}

/// The groups of all ranks in the order of their prompts, graded by so many `graders`.
///
/// # Errors
/// Where a rank is lost.
pub(crate) fn gather_groups(
    ranks: &Ranks,
    own: Vec<Group>,
    [questions, graders]: [usize; 2],
) -> Result<Vec<Group>, RankError> {
    let records = serde_json::to_vec(&pending::to_records(&own)).expect("records are plain values");
    let gathered = ranks.all_gather(&records)?;
    let mut own = Some(own);
    let mut all = Vec::new();
    for (rank, bytes) in gathered.iter().enumerate() {
        if let Some(own) = own.take_if(|_| rank == ranks.rank()) {
            all.extend(own);
            continue;
        }
        let parsed = serde_json::from_slice(bytes).map_err(|error| error.to_string());
        let groups = parsed.and_then(|groups| pending::from_records(groups, questions, graders));
        all.extend(groups.map_err(|found| unread(rank, found, "groups"))?);
    }
    Ok(all)
}

/// The signals of the whole `batch`, of which this rank has those of its share.
///
/// # Errors
/// Where a rank is lost.
pub(crate) fn gather_signals(
    ranks: &Ranks,
    batch: &Batch,
    shares: &[Slice],
    own: &Signals,
) -> Result<Signals, RankError> {
    let mut whole = unscored(batch);
    let gathered = ranks.all_gather(&to_bytes(own))?;
    for (rank, (share, bytes)) in shares.iter().zip(&gathered).enumerate() {
        let part = from_bytes(&share.batch.rows, bytes).ok_or_else(|| {
            let found = format!("{} bytes", bytes.len());
            unread(rank, found, "the signals of its rows")
        })?;
        share.place(part, &mut whole);
    }
    Ok(whole)
}

/// A batch of which nothing is scored.
pub(crate) fn unscored(batch: &Batch) -> Signals {
    let empty = vec![Vec::new(); batch.rows.len()];
    Signals {
        logprobs_nt: empty.clone(),
        points_nd: empty,
    }
}

fn unread(rank: usize, found: String, expected: &str) -> RankError {
    RankError::OutOfStep {
        rank,
        found,
        expected: expected.to_owned(),
    }
}

/// All log-probabilities, then all points.
fn to_bytes(signals: &Signals) -> Vec<u8> {
    let rows = signals.logprobs_nt.iter().chain(&signals.points_nd);
    rows.flatten()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

/// The signals of some rows; `None` where the bytes are not theirs.
fn from_bytes(rows: &[Row], bytes: &[u8]) -> Option<Signals> {
    let values = bytes.chunks(size_of::<f64>());
    let values = values.map(|value| value.try_into().ok().map(f64::from_le_bytes));
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    let lengths = rows.iter().map(|row| row.tokens_t.len());
    let (logprobs, points) = values.split_at_checked(lengths.sum())?;
    let pooled = rows.iter().filter(|row| row.reasoning.is_some()).count();
    let width = points.len().checked_div(pooled).unwrap_or(0);
    if width * pooled != points.len() {
        return None;
    }
    let (mut logprobs, mut points) = (logprobs.iter().copied(), points.iter().copied());
    let mut signals = Signals::default();
    for row in rows {
        let logprobs_t = logprobs.by_ref().take(row.tokens_t.len()).collect();
        signals.logprobs_nt.push(logprobs_t);
        let width = if row.reasoning.is_some() { width } else { 0 };
        signals
            .points_nd
            .push(points.by_ref().take(width).collect());
    }
    Some(signals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_read_back_to_the_bit_and_other_lengths_are_refused() {
        let row = |length, is_pooled: bool| Row {
            prefix: 0,
            tokens_t: vec![0; length],
            reasoning: is_pooled.then_some(0..1),
        };
        let rows = [row(2, true), row(1, false), row(3, true)];
        let signals = Signals {
            logprobs_nt: vec![vec![-0.1, -0.0], vec![f64::MIN_POSITIVE], vec![-1e9; 3]],
            points_nd: vec![vec![0.1, 0.2], vec![], vec![-3.0, 1.0 / 3.0]],
        };
        let bytes = to_bytes(&signals);
        assert_eq!(from_bytes(&rows, &bytes), Some(signals));
        assert_eq!(from_bytes(&rows, &bytes[..bytes.len() - 8]), None);
        assert_eq!(from_bytes(&rows, &bytes[..bytes.len() - 3]), None);
        assert_eq!(from_bytes(&rows[..2], &bytes[..8]), None);
        assert_eq!(from_bytes(&[], &[]), Some(Signals::default()));
    }
}
