//! Normal numbers from uniform bits, for random weights.

use std::f64::consts::{LN_2, SQRT_2, TAU};

use crate::vector::vectorised;

/// Coefficients of `ln m = 2 s (1 + s² / 3 + s⁴ / 5 + …)` with `s = (m − 1) / (m + 1)`; for `m`
/// between `√½` and `√2` the first term left out is below 4e-14 of the sum.
const LOGARITHM: [f64; 7] = inverses(2.0, 1.0, 0.0, 1.0);
/// Each term of a sine and of a cosine over `−x²` times the one before; between `−π/4` and `π/4`
/// the first one left out is below 2e-15.
const SINE: [f64; 7] = inverses(2.0, 0.0, 2.0, 1.0);
const COSINE: [f64; 7] = inverses(2.0, -1.0, 2.0, 0.0);

/// `1 / ((a n + b) (c n + d))` for `n` from 1 on.
const fn inverses(a: f64, b: f64, c: f64, d: f64) -> [f64; 7] {
    let mut inverses = [0.0; 7];
    let mut at = 0;
    while at < inverses.len() {
        let n = (at + 1) as f64;
        inverses[at] = 1.0 / ((a * n + b) * (c * n + d));
        at += 1;
    }
    inverses
}

/// `values[2i]` and `values[2i + 1]` are two independent normal numbers of mean 0, made of the
/// uniform bits `bits[i]`: the first word's upper 53 bits are a radius, the second's an angle.
/// Values may end before the bits do; every processor gives the same.
///
/// # Source
/// Box and Muller, "A note on the generation of random normal deviates", 1958.
pub fn from_bits(bits: &[[u64; 2]], deviation: f64, values: &mut [f32]) {
    let pairs = values.len().div_ceil(2);
    assert!(pairs <= bits.len(), "{pairs} pairs of {} draws", bits.len());
    fill(bits, deviation, values);
}

/// Pairs that are made side by side.
const LANES: usize = 8;

vectorised! {
    fn fill(bits: &[[u64; 2]], deviation: f64, values: &mut [f32]) {
        for (values, bits) in values.chunks_mut(2 * LANES).zip(bits.chunks(LANES)) {
            let mut words = [[0; LANES]; 2];
            for (lane, [radius, angle]) in bits.iter().enumerate() {
                (words[0][lane], words[1][lane]) = (*radius, *angle);
            }
            let (mut radii, mut cosines, mut sines) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
            for lane in 0..LANES {
                radii[lane] = deviation * (-2.0 * ln(1.0 - unit(words[0][lane]))).sqrt();
            }
            for lane in 0..LANES {
                let [cosine, sine] = turn(unit(words[1][lane]));
                cosines[lane] = cosine;
                sines[lane] = sine;
            }
            let mut pairs = [0.0; 2 * LANES];
            for lane in 0..LANES {
                pairs[2 * lane] = (radii[lane] * cosines[lane]) as f32;
                pairs[2 * lane + 1] = (radii[lane] * sines[lane]) as f32;
            }
            values.copy_from_slice(&pairs[..values.len()]);
        }
    }
}

/// The upper 53 bits as a number in `[0, 1)`.
#[allow(clippy::inline_always)]
#[inline(always)]
fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// `ln x` for normal positive `x`.
#[allow(clippy::inline_always)]
#[inline(always)]
fn ln(x: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    const SHIFTER: f64 = 4_503_599_627_370_496.0;
    let bits = x.to_bits();
    let m = f64::from_bits(bits & MANTISSA | 1.0_f64.to_bits());
    // The exponent in the lowest bits of 2⁵², where it is a number.
    let power = f64::from_bits((bits >> 52) | SHIFTER.to_bits()) - (SHIFTER + 1023.0);
    let (m, power) = if m > SQRT_2 {
        (0.5 * m, power + 1.0)
    } else {
        (m, power)
    };
    let s = (m - 1.0) / (m + 1.0);
    let squared = s * s;
    let mut sum = 0.0;
    for inverse in LOGARITHM.iter().rev() {
        sum = (sum + inverse) * squared;
    }
    power * LN_2 + 2.0 * (s + s * sum)
}

