//! Sums over the cards of several processes, by NVIDIA's NCCL.
//!
//! NCCL is found at run time. Its communicator does not block here: whatever may wait for another
//! process is asked for until it is done, and given up where the caller says so, since a card that
//! waits for one that is gone would wait forever.

use std::error::Error;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::{null, null_mut};
use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

use cudarc::driver::DriverError;
use cudarc::driver::sys::{CUresult, CUstream, cuStreamQuery};

use super::fault::done;
use super::listing::expect_none;
use super::{Cuda, CudaError};
use crate::matrix::Matrix;

/// Bytes of a communicator's id.
pub const ID_BYTES: usize = 128;

/// For other processes, as long as ranks wait to meet.
const PATIENCE: Duration = Duration::from_mins(10);
/// Between two looks for the end of a call.
const LOOK: Duration = Duration::from_micros(50);

const SUCCESS: c_int = 0;
const IN_PROGRESS: c_int = 7;
const FLOAT32: c_int = 7;
const SUM: c_int = 0;

type Handle = *mut c_void;

#[repr(C)]
#[derive(Clone, Copy)]
struct Id([u8; ID_BYTES]);

/// `ncclConfig_t` as of NCCL 2.18; later ones take it by its size and version (`parseCommConfig`).
#[repr(C)]
struct Config {
    size: usize,
    magic: c_uint,
    version: c_uint,
    blocking: c_int,
    cga_cluster_size: c_int,
    min_ctas: c_int,
    max_ctas: c_int,
    net_name: *const c_char,
    split_share: c_int,
}

impl Config {
    const WITHOUT_BLOCKING: Self = Self {
        size: size_of::<Self>(),
        magic: 0xcafe_beef,
        version: 21800,
        blocking: 0,
        cga_cluster_size: c_int::MIN,
        min_ctas: c_int::MIN,
        max_ctas: c_int::MIN,
        net_name: null(),
        split_share: c_int::MIN,
    };
}

/// The functions that are called, as `nccl.h` declares them.
struct Library {
    get_version: unsafe extern "C" fn(*mut c_int) -> c_int,
    get_unique_id: unsafe extern "C" fn(*mut Id) -> c_int,
    init: unsafe extern "C" fn(*mut Handle, c_int, Id, c_int, *mut Config) -> c_int,
    get_async_error: unsafe extern "C" fn(Handle, *mut c_int) -> c_int,
    group_start: unsafe extern "C" fn() -> c_int,
    group_end: unsafe extern "C" fn() -> c_int,
    all_reduce: unsafe extern "C" fn(
        *const c_void,
        *mut c_void,
        usize,
        c_int,
        c_int,
        Handle,
        CUstream,
    ) -> c_int,
    abort: unsafe extern "C" fn(Handle) -> c_int,
    error_string: unsafe extern "C" fn(c_int) -> *const c_char,
    last_error: unsafe extern "C" fn(Handle) -> *const c_char,
}

impl Library {
    fn load() -> Result<Self, libloading::Error> {
        // SAFETY: the initialisers of the library are NVIDIA's; each function has the type that
        // its header gives it. The library is never unloaded.
        unsafe {
            let library = Box::leak(Box::new(libloading::Library::new("libnccl.so.2")?));
            Ok(Self {
                get_version: *library.get(b"ncclGetVersion")?,
                get_unique_id: *library.get(b"ncclGetUniqueId")?,
                init: *library.get(b"ncclCommInitRankConfig")?,
                get_async_error: *library.get(b"ncclCommGetAsyncError")?,
                group_start: *library.get(b"ncclGroupStart")?,
                group_end: *library.get(b"ncclGroupEnd")?,
                all_reduce: *library.get(b"ncclAllReduce")?,
                abort: *library.get(b"ncclCommAbort")?,
                error_string: *library.get(b"ncclGetErrorString")?,
                last_error: *library.get(b"ncclGetLastError")?,
            })
        }
    }

