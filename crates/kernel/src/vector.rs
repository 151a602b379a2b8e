//! Loops over `f32` that the compiler turns into the widest vectors the processor has.
//!
//! A function inside [`vectorised!`] is compiled three times on `x86_64`: for AVX-512, for AVX2
//! with FMA, and for the baseline; the processor decides at run time. Sums run over a fixed
//! number of lanes, so every version gives the same bits.

#[cfg(target_arch = "x86_64")]
use std::sync::OnceLock;

/// Lanes of a sum: two AVX-512 registers.
const LANES: usize = 32;

/// Defines functions that run in the widest vectors the processor has.
macro_rules! vectorised {
    ($(
        $(#[$meta:meta])*
        $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)?
        $body:block
    )*) => {$(
        $(#[$meta])*
        $visibility fn $name($($argument: $type),*) $(-> $output)? {
            // Inlined so that its loops are compiled with the caller's vector width.
            #[allow(clippy::inline_always)]
            #[inline(always)]
            fn plain($($argument: $type),*) $(-> $output)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512($($argument: $type),*) $(-> $output)? {
                    plain($($argument),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $type),*) $(-> $output)? {
                    plain($($argument),*)
                }
                match $crate::vector::Width::of_processor() {
                    // SAFETY: the processor has every feature the function is compiled for.
                    $crate::vector::Width::Avx512 => return unsafe { avx512($($argument),*) },
                    // SAFETY: as above.
                    $crate::vector::Width::Avx2 => return unsafe { avx2($($argument),*) },
                    $crate::vector::Width::Baseline => {}
                }
            }
            plain($($argument),*)
        }
    )*};
}
pub(crate) use vectorised;

/// The vectors a processor has, fewest first.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Width {
    Baseline,
    Avx2,
    Avx512,
}

#[cfg(target_arch = "x86_64")]
impl Width {
    /// What the processor has, or less where `ENIGMA_CPU_CAPABILITY` says so.
    #[inline]
    pub(crate) fn of_processor() -> Width {
        static WIDTH: OnceLock<Width> = OnceLock::new();
        *WIDTH.get_or_init(|| Width::detected().min(Width::allowed()))
    }

    /// Of `default`, `avx2` and `avx512` (as PyTorch's `ATEN_CPU_CAPABILITY`); anything else allows
    /// all.
    fn allowed() -> Width {
        match std::env::var("ENIGMA_CPU_CAPABILITY").as_deref() {
            Ok("default") => Width::Baseline,
            Ok("avx2") => Width::Avx2,
            _ => Width::Avx512,
        }
    }

    fn detected() -> Width {
        let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw");
        match (fma, avx512) {
            (true, true) => Width::Avx512,
            (true, false) => Width::Avx2,
            (false, _) => Width::Baseline,
        }
    }
}

/// `eˣ` to 2 units in the last place for `x` in `[-87.3, 88.3]`; 0 below, infinite above, NaN
/// for NaN.
///
/// # Source
/// Range reduction and minimax polynomial of Cephes' `expf` (Moshier, netlib, `single/expf.c`).
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const LOWEST: f32 = -87.336_54;
    const HIGHEST: f32 = 88.376_26;
    /// 1.5 · 2²³: added to a small number, it leaves that number rounded in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUNDER);
    let power = shifted - ROUNDER;
    let r = power.mul_add(-LN_2_LOW, power.mul_add(-LN_2_HIGH, x));
    let mut p = 1.987_569_1e-4_f32;
    p = p.mul_add(r, 1.398_199_9e-3);
    p = p.mul_add(r, 8.333_452e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_5e-1);
    p = p.mul_add(r, 0.5);
    p = p.mul_add(r * r, r) + 1.0;
    // The lowest bits of `shifted` are the power of two, here moved to the exponent's place.
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    let inside = p * scale;
    let below = if x < LOWEST { 0.0 } else { inside };
    if x > HIGHEST { f32::INFINITY } else { below }
}

/// `1 / (1 + e⁻ˣ)`.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `tanh x` to 4 units in the last place; ±1 far out, NaN for NaN.
///
/// # Source
/// Cephes' `tanhf` (Moshier, netlib, `single/tanhf.c`): a polynomial near 0, where the difference
/// of the other branch would cancel.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    let squared = x * x;
    let mut p = -5.704_988_7e-3_f32;
    p = p.mul_add(squared, 2.063_909e-2);
    p = p.mul_add(squared, -5.373_971_6e-2);
    p = p.mul_add(squared, 1.333_144_2e-1);
    p = p.mul_add(squared, -3.333_328e-1);
    let near = (p * squared).mul_add(x, x);
    let size = x.abs();
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

/// `Σ aᵢ bᵢ`.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] = a[lane].mul_add(b[lane], sums[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    fold(sums, |a, b| a + b) + rest
}

/// `Σ xᵢ`.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for x in chunks {
        for lane in 0..LANES {
            sums[lane] += x[lane];
        }
    }
    fold(sums, |a, b| a + b) + rest.iter().sum::<f32>()
}

