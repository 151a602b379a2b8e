//! The operations on an NVIDIA card.
//!
//! Nothing of CUDA is needed to build this or to start without a card: the driver, the compiler of
//! kernels (NVRTC) and cuBLASLt are found at run time. Kernels are CUDA C in `kernels/`, compiled
//! for the card at hand and kept on disk. Products are cuBLASLt's, in bfloat16 with sums in
//! float32, or in float32 throughout; all else is float32.
//!
//! Work is queued on one stream and done in order; only what copies to the host waits for it. Sums
//! run in a fixed order, so equal inputs give equal bits on one card. Work that is repeated is
//! listed first, and then one launch of a graph where it can be (`graph.rs`).
//!
//! An operation that the card refuses leaves all work on it at once (`fault.rs`). Start at
//! [`Cuda`], then read `launch.rs`.

mod buffer;
mod communicator;
mod compile;
mod fault;
mod launch;
mod listing;
mod room;
mod table;

pub(crate) mod attention;
pub(crate) mod elements;
pub(crate) mod graph;
pub(crate) mod head;
pub(crate) mod low_rank;
pub(crate) mod norms;
pub(crate) mod product;
pub(crate) mod rows;
pub(crate) mod sample;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use cudarc::driver::sys::{CUdevice_attribute as Attribute, CUstream};
use cudarc::driver::{CudaContext, CudaStream, result};

pub(crate) use buffer::CardMatrix;
pub use communicator::{Communicator, ID_BYTES};
pub use compile::{PROGRAMS, Program, compile};
use fault::done;
pub use fault::{CudaFault, on_card};
use launch::Module;
use product::Products;
use table::Tables;

/// How a card is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaOptions {
    /// Which of the cards that the driver shows, from 0.
    pub ordinal: u16,
    /// What matrix products are computed in.
    pub precision: Precision,
    /// A folder in which compiled kernels are kept; without one they are compiled at each start.
    pub cache: Option<PathBuf>,
}

/// What matrix products on a card are computed in. All else is float32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Operands rounded to bfloat16, sums in float32.
    Bfloat16,
    /// Operands and sums in float32, without TF32.
    Float32,
}

/// Why a card cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CudaError {
    /// No driver on this machine.
    #[error("no NVIDIA driver was found on this machine, expected libcuda.so.1")]
    NoDriver,
    /// The driver shows no such card.
    #[error("the NVIDIA driver gives no card {ordinal}: {reason}")]
    NoCard {
        /// The card asked for.
        ordinal: usize,
        /// The driver's words.
        reason: String,
    },
    /// A library that comes with CUDA.
    #[error(
        "{library} was not found, expected that of CUDA 13 on the path of libraries \
         (LD_LIBRARY_PATH)"
    )]
    NoLibrary {
        /// Its file.
        library: &'static str,
    },
    /// No NCCL on this machine, or one without a function that is called.
    #[error(
        "{reason}; expected NCCL 2.18 or later as libnccl.so.2 on the path of libraries \
         (LD_LIBRARY_PATH)"
    )]
    NoNccl {
        /// The loader's words.
        reason: String,
    },
    /// A card that is too old.
    #[error("the card's compute capability is {found}, expected 8.0 or more")]
    TooOld {
        /// As `7.5`.
        found: String,
    },
    /// Kernels that do not compile.
    #[error("the kernels of {program} do not compile for {architecture}: {log}")]
    Compile {
        /// Which kernels.
        program: String,
        /// As `sm_90`.
        architecture: String,
        /// The compiler's words.
        log: String,
    },
    /// A call that failed.
    #[error("{call} failed: {reason}")]
    Call {
        /// The call.
        call: &'static str,
        /// Its words.
        reason: String,
    },
}

/// A card, the stream of its work, and its kernels; cheap to clone.
#[derive(Clone)]
pub struct Cuda {
    card: Arc<Card>,
}

struct Card {
    stream: Arc<CudaStream>,
    name: String,
    architecture: String,
    multiprocessors: usize,
    options: CudaOptions,
    modules: Mutex<HashMap<Program, Module>>,
    products: Products,
    tables: Tables,
}

impl fmt::Debug for Cuda {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} ({})", self.card.name, self.card.architecture)
    }
}

