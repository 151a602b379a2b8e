//! Reductions that neither overflow nor lose small terms.

/// Sum with Neumaier's compensation: the error does not grow with the length.
pub fn sum(values: &[f64]) -> f64 {
    let (mut total, mut lost) = (0.0_f64, 0.0_f64);
    for &value in values {
        let next = total + value;
        lost += if total.abs() >= value.abs() {
            (total - next) + value
        } else {
            (value - next) + total
        };
        total = next;
    }
    // An infinite total makes the compensation NaN; the total alone is then the answer.
    if total.is_finite() {
        total + lost
    } else {
        total
    }
}

/// Arithmetic mean; NaN for no values.
pub fn mean(values: &[f64]) -> f64 {
    sum(values) / values.len() as f64
}

/// Variance with divisor `length − ddof`; NaN where that is not positive.
pub fn variance(values: &[f64], ddof: usize) -> f64 {
    if values.len() <= ddof {
        return f64::NAN;
    }
    let mean = mean(values);
    let squares: Vec<f64> = values.iter().map(|v| (v - mean) * (v - mean)).collect();
    sum(&squares) / (values.len() - ddof) as f64
}

/// Inner product of two vectors of one length.
///
/// # Panics
/// If the lengths differ.
pub fn dot(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(
        left.len(),
        right.len(),
        "dot product of vectors of different lengths"
    );
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

/// Euclidean norm.
pub fn norm(values: &[f64]) -> f64 {
    dot(values, values).sqrt()
}

/// `ln Σ exp(value)`, without overflow; −∞ for no values.
pub fn log_sum_exp(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !largest.is_finite() {
        return largest;
    }
    largest + values.iter().map(|v| (v - largest).exp()).sum::<f64>().ln()
}

/// `values − ln Σ exp(values)`: the log-probabilities of logits, in nats.
pub fn log_softmax(values: &[f64]) -> Vec<f64> {
    let total = log_sum_exp(values);
    values.iter().map(|v| v - total).collect()
}

/// The probabilities of logits.
pub fn softmax(values: &[f64]) -> Vec<f64> {
    log_softmax(values).into_iter().map(f64::exp).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_term_between_large_ones_survives_the_sum() {
        let found = sum(&[1.0, 1e100, 1.0, -1e100]);
        assert!((found - 2.0).abs() < f64::EPSILON, "{found}");
    }

    #[test]
    fn log_sum_exp_is_shift_equivariant_far_outside_the_range_of_exp() {
        let near = log_sum_exp(&[0.0, 1.0, 2.0]);
        for shift in [-1e4, 1e4] {
            let far = log_sum_exp(&[shift, shift + 1.0, shift + 2.0]);
            assert!((far - shift - near).abs() < 1e-9, "{far}");
        }
        assert!(log_sum_exp(&[]).is_infinite());
        assert!(log_sum_exp(&[f64::NEG_INFINITY; 2]).is_infinite());
    }

    #[test]
    fn variance_of_two_rewards_matches_both_conventions() {
        assert!((variance(&[0.3, 0.9], 0) - 0.09).abs() < 1e-15);
        assert!((variance(&[0.3, 0.9], 1) - 0.18).abs() < 1e-15);
        assert!(variance(&[1.0], 1).is_nan());
    }
}
