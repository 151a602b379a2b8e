//! Hashed inputs, fixtures, and comparisons.

use std::sync::OnceLock;

use kernel::{CudaOptions, Device, Matrix, Precision};
use serde_json::Value;

/// The variable of the environment that names the device under test: `cuda` for a card.
pub(crate) const DEVICE: &str = "ENIGMA_TEST_DEVICE";

/// The device under test: the processor, or else the first card, with products in float32.
pub(crate) fn device() -> Device {
    static CARD: OnceLock<Device> = OnceLock::new();
    if !is_card() {
        return Device::cpu(Some(2));
    }
    let card = || Device::cuda(EXACT).expect("the card that the environment asks for");
    CARD.get_or_init(card).clone()
}

/// Whether a card is under test.
pub(crate) fn is_card() -> bool {
    std::env::var(DEVICE).is_ok_and(|device| device == "cuda")
}

/// The first card, exact.
pub(crate) const EXACT: CudaOptions = CudaOptions {
    ordinal: 0,
    precision: Precision::Float32,
    cache: None,
};

/// A value in `[-1, 1)`, as `uniform` of `scripts/reference/torch_kernels.py`.
pub(crate) fn uniform(seed: u64, index: usize) -> f32 {
    let mut z = (seed << 32)
        .wrapping_add(index as u64)
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// A matrix of hashed values in `[-scale, scale)`.
pub(crate) fn hashed(seed: u64, rows: usize, columns: usize, scale: f32) -> Matrix {
    hashed_on(&device(), seed, rows, columns, scale)
}

/// As [`hashed`], on a given device.
pub(crate) fn hashed_on(
    device: &Device,
    seed: u64,
    rows: usize,
    columns: usize,
    scale: f32,
) -> Matrix {
    device.matrix(
        rows,
        columns,
        (0..rows * columns)
            .map(|i| uniform(seed, i) * scale)
            .collect(),
    )
}

/// The values of a matrix in `f64`.
pub(crate) fn wide(matrix: &Matrix) -> Vec<f64> {
    matrix.to_vec().into_iter().map(f64::from).collect()
}

/// One named case of a fixture.
pub(crate) struct Case {
    pub(crate) name: String,
    fields: Value,
}

/// The cases of a fixture.
pub(crate) fn cases(json: &str) -> Vec<Case> {
    let Value::Object(cases) = serde_json::from_str(json).expect("a fixture is JSON") else {
        panic!("a fixture is an object of cases");
    };
    cases
        .into_iter()
        .map(|(name, fields)| Case { name, fields })
        .collect()
}

impl Case {
    /// A field's numbers.
    pub(crate) fn values(&self, field: &str) -> Vec<f64> {
        let values = self.fields[field].as_array();
        let values = values.unwrap_or_else(|| panic!("{} has no {field}", self.name));
        values
            .iter()
            .map(|value| value.as_f64().expect("a field is a list of numbers"))
            .collect()
    }

    /// A field of counts.
    pub(crate) fn counts<const N: usize>(&self, field: &str) -> [usize; N] {
        let counts: Vec<usize> = self.values(field).into_iter().map(|x| x as usize).collect();
        counts.try_into().expect("a field of that many counts")
    }

    /// Asserts that a matrix equals a field, within `tolerance` of the field's largest entry.
    pub(crate) fn expect(&self, field: &str, found: &Matrix, tolerance: f64) {
        let context = format!("{}: {field}", self.name);
        assert_close(&context, &wide(found), &self.values(field), tolerance);
    }
}

/// Asserts equality within `tolerance` of the largest expected entry.
#[track_caller]
pub(crate) fn assert_close(context: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{context}: number of entries");
    let largest = expected
        .iter()
        .fold(1e-30_f64, |largest, x| largest.max(x.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / largest;
        assert!(
            error <= tolerance,
            "{context}[{index}] is {found}, expected {expected} within {tolerance} of {largest}"
        );
    }
}

/// Asserts that a gradient agrees with central differences of an `f64` function along a few
/// hashed directions, within `tolerance` of the length of the gradient.
#[track_caller]
pub(crate) fn assert_gradient(
    context: &str,
    function: impl Fn(&[f64]) -> f64,
    at: &Matrix,
    gradient: &Matrix,
    tolerance: f64,
) {
    const STEP: f64 = 1e-5;
    let (at, gradient) = (wide(at), wide(gradient));
    let length = gradient.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-3);
    for seed in 900..904 {
        let direction: Vec<f64> = (0..at.len()).map(|i| f64::from(uniform(seed, i))).collect();
        let moved = |by: f64| {
            at.iter()
                .zip(&direction)
                .map(|(x, d)| x + by * d)
                .collect::<Vec<_>>()
        };
        let slope = (function(&moved(STEP)) - function(&moved(-STEP))) / (2.0 * STEP);
        let found: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
        let error = (found - slope).abs() / length;
        assert!(
            error <= tolerance,
            "{context}: slope {found}, by differences {slope}"
        );
    }
}

/// `Σ values · weights`.
pub(crate) fn weigh(values: &[f64], weights: &Matrix) -> f64 {
    values
        .iter()
        .zip(weights.to_vec())
        .map(|(value, weight)| value * f64::from(weight))
        .sum()
}
