//! Products of small or streamed matrices, summed in registers, without packing.
//!
//! A product by [`crate::product::multiply`] first copies its operands into an order that suits
//! large ones. Attention's blocks are too small for that to pay, and the weights of a decoding
//! step are read once: here each tile of the output stays in registers while a few rows of the
//! right operand stream by.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};

use crate::matrix::Mode;
use crate::product::{Target, View};
use crate::register::Vector;
#[cfg(target_arch = "x86_64")]
use crate::vector::Width;

/// Rows of the right operand that are taken into all tiles before the next ones are read: so
/// few that their pages stay known to the processor.
const DEPTH: usize = 64;
/// The same where the right operand comes from memory; the next rows are fetched meanwhile.
const DEPTH_STREAMED: usize = 32;
/// How many rows further the rows of dot products are fetched.
const DOTS_AHEAD: usize = 16;

/// No place for a copy.
const NOWHERE: (*mut f32, usize) = (std::ptr::null_mut(), 0);

/// The operands of a product, as pointers and strides.
#[derive(Clone, Copy)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
    pub(crate) x: *const f32,
    pub(crate) x_row: usize,
    pub(crate) x_column: usize,
    pub(crate) w: *const f32,
    pub(crate) w_row: usize,
    pub(crate) y: *mut f32,
    pub(crate) y_row: usize,
    pub(crate) add: bool,
    pub(crate) source: Source,
    /// What is fetched while a tile is summed: as many entries of a row, and of the next one after
    /// so many steps.
    pub(crate) ahead: *const f32,
    pub(crate) ahead_row: usize,
    pub(crate) ahead_every: usize,
    /// Where the first rows' tiles leave what they read of `w`, and the entries of a row there.
    pub(crate) copy: Option<(*mut f32, usize)>,
}

/// Where the right operand of a product is when the product starts.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Source {
    /// In a cache of the core.
    Cache,
    /// In memory, or in a cache that is shared.
    Memory,
}

/// `target = x w`, or `target += x w`, on the calling thread; the rows of `w` must be contiguous.
///
/// Each entry is one chain of fused multiplications and additions in the order of the inner
/// dimension, whatever the tile, so that cutting rows or columns does not change a bit.
pub(crate) fn multiply_small(x: View, w: View, target: &mut Target, mode: Mode, source: Source) {
    Product::new(x, w, target, mode, source).run();
}

/// `products[j] = x · w[j, :]`, one product a row; the rows must be contiguous. Where `next` is
/// given, which is read after them, both are fetched row by row.
///
/// The sum of a product is split over the lanes of a register, so its last bits depend on the
/// processor.
pub(crate) fn dot_rows(x: &[f32], w: View, next: Option<View>, products: &mut [f32]) {
    assert_eq!(
        (w.rows(), w.columns()),
        (products.len(), x.len()),
        "one product a row"
    );
    let column_stride = w.strides().1;
    assert_eq!(column_stride, 1, "the rows of a transposed view have gaps");
    let rows = Rows::of(w);
    let next = next.map(Rows::of);
    #[cfg(target_arch = "x86_64")]
    match Width::of_processor() {
        // SAFETY: the processor has the features; the view holds a row for each product.
        Width::Avx512 => return unsafe { dot_rows_avx512(x, rows, next, products) },
        // SAFETY: as above.
        Width::Avx2 => return unsafe { dot_rows_avx2(x, rows, next, products) },
        Width::Baseline => {}
    }
    // SAFETY: the view holds a row for each product.
    unsafe { dot_rows_in::<[f32; 4]>(x, rows, next, products) }
}

/// Where rows lie.
#[derive(Clone, Copy)]
struct Rows {
    first: *const f32,
    stride: usize,
}

impl Rows {
    fn of(view: View) -> Rows {
        Rows {
            first: view.checked_pointer(),
            stride: view.strides().0,
        }
    }

