//! Matrix products over strided views, and outputs that threads share without overlap.

use std::marker::PhantomData;
use std::ops::{Range, RangeInclusive};

use gemm::Parallelism;

use crate::matrix::Mode;
use crate::packed::{self, PANEL, Right};
use crate::threads::Threads;
use crate::tile::{Source, multiply_small};

/// A matrix to read: any two strides over a slice.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

/// A row-major matrix to write, of which other threads may hold other rows or columns.
pub(crate) struct Target<'a> {
    pointer: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: a target is a `&mut` to its own entries, and no two targets share an entry: they are
// made from a `&mut [f32]` and divided only by `split_rows` and `split_columns`.
unsafe impl Send for Target<'_> {}

impl<'a> View<'a> {
    /// A whole row-major matrix.
    pub(crate) fn new(values: &'a [f32], columns: usize) -> View<'a> {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        View {
            values,
            rows,
            columns,
            row_stride: columns,
            column_stride: 1,
        }
    }

    /// The rows and columns of a block.
    pub(crate) fn block(self, rows: Range<usize>, columns: Range<usize>) -> View<'a> {
        assert!(
            rows.end <= self.rows && columns.end <= self.columns,
            "a block outside its view"
        );
        let start = rows.start * self.row_stride + columns.start * self.column_stride;
        let values = self.values.get(start..).unwrap_or_default();
        View {
            values,
            rows: rows.len(),
            columns: columns.len(),
            ..self
        }
    }

    /// Rows and columns exchanged.
    pub(crate) fn transposed(self) -> View<'a> {
        View {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The distances from one row, and from one column, to the next.
    pub(crate) fn strides(&self) -> (usize, usize) {
        (self.row_stride, self.column_stride)
    }

    /// The first entry, once it is certain that the last one lies inside the slice.
    pub(crate) fn checked_pointer(&self) -> *const f32 {
        if self.rows > 0 && self.columns > 0 {
            let last = (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride;
            assert!(last < self.values.len(), "a view beyond its values");
        }
        self.values.as_ptr()
    }

    /// One row of a view that is not transposed.
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        assert_eq!(
            self.column_stride, 1,
            "a transposed view has no contiguous rows"
        );
        &self.values[row * self.row_stride..][..self.columns]
    }
}

impl<'a> Target<'a> {
    /// A whole row-major matrix.
    pub(crate) fn new(values: &'a mut [f32], columns: usize) -> Target<'a> {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        let pointer = values.as_mut_ptr();
        Target {
            pointer,
            rows,
            columns,
            stride: columns,
            owner: PhantomData,
        }
    }

    /// The number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The distance from one row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    /// The first entry, through which the target's rows and columns may be written.
    pub(crate) fn pointer(&mut self) -> *mut f32 {
        self.pointer
    }

    /// One row.
    pub(crate) fn row(&mut self, row: usize) -> &mut [f32] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // SAFETY: the row lies inside the target, whose entries are borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(row * self.stride), self.columns) }
    }

    /// The rows before `at` and those from it on.
    pub(crate) fn split_rows(self, at: usize) -> (Target<'a>, Target<'a>) {
        assert!(at <= self.rows, "split at row {at} of {}", self.rows);
        let rest = if at < self.rows { at * self.stride } else { 0 };
        // SAFETY: the row `at` lies inside the target; where it does not, no row is left.
        let pointer = unsafe { self.pointer.add(rest) };
        let below = Target {
            pointer,
            rows: self.rows - at,
            owner: PhantomData,
            ..self
        };
        (Target { rows: at, ..self }, below)
    }

    /// The columns before `at` and those from it on.
    pub(crate) fn split_columns(self, at: usize) -> (Target<'a>, Target<'a>) {
        assert!(
            at <= self.columns,
            "split at column {at} of {}",
            self.columns
        );
        // SAFETY: the column `at` lies inside the first row, or one past its end.
        let pointer = unsafe { self.pointer.add(at) };
        let right = Target {
            pointer,
            columns: self.columns - at,
            owner: PhantomData,
            ..self
        };
        (
            Target {
                columns: at,
                ..self
            },
            right,
        )
    }

    /// The rows of each range in turn; the ranges tile the rows.
    pub(crate) fn divide_rows(self, ranges: &[Range<usize>]) -> impl Iterator<Item = Target<'a>> {
        divide(self, ranges, Target::split_rows)
    }

    /// The columns of each range in turn; the ranges tile the columns.
    pub(crate) fn divide_columns(
        self,
        ranges: &[Range<usize>],
    ) -> impl Iterator<Item = Target<'a>> {
        divide(self, ranges, Target::split_columns)
    }
}