impl Cuda {
    /// A card with its general kernels compiled.
    pub(crate) fn new(options: CudaOptions) -> Result<Cuda, CudaError> {
        expect_libraries()?;
        let ordinal = usize::from(options.ordinal);
        let refused = |reason: result::DriverError| CudaError::NoCard {
            ordinal,
            reason: words(reason),
        };
        let context = CudaContext::new(ordinal).map_err(refused)?;
        let (major, minor) = context.compute_capability().map_err(refused)?;
        if major < 8 {
            let found = format!("{major}.{minor}");
            return Err(CudaError::TooOld { found });
        }
        // SAFETY: there is one stream, in whose order everything is done.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(refused)?;
        let name = context.name().map_err(refused)?;
        buffer::keep_memory(i32::from(options.ordinal)).map_err(|error| CudaError::Call {
            call: "cuMemPoolSetAttribute",
            reason: words(error),
        })?;
        let multiprocessors =
            context.attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
        let multiprocessors = multiprocessors.map_err(refused)? as usize;
        let products = Products::new(&stream)?;
        let card = Card {
            architecture: format!("sm_{major}{minor}"),
            multiprocessors,
            stream,
            name,
            options,
            modules: Mutex::default(),
            products,
            tables: Tables::default(),
        };
        let cuda = Cuda {
            card: Arc::new(card),
        };
        cuda.load(Program::Core)?;
        Ok(cuda)
    }

    /// How many cards the driver shows; 0 where there is none.
    pub fn count() -> usize {
        // SAFETY: this loads NVIDIA's library by name.
        let is_there = unsafe { cudarc::driver::sys::is_culib_present() };
        let count = is_there.then(CudaContext::device_count);
        count.map_or(0, |count| count.unwrap_or(0).unsigned_abs() as usize)
    }

    /// The card's name, as the driver has it.
    pub fn name(&self) -> &str {
        &self.card.name
    }

    /// What products are computed in.
    pub fn precision(&self) -> Precision {
        self.card.options.precision
    }

    /// Free memory of the card, in bytes.
    ///
    /// # Panics
    /// If the driver does not say, outside of [`on_card`].
    pub fn free_bytes(&self) -> usize {
        done("cuMemGetInfo", self.context().mem_get_info()).0
    }

    /// Which card this is among all there are, on any machine.
    pub fn uuid(&self) -> [u8; 16] {
        let uuid = done("cuDeviceGetUuid", self.context().uuid());
        uuid.bytes.map(|byte| byte as u8)
    }

    /// The most memory that this process has held of the card, in bytes, but for the driver's own.
    ///
    /// # Panics
    /// As [`Cuda::free_bytes`].
    pub fn peak_bytes(&self) -> usize {
        self.bound_stream();
        let peak = buffer::peak_bytes(i32::from(self.card.options.ordinal));
        done("cuMemPoolGetAttribute", peak)
    }

    /// Waits until all work is done.
    pub(crate) fn wait(&self) {
        listing::expect_none(&self.card.stream);
        done("cuStreamSynchronize", self.card.stream.synchronize());
    }

    fn context(&self) -> &CudaContext {
        self.card.stream.context()
    }

    /// The stream, with the card's context bound to this thread.
    #[track_caller]
    fn bound_stream(&self) -> CUstream {
        buffer::bound(&self.card.stream)
    }
}

/// Bytes that operations on a card hold beside matrices, where the head scores so many rows.
pub fn scratch_bytes(rows: usize) -> usize {
    head::held_bytes(rows) + product::WORKSPACE_BYTES
}

/// The driver's words for an error.
fn words(error: result::DriverError) -> String {
    let text = error.error_string().ok();
    let text = text.and_then(|text| text.to_str().ok().map(str::to_owned));
    text.unwrap_or_else(|| format!("{:?}", error.0))
}

/// Every library is there, so that no later call fails for want of one.
fn expect_libraries() -> Result<(), CudaError> {
    // SAFETY: these load libraries by name, whose initialisers are NVIDIA's.
    let (driver, compiler, products) = unsafe {
        (
            cudarc::driver::sys::is_culib_present(),
            cudarc::nvrtc::sys::is_culib_present(),
            cudarc::cublaslt::sys::is_culib_present(),
        )
    };
    if !driver {
        return Err(CudaError::NoDriver);
    }
    let missing = |library| Err(CudaError::NoLibrary { library });
    if !compiler {
        return missing("libnvrtc.so");
    }
    if !products {
        return missing("libcublasLt.so");
    }
    Ok(())
}
