//! The linear map with weights and inputs rounded to `bf16`, for decoding.
//!
//! A weight is laid out in panels: the columns that one tile needs lie side by side, so that it is
//! read once, front to back. Against `f32` that halves what comes from memory, and where the
//! processor multiplies pairs, the arithmetic too. Sums are `f32`.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, __m512bh, _mm512_dpbf16_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_storeu_ps,
};

use crate::cuda;
use crate::device::{Cpu, Device};
use crate::matrix::{Matrix, Mode};
use crate::product::{Target, View};
use crate::threads::Threads;
#[cfg(target_arch = "x86_64")]
use crate::vector::Width;
use crate::vector::vectorised;

/// Columns of one panel: two of the widest registers.
const PANEL: usize = 32;
/// Multiplications of one part that are worth a thread.
const WORK_MIN: usize = 1 << 16;
/// Pairs of a panel that go through all rows before the next ones: they stay in a core's cache.
#[cfg(target_arch = "x86_64")]
const DEPTH: usize = 128;

/// A rounded copy of a weight `[in, out]`, which does not follow it.
#[derive(Clone, Debug)]
pub struct Weight {
    inputs: usize,
    outputs: usize,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    /// `[panels, in / 2, PANEL]` pairs of neighbouring inputs, the even one in the lower half; the
    /// last panel and the last pair are filled up with zeros.
    Host { cpu: Cpu, pairs: Vec<u32> },
    /// As the matrix has them.
    Card(cuda::rows::Rounded),
}

/// Rows of inputs, rounded, as pairs.
struct Inputs {
    depth: usize,
    pairs: Vec<u32>,
}

impl Weight {
    /// Rounds a weight: to nearest, ties to even.
    pub fn new(weight_io: &Matrix) -> Weight {
        let (inputs, outputs) = (weight_io.rows(), weight_io.columns());
        let cpu = match weight_io.device() {
            Device::Cpu(cpu) => cpu,
            Device::Cuda(card) => {
                let values = Values::Card(cuda::rows::Rounded::new(card, weight_io));
                return Weight {
                    inputs,
                    outputs,
                    values,
                };
            }
        };
        let panel = inputs.div_ceil(2) * PANEL;
        let mut pairs = vec![0; outputs.div_ceil(PANEL) * panel];
        let panels = pairs.chunks_mut(panel.max(1)).enumerate();
        cpu.threads().for_each(panels, |(index, panel)| {
            let columns = index * PANEL..((index + 1) * PANEL).min(outputs);
            fill(weight_io.values(), outputs, columns, panel);
        });
        Weight {
            inputs,
            outputs,
            values: Values::Host {
                cpu: cpu.clone(),
                pairs,
            },
        }
    }
}

/// `y = x W + b`, or `y += x W + b`; `x` is rounded as the weight is.
pub fn forward(
    x_ni: &Matrix,
    weight: &Weight,
    bias_1o: Option<&Matrix>,
    y_no: &mut Matrix,
    mode: Mode,
) {
    let (rows, outputs) = (x_ni.rows(), weight.outputs);
    x_ni.expect_shape("x", rows, weight.inputs);
    y_no.expect_shape("y", rows, outputs);
    if let Some(bias) = bias_1o {
        bias.expect_shape("bias", 1, outputs);
    }
    let (cpu, pairs) = match &weight.values {
        Values::Host { cpu, pairs } => (cpu, pairs),
        Values::Card(rounded) => return rounded.forward(x_ni, bias_1o, y_no, mode),
    };
    let mode = bias_1o.map_or(mode, |bias| begin(bias, y_no, mode));
    let inputs = Inputs::new(x_ni.view());
    let ranges = ranges(cpu.threads(), rows * weight.inputs, outputs);
    let parts = ranges.iter().zip(y_no.target().divide_columns(&ranges));
    cpu.threads().for_each(parts, |(columns, target)| {
        let widths = panels(columns.len());
        let targets = target.divide_columns(&widths);
        let pairs = pairs.chunks_exact((inputs.depth * PANEL).max(1));
        for (panel, mut target) in pairs.skip(columns.start / PANEL).zip(targets) {
            multiply(&inputs, panel, &mut target, mode);
        }
    });
}

/// Puts the bias where the product is to be added.
fn begin(bias_1o: &Matrix, y_no: &mut Matrix, mode: Mode) -> Mode {
    let bias = bias_1o.values();
    for y in y_no.values_mut().chunks_mut(bias.len()) {
        match mode {
            Mode::Write => y.copy_from_slice(bias),
            Mode::Add => y.iter_mut().zip(bias).for_each(|(y, b)| *y += b),
        }
    }
    Mode::Add
}

/// Ranges of so many columns, a panel each.
fn panels(columns: usize) -> Vec<Range<usize>> {
    let end = |start: usize| (start + PANEL).min(columns);
    let starts = (0..columns).step_by(PANEL);
    starts.map(|start| start..end(start)).collect()
}

