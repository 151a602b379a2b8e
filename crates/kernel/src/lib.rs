//! The coarse operations of a decoder-only transformer, each forward and hand-written backward,
//! on a device chosen at run time.
//!
//! Legend of the shape suffixes: `n` tokens (rows of a batch without padding), `d` width of the
//! residual stream, `v` vocabulary, `i`/`o` inputs/outputs of a linear map, `m` rows that are
//! scored, `c` columns of the fused query|key|value matrix, `q` columns of all query heads,
//! `h` size of one head, `r` rows decoded together, `k` rank of a map of low rank.
//!
//! Every weight is stored `[in, out]`; the embedding table is stored as the head's weight,
//! `[d, v]`, so that both can be one matrix. A backward adds to the gradients of weights and says
//! of every other output whether it adds or overwrites. Misuse (a shape that does not fit) is a
//! bug of the caller and asserts.
//!
//! Everything is `f32`, but for [`bf16`], which sampling may use.
//!
//! On the CPU, results do not depend on the number of threads: work is cut into parts that never
//! share a sum. Start at [`Device`] and [`Matrix`], then read [`linear`]. An operation's file
//! checks shapes and holds the CPU's code; what an NVIDIA card does instead is in `cuda/`.

mod cuda;
mod threads;
mod vector;

mod device;
mod matrix;
mod packed;
mod product;
mod register;
mod repeated;
mod rms;
mod tile;

pub mod adamw;
pub mod add;
pub mod attention;
pub mod bf16;
pub mod dropout;
pub mod embedding;
pub mod glu;
pub mod head;
pub mod head_norm;
pub mod linear;
pub mod low_rank;
pub mod norm;
pub mod normal;
pub mod panels;
pub mod pool;
pub mod rms_norm;
pub mod rope;
pub mod rows;
pub mod sample;
pub mod scale;
pub mod softcap;

pub use cuda::{
    Communicator, Cuda, CudaError, CudaFault, CudaOptions, ID_BYTES, PROGRAMS, Precision, Program,
    compile, on_card, scratch_bytes,
};
pub use device::{Cpu, Device};
pub use matrix::{Matrix, Mode};
pub use repeated::{Dispatch, Repeated};
pub use rms::Norm;