/// Cosine and sine of `2π x`, for `x` in `[0, 1)`.
#[allow(clippy::inline_always)]
#[inline(always)]
fn turn(x: f64) -> [f64; 2] {
    /// 1.5 · 2⁵²: added to a small number, it leaves that number rounded in the lowest bits.
    const ROUNDER: f64 = 6_755_399_441_055_744.0;
    let shifted = 4.0 * x + ROUNDER;
    let quarter = shifted.to_bits();
    let angle = TAU * (x - 0.25 * (shifted - ROUNDER));
    let squared = angle * angle;
    let (mut sine, mut cosine) = (1.0, 1.0);
    for (of_sine, of_cosine) in SINE.iter().zip(&COSINE).rev() {
        sine = 1.0 - sine * squared * of_sine;
        cosine = 1.0 - cosine * squared * of_cosine;
    }
    sine *= angle;
    let is_odd = quarter & 1 == 1;
    let (x, y) = (
        if is_odd { sine } else { cosine },
        if is_odd { cosine } else { sine },
    );
    // The second bit of the quarter turns both signs, an odd quarter the cosine's.
    let (x_sign, y_sign) = ((quarter ^ quarter << 1) & 2, quarter & 2);
    [
        f64::from_bits(x.to_bits() ^ x_sign << 62),
        f64::from_bits(y.to_bits() ^ y_sign << 62),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits that the multiplication of a golden section spreads evenly.
    fn bits(count: u64) -> Vec<[u64; 2]> {
        let word = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = |i: u64| word((word(i) ^ word(i) >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9));
        (1..=count)
            .map(|i| [mixed(2 * i), mixed(2 * i + 1)])
            .collect()
    }

    #[test]
    fn logarithm_and_turn_are_those_of_the_standard_library() {
        for [a, b] in bits(100_000) {
            let (radius, angle) = (1.0 - unit(a), unit(b));
            let error = ln(radius) - radius.ln();
            assert!(
                error.abs() <= 1e-12 * radius.ln().abs(),
                "ln {radius}: {error}"
            );
            let (sine, cosine) = (TAU * angle).sin_cos();
            let [x, y] = turn(angle);
            assert!(
                (x - cosine).abs().max((y - sine).abs()) < 1e-13,
                "turn {angle}"
            );
        }
        for ends in [[0, 0], [u64::MAX; 2], [0, 1 << 63]] {
            let mut pair = [0.0; 2];
            from_bits(&[ends], 1.0, &mut pair);
            assert!(
                pair.iter().all(|x| x.abs() < 8.6),
                "{ends:?} gives {pair:?}"
            );
        }
    }

    #[test]
    fn every_vector_width_gives_the_same_bits() {
        let bits = bits(999);
        let mut values = vec![0.0; 2 * bits.len()];
        from_bits(&bits, 0.02, &mut values);
        let (pairs, _) = values.as_chunks::<2>();
        for ([radius, angle], pair) in bits.iter().zip(pairs) {
            let radius = 0.02 * (-2.0 * ln(1.0 - unit(*radius))).sqrt();
            let plain = turn(unit(*angle)).map(|x| ((radius * x) as f32).to_bits());
            assert_eq!(pair.map(f32::to_bits), plain);
        }
    }

    #[test]
    fn moments_and_tails_are_those_of_the_normal_law() {
        let bits = bits(500_000);
        let mut values = vec![0.0; 2 * bits.len()];
        from_bits(&bits, 1.0, &mut values);
        let mean = |f: &dyn Fn(f64) -> f64| {
            values.iter().map(|x| f(f64::from(*x))).sum::<f64>() / values.len() as f64
        };
        // Five standard errors of a million draws.
        let cases: [(_, _, _, &dyn Fn(f64) -> f64); 6] = [
            ("mean", 0.0, 5e-3, &|x| x),
            ("second moment", 1.0, 7.1e-3, &|x| x * x),
            ("third moment", 0.0, 1.94e-2, &|x| x * x * x),
            ("fourth moment", 3.0, 4.9e-2, &|x| x.powi(4)),
            ("beyond 1", 0.317_311, 2.4e-3, &|x| f64::from(x.abs() > 1.0)),
            ("beyond 3", 0.002_700, 2.6e-4, &|x| f64::from(x.abs() > 3.0)),
        ];
        for (name, expected, tolerance, f) in cases {
            let found = mean(f);
            assert!(
                (found - expected).abs() < tolerance,
                "{name}: {found}, {expected}"
            );
        }
    }

    #[test]
    fn an_odd_number_of_values_ends_within_a_pair() {
        let bits = bits(5);
        let (mut all, mut some) = ([0.0; 10], [0.0; 7]);
        from_bits(&bits, 0.5, &mut all);
        from_bits(&bits, 0.5, &mut some);
        assert_eq!(some.map(f32::to_bits)[..], all.map(f32::to_bits)[..7]);
    }
}