/// Columns for each thread, cut at panels.
fn ranges(threads: &Threads, work_a_column: usize, outputs: usize) -> Vec<Range<usize>> {
    let panels = outputs.div_ceil(PANEL);
    let useful = threads.count().min(work_a_column * outputs / WORK_MIN);
    let parts = useful.clamp(1, panels.max(1));
    let cut = |part: usize| (panels * part / parts * PANEL).min(outputs);
    (0..parts).map(|part| cut(part)..cut(part + 1)).collect()
}

/// The nearest `bf16`, ties to even; a NaN stays one.
#[allow(clippy::inline_always)]
#[inline(always)]
fn round(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
    let quiet = bits | 0x0040_0000;
    (if x.is_nan() { quiet } else { rounded }) >> 16
}

impl Inputs {
    fn new(x: View) -> Inputs {
        let depth = x.columns().div_ceil(2);
        let mut pairs = vec![0; x.rows() * depth];
        for (row, pairs) in pairs.chunks_mut(depth.max(1)).enumerate() {
            round_row(x.row(row), pairs);
        }
        Inputs { depth, pairs }
    }
}

vectorised! {
    fn fill(weight: &[f32], outputs: usize, columns: Range<usize>, panel: &mut [u32]) {
        for (rows, panel) in weight.chunks(2 * outputs).zip(panel.chunks_mut(PANEL)) {
            let (even, odd) = rows.split_at(outputs);
            for (pair, even) in panel.iter_mut().zip(&even[columns.clone()]) {
                *pair = round(*even);
            }
            let odd = odd.get(columns.clone()).unwrap_or_default();
            for (pair, odd) in panel.iter_mut().zip(odd) {
                *pair |= round(*odd) << 16;
            }
        }
    }

    fn round_row(x: &[f32], pairs: &mut [u32]) {
        let (whole, last) = x.as_chunks::<2>();
        for (pair, [even, odd]) in pairs.iter_mut().zip(whole) {
            *pair = round(*even) | round(*odd) << 16;
        }
        if let (Some(pair), [even]) = (pairs.last_mut(), last) {
            *pair = round(*even);
        }
    }

    /// `sums += x panel` for one row, without products of pairs.
    fn add_row(x: &[u32], panel: &[u32], sums: &mut [f32]) {
        let lower = |pair: u32| f32::from_bits(pair << 16);
        let upper = |pair: u32| f32::from_bits(pair & 0xffff_0000);
        for (x, panel) in x.iter().zip(panel.chunks_exact(PANEL)) {
            let (even, odd) = (lower(*x), upper(*x));
            for (sum, w) in sums.iter_mut().zip(panel) {
                *sum = lower(*w).mul_add(even, upper(*w).mul_add(odd, *sum));
            }
        }
    }
}

/// `target = x panel`, or `target += x panel`, of at most a panel's columns.
fn multiply(x: &Inputs, panel: &[u32], target: &mut Target, mode: Mode) {
    let (rows, columns) = (target.rows(), target.columns());
    assert!(
        x.pairs.len() == rows * x.depth && panel.len() == x.depth * PANEL,
        "inputs or panel of another shape"
    );
    let mut sums = vec![0.0; rows * PANEL];
    if mode == Mode::Add {
        for (row, sums) in sums.chunks_mut(PANEL).enumerate() {
            sums[..columns].copy_from_slice(target.row(row));
        }
    }
    add(x, panel, &mut sums);
    for (row, sums) in sums.chunks(PANEL).enumerate() {
        target.row(row).copy_from_slice(&sums[..columns]);
    }
}

/// `sums += x panel`, `[rows, PANEL]`.
fn add(x: &Inputs, panel: &[u32], sums: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if Width::of_processor() == Width::Avx512 && is_x86_feature_detected!("avx512bf16") {
        // SAFETY: the processor has the features; the caller checked the shapes.
        return unsafe { add_avx512(x, panel, sums) };
    }
    for (x, sums) in x.pairs.chunks(x.depth.max(1)).zip(sums.chunks_mut(PANEL)) {
        add_row(x, panel, sums);
    }
}

/// # Safety
/// `x` has `depth` pairs for each row of `sums`, `panel` `PANEL` for each of them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn add_avx512(x: &Inputs, panel: &[u32], sums: &mut [f32]) {
    let rows = sums.len() / PANEL;
    for from in (0..x.depth).step_by(DEPTH) {
        let depth = DEPTH.min(x.depth - from);
        let mut row = 0;
        // SAFETY: rows and pairs of each tile are left.
        unsafe {
            let panel = panel.as_ptr().add(from * PANEL);
            let x_at = |row: usize| x.pairs.as_ptr().add(row * x.depth + from);
            while row + 8 <= rows {
                let y = sums.as_mut_ptr().add(row * PANEL);
                tile::<8>(x_at(row), x.depth, panel, depth, y);
                row += 8;
            }
            if row + 4 <= rows {
                let y = sums.as_mut_ptr().add(row * PANEL);
                tile::<4>(x_at(row), x.depth, panel, depth, y);
                row += 4;
            }
            while row < rows {
                let y = sums.as_mut_ptr().add(row * PANEL);
                tile::<1>(x_at(row), x.depth, panel, depth, y);
                row += 1;
            }
        }
    }
}

