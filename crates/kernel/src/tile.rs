//! Products of small or streamed matrices, summed in registers, without packing.
//!
//! A product by [`crate::product::multiply`] first copies its operands into an order that suits
//! large ones. Attention's blocks are too small for that to pay, and the weights of a decoding
//! step are read once: here each tile of the output stays in registers while a few rows of the
//! right operand stream by.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _MM_HINT_T0, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps,
    _mm_prefetch, _mm_shuffle_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_reduce_add_ps, _mm512_set1_ps, _mm512_storeu_ps,
};

use crate::matrix::Mode;
use crate::product::{Target, View};
#[cfg(target_arch = "x86_64")]
use crate::vector::Width;

/// Rows of the right operand that are taken into all tiles before the next ones are read: so
/// few that their pages stay known to the processor.
const DEPTH: usize = 64;
/// The same where the right operand comes from memory; the next rows are fetched meanwhile.
const DEPTH_STREAMED: usize = 16;

/// The operands of a product, as pointers and strides.
#[derive(Clone, Copy)]
struct Product {
    rows: usize,
    columns: usize,
    depth: usize,
    x: *const f32,
    x_row: usize,
    x_column: usize,
    w: *const f32,
    w_row: usize,
    y: *mut f32,
    y_row: usize,
    add: bool,
    source: Source,
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
    let (rows, columns, y_row) = (target.rows(), target.columns(), target.stride());
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
    let product = Product {
        rows,
        columns,
        depth: x.columns(),
        x: x.checked_pointer(),
        x_row,
        x_column,
        w: w.checked_pointer(),
        w_row,
        y: target.pointer(),
        y_row,
        add: mode == Mode::Add,
        source,
    };
    product.run();
}

