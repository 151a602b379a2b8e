//! The estimator k3 held against the divergence it estimates.

use information::k3;
use math::check_gradient;

#[test]
fn the_mean_of_k3_over_the_policys_tokens_is_the_divergence() {
    let (policy, reference) = ([0.7_f64, 0.2, 0.1], [0.5_f64, 0.25, 0.25]);
    let pairs = || policy.iter().zip(&reference);
    let mean: f64 = pairs().map(|(p, q)| p * k3(p.ln(), q.ln()).0).sum();
    // The specification's KL of these two (its section 4).
    assert!((mean - 0.099_272_782_2).abs() < 1e-10, "{mean}");
}

#[test]
fn the_derivative_of_k3_is_that_of_its_value() {
    for difference in [-3.0, -0.1, 0.0, 0.1, 2.0] {
        let (policy, reference) = (-1.2, -1.2 + difference);
        let check = check_gradient(
            |x| k3(x[0], reference).0,
            &[policy],
            &[k3(policy, reference).1],
        );
        assert!(check.error < 1e-9, "{difference}: {check:?}");
    }
}

#[test]
fn k3_is_half_the_square_of_a_small_difference_and_never_negative() {
    for difference in [1e-2, 1e-4, 1e-6, -1e-6, -1e-4, -1e-2] {
        let (value, slope) = k3(0.0, difference);
        let expected = 0.5 * difference * difference * (1.0 + difference / 3.0);
        assert!(
            (value / expected - 1.0).abs() < 1e-4,
            "{difference}: {value}"
        );
        assert!(slope * difference < 0.0, "{difference}: {slope}");
    }
    assert!(k3(-2.0, -2.0).0 == 0.0 && k3(-2.0, -2.0).1 == 0.0);
}
