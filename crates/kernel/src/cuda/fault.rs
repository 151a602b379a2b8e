//! What a card refuses in the middle of its work.
//!
//! No operation gives an error, since no caller could go on without the card: a refusal leaves all
//! of them at once, and [`on_card`] catches it. Without that it is a panic like any other.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use cudarc::driver::result::DriverError;
use cudarc::driver::sys::CUresult;

use super::words;

/// Why a card could not go on. What it held is lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaFault {
    /// Its memory is full.
    #[error(
        "the card has no room for {wanted} MiB more; expected at most {free}, which are free of \
         its {total} MiB"
    )]
    NoRoom {
        /// MiB that were asked for, rounded up.
        wanted: usize,
        /// MiB that were free.
        free: usize,
        /// MiB of the whole card.
        total: usize,
    },
    /// It refuses a call; a kernel's mistake shows at a later one.
    #[error("the card stopped, which showed at {call}: {reason}")]
    Stopped {
        /// The call.
        call: String,
        /// The driver's words.
        reason: String,
    },
}

thread_local! {
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// What `work` gives.
///
/// # Errors
/// Where a card refuses. What `work` was changing is then half changed, and neither that nor the
/// card is to be used again.
pub fn on_card<T>(work: impl FnOnce() -> T) -> Result<T, CudaFault> {
    let outside = CAUGHT.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outside);
    result.map_err(|payload: Box<dyn Any + Send>| {
        let fault = payload.downcast::<CudaFault>();
        *fault.unwrap_or_else(|other| resume_unwind(other))
    })
}

/// Leaves everything up to [`on_card`]; panics where there is none.
#[track_caller]
pub(super) fn raise(fault: CudaFault) -> ! {
    if CAUGHT.get() {
        // No bug, so nothing is said of where it was raised.
        resume_unwind(Box::new(fault));
    }
    panic!("{fault}");
}

/// The value of a driver call that fails only by a bug or broken hardware.
#[track_caller]
pub(super) fn done<T>(call: &str, result: Result<T, DriverError>) -> T {
    result.unwrap_or_else(|error| stopped(call, &words(error)))
}

/// A call that was refused.
#[track_caller]
pub(super) fn stopped(call: &str, reason: &str) -> ! {
    raise(CudaFault::Stopped {
        call: call.to_owned(),
        reason: reason.to_owned(),
    })
}

/// The address of `bytes` that were asked for, of the free and all bytes that `memory` tells.
#[track_caller]
pub(super) fn allocated(
    bytes: usize,
    result: Result<u64, DriverError>,
    memory: impl FnOnce() -> (usize, usize),
) -> u64 {
    match result {
        Err(DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY)) => {
            let (free, total) = memory();
            raise(CudaFault::NoRoom {
                wanted: bytes.div_ceil(1 << 20),
                free: free >> 20,
                total: total >> 20,
            })
        }
        result => done("cuMemAllocAsync", result),
    }
}
