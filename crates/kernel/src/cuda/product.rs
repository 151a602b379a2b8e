//! Matrix products by cuBLASLt.
//!
//! Matrices here are row-major; cuBLASLt's are column-major, to which a row-major matrix is its own
//! transpose. So `C = A B` is computed as `Cᵀ = Bᵀ Aᵀ`.

use std::collections::HashMap;
use std::ffi::c_void;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use cudarc::cublaslt::result;
use cudarc::cublaslt::sys::{
    cublasComputeType_t as Compute, cublasLtHandle_t, cublasLtMatmulAlgo_t, cublasLtMatmulDesc_t,
    cublasLtMatmulDescAttributes_t as Attribute,
    cublasLtMatmulPreferenceAttributes_t as Preference, cublasLtMatrixLayout_t,
    cudaDataType_t as DataType,
};
use cudarc::driver::CudaStream;
use cudarc::driver::sys::CUstream;

use super::buffer::{Buffer, bound};
use super::fault::stopped;
use super::listing::{Work, put};
use super::{Cuda, CudaError, Precision, elements};
use crate::matrix::{Matrix, Mode};

/// Memory that a product may use beside its operands.
pub(super) const WORKSPACE_BYTES: usize = 32 << 20;

/// cuBLASLt, and the algorithm it chose for each shape.
pub(super) struct Products {
    handle: cublasLtHandle_t,
    workspace: Buffer<u32>,
    algorithms: Mutex<HashMap<Shape, cublasLtMatmulAlgo_t>>,
}

// SAFETY: a handle of cuBLASLt may be used by several threads.
unsafe impl Send for Products {}
// SAFETY: as above; the rest is behind a lock.
unsafe impl Sync for Products {}

/// Everything that the choice of an algorithm depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Shape {
    rows: usize,
    columns: usize,
    inner: usize,
    transposed: [bool; 2],
    strides: [usize; 3],
    /// Whether the addresses are multiples of 16 bytes.
    aligned: [bool; 3],
    half: bool,
    adds: bool,
}

/// A product that is ready to be queued.
#[derive(PartialEq)]
pub(super) struct Product {
    handle: cublasLtHandle_t,
    shape: Shape,
    algorithm: cublasLtMatmulAlgo_t,
    /// Of the left and the right operand, and of the target.
    addresses: [u64; 3],
    workspace: u64,
}

/// An operand: all rows of a matrix and a range of its columns, or the transpose of that.
#[derive(Clone)]
pub(crate) struct Operand<'a> {
    matrix: &'a Matrix,
    columns: Range<usize>,
    transposed: bool,
    is_weight: bool,
}

impl<'a> Operand<'a> {
    /// A whole matrix.
    pub(crate) fn new(matrix: &'a Matrix) -> Operand<'a> {
        Operand {
            matrix,
            columns: 0..matrix.columns(),
            transposed: false,
            is_weight: false,
        }
    }

    /// A matrix that many products read before it changes.
    pub(crate) fn weight(matrix: &'a Matrix) -> Operand<'a> {
        Operand {
            is_weight: true,
            ..Operand::new(matrix)
        }
    }

    pub(crate) fn columns(self, columns: Range<usize>) -> Operand<'a> {
        assert!(
            columns.end <= self.matrix.columns(),
            "columns of an operand"
        );
        Operand { columns, ..self }
    }

    pub(crate) fn transposed(self) -> Operand<'a> {
        Operand {
            transposed: !self.transposed,
            ..self
        }
    }

    /// Rows and columns as the product sees them.
    fn shape(&self) -> (usize, usize) {
        let (rows, columns) = (self.matrix.rows(), self.columns.len());
        if self.transposed {
            (columns, rows)
        } else {
            (rows, columns)
        }
    }

    fn length(&self) -> usize {
        self.matrix.rows() * self.matrix.columns()
    }
}

