//! All roots of a function of one variable.

/// A root, and the side from which it is crossed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Root {
    pub(crate) at: f64,
    /// Whether the function rises through it.
    pub(crate) rises: bool,
}

/// Bisections of a bracket, down to the last bit or nearly so.
const BISECTIONS: usize = 80;
/// Golden sections of a valley, enough for its depth to be known to rounding.
const SECTIONS: usize = 60;

/// The roots of `f` in `[low, high]`, ascending: sign changes over `cells` cells, and pairs of
/// roots inside a cell where `f` comes close to 0 from above.
///
/// `f` may be infinite but not NaN.
pub(crate) fn roots(f: &dyn Fn(f64) -> f64, low: f64, high: f64, cells: usize) -> Vec<Root> {
    let at = |index: usize| low + (high - low) * index as f64 / cells as f64;
    let mut points: Vec<(f64, f64)> = (0..=cells).map(|i| (at(i), f(at(i)))).collect();
    let valleys: Vec<(f64, f64)> = points
        .windows(3)
        .filter(|w| w[1].1 > 0.0 && w[1].1 <= w[0].1 && w[1].1 <= w[2].1)
        .map(|w| valley(f, w[0].0, w[2].0))
        .filter(|&(_, depth)| depth < 0.0)
        .collect();
    points.extend(valleys);
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
        .windows(2)
        .filter(|w| (w[0].1 < 0.0) != (w[1].1 < 0.0))
        .map(|w| bisect(f, w[0], w[1].0))
        .collect()
}

fn bisect(f: &dyn Fn(f64) -> f64, (mut low, value): (f64, f64), mut high: f64) -> Root {
    let rises = value < 0.0;
    for _ in 0..BISECTIONS {
        let middle = f64::midpoint(low, high);
        if (f(middle) < 0.0) == rises {
            low = middle;
        } else {
            high = middle;
        }
    }
    Root {
        at: f64::midpoint(low, high),
        rises,
    }
}

/// The lowest point of a function that falls and then rises between the two ends, and its value.
pub(crate) fn valley(f: &dyn Fn(f64) -> f64, mut low: f64, mut high: f64) -> (f64, f64) {
    let golden = (5.0_f64.sqrt() - 1.0) / 2.0;
    for _ in 0..SECTIONS {
        let (left, right) = (high - golden * (high - low), low + golden * (high - low));
        if f(left) < f(right) {
            high = right;
        } else {
            low = left;
        }
    }
    let middle = f64::midpoint(low, high);
    (middle, f(middle))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_roots_inside_one_cell_are_both_found() {
        let f = |x: f64| (x - 0.31) * (x - 0.3) * (x + 2.0);
        let found: Vec<f64> = roots(&f, -3.0, 3.0, 10).iter().map(|r| r.at).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        for (found, expected) in found.iter().zip([-2.0, 0.3, 0.31]) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}