/// `products[j] = x · w[j, :]`, for as many rows as there are products; the rows must be contiguous.
///
/// The sum of a product is split over the lanes of a register, so its last bits depend on the
/// processor.
pub(crate) fn dot_rows(x: &[f32], w: View, products: &mut [f32]) {
    let (stride, column_stride) = w.strides();
    assert_eq!(
        (w.rows(), w.columns()),
        (products.len(), x.len()),
        "one product a row"
    );
    assert_eq!(column_stride, 1, "the rows of a transposed view have gaps");
    let w = w.checked_pointer();
    #[cfg(target_arch = "x86_64")]
    match Width::of_processor() {
        // SAFETY: the processor has the features; the view holds a row for each product.
        Width::Avx512 => return unsafe { dot_rows_avx512(x, w, stride, products) },
        // SAFETY: as above.
        Width::Avx2 => return unsafe { dot_rows_avx2(x, w, stride, products) },
        Width::Baseline => {}
    }
    // SAFETY: the view holds a row for each product.
    unsafe { dot_rows_in::<[f32; 4]>(x, w, stride, products) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn dot_rows_avx512(x: &[f32], w: *const f32, stride: usize, products: &mut [f32]) {
    // SAFETY: as the caller's.
    unsafe { dot_rows_in::<__m512>(x, w, stride, products) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn dot_rows_avx2(x: &[f32], w: *const f32, stride: usize, products: &mut [f32]) {
    // SAFETY: as the caller's.
    unsafe { dot_rows_in::<__m256>(x, w, stride, products) }
}

/// # Safety
/// From `w` on there is a row as long as `x` at each stride, one for each product.
#[allow(clippy::inline_always)]
#[inline(always)]
unsafe fn dot_rows_in<V: Vector>(x: &[f32], w: *const f32, stride: usize, products: &mut [f32]) {
    for (row, product) in products.iter_mut().enumerate() {
        // SAFETY: `at` stays inside the row.
        unsafe {
            let w = w.add(row * stride);
            let mut sums = V::splat(0.0);
            let mut at = 0;
            while at + V::LANES <= x.len() {
                sums = sums.add_product(V::load(x.as_ptr().add(at)), V::load(w.add(at)));
                at += V::LANES;
            }
            *product = sums.sum();
            for (at, x) in x.iter().enumerate().skip(at) {
                *product += x * *w.add(at);
            }
        }
    }
}

/// Some floats of one register.
///
/// The methods need the processor features of their implementation; they are inlined into
/// functions compiled for those.
trait Vector: Copy {
    const LANES: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self + a b`, rounded once.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// The sum of the lanes.
    unsafe fn sum(self) -> f32;
    /// Asks for the cache line of an address, which may lie outside any allocation.
    fn fetch(at: *const f32);
}

macro_rules! vector {
    ($type:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $sum:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[allow(clippy::inline_always)]
        impl Vector for $type {
            const LANES: usize = $lanes;
            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: the caller has the feature.
                unsafe { $splat(x) }
            }
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller has the feature and vouches for the lanes.
                unsafe { $load(from) }
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: as above.
                unsafe { $store(to, self) }
            }
            #[inline(always)]
            unsafe fn add_product(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller has the feature.
                unsafe { $fma(a, b, self) }
            }
            #[inline(always)]
            unsafe fn sum(self) -> f32 {
                // SAFETY: the caller has the feature.
                unsafe { $sum(self) }
            }
            #[inline(always)]
            fn fetch(at: *const f32) {
                // SAFETY: a prefetch never faults.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }
        }
    };
}

vector!(
    __m512,
    16,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    _mm512_reduce_add_ps
);
vector!(
    __m256,
    8,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps,
    sum_of_eight
);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_of_eight(x: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
}

/// Arrays, which become registers where the processor has any.
#[allow(clippy::inline_always)]
impl<const N: usize> Vector for [f32; N] {
    const LANES: usize = N;
    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; N]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller vouches for the lanes; an array has the alignment of its entries.
        unsafe { *from.cast() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above.
        unsafe { *to.cast() = self }
    }
    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], self[lane]))
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.iter().sum()
    }
    #[inline(always)]
    fn fetch(_: *const f32) {}
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn run_avx512(product: Product) {
    // SAFETY: a product's pointers are valid for its shape and strides.
    unsafe { product.by_depth::<__m512, 8>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn run_avx2(product: Product) {
    // SAFETY: as above.
    unsafe { product.by_depth::<__m256, 4>() }
}

// The steps are inlined into the functions above and compiled for their features; plain counted
// loops are what the compiler unrolls into registers.
#[allow(clippy::inline_always, clippy::needless_range_loop)]
impl Product {
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
        unsafe { self.by_depth::<[f32; 4], 4>() }
    }

    /// The product, in tiles of `R` rows and two vectors.
    ///
    /// # Safety
    /// The pointers must be valid for the product's rows, columns and depth at its strides, and
    /// nothing else may hold the entries of `y`. So also below.
    #[inline(always)]
    unsafe fn by_depth<V: Vector, const R: usize>(self) {
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
                    add: self.add || from > 0,
                    ..self
                };
                part.by_columns::<V, R>();
            }
            from += step;
        }
    }

    #[inline(always)]
    unsafe fn by_columns<V: Vector, const R: usize>(self) {
        let mut column = 0;
        // SAFETY: each strip takes columns that are left.
        unsafe {
            while column + 2 * V::LANES <= self.columns {
                self.strip::<V, R, 2>(column);
                column += 2 * V::LANES;
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
            if self.source == Source::Memory && R <= self.rows {
                self.tile::<V, R, C, true>(row, column);
                row += R;
            }
            while row + R <= self.rows {
                self.tile::<V, R, C, false>(row, column);
                row += R;
            }
            while row + 4 <= self.rows {
                self.tile::<V, 4, C, false>(row, column);
                row += 4;
            }
            if row + 2 <= self.rows {
                self.tile::<V, 2, C, false>(row, column);
                row += 2;
            }
            if row < self.rows {
                self.tile::<V, 1, C, false>(row, column);
            }
        }
    }

    /// `R` rows of `C` vectors, in registers; `F` fetches the next rows of `w` meanwhile.
    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const C: usize, const F: bool>(
        self,
        row: usize,
        column: usize,
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
            for k in 0..self.depth {
                let mut vectors = [V::splat(0.0); C];
                for c in 0..C {
                    let at = w.add(k * self.w_row + c * V::LANES);
                    vectors[c] = V::load(at);
                    if F {
                        V::fetch(at.wrapping_add(DEPTH_STREAMED * self.w_row));
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