    fn get() -> Result<&'static Self, CudaError> {
        static LIBRARY: OnceLock<Result<Library, String>> = OnceLock::new();
        let library = LIBRARY.get_or_init(|| {
            Self::load().map_err(|error| match error.source() {
                Some(words) => words.to_string(),
                None => error.to_string(),
            })
        });
        let missing = |reason: &String| CudaError::NoNccl {
            reason: reason.clone(),
        };
        library.as_ref().map_err(missing)
    }

    /// Passes where a call succeeded, or goes on without its caller.
    fn checked(&self, call: &'static str, code: c_int) -> Result<(), CudaError> {
        if code == SUCCESS || code == IN_PROGRESS {
            return Ok(());
        }
        // SAFETY: both give text that ends with a zero and is never freed, or null.
        let [kind, more] = unsafe { [(self.error_string)(code), (self.last_error)(null_mut())] };
        let text = [kind, more].map(|text| {
            // SAFETY: as above.
            let text = (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) });
            text.map_or(String::new(), |text| text.to_string_lossy().into_owned())
        });
        let [kind, more] = text.each_ref().map(|text| text.trim());
        let reason = if more.is_empty() {
            kind.to_owned()
        } else {
            format!("{kind}: {more}")
        };
        Err(CudaError::Call { call, reason })
    }
}

/// A card among those of other processes, each of which calls the same operations in the same
/// order. Dropped, it gives up what is not done yet.
pub struct Communicator {
    library: &'static Library,
    card: Cuda,
    /// None once an operation has failed.
    handle: Option<Handle>,
}

// SAFETY: NCCL lets any thread use a communicator, one after the other.
unsafe impl Send for Communicator {}
// SAFETY: nothing is called through a shared reference.
unsafe impl Sync for Communicator {}

impl fmt::Debug for Communicator {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "NCCL on {:?}", self.card)
    }
}

