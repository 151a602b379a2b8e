//! Size and soundness of a matrix.

use crate::matrix::Matrix;

/// The sum of the squares of all entries, in a fixed order of summation.
pub fn squared(matrix: &Matrix) -> f64 {
    matrix.values().iter().map(|x| f64::from(*x).powi(2)).sum()
}

/// Whether no entry is infinite or NaN.
pub fn is_finite(matrix: &Matrix) -> bool {
    matrix.values().iter().all(|x| x.is_finite())
}
