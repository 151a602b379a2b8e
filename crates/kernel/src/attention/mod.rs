//! Grouped-query attention over a tree of segments, and over a cache of keys and values.
//!
//! The fused matrix holds `[query heads | key heads | value heads]` in its columns; query head `i`
//! reads key head `i / (query / key_value)`. Rows are not padded: a [`Layout`] says which rows see
//! which. A prompt shared by a group of completions is one segment and their parent.

mod cached;
mod layout;
mod tree;

pub use cached::{RowSpans, append, cached};
pub use layout::{Layout, Segment};
pub use tree::{backward, forward};

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
}