/// `target[:, columns] = a b`, or `+= a b`.
pub(crate) fn multiply(
    cuda: &Cuda,
    a: &Operand,
    b: &Operand,
    (target, columns): (&mut Matrix, Range<usize>),
    mode: Mode,
) {
    let (rows, inner) = a.shape();
    let found = (b.shape(), target.rows(), columns.len());
    let expected = ((inner, columns.len()), rows, b.shape().1);
    assert_eq!(found, expected, "the shapes of a product");
    if rows == 0 || columns.is_empty() {
        return;
    }
    let adds = mode == Mode::Add;
    if inner == 0 {
        assert!(
            adds || columns.len() == target.columns(),
            "a product of nothing"
        );
        if !adds {
            target.fill(0.0);
        }
        return;
    }
    let stride = target.columns();
    let half = cuda.precision() == Precision::Bfloat16;
    let (a_cast, b_cast) = (Cast::new(cuda, a, half), Cast::new(cuda, b, half));
    let into = target.card_mut().values_mut().address(columns.start);
    let (left, right) = (a_cast.address(a), b_cast.address(b));
    let shape = Shape {
        rows,
        columns: columns.len(),
        inner,
        transposed: [a.transposed, b.transposed],
        strides: [a.matrix.columns(), b.matrix.columns(), stride],
        aligned: [left, right, into].map(|address| address % 16 == 0),
        half,
        adds,
    };
    run(cuda, &shape, [left, right, into]);
}

/// `y = x W`, or `+=`, with both operands rounded to bfloat16, whatever products are computed in.
pub(super) fn multiply_rounded(
    cuda: &Cuda,
    x_ni: &Matrix,
    weight_io: &Buffer<u16>,
    y_no: &mut Matrix,
    mode: Mode,
) {
    let (rows, inner, columns) = (x_ni.rows(), x_ni.columns(), y_no.columns());
    if rows == 0 || inner == 0 || columns == 0 {
        return;
    }
    let x = elements::halved(cuda, x_ni.card().values(), rows * inner);
    let into = y_no.card_mut().values_mut().address(0);
    let shape = Shape {
        rows,
        columns,
        inner,
        transposed: [false; 2],
        strides: [inner, columns, columns],
        aligned: [true; 3],
        half: true,
        adds: mode == Mode::Add,
    };
    run(cuda, &shape, [x.address(0), weight_io.address(0), into]);
}

#[track_caller]
fn run(cuda: &Cuda, shape: &Shape, addresses: [u64; 3]) {
    let products = &cuda.card.products;
    let algorithm = products.algorithm(shape);
    let product = Product {
        handle: products.handle,
        shape: *shape,
        algorithm: algorithm.unwrap_or_else(|error| refused(shape, error)),
        addresses,
        workspace: products.workspace.address(0),
    };
    put(&cuda.card.stream, Work::Product(product));
}

#[track_caller]
fn refused(shape: &Shape, error: result::CublasError) -> ! {
    let (rows, columns) = (shape.rows, shape.columns);
    let call = format!("cuBLASLt's product of {rows} x {} x {columns}", shape.inner);
    stopped(&call, &error.to_string())
}

impl Product {
    /// Puts it on a stream, whose context is bound to this thread.
    #[track_caller]
    pub(super) fn start(&self, stream: CUstream) {
        let started = self.queue(stream);
        started.unwrap_or_else(|error| refused(&self.shape, error));
    }

    fn queue(&self, stream: CUstream) -> Result<(), result::CublasError> {
        let plan = Plan::new(&self.shape)?;
        let (alpha, beta) = (1.0_f32, if self.shape.adds { 1.0_f32 } else { 0.0 });
        let [a, b, c] = self.addresses.map(|address| address as *const c_void);
        // SAFETY: the layouts say what the operands hold, as asserted where the shape was made; the
        // scalars are float32, as the plan says, and read before the call returns; the handle and
        // the workspace live as long as the card.
        unsafe {
            result::matmul(
                self.handle,
                plan.product,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                b,
                plan.layouts[0],
                a,
                plan.layouts[1],
                c,
                plan.layouts[2],
                c.cast_mut(),
                plan.layouts[2],
                &raw const self.algorithm,
                self.workspace as *mut c_void,
                WORKSPACE_BYTES,
                stream.cast(),
            )
        }
    }
}

