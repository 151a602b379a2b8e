//! Dropout whose mask is a function of names alone: a key for each row, a stream, and the column.
//!
//! # Source
//! Srivastava et al., JMLR 15 (2014), section 4, scaled in training as `torch.nn.Dropout` does; the
//! bits of an entry are those of `SplitMix64` (Steele, Lea and Flood, OOPSLA 2014, figure 17).

use crate::cuda;
use crate::device::Device;
use crate::matrix::{Matrix, Mode};
use crate::vector::vectorised;

/// Which entries are dropped.
#[derive(Clone, Copy, Debug)]
pub struct Mask<'a> {
    /// Names of the rows: rows of equal keys drop the same columns.
    pub keys_n: &'a [u64],
    /// Masks of different streams are unrelated.
    pub stream: u64,
    /// Share of the entries that are dropped, in `[0, 1)`.
    pub probability: f32,
}

/// `y = mask · x / (1 − probability)`, written or added; its own backward, with gradients for `x`
/// and `y`.
pub fn apply(x_nd: &Matrix, mask: &Mask, y_nd: &mut Matrix, mode: Mode) {
    let (rows, width) = (x_nd.rows(), x_nd.columns());
    y_nd.expect_shape("y", rows, width);
    assert_eq!(mask.keys_n.len(), rows, "a key for every row");
    assert!(
        (0.0..1.0).contains(&mask.probability),
        "a probability below 1"
    );
    let limit = (f64::from(mask.probability) * 2.0_f64.powi(32)) as u32;
    let keep = 1.0 / (1.0 - mask.probability);
    let cpu = match x_nd.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            return cuda::elements::dropout(card, x_nd, mask, (limit, keep), y_nd, mode);
        }
    };
    let part = cpu.threads().part_rows(rows, 8 * width);
    let inputs = x_nd
        .values()
        .chunks(part * width)
        .zip(mask.keys_n.chunks(part));
    let outputs = y_nd.values_mut().chunks_mut(part * width);
    cpu.threads()
        .for_each(inputs.zip(outputs), |((x, keys), y)| {
            apply_rows(x, keys, mask.stream, limit, keep, y, mode);
        });
}

/// Distance between the states of `SplitMix64`.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

#[allow(clippy::inline_always)]
#[inline(always)]
fn mix(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

vectorised! {
    fn apply_rows(
        x: &[f32],
        keys: &[u64],
        stream: u64,
        limit: u32,
        keep: f32,
        y: &mut [f32],
        mode: Mode,
    ) {
        let width = x.len() / keys.len();
        for ((x, y), key) in x.chunks(width).zip(y.chunks_mut(width)).zip(keys) {
            let start = mix(key ^ mix(stream.wrapping_mul(STEP)));
            for (column, (x, y)) in x.iter().zip(y).enumerate() {
                let bits = mix(start.wrapping_add((column as u64 + 1).wrapping_mul(STEP)));
                let factor = if (bits >> 32) as u32 >= limit { keep } else { 0.0 };
                let old = if mode == Mode::Add { *y } else { 0.0 };
                *y = old + x * factor;
            }
        }
    }
}