/// `R` rows of a panel, in registers.
///
/// # Safety
/// There are `depth` pairs at each of `R` rows of `x`, as many rows of the panel, and `R` of `y`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
#[allow(clippy::needless_range_loop)]
unsafe fn tile<const R: usize>(
    x: *const u32,
    x_row: usize,
    panel: *const u32,
    depth: usize,
    y: *mut f32,
) {
    const LANES: usize = PANEL / 2;
    // SAFETY: as the caller's; a register of pairs is one of integers.
    unsafe {
        let mut sums: [[__m512; 2]; R] = [[_mm512_setzero_ps(); 2]; R];
        for r in 0..R {
            for c in 0..2 {
                sums[r][c] = _mm512_loadu_ps(y.add(r * PANEL + c * LANES));
            }
        }
        for k in 0..depth {
            let load = |c: usize| -> __m512bh {
                std::mem::transmute(_mm512_loadu_si512(panel.add(k * PANEL + c * LANES).cast()))
            };
            let w = [load(0), load(1)];
            for r in 0..R {
                let x = (*x.add(r * x_row + k)).cast_signed();
                let x: __m512bh = std::mem::transmute(_mm512_set1_epi32(x));
                for c in 0..2 {
                    sums[r][c] = _mm512_dpbf16_ps(sums[r][c], x, w[c]);
                }
            }
        }
        for r in 0..R {
            for c in 0..2 {
                _mm512_storeu_ps(y.add(r * PANEL + c * LANES), sums[r][c]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [(usize, usize, usize); 5] = [
        (1, 1, 1),
        (3, 70, 37),
        (15, 129, 100),
        (32, 192, 576),
        (40, 301, 130),
    ];

    fn values(count: usize, by: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * by).sin()).collect()
    }

    fn rounded(x: f32) -> f64 {
        f64::from(f32::from_bits(round(x) << 16))
    }

    #[test]
    fn rounding_goes_to_the_nearest_and_from_the_middle_to_even() {
        let found = |x: f32| f32::from_bits(round(x) << 16);
        // Between 1 and 2, neighbours are 2⁻⁷ apart.
        let steps = |by: f32| round(1.0 + by / 128.0) - round(1.0);
        let rounded = [0.4, 0.5, 0.6, 1.5].map(steps);
        assert_eq!(rounded, [0, 0, 1, 2]);
        assert!(found(f32::MAX).is_infinite());
        assert!(found(f32::from_bits(0x7f80_0001)).is_nan());
    }

    #[test]
    fn the_product_is_that_of_the_rounded_operands_for_any_number_of_threads() {
        for (rows, inputs, outputs) in SHAPES {
            let (x, w) = (values(rows * inputs, 0.61), values(inputs * outputs, 0.37));
            let (bias, y) = (values(outputs, 0.11), values(rows * outputs, 0.23));
            let of = |threads, mode| {
                let device = Device::cpu(Some(threads));
                let weight = Weight::new(&device.matrix(inputs, outputs, w.clone()));
                let mut out = device.matrix(rows, outputs, y.clone());
                let bias = device.matrix(1, outputs, bias.clone());
                let x = device.matrix(rows, inputs, x.clone());
                forward(&x, &weight, Some(&bias), &mut out, mode);
                out.to_vec()
            };
            for mode in [Mode::Write, Mode::Add] {
                let found = of(1, mode);
                assert_eq!(found, of(3, mode), "three threads");
                for (at, found) in found.iter().enumerate() {
                    let (row, column) = (at / outputs, at % outputs);
                    let product =
                        |k| rounded(x[row * inputs + k]) * rounded(w[k * outputs + column]);
                    let old = if mode == Mode::Add { y[at] } else { 0.0 };
                    let sum: f64 = (0..inputs).map(product).sum();
                    let expected = sum + f64::from(bias[column]) + f64::from(old);
                    let error = (f64::from(*found) - expected).abs();
                    assert!(
                        error < 2e-5,
                        "{rows} x {inputs} x {outputs}: off by {error}"
                    );
                }
            }
        }
    }

    #[test]
    fn processors_without_products_of_pairs_give_the_same_within_rounding() {
        let (rows, inputs, outputs) = (5, 131, PANEL);
        let device = Device::cpu(Some(1));
        let weight = Weight::new(&device.matrix(inputs, outputs, values(inputs * outputs, 0.37)));
        let Values::Host { pairs, .. } = &weight.values else {
            panic!("a weight of the processor");
        };
        let x = device.matrix(rows, inputs, values(rows * inputs, 0.61));
        let x = Inputs::new(x.view());
        let mut found = vec![0.0; rows * PANEL];
        add(&x, pairs, &mut found);
        let mut plain = vec![0.0; rows * PANEL];
        for (x, sums) in x.pairs.chunks(x.depth).zip(plain.chunks_mut(PANEL)) {
            add_row(x, pairs, sums);
        }
        let difference = |(a, b): (&f32, &f32)| (a - b).abs();
        let most = found.iter().zip(&plain).map(difference).fold(0.0, f32::max);
        assert!(most < 1e-5, "{most}");
    }
}