    /// The entry of a row, which may lie outside.
    fn entry(self, row: usize, column: usize) -> *const f32 {
        self.first.wrapping_add(row * self.stride + column)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn dot_rows_avx512(x: &[f32], w: Rows, next: Option<Rows>, products: &mut [f32]) {
    // SAFETY: as the caller's.
    unsafe { dot_rows_in::<__m512>(x, w, next, products) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_rows_avx2(x: &[f32], w: Rows, next: Option<Rows>, products: &mut [f32]) {
    // SAFETY: as the caller's.
    unsafe { dot_rows_in::<__m256>(x, w, next, products) }
}

/// # Safety
/// `w` has a row as long as `x` for each product.
#[allow(clippy::inline_always)]
#[inline(always)]
unsafe fn dot_rows_in<V: Vector>(x: &[f32], w: Rows, next: Option<Rows>, products: &mut [f32]) {
    for (row, product) in products.iter_mut().enumerate() {
        let mut at = 0;
        // SAFETY: `at` stays inside the row.
        unsafe {
            let mut sums = V::splat(0.0);
            while at + V::LANES <= x.len() {
                let entries = V::load(w.entry(row, at));
                sums = sums.add_product(V::load(x.as_ptr().add(at)), entries);
                at += V::LANES;
                if let Some(next) = next {
                    V::fetch(w.entry(row + DOTS_AHEAD, at - 1));
                    V::fetch(next.entry(row, at - 1));
                }
            }
            *product = sums.sum();
            for (at, x) in x.iter().enumerate().skip(at) {
                *product += x * *w.entry(row, at);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn run_avx512(product: Product) {
    // SAFETY: a product's pointers are valid for its shape and strides.
    unsafe {
        match product.source {
            Source::Cache => product.by_depth::<__m512, 8, 2>(),
            // Rows are few there; a wide tile reads more of each row of `w` at a time.
            Source::Memory => product.by_depth::<__m512, 4, 4>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2(product: Product) {
    // SAFETY: as above.
    unsafe { product.by_depth::<__m256, 4, 2>() }
}

// The steps are inlined into the functions above and compiled for their features; plain counted
// loops are what the compiler unrolls into registers.
#[allow(clippy::inline_always, clippy::needless_range_loop)]
impl Product {
    fn new(x: View, w: View, target: &mut Target, mode: Mode, source: Source) -> Product {
        let (rows, columns) = (target.rows(), target.columns());
        let shapes = (x.rows(), w.rows(), w.columns());
        assert_eq!(
            shapes,
            (rows, x.columns(), columns),
            "a product into {rows} x {columns}"
        );
        let ((x_row, x_column), (w_row, w_column)) = (x.strides(), w.strides());
        assert_eq!(
            w_column, 1,
            "the right operand of a small product is transposed"
        );
        Product {
            rows,
            columns,
            depth: x.columns(),
            x: x.checked_pointer(),
            x_row,
            x_column,
            w: w.checked_pointer(),
            w_row,
            y: target.pointer(),
            y_row: target.stride(),
            add: mode == Mode::Add,
            source,
            ahead: w.checked_pointer().wrapping_add(DEPTH_STREAMED * w_row),
            ahead_row: w_row,
            ahead_every: 1,
            copy: None,
        }
    }

    fn run(self) {
        #[cfg(target_arch = "x86_64")]
        match Width::of_processor() {
            // SAFETY: the processor has the features.
            Width::Avx512 => return unsafe { run_avx512(self) },
            // SAFETY: as above.
            Width::Avx2 => return unsafe { run_avx2(self) },
            Width::Baseline => {}
        }
        // SAFETY: a product's pointers are valid for its shape and strides.
        unsafe { self.by_depth::<[f32; 4], 4, 2>() }
    }

    /// The product, in tiles of `R` rows and `C` vectors.
    ///
    /// # Safety
    /// The pointers must be valid for the product's rows, columns and depth at its strides, and
    /// nothing else may hold the entries of `y`. So also below.
    #[inline(always)]
    unsafe fn by_depth<V: Vector, const R: usize, const C: usize>(self) {
        let mut from = 0;
        let step = if self.source == Source::Memory {
            DEPTH_STREAMED
        } else {
            DEPTH
        };
        while from == 0 || from < self.depth {
            // SAFETY: `from` lies inside the depth, or is 0; so does the part.
            unsafe {
                let part = Product {
                    depth: step.min(self.depth - from),
                    x: self.x.add(from * self.x_column),
                    w: self.w.add(from * self.w_row),
                    ahead: self.ahead.wrapping_add(from * self.w_row),
                    add: self.add || from > 0,
                    ..self
                };
                part.by_columns::<V, R, C>();
            }
            from += step;
        }
    }

    #[inline(always)]
    pub(crate) unsafe fn by_columns<V: Vector, const R: usize, const C: usize>(self) {
        let mut column = 0;
        // SAFETY: each strip takes columns that are left.
        unsafe {
            while column + C * V::LANES <= self.columns {
                self.strip::<V, R, C>(column);
                column += C * V::LANES;
            }
            while column + V::LANES <= self.columns {
                self.strip::<V, R, 1>(column);
                column += V::LANES;
            }
            while column < self.columns {
                self.strip::<[f32; 1], R, 1>(column);
                column += 1;
            }
        }
    }

    /// All rows of `C` vectors of columns.
    #[inline(always)]
    unsafe fn strip<V: Vector, const R: usize, const C: usize>(self, column: usize) {
        let mut row = 0;
        // SAFETY: each tile takes rows that are left.
        unsafe {
            while row + R <= self.rows {
                self.tile::<V, R, C>(row, column);
                row += R;
            }
            while row + 4 <= self.rows {
                self.tile::<V, 4, C>(row, column);
                row += 4;
            }
            if row + 2 <= self.rows {
                self.tile::<V, 2, C>(row, column);
                row += 2;
            }
            if row < self.rows {
                self.tile::<V, 1, C>(row, column);
            }
        }
    }

    /// `R` rows of `C` vectors; the first fetch the next rows of `w` where it is in memory, and
    /// leave a copy of what they read where there is a place for it.
    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const C: usize>(self, row: usize, column: usize) {
        let fetches = row == 0 && self.source == Source::Memory;
        // SAFETY: as the caller's.
        unsafe {
            match self.copy.filter(|_| row == 0) {
                Some(copy) => self.sums::<V, R, C, true, true>(row, column, copy),
                None if fetches => self.sums::<V, R, C, true, false>(row, column, NOWHERE),
                None => self.sums::<V, R, C, false, false>(row, column, NOWHERE),
            }
        }
    }

    /// The same in registers; `F` fetches the next rows of `w` meanwhile, `K` copies these.
    #[inline(always)]
    unsafe fn sums<V: Vector, const R: usize, const C: usize, const F: bool, const K: bool>(
        self,
        row: usize,
        column: usize,
        (copy, copy_row): (*mut f32, usize),
    ) {
        // SAFETY: rows and columns of the tile lie inside the product, whose pointers are valid.
        unsafe {
            let y = self.y.add(row * self.y_row + column);
            let x = self.x.add(row * self.x_row);
            let w = self.w.add(column);
            let mut sums = [[V::splat(0.0); C]; R];
            if self.add {
                for r in 0..R {
                    for c in 0..C {
                        sums[r][c] = V::load(y.add(r * self.y_row + c * V::LANES));
                    }
                }
            }
            let (mut ahead, mut wait) = (self.ahead.wrapping_add(column), self.ahead_every);
            for k in 0..self.depth {
                let mut vectors = [V::splat(0.0); C];
                for c in 0..C {
                    vectors[c] = V::load(w.add(k * self.w_row + c * V::LANES));
                    if K {
                        vectors[c].store(copy.add(k * copy_row + column + c * V::LANES));
                    }
                    if F {
                        // The last entry: rows begin anywhere in a line of a cache.
                        V::fetch(ahead.wrapping_add((c + 1) * V::LANES - 1));
                    }
                }
                if F {
                    wait -= 1;
                    if wait == 0 {
                        (ahead, wait) = (ahead.wrapping_add(self.ahead_row), self.ahead_every);
                    }
                }
                for r in 0..R {
                    let x = V::splat(*x.add(r * self.x_row + k * self.x_column));
                    for c in 0..C {
                        sums[r][c] = sums[r][c].add_product(x, vectors[c]);
                    }
                }
            }
            for r in 0..R {
                for c in 0..C {
                    sums[r][c].store(y.add(r * self.y_row + c * V::LANES));
                }
            }
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    fn values(count: usize) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.61).sin()).collect()
    }

    /// What each kind of register that this processor has gives.
    fn by_every_width(rows: usize, depth: usize, columns: usize, source: Source) -> Vec<Vec<f32>> {
        let (x, w) = (values(rows * depth), values(depth * columns));
        let run = |run: &dyn Fn(Product)| {
            let mut y = values(rows * columns);
            let mut target = Target::new(&mut y, columns);
            let (x, w) = (View::new(&x, depth), View::new(&w, columns));
            run(Product::new(x, w, &mut target, Mode::Add, source));
            y
        };
        // SAFETY: the product is valid.
        let mut results = vec![run(&|product| unsafe {
            product.by_depth::<[f32; 4], 4, 2>();
        })];
        if !matches!(Width::of_processor(), Width::Baseline) {
            // SAFETY: the processor has AVX2 and FMA.
            results.push(run(&|product| unsafe { run_avx2(product) }));
        }
        if matches!(Width::of_processor(), Width::Avx512) {
            // SAFETY: the processor has AVX-512.
            results.push(run(&|product| unsafe { run_avx512(product) }));
        }
        results
    }

    #[test]
    fn every_register_width_gives_the_same_bits_as_one_chain_of_fused_sums() {
        for (rows, depth, columns) in [(1, 3, 1), (7, 70, 37), (15, 130, 100), (8, 64, 32)] {
            let (x, w, y) = (
                values(rows * depth),
                values(depth * columns),
                values(rows * columns),
            );
            let entry = |at: usize| {
                let chain = |sum: f32, k: usize| {
                    x[at / columns * depth + k].mul_add(w[k * columns + at % columns], sum)
                };
                (0..depth).fold(y[at], chain)
            };
            let expected: Vec<f32> = (0..rows * columns).map(entry).collect();
            for source in [Source::Cache, Source::Memory] {
                for found in by_every_width(rows, depth, columns, source) {
                    assert_eq!(found, expected, "{rows} x {depth} x {columns}");
                }
            }
        }
    }

    #[test]
    fn every_register_width_gives_the_same_products_of_rows() {
        let (x, w) = (values(37), values(5 * 50));
        let expected: Vec<f32> = w
            .chunks(50)
            .map(|w| w.iter().zip(&x).map(|(w, x)| w * x).sum())
            .collect();
        let mut results = Vec::new();
        let mut run = |run: &dyn Fn(&mut [f32])| {
            let mut products = vec![0.0; 5];
            run(&mut products);
            results.push(products);
        };
        let rows = Rows {
            first: w.as_ptr(),
            stride: 50,
        };
        // SAFETY: five rows of 37 entries lie 50 apart.
        run(&|products| unsafe { dot_rows_in::<[f32; 4]>(&x, rows, None, products) });
        if !matches!(Width::of_processor(), Width::Baseline) {
            // SAFETY: as above, and the processor has AVX2 and FMA.
            run(&|products| unsafe { dot_rows_avx2(&x, rows, Some(rows), products) });
        }
        if matches!(Width::of_processor(), Width::Avx512) {
            // SAFETY: as above, and the processor has AVX-512.
            run(&|products| unsafe { dot_rows_avx512(&x, rows, Some(rows), products) });
        }
        for found in results {
            let error = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
            assert!(
                error.fold(0.0, f32::max) < 1e-5,
                "{found:?}, expected {expected:?}"
            );
        }
    }
}