fn divide<'a>(
    whole: Target<'a>,
    ranges: &[Range<usize>],
    split: impl Fn(Target<'a>, usize) -> (Target<'a>, Target<'a>),
) -> impl Iterator<Item = Target<'a>> {
    let mut left = Some(whole);
    ranges.iter().map_while(move |range| {
        let (part, rest) = split(left.take()?, range.len());
        left = Some(rest);
        Some(part)
    })
}

/// `target = a b`, or `target += a b`, on the calling thread.
pub(crate) fn multiply(a: View, b: View, target: &mut Target, mode: Mode) {
    let (rows, columns, inner) = (target.rows, target.columns, a.columns);
    assert!(
        (a.rows, b.rows, b.columns) == (rows, inner, columns),
        "a product of {} x {inner} and {} x {} into {rows} x {columns}",
        a.rows,
        b.rows,
        b.columns,
    );
    // SAFETY: `checked_pointer` bounds every entry read by its slice; the target holds its entries
    // exclusively, so they overlap neither operand; `row` and `split_*` keep them in bounds.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            target.pointer,
            1,
            target.stride.cast_signed(),
            mode == Mode::Add,
            a.checked_pointer(),
            a.column_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.checked_pointer(),
            b.column_stride.cast_signed(),
            b.row_stride.cast_signed(),
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Rows or columns of one part of a divided product, at least.
///
/// The product blocks outputs of at most 64 x 64 differently; parts stay above that, so that the
/// bits do not depend on the number of parts.
const EXTENT_MIN: usize = 96;
/// Rows of outputs, at most, for which [`multiply`]'s copies of large blocks do not pay.
const FEW_ROWS: usize = 32;
/// Rows of outputs for which copying the operands of a decoding step does.
const PACKED_ROWS: RangeInclusive<usize> = 8..=128;
/// Entries of a right operand from which it is taken to come from memory: a decoder with weights
/// this large does not fit a core's cache.
const STREAMED_MIN: usize = 1 << 18;
/// Multiplications of one part that are worth a thread.
pub(crate) const WORK_MIN: usize = 1 << 16;

/// As [`multiply`], shared by the threads: each computes some rows of the target, or, where rows
/// are few, some columns. `before` first sees each part and its columns.
pub(crate) fn multiply_shared(
    threads: &Threads,
    a: View,
    b: View,
    target: Target,
    mode: Mode,
    before: impl Fn(&mut Target, Range<usize>) + Sync,
) {
    let (rows, columns, inner) = (target.rows, target.columns, a.columns);
    let parts_max = threads
        .count()
        .min(rows * columns * inner / WORK_MIN)
        .max(1);
    let fills_panel = columns.min(inner) >= PANEL;
    let by_rows = b.column_stride == 1;
    let is_packed = PACKED_ROWS.contains(&rows) && fills_panel && by_rows && a.column_stride == 1;
    let is_small = rows <= FEW_ROWS && by_rows;
    let source = if inner * columns < STREAMED_MIN {
        Source::Cache
    } else {
        Source::Memory
    };
    let run = |rows: Range<usize>, columns: Range<usize>, mut target: Target| {
        before(&mut target, columns.clone());
        let (a, b) = (a.block(rows, 0..inner), b.block(0..inner, columns));
        if is_packed {
            packed::multiply(a, Right::Rows(b), &mut target, mode);
        } else if is_small {
            multiply_small(a, b, &mut target, mode, source);
        } else {
            multiply(a, b, &mut target, mode);
        }
    };
    if rows >= 2 * EXTENT_MIN {
        let ranges = ranges(rows, parts_max);
        let parts = ranges.iter().zip(target.divide_rows(&ranges));
        threads.for_each(parts, |(range, target)| {
            run(range.clone(), 0..columns, target);
        });
    } else {
        let ranges = ranges(columns, parts_max);
        let parts = ranges.iter().zip(target.divide_columns(&ranges));
        threads.for_each(parts, |(range, target)| run(0..rows, range.clone(), target));
    }
}

/// Ranges that tile `extent`, at most `parts_max`, of nearly equal size.
pub(crate) fn ranges(extent: usize, parts_max: usize) -> Vec<Range<usize>> {
    let steps = extent.div_ceil(PANEL);
    let parts = parts_max.min(extent / EXTENT_MIN).max(1);
    let cut = |part: usize| (steps * part / parts * PANEL).min(extent);
    (0..parts).map(|part| cut(part)..cut(part + 1)).collect()
}
