//! A hand-written gradient held against finite differences.

/// The worst disagreement found by [`check_gradient`].
#[derive(Clone, Copy, Debug)]
pub struct GradientCheck {
    /// Largest `|analytic − numeric| / max(1, |numeric|)` over the coordinates.
    pub error: f64,
    /// The coordinate where it was found.
    pub coordinate: usize,
    /// The gradient given there.
    pub analytic: f64,
    /// The difference quotient there.
    pub numeric: f64,
}

/// Compares `gradient` with five-point central differences of `f` at `x`.
///
/// The step is `1e-3 · max(1, |x|)`; its truncation error is of fourth order, so a smooth function
/// of moderate scale agrees to about 1e-9. Cost: `4 · length` evaluations.
///
/// # Panics
/// If `gradient` and `x` differ in length, or are empty.
pub fn check_gradient(f: impl Fn(&[f64]) -> f64, x: &[f64], gradient: &[f64]) -> GradientCheck {
    assert_eq!(
        x.len(),
        gradient.len(),
        "a gradient has one entry for each coordinate"
    );
    let mut point = x.to_vec();
    let compare = |coordinate: usize| {
        let step = 1e-3 * x[coordinate].abs().max(1.0);
        let mut at = |offset: f64| {
            point[coordinate] = x[coordinate] + offset * step;
            let value = f(&point);
            point[coordinate] = x[coordinate];
            value
        };
        let numeric = (8.0 * (at(1.0) - at(-1.0)) - (at(2.0) - at(-2.0))) / (12.0 * step);
        let analytic = gradient[coordinate];
        let error = (analytic - numeric).abs() / numeric.abs().max(1.0);
        // A NaN is the worst error of all, but would lose every comparison.
        let error = if error.is_nan() { f64::INFINITY } else { error };
        GradientCheck {
            error,
            coordinate,
            analytic,
            numeric,
        }
    };
    (0..x.len())
        .map(compare)
        .max_by(|a, b| a.error.total_cmp(&b.error))
        .expect("a function of no coordinates has no gradient to check")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_gradient_passes_and_a_flipped_sign_is_named() {
        let f = |x: &[f64]| x[0].sin() * x[1].exp();
        let x = [0.3_f64, -0.7];
        let right = [x[0].cos() * x[1].exp(), x[0].sin() * x[1].exp()];
        assert!(check_gradient(f, &x, &right).error < 1e-10);
        let wrong = check_gradient(f, &x, &[right[0], -right[1]]);
        assert!(wrong.coordinate == 1 && wrong.error > 0.1, "{wrong:?}");
    }
}
