//! Products of some rows with a large matrix that is read once, as in a decoding step.
//!
//! The columns that a tile of the output needs are copied side by side, a panel at a time, and so
//! are the rows: as they are, often a power of two apart, they would share few lines of a cache.
//! The first tile of a panel copies what it reads, unless all panels have been laid out before
//! ([`crate::panels`]). While the tiles are summed in registers, the next panel is fetched.

use std::cell::RefCell;
use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};

use crate::matrix::Mode;
use crate::product::{Target, View};
use crate::register::Vector;
use crate::tile::{Product, Source};
#[cfg(target_arch = "x86_64")]
use crate::vector::Width;

/// Columns of a panel: two of the widest registers.
pub(crate) const PANEL: usize = 32;
/// Inner places that are copied at a time; a panel of them fills a core's first cache.
const DEPTH: usize = 256;
/// Entries between copied rows: not a power of two, which few lines of a cache would share.
const STRIDE: usize = DEPTH + 16;

/// Rows of a tile, at most.
const ROWS_MAX: usize = 8;

/// One inner place of a panel's columns.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Place([f32; PANEL]);

/// The right operand.
#[derive(Clone, Copy)]
pub(crate) enum Right<'a> {
    /// Not transposed.
    Rows(View<'a>),
    /// In panels of so many places, the last one filled up.
    Panels(&'a [Place], usize),
}

/// The copied rows, `STRIDE` entries each, and the copied panel of the product at work.
struct Copies {
    rows: Vec<f32>,
    panel: Vec<Place>,
}

thread_local! {
    static COPIES: RefCell<Copies> = const {
        RefCell::new(Copies { rows: Vec::new(), panel: Vec::new() })
    };
}

/// `target = a b`, or `target += a b`, on the calling thread; `a` is not transposed.
///
/// Bit for bit as [`crate::tile::multiply_small`], for rows enough that copies pay.
pub(crate) fn multiply(a: View, b: Right, target: &mut Target, mode: Mode) {
    let (places, columns) = b.shape(target.columns());
    assert_eq!(
        (a.rows(), places, columns),
        (target.rows(), a.columns(), target.columns()),
        "a product of {} inner places",
        a.columns()
    );
    assert!(a.columns() > 0, "a product of no inner places");
    COPIES.with_borrow_mut(|copies| {
        let entries = copies.rows.len().max(target.rows() * STRIDE);
        copies.rows.resize(entries, 0.0);
        copies.panel.resize(DEPTH, Place([0.0; PANEL]));
        run(a, b, target, mode, copies);
    });
}

fn run(a: View, b: Right, target: &mut Target, mode: Mode, copies: &mut Copies) {
    #[cfg(target_arch = "x86_64")]
    match Width::of_processor() {
        // SAFETY: the processor has the features.
        Width::Avx512 => return unsafe { run_avx512(a, b, target, mode, copies) },
        // SAFETY: as above.
        Width::Avx2 => return unsafe { run_avx2(a, b, target, mode, copies) },
        Width::Baseline => {}
    }
    // SAFETY: arrays need no feature.
    unsafe { by_blocks::<[f32; 4], 4>(a, b, target, mode, copies) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn run_avx512(a: View, b: Right, target: &mut Target, mode: Mode, copies: &mut Copies) {
    // SAFETY: the features are enabled.
    unsafe { by_blocks::<__m512, 8>(a, b, target, mode, copies) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2(a: View, b: Right, target: &mut Target, mode: Mode, copies: &mut Copies) {
    // SAFETY: the features are enabled.
    unsafe { by_blocks::<__m256, 6>(a, b, target, mode, copies) }
}

/// # Safety
/// The processor has the features of `V`.
#[allow(clippy::inline_always)]
#[inline(always)]
unsafe fn by_blocks<V: Vector, const R: usize>(
    a: View,
    b: Right,
    target: &mut Target,
    mode: Mode,
    copies: &mut Copies,
) {
    for depth in ranges(a.columns(), DEPTH) {
        copy_rows(a.block(0..a.rows(), depth.clone()), &mut copies.rows);
        for columns in ranges(target.columns(), PANEL) {
            let (panel, next) = b.panel(depth.clone(), columns.clone(), &mut copies.panel);
            let part = Part {
                depth: depth.len(),
                add: depth.start > 0 || mode == Mode::Add,
                panel,
                next,
            };
            // SAFETY: as the caller's; the copies hold the part.
            unsafe { part.tiles::<V, R>(copies, target, columns) }
        }
    }
}

fn ranges(extent: usize, step: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..extent).step_by(step);
    starts.map(move |start| start..(start + step).min(extent))
}

/// Where a panel lies.
#[derive(Clone, Copy)]
struct Panel {
    first: *const f32,
    /// The distance from one place to the next.
    row: usize,
    /// Whether its places lie side by side.
    is_copied: bool,
}

impl Right<'_> {
    /// Inner places and columns, of which panels hold as many as the target has.
    fn shape(self, columns: usize) -> (usize, usize) {
        match self {
            Right::Rows(b) => (b.rows(), b.columns()),
            Right::Panels(places, inner) => {
                let panels = places.len().checked_div(inner).unwrap_or(0);
                (inner, columns.min(panels * PANEL))
            }
        }
    }

    /// The panel of these columns, copied where it is not whole, and the one that is read next.
    fn panel(
        self,
        depth: Range<usize>,
        columns: Range<usize>,
        copy: &mut [Place],
    ) -> (Panel, Panel) {
        let b = match self {
            Right::Rows(b) => b,
            Right::Panels(places, inner) => {
                let first = columns.start / PANEL * inner + depth.start;
                let panel = Panel::copied(&places[first..first + depth.len()]);
                return (panel, panel.ahead(inner * PANEL));
            }
        };
        let w = b.block(depth, columns.clone());
        let panel = Panel {
            first: w.checked_pointer(),
            row: w.strides().0,
            is_copied: false,
        };
        let next = panel.ahead(PANEL);
        if columns.len() == PANEL {
            return (panel, next);
        }
        // Tiles read whole registers.
        copy_panel(w, copy);
        (Panel::copied(copy), next)
    }
}

impl Panel {
    fn copied(places: &[Place]) -> Panel {
        Panel {
            first: places.as_ptr().cast(),
            row: PANEL,
            is_copied: true,
        }
    }

    /// One so many entries further on, which may lie outside.
    fn ahead(self, entries: usize) -> Panel {
        Panel {
            first: self.first.wrapping_add(entries),
            ..self
        }
    }
}

/// What of the product the copied rows and a panel are.
struct Part {
    depth: usize,
    add: bool,
    panel: Panel,
    next: Panel,
}

#[allow(clippy::inline_always)]
impl Part {
    /// # Safety
    /// The processor has the features of `V`; the copies hold the target's rows and the columns.
    #[inline(always)]
    unsafe fn tiles<V: Vector, const R: usize>(
        &self,
        copies: &mut Copies,
        target: &mut Target,
        columns: Range<usize>,
    ) {
        let tiles = target.rows().div_ceil(R);
        let whole = columns.len() == PANEL;
        let copy: *mut f32 = copies.panel.as_mut_ptr().cast();
        for (tile, rows) in ranges(target.rows(), R).enumerate() {
            let mut edge = Edge([0.0; ROWS_MAX * PANEL]);
            if !whole && self.add {
                edge.take(target, rows.clone(), &columns);
            }
            let (y, y_row) = if whole {
                let first = rows.start * target.stride() + columns.start;
                (target.pointer().wrapping_add(first), target.stride())
            } else {
                (edge.0.as_mut_ptr(), PANEL)
            };
            let copies_panel = tile == 0 && !self.panel.is_copied;
            let (w, w_row) = if tile == 0 || self.panel.is_copied {
                (self.panel.first, self.panel.row)
            } else {
                (copy.cast_const(), PANEL)
            };
            let product = Product {
                rows: rows.len(),
                columns: PANEL,
                depth: self.depth,
                x: copies.rows[rows.start * STRIDE..].as_ptr(),
                x_row: STRIDE,
                x_column: 1,
                w,
                w_row,
                y,
                y_row,
                add: self.add,
                source: Source::Memory,
                ahead: self
                    .next
                    .ahead(tile * self.depth / tiles * self.next.row)
                    .first,
                ahead_row: self.next.row,
                ahead_every: tiles,
                copy: copies_panel.then_some((copy, PANEL)),
            };
            // SAFETY: rows and columns of the tile lie in the target, or in the edge; the panel
            // has a place for each of its depth.
            unsafe { product.by_columns::<V, R, 2>() }
            if !whole {
                edge.give(target, rows, &columns);
            }
        }
    }
}

/// A tile of the last panel, where that is not whole.
#[repr(align(64))]
struct Edge([f32; ROWS_MAX * PANEL]);

impl Edge {
    fn take(&mut self, target: &mut Target, rows: Range<usize>, columns: &Range<usize>) {
        for (row, edge) in rows.zip(self.0.chunks_exact_mut(PANEL)) {
            edge[..columns.len()].copy_from_slice(&target.row(row)[columns.clone()]);
        }
    }

    fn give(&self, target: &mut Target, rows: Range<usize>, columns: &Range<usize>) {
        for (row, edge) in rows.zip(self.0.chunks_exact(PANEL)) {
            target.row(row)[columns.clone()].copy_from_slice(&edge[..columns.len()]);
        }
    }
}

fn copy_rows(a: View, block: &mut [f32]) {
    for (row, to) in (0..a.rows()).zip(block.chunks_exact_mut(STRIDE)) {
        to[..a.columns()].copy_from_slice(a.row(row));
    }
}

impl Place {
    /// Entries, filled up with zeros.
    pub(crate) fn new(entries: &[f32]) -> Place {
        let mut place = Place([0.0; PANEL]);
        place.0[..entries.len()].copy_from_slice(entries);
        place
    }
}

/// Copies the columns of the last panel side by side, place after place.
fn copy_panel(b: View, panel: &mut [Place]) {
    for (k, Place(to)) in (0..b.rows()).zip(panel) {
        to[..b.columns()].copy_from_slice(b.row(k));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tile::multiply_small;

    fn values(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.61).sin()).collect()
    }

    #[test]
    fn copies_change_no_bit() {
        for (rows, depth, columns) in [
            (1, 1, 1),
            (5, DEPTH, PANEL),
            (16, DEPTH, PANEL),
            (37, 2 * DEPTH + 5, 75),
        ] {
            let (x, w, y) = (
                values(rows * depth),
                values(depth * columns),
                values(rows * columns),
            );
            let (x, w) = (View::new(&x, depth), View::new(&w, columns));
            for mode in [Mode::Write, Mode::Add] {
                let (mut found, mut expected) = (y.clone(), y.clone());
                let mut target = Target::new(&mut found, columns);
                multiply(x, Right::Rows(w), &mut target, mode);
                let mut target = Target::new(&mut expected, columns);
                multiply_small(x, w, &mut target, mode, Source::Cache);
                assert_eq!(found, expected, "{rows} x {depth} x {columns}");
            }
        }
    }
}