/// The memory that a product reads for an operand.
enum Cast<'a> {
    Whole(&'a Buffer<f32>),
    /// The copy that a weight keeps.
    Kept(&'a Buffer<u16>),
    Made(Buffer<u16>),
}

impl<'a> Cast<'a> {
    fn new(cuda: &Cuda, operand: &Operand<'a>, half: bool) -> Cast<'a> {
        let values = operand.matrix.card();
        if !half {
            Cast::Whole(values.values())
        } else if operand.is_weight {
            Cast::Kept(values.half(cuda, operand.length()))
        } else {
            Cast::Made(elements::halved(cuda, values.values(), operand.length()))
        }
    }

    fn address(&self, operand: &Operand) -> u64 {
        let first = operand.columns.start;
        match self {
            Cast::Whole(values) => values.address(first),
            Cast::Kept(values) => values.address(first),
            Cast::Made(values) => values.address(first),
        }
    }
}

impl Products {
    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Products, CudaError> {
        bound(stream);
        let handle = result::create_handle().map_err(|error| CudaError::Call {
            call: "cublasLtCreate",
            reason: error.to_string(),
        })?;
        Ok(Products {
            handle,
            workspace: Buffer::unset_on(stream, WORKSPACE_BYTES / size_of::<u32>()),
            algorithms: Mutex::default(),
        })
    }

    /// cuBLASLt's choice for a shape, asked for once.
    fn algorithm(&self, shape: &Shape) -> Result<cublasLtMatmulAlgo_t, result::CublasError> {
        let mut algorithms = self.algorithms.lock().expect("no thread panics in here");
        if let Some(algorithm) = algorithms.get(shape) {
            return Ok(*algorithm);
        }
        let plan = Plan::new(shape)?;
        let preference = result::create_matmul_pref()?;
        let (workspace, [a, b, c]) = (WORKSPACE_BYTES, shape.aligned);
        let least = if shape.half { 2_u32 } else { 4 };
        let bytes = |aligned: bool| if aligned { 16 } else { least };
        let alignments = [
            (
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
                bytes(b),
            ),
            (
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
                bytes(a),
            ),
            (
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                bytes(c).max(4),
            ),
            (
                Preference::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
                bytes(c).max(4),
            ),
        ];
        // SAFETY: the handles are alive; the values have the types of their attributes.
        let chosen = unsafe {
            result::set_matmul_pref_attribute(
                preference,
                Preference::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                (&raw const workspace).cast(),
                size_of::<usize>(),
            )?;
            for (attribute, bytes) in &alignments {
                let bytes = (&raw const *bytes).cast();
                result::set_matmul_pref_attribute(preference, *attribute, bytes, 4)?;
            }
            let [b, a, c] = plan.layouts;
            let chosen = result::get_matmul_algo_heuristic(
                self.handle,
                plan.product,
                b,
                a,
                c,
                c,
                preference,
            );
            result::destroy_matmul_pref(preference)?;
            chosen?
        };
        algorithms.insert(*shape, chosen.algo);
        Ok(chosen.algo)
    }
}

impl Drop for Products {
    fn drop(&mut self) {
        // SAFETY: the handle was made in `new` and is destroyed once. Nothing is left to do about
        // an error.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// Descriptions of a product and of its right, left and target matrices, in this order.
struct Plan {
    product: cublasLtMatmulDesc_t,
    layouts: [cublasLtMatrixLayout_t; 3],
}

impl Plan {
    fn new(shape: &Shape) -> Result<Plan, result::CublasError> {
        let kind = if shape.half {
            DataType::CUDA_R_16BF
        } else {
            DataType::CUDA_R_32F
        };
        let [a, b, c] = shape
            .strides
            .map(usize::cast_signed)
            .map(|stride| stride as i64);
        // A stored row-major matrix is, column-major, its transpose.
        let layout = |(rows, columns): (usize, usize), transposed: bool, stride| {
            let (across, down) = if transposed {
                (rows, columns)
            } else {
                (columns, rows)
            };
            result::create_matrix_layout(kind, across as u64, down as u64, stride)
        };
        let (rows, columns) = (shape.rows as u64, shape.columns as u64);
        let layouts = [
            layout((shape.inner, shape.columns), shape.transposed[1], b)?,
            layout((shape.rows, shape.inner), shape.transposed[0], a)?,
            result::create_matrix_layout(DataType::CUDA_R_32F, columns, rows, c)?,
        ];
        let product =
            result::create_matmul_desc(Compute::CUBLAS_COMPUTE_32F, DataType::CUDA_R_32F)?;
        let turns = [
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSA, shape.transposed[1]),
            (Attribute::CUBLASLT_MATMUL_DESC_TRANSB, shape.transposed[0]),
        ];
        for (attribute, transposed) in turns {
            let turn = i32::from(transposed);
            // SAFETY: the description is alive; the attribute is a 32-bit number.
            unsafe {
                let turn = (&raw const turn).cast();
                result::set_matmul_desc_attribute(product, attribute, turn, 4)?;
            }
        }
        Ok(Plan { product, layouts })
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        // SAFETY: all were made in `new` and are destroyed once; an error leaves nothing to do.
        unsafe {
            let _ = result::destroy_matmul_desc(self.product);
            for layout in self.layouts {
                let _ = result::destroy_matrix_layout(layout);
            }
        }
    }
}