/// `Σ e^(xᵢ scale − shift)`.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn sum_exp(x: &[f32], scale: f32, shift: f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for x in chunks {
        for lane in 0..LANES {
            sums[lane] += exp(x[lane] * scale - shift);
        }
    }
    let rest: f32 = rest.iter().map(|x| exp(x * scale - shift)).sum();
    fold(sums, |a, b| a + b) + rest
}

/// Replaces every entry by `e^(xᵢ − shift)` and gives their sum.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn exp_and_sum(x: &mut [f32], shift: f32) -> f32 {
    let (chunks, rest) = x.as_chunks_mut::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for x in chunks {
        for lane in 0..LANES {
            x[lane] = exp(x[lane] - shift);
            sums[lane] += x[lane];
        }
    }
    let mut total = 0.0;
    for x in rest {
        *x = exp(*x - shift);
        total += *x;
    }
    fold(sums, |a, b| a + b) + total
}

/// The greatest entry; NaN entries are passed over, and no entries give −∞.
#[allow(clippy::inline_always)]
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let greater = |a: f32, b: f32| if b > a { b } else { a };
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut greatest = [f32::NEG_INFINITY; LANES];
    for x in chunks {
        for lane in 0..LANES {
            greatest[lane] = greater(greatest[lane], x[lane]);
        }
    }
    rest.iter().copied().fold(fold(greatest, greater), greater)
}

#[allow(clippy::inline_always)]
#[inline(always)]
fn fold(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = combine(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    vectorised! {
        fn exp_of_all(x: &mut [f32]) {
            for x in x {
                *x = exp(*x);
            }
        }
        fn tanh_of_all(x: &mut [f32]) {
            for x in x {
                *x = tanh(*x);
            }
        }
        fn sum_of_all(x: &[f32]) -> f32 {
            sum(x)
        }
    }

    #[test]
    fn exp_is_within_two_units_of_the_last_place_over_its_range() {
        let inputs: Vec<f32> = (0..1_756_000).map(|i| i as f32 * 1e-4 - 87.3).collect();
        let mut outputs = inputs.clone();
        exp_of_all(&mut outputs);
        for (x, found) in inputs.iter().zip(&outputs) {
            let expected = f64::from(*x).exp();
            let unit = f64::from(f32::from_bits((expected as f32).to_bits() + 1))
                - f64::from(expected as f32);
            let error = (f64::from(*found) - expected).abs() / unit;
            assert!(error <= 2.0, "exp({x}) is {found}, {error} units off");
        }
    }

    #[test]
    fn exp_vanishes_below_overflows_above_and_keeps_nan() {
        let mut x = [
            f32::NEG_INFINITY,
            -1e9,
            -88.0,
            0.0,
            89.0,
            1e9,
            f32::INFINITY,
            f32::NAN,
        ];
        exp_of_all(&mut x);
        let infinite = f32::INFINITY;
        assert_eq!(x[..7], [0.0, 0.0, 0.0, 1.0, infinite, infinite, infinite]);
        assert!(x[7].is_nan());
    }

    #[test]
    fn tanh_is_within_four_units_of_the_last_place_and_ends_at_one() {
        let inputs: Vec<f32> = (-400_000..400_000).map(|i| i as f32 * 2.7e-5).collect();
        let mut outputs = inputs.clone();
        tanh_of_all(&mut outputs);
        for (x, found) in inputs.iter().zip(&outputs) {
            let expected = f64::from(*x).tanh();
            let unit = f64::from(f32::from_bits((expected.abs() as f32).to_bits() + 1))
                - f64::from(expected.abs() as f32);
            let error = (f64::from(*found) - expected).abs() / unit;
            assert!(error <= 4.0, "tanh({x}) is {found}, {error} units off");
        }
        let mut ends = [f32::NEG_INFINITY, -1e9, 1e9, f32::INFINITY, f32::NAN];
        tanh_of_all(&mut ends);
        assert_eq!(ends[..4], [-1.0, -1.0, 1.0, 1.0]);
        assert!(ends[4].is_nan());
    }

    #[test]
    fn every_vector_width_gives_the_same_bits() {
        let mut x: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 20.0).collect();
        let mut bent = x.clone();
        tanh_of_all(&mut bent);
        assert_eq!(bent, x.iter().map(|x| tanh(*x)).collect::<Vec<_>>());
        let plain: Vec<f32> = x.iter().map(|x| exp(*x)).collect();
        exp_of_all(&mut x);
        assert_eq!(x, plain);
        assert_eq!(sum_of_all(&x).to_bits(), sum(&plain).to_bits());
    }

    #[test]
    fn reductions_cover_the_tail_after_the_last_full_chunk() {
        for length in [0, 1, 31, 32, 33, 77] {
            let x: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let total = (0..length).sum::<usize>() as f32;
            let squares = (0..length).map(|i| i * i).sum::<usize>() as f32;
            let greatest = x.last().copied().unwrap_or(f32::NEG_INFINITY);
            assert_eq!((sum(&x), dot(&x, &x), max(&x)), (total, squares, greatest));
        }
    }
}
