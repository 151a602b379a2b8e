//! Grouped-query attention over a tree of segments, and over a cache of keys and values.
//!
//! The fused matrix holds `[query heads | key heads | value heads]` in its columns; query head `i`
//! reads key head `i / (query / key_value)`. Rows are not padded: a [`Layout`] says which rows see
//! which. A prompt shared by a group of completions is one segment and their parent.
//!
//! The query heads of one key head are computed together, as rows of one product; softmax runs
//! over blocks of keys, so that no matrix of all scores exists. With a window, keys that no row
//! of a block sees are passed over; distances are those of positions in the tree, so a window
//! reaches over the end of a prompt.
//!
//! # Source
//! Dao et al., arXiv 2205.14135, algorithms 1 and 4; grouped queries: Ainslie et al., arXiv
//! 2305.13245.

mod backward;
mod cached;
mod forward;
mod layout;
mod rule;
mod softmax;

pub use backward::backward;
pub use cached::{RowSpans, append, cached};
pub use forward::forward;
pub use layout::{Layout, Segment};
pub use rule::Rule;

use std::ops::Range;

use crate::product::View;
use crate::vector::vectorised;

/// Rows of queries that are computed together.
const QUERY_ROWS: usize = 64;

/// The heads of the fused query|key|value matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Number of query heads, a multiple of `key_value`.
    pub query: usize,
    /// Number of key heads, which is that of value heads.
    pub key_value: usize,
    /// Entries of one head.
    pub size: usize,
}

impl Heads {
    /// Columns of all query heads.
    pub fn query_columns(&self) -> usize {
        self.query * self.size
    }

    /// Columns of the fused matrix.
    pub fn columns(&self) -> usize {
        (self.query + 2 * self.key_value) * self.size
    }

    /// Query heads that read one key head.
    fn queries(&self) -> usize {
        assert_eq!(
            self.query % self.key_value,
            0,
            "{self:?} does not group its query heads"
        );
        self.query / self.key_value
    }

    /// Columns of the query heads of each key head, in a matrix of queries or of outputs.
    fn query_ranges(&self) -> Vec<Range<usize>> {
        ranges(0, self.queries() * self.size, self.key_value)
    }

    /// Columns of each key head, in a matrix whose keys start at this column.
    fn key_ranges(&self, start: usize) -> Vec<Range<usize>> {
        ranges(start, self.size, self.key_value)
    }

    /// Columns of each value head, in a matrix whose keys start at this column.
    fn value_ranges(&self, start: usize) -> Vec<Range<usize>> {
        ranges(
            start + self.key_value * self.size,
            self.size,
            self.key_value,
        )
    }
}

fn ranges(start: usize, width: usize, count: usize) -> Vec<Range<usize>> {
    (0..count)
        .map(|i| start + i * width..start + (i + 1) * width)
        .collect()
}

/// A copy of the rows of a view without gaps, times `by`: the heads of a row become rows.
fn pack(view: View, by: f32) -> Vec<f32> {
    let mut packed = vec![0.0; view.rows() * view.columns()];
    for (row, packed) in packed.chunks_mut(view.columns()).enumerate() {
        scale(view.row(row), by, packed);
    }
    packed
}

/// The transpose of packed rows, `[size, lanes]`, with zeros in the lanes that are left over.
fn transpose(packed: &[f32], size: usize) -> Vec<f32> {
    let lanes = softmax::lanes(packed.len() / size);
    let mut transposed = vec![0.0; size * lanes];
    transpose_into(packed, size, &mut transposed, lanes);
    transposed
}

vectorised! {
    fn scale(x: &[f32], by: f32, y: &mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x * by;
        }
    }

    fn transpose_into(packed: &[f32], size: usize, transposed: &mut [f32], lanes: usize) {
        for (block, packed) in packed.chunks(size * softmax::VECTOR).enumerate() {
            for (i, transposed) in transposed.chunks_mut(lanes).enumerate() {
                let vector = &mut transposed[block * softmax::VECTOR..][..softmax::VECTOR];
                for (entry, row) in vector.iter_mut().zip(packed.chunks_exact(size)) {
                    *entry = row[i];
                }
            }
        }
    }
}