impl Communicator {
    /// The version of NCCL on this machine, as `2.27.3`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn version() -> Result<String, CudaError> {
        let library = Library::get()?;
        let mut version = 0;
        // SAFETY: the call writes one number.
        let code = unsafe { (library.get_version)(&raw mut version) };
        library.checked("ncclGetVersion", code)?;
        let (major, minor, patch) = (version / 10_000, version / 100 % 100, version % 100);
        Ok(format!("{major}.{minor}.{patch}"))
    }

    /// A new id, by which the ranks of one communicator find each other: one makes it for all.
    ///
    /// # Errors
    /// Where NCCL cannot listen.
    pub fn id() -> Result<[u8; ID_BYTES], CudaError> {
        let library = Library::get()?;
        let mut id = Id([0; ID_BYTES]);
        // SAFETY: the call writes an id.
        let code = unsafe { (library.get_unique_id)(&raw mut id) };
        library.checked("ncclGetUniqueId", code)?;
        Ok(id.0)
    }

    /// Meets the other ranks, each with a card of its own. Given up where `goes_on` says so, and
    /// after ten minutes.
    ///
    /// # Errors
    /// Where NCCL fails, or it was given up.
    pub fn connect(
        card: &Cuda,
        id: [u8; ID_BYTES],
        rank: usize,
        size: usize,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Self, CudaError> {
        let library = Library::get()?;
        let ranks = [rank, size].map(c_int::try_from);
        let [Ok(rank), Ok(size)] = ranks else {
            panic!("rank {rank} of {size}");
        };
        card.bound_stream();
        let (mut handle, mut config) = (null_mut(), Config::WITHOUT_BLOCKING);
        // SAFETY: the card's context is bound; the call writes a handle, and reads the config
        // before it returns.
        let code = unsafe { (library.init)(&raw mut handle, size, Id(id), rank, &raw mut config) };
        let mut communicator = Self {
            library,
            card: card.clone(),
            handle: (!handle.is_null()).then_some(handle),
        };
        let call = "ncclCommInitRank";
        library.checked(call, code)?;
        communicator.wait_until(call, goes_on, Self::is_idle)?;
        Ok(communicator)
    }

    /// Each value of the matrices becomes the sum of those of all ranks, in float32 and in an order
    /// that is NCCL's. Given up where `goes_on` says so, and after ten minutes: the values are then
    /// worth nothing, and so is the communicator.
    ///
    /// # Errors
    /// Where NCCL fails, or it was given up.
    ///
    /// # Panics
    /// If a matrix is not on the card, or an operation has failed before.
    pub fn all_reduce(
        &mut self,
        matrices: Vec<&mut Matrix>,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<(), CudaError> {
        self.queue(matrices)?;
        self.wait_until("ncclAllReduce", goes_on, |own| {
            Ok(own.is_idle()? && own.is_done()?)
        })
    }

    /// Queues the sums as one call, so that small matrices do not cost a launch each.
    fn queue(&mut self, matrices: Vec<&mut Matrix>) -> Result<(), CudaError> {
        let (library, handle) = (self.library, self.handle());
        expect_none(&self.card.card.stream);
        let stream = self.card.bound_stream();
        // SAFETY: a group takes no arguments.
        let mut code = unsafe { (library.group_start)() };
        for matrix in matrices {
            let count = matrix.rows() * matrix.columns();
            let address = matrix.card_mut().values_mut().address(0) as *mut c_void;
            // SAFETY: the matrix has so many values on the card, and its memory is freed in the
            // order of the stream that the sum is queued on.
            let queued = unsafe {
                (library.all_reduce)(address, address, count, FLOAT32, SUM, handle, stream)
            };
            code = if code == SUCCESS { queued } else { code };
        }
        // SAFETY: as above.
        let ended = unsafe { (library.group_end)() };
        code = if code == SUCCESS { ended } else { code };
        let queued = library.checked("ncclAllReduce", code);
        queued.inspect_err(|_| self.give_up())
    }

    fn handle(&self) -> Handle {
        self.handle
            .expect("a communicator that has failed is used no more")
    }

    /// Whether NCCL has done on the host what it was asked for.
    fn is_idle(&self) -> Result<bool, CudaError> {
        let mut state = SUCCESS;
        // SAFETY: the handle is a communicator's; the call writes one number.
        let code = unsafe { (self.library.get_async_error)(self.handle(), &raw mut state) };
        self.library.checked("ncclCommGetAsyncError", code)?;
        self.library.checked("NCCL", state)?;
        Ok(state == SUCCESS)
    }

    /// Whether the card has done all that is queued.
    fn is_done(&self) -> Result<bool, CudaError> {
        // SAFETY: the stream is the card's own.
        match unsafe { cuStreamQuery(self.card.bound_stream()) } {
            CUresult::CUDA_SUCCESS => Ok(true),
            CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            other => done("cuStreamQuery", Err(DriverError(other))),
        }
    }

    fn wait_until(
        &mut self,
        call: &'static str,
        goes_on: &dyn Fn() -> bool,
        is_over: impl Fn(&Self) -> Result<bool, CudaError>,
    ) -> Result<(), CudaError> {
        let start = Instant::now();
        let given_up = |reason: String| Err(CudaError::Call { call, reason });
        let ended = loop {
            match is_over(self) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => break Err(error),
            }
            if !goes_on() {
                break given_up("given up for another process".to_owned());
            }
            if start.elapsed() >= PATIENCE {
                break given_up(format!("no end after {} s", PATIENCE.as_secs()));
            }
            sleep(LOOK);
        };
        self.give_up();
        ended
    }

    /// Ends whatever still waits for another process, on the host and on the card.
    fn give_up(&mut self) {
        if let Some(handle) = self.handle.take() {
            // An error here was that of an earlier call, which has said so.
            let _ = self.card.context().bind_to_thread();
            // SAFETY: the handle is a communicator's, and nobody has it any more.
            let _ = unsafe { (self.library.abort)(handle) };
        }
    }
}

impl Drop for Communicator {
    fn drop(&mut self) {
        self.give_up();
    }
}
