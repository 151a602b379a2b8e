//! Which rows of a batch see which.

use std::ops::Range;

/// A run of rows that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// First row.
    pub start: usize,
    /// Number of rows, at least 1.
    pub length: usize,
    /// Index of the segment this one continues.
    pub parent: Option<usize>,
}

/// Segments that tile the rows of a batch: each row attends to the rows before it in its own
/// segment, to itself, and to all rows of its segment's ancestors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    segments: Vec<Segment>,
    /// Of each segment's first row: the number of rows of its ancestors.
    positions: Vec<usize>,
}

impl Segment {
    /// The segment's rows.
    pub fn rows(&self) -> Range<usize> {
        self.start..self.start + self.length
    }
}

impl Layout {
    /// Asserts that the segments tile the rows from 0 on in order, and that parents come before
    /// their children.
    pub fn new(segments: Vec<Segment>) -> Layout {
        let mut row = 0;
        let mut positions: Vec<usize> = Vec::with_capacity(segments.len());
        for (index, segment) in segments.iter().enumerate() {
            let Segment {
                start,
                length,
                parent,
            } = *segment;
            assert_eq!(
                start, row,
                "segment {index} starts at {start}, expected {row}"
            );
            assert!(length > 0, "segment {index} has no rows");
            assert!(
                parent.is_none_or(|p| p < index),
                "segment {index} comes before its parent"
            );
            row += length;
            positions.push(parent.map_or(0, |p| positions[p] + segments[p].length));
        }
        Layout {
            segments,
            positions,
        }
    }

    /// The segments in row order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.segments.last().map_or(0, |last| last.rows().end)
    }

    /// The position of each segment's first row in the sequences that go through it.
    pub(crate) fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// The segments above this one, nearest first.
    pub(crate) fn ancestors(&self, segment: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.segments[segment].parent, |index| {
            self.segments[*index].parent
        })
    }
}
