//! What a policy says of a batch, and the shape of every gradient that it takes back.

/// Log-probabilities and hidden points of a batch's rows; also a gradient in them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signals {
    /// For each row, `ln π(token | prefix, tokens before)` of each of its tokens, in nats, at the
    /// batch's temperature.
    pub logprobs_nt: Vec<Vec<f64>>,
    /// For each row, the mean over its reasoning tokens of the final hidden state, after the last
    /// norm; empty where the row has no reasoning.
    pub points_nd: Vec<Vec<f64>>,
}

impl Signals {
    /// Zeros of this shape: the gradient of a constant.
    #[must_use]
    pub fn zeros_like(&self) -> Self {
        let zeros = |rows: &[Vec<f64>]| rows.iter().map(|row| vec![0.0; row.len()]).collect();
        Self {
            logprobs_nt: zeros(&self.logprobs_nt),
            points_nd: zeros(&self.points_nd),
        }
    }

    /// Adds `weight · other` to every entry.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn add_scaled(&mut self, weight: f64, other: &Self) {
        for (mine, theirs) in [
            (&mut self.logprobs_nt, &other.logprobs_nt),
            (&mut self.points_nd, &other.points_nd),
        ] {
            assert_eq!(mine.len(), theirs.len(), "signals of different batches");
            for (row, other) in mine.iter_mut().zip(theirs) {
                assert_eq!(row.len(), other.len(), "rows of different lengths");
                row.iter_mut()
                    .zip(other)
                    .for_each(|(a, b)| *a += weight * b);
            }
        }
    }

    /// Euclidean norm over all entries.
    pub fn norm(&self) -> f64 {
        self.entries()
            .map(|value| value * value)
            .sum::<f64>()
            .sqrt()
    }

    /// Whether no entry is NaN or infinite.
    pub fn is_finite(&self) -> bool {
        self.entries().all(f64::is_finite)
    }

    fn entries(&self) -> impl Iterator<Item = f64> + '_ {
        self.logprobs_nt
            .iter()
            .chain(&self.points_nd)
            .flatten()
            .copied()
    }
}
