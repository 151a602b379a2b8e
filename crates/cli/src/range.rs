//! Ranges of the numbers that recipes and arguments give.

use std::fmt::Display;

/// A number that its key or argument does not allow.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{key} is {found}; expected {expected}")]
pub(crate) struct OutOfRange {
    key: &'static str,
    found: String,
    expected: &'static str,
}

/// Passes where `holds`; otherwise says what was found at `key` and what was expected.
///
/// # Errors
/// [`OutOfRange`].
pub(crate) fn require(
    holds: bool,
    key: &'static str,
    found: impl Display,
    expected: &'static str,
) -> Result<(), OutOfRange> {
    if holds {
        return Ok(());
    }
    Err(OutOfRange {
        key,
        found: found.to_string(),
        expected,
    })
}

/// A finite number above 0.
///
/// # Errors
/// [`OutOfRange`].
pub(crate) fn positive(key: &'static str, found: f64) -> Result<(), OutOfRange> {
    require(
        found.is_finite() && found > 0.0,
        key,
        found,
        "a number above 0",
    )
}

/// A temperature to learn at: logits divided by less than this overflow float32.
///
/// # Errors
/// [`OutOfRange`].
pub(crate) fn temperature(key: &'static str, found: f64) -> Result<(), OutOfRange> {
    positive(key, found)?;
    require(found >= 1e-6, key, found, "1e-6 or more")
}

/// A learning rate: with more than this, one update takes float32 weights out of their range, and
/// no good ones are left.
///
/// # Errors
/// [`OutOfRange`].
pub(crate) fn learning_rate(key: &'static str, found: f64) -> Result<(), OutOfRange> {
    positive(key, found)?;
    require(found <= 1e30, key, found, "at most 1e30")
}

/// A finite number, 0 or above.
///
/// # Errors
/// [`OutOfRange`].
pub(crate) fn not_negative(key: &'static str, found: f64) -> Result<(), OutOfRange> {
    require(
        found.is_finite() && found >= 0.0,
        key,
        found,
        "0 or a number above",
    )
}

/// A count of 1 or more, and so few that the product of two can be counted.
///
/// # Errors
/// [`OutOfRange`].
pub(crate) fn some(key: &'static str, found: usize) -> Result<(), OutOfRange> {
    require(found > 0, key, found, "1 or more")?;
    require(found < 1 << 32, key, found, "below 4294967296")
}
