//! Rotary position embedding in the "rotate half" convention: entry `i` of a head turns with
//! entry `i + h/2`.

use std::ops::Range;

use crate::device::Device;
use crate::matrix::Matrix;

/// Cosines and sines of every position.
#[derive(Clone, Debug)]
pub struct Table {
    cosines: Matrix,
    sines: Matrix,
}

/// Which way a rotation turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// By the position's angle.
    Forward,
    /// By its negative: the gradient of the forward rotation.
    Backward,
}

impl Table {
    /// The angles `position · inverse_frequency` of positions `0..max_positions`, with cosines
    /// and sines multiplied by `attention_scale`.
    ///
    /// The angle is rounded to `f32` before its cosine is taken, as `transformers` does.
    pub fn new(
        device: &Device,
        inverse_frequencies: &[f32],
        attention_scale: f32,
        max_positions: usize,
    ) -> Table {
        let tabulate = |of: fn(f64) -> f64| {
            let entry = |position, frequency| {
                let angle: f32 = position as f32 * frequency;
                of(f64::from(angle)) as f32 * attention_scale
            };
            let row = |position| inverse_frequencies.iter().map(move |f| entry(position, *f));
            let values = (0..max_positions).flat_map(row).collect();
            device.matrix(max_positions, inverse_frequencies.len(), values)
        };
        Table { cosines: tabulate(f64::cos), sines: tabulate(f64::sin) }
    }
}

/// Turns every head of the column range in place, row `n` by the angles of `positions[n]`.
pub fn rotate(
    table: &Table,
    positions: &[u32],
    x_nc: &mut Matrix,
    columns: Range<usize>,
    direction: Direction,
) {
    let (rows, width, half) = (x_nc.rows(), x_nc.columns(), table.cosines.columns());
    assert_eq!(positions.len(), rows, "positions must name every row");
    assert_eq!(columns.len() % (2 * half), 0, "columns must hold whole heads");
    let sign = if direction == Direction::Forward { 1.0 } else { -1.0 };
    for (row, &position) in x_nc.values_mut().chunks_mut(width).zip(positions) {
        let at = position as usize * half;
        let (cosines, sines) =
            (&table.cosines.values()[at..][..half], &table.sines.values()[at..][..half]);
        for head in row[columns.clone()].chunks_mut(2 * half) {
            let (low, high) = head.split_at_mut(half);
            for i in 0..half {
                let (a, b, cos, sin) = (low[i], high[i], cosines[i], sign * sines[i]);
                low[i] = a * cos - b * sin;
                high[i] = b * cos + a * sin;
            }
        }
    }
}
