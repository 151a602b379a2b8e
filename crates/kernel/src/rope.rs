//! Rotary position embedding in the "rotate half" convention: of the entries of a head that turn,
//! the first, entry `i` of the first half turns with entry `i` of the second.

use std::ops::Range;

use crate::cuda;
use crate::device::Device;
use crate::matrix::Matrix;
use crate::vector::vectorised;

/// Cosines and sines of every position.
#[derive(Clone, Debug)]
pub struct Table {
    head_size: usize,
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
    /// and sines multiplied by `attention_scale`. Heads of `head_size` entries turn their first
    /// ones, two for each frequency.
    ///
    /// The angle is rounded to `f32` before its cosine is taken, as `transformers` does.
    pub fn new(
        device: &Device,
        head_size: usize,
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
        let turning = 2 * inverse_frequencies.len();
        assert!(
            turning <= head_size,
            "{turning} entries of {head_size} turn"
        );
        Table {
            head_size,
            cosines: tabulate(f64::cos),
            sines: tabulate(f64::sin),
        }
    }

    /// The positions of this table, and after them those of another for the same heads.
    #[must_use]
    pub fn followed_by(&self, next: &Table) -> Table {
        let heads = |table: &Table| (table.head_size, table.cosines.columns());
        assert_eq!(heads(self), heads(next), "tables of different heads");
        let device = self.cosines.device();
        let stack = |above: &Matrix, below: &Matrix| {
            let values = [above.to_vec(), below.to_vec()].concat();
            device.matrix(above.rows() + below.rows(), above.columns(), values)
        };
        Table {
            head_size: self.head_size,
            cosines: stack(&self.cosines, &next.cosines),
            sines: stack(&self.sines, &next.sines),
        }
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
    assert_eq!(
        columns.len() % table.head_size,
        0,
        "columns must hold whole heads"
    );
    let outside = positions
        .iter()
        .find(|position| **position as usize >= table.cosines.rows());
    assert!(
        outside.is_none(),
        "position {outside:?} in a table of {}",
        table.cosines.rows()
    );
    let sign = if direction == Direction::Forward {
        1.0
    } else {
        -1.0
    };
    let cpu = match table.cosines.device() {
        Device::Cpu(cpu) => cpu,
        Device::Cuda(card) => {
            let turn = cuda::elements::Turn {
                first: columns.start,
                heads: columns.len() / table.head_size,
                size: table.head_size,
                sign,
            };
            let angles = (&table.cosines, &table.sines);
            return cuda::elements::rotate(card, angles, positions, x_nc, &turn);
        }
    };
    let part = cpu.threads().part_rows(rows, 2 * columns.len());
    let parts = x_nc
        .values_mut()
        .chunks_mut(part * width)
        .zip(positions.chunks(part));
    let (cosines, sines) = (table.cosines.values(), table.sines.values());
    let size = table.head_size;
    cpu.threads().for_each(parts, |(x, positions)| {
        rotate_rows(
            cosines, sines, half, positions, x, width, &columns, size, sign,
        );
    });
}

vectorised! {
    #[allow(clippy::too_many_arguments)]
    fn rotate_rows(
        cosines: &[f32],
        sines: &[f32],
        half: usize,
        positions: &[u32],
        x: &mut [f32],
        width: usize,
        columns: &Range<usize>,
        size: usize,
        sign: f32,
    ) {
        for (row, &position) in x.chunks_mut(width).zip(positions) {
            let at = position as usize * half..(position as usize + 1) * half;
            let (cosines, sines) = (&cosines[at.clone()], &sines[at]);
            for head in row[columns.clone()].chunks_mut(size) {
                let (low, high) = head[..2 * half].split_at_mut(half);
                let pairs = low.iter_mut().zip(high).zip(cosines.iter().zip(sines));
                for ((low, high), (cos, sin)) in pairs {
                    let (a, b, sin) = (*low, *high, sign * sin);
                    *low = a * cos - b * sin;
                    *high = b * cos + a * sin;
                }
            }
        }
    }
}
