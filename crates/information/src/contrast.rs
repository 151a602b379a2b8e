//! The symmetric InfoNCE contrast of a matrix of scores.

/// Cross-entropies of finding the right partner among `k`, in nats; 0 where it is certain.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// For each completion, of finding its constitution: `−mean_j ln softmax_i(M[i][j])` at i = j.
    pub over_constitutions: f64,
    /// For each constitution, of finding its completion: `−mean_i ln softmax_j(M[i][j])` at j = i.
    pub over_completions: f64,
}

/// Lower bounds `ln k − loss` of the mutual information, in nats; at most `ln k`, and negative
/// where the scores do worse than chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// From the contrast over constitutions.
    pub over_constitutions: f64,
    /// From the contrast over completions.
    pub over_completions: f64,
}

impl Losses {
    /// What SAMI minimises: half the sum of the two.
    pub fn half_sum(self) -> f64 {
        0.5 * (self.over_constitutions + self.over_completions)
    }

    /// The bounds that the losses of `k` partners give.
    ///
    /// # Source
    /// van den Oord et al., "Representation learning with contrastive predictive coding" (2018),
    /// appendix A.1.
    pub fn bounds(self, k: usize) -> Bounds {
        let most = (k as f64).ln();
        Bounds {
            over_constitutions: most - self.over_constitutions,
            over_completions: most - self.over_completions,
        }
    }
}

/// Both losses of a matrix of scores, constitutions × completions.
///
/// # Panics
/// If the matrix is empty or not square.
///
/// # Source
/// Fränken et al., "Self-supervised alignment with mutual information" (arXiv 2404.14313, 2024);
/// read from `sami_loss` of its reference code, github.com/janphilippfranken/sami.
pub fn contrast_losses(matrix_kk: &[Vec<f64>]) -> Losses {
    assert_square(matrix_kk);
    Losses {
        over_constitutions: diagonal_loss(&transpose(matrix_kk)),
        over_completions: diagonal_loss(matrix_kk),
    }
}

/// The gradient of [`Losses::half_sum`] in the matrix:
/// `(softmax over completions + softmax over constitutions − 2·identity)/(2k)`.
///
/// # Panics
/// If the matrix is empty or not square.
pub fn contrast_gradient(matrix_kk: &[Vec<f64>]) -> Vec<Vec<f64>> {
    assert_square(matrix_kk);
    let k = matrix_kk.len();
    let softmaxes = |rows: &[Vec<f64>]| {
        rows.iter()
            .map(|row| math::softmax(row))
            .collect::<Vec<_>>()
    };
    let over_completions = softmaxes(matrix_kk);
    let over_constitutions = transpose(&softmaxes(&transpose(matrix_kk)));
    let entry = |i: usize, j: usize| {
        let chosen = if i == j { 2.0 } else { 0.0 };
        (over_completions[i][j] + over_constitutions[i][j] - chosen) / (2 * k) as f64
    };
    (0..k)
        .map(|i| (0..k).map(|j| entry(i, j)).collect())
        .collect()
}

pub(crate) fn assert_square(matrix_kk: &[Vec<f64>]) {
    let k = matrix_kk.len();
    let square = k > 0 && matrix_kk.iter().all(|row| row.len() == k);
    assert!(
        square,
        "a contrast needs one completion for each of its {k} constitutions"
    );
}

fn diagonal_loss(rows_kk: &[Vec<f64>]) -> f64 {
    let losses = rows_kk
        .iter()
        .enumerate()
        .map(|(i, row)| math::log_sum_exp(row) - row[i]);
    math::mean(&losses.collect::<Vec<_>>())
}

fn transpose(matrix_kk: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let column = |j: usize| matrix_kk.iter().map(|row| row[j]).collect();
    (0..matrix_kk.len()).map(column).collect()
}
