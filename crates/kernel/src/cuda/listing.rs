//! Work for the card's stream: done in order, or listed while a thread says what it repeats.
//!
//! What a thread lists is not done yet, so memory that it frees meanwhile is kept until it is, and
//! the host can neither read nor write what the list works on. Tables alone are sent at once: no
//! work of the list reads a place before the table that is sent there.

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;

use cudarc::driver::sys::CUstream;
use cudarc::driver::{CudaStream, result};

use super::Cuda;
use super::buffer::{Buffer, bound};
use super::fault::done;
use super::launch::Call;
use super::product::Product;
use super::room::{Block, Room};
use super::table::Places;

/// Something that is put on a stream. Equal work has equal effects on equal memory.
#[derive(PartialEq)]
pub(super) enum Work {
    Call(Call),
    Product(Product),
    /// Bytes of the card's memory to another place of it.
    Copy {
        to: u64,
        from: u64,
        bytes: usize,
    },
    /// Zeros.
    Clear {
        to: u64,
        bytes: usize,
    },
}

/// Work in order, and memory to give back once it is queued.
pub(super) struct Listed {
    pub(super) work: Vec<Work>,
    pub(super) left: Vec<Block>,
}

struct Listing {
    stream: Arc<CudaStream>,
    listed: Listed,
    room: Arc<Room>,
    places: Places,
}

thread_local! {
    static LISTING: RefCell<Option<Listing>> = const { RefCell::new(None) };
}

/// What `work` puts on the stream, which is not done. Its memory comes from `room`, its tables go
/// to `places`.
pub(super) fn list(
    stream: &Arc<CudaStream>,
    room: &Arc<Room>,
    places: &mut Places,
    work: impl FnOnce(),
) -> Listed {
    let is_inner = LISTING.with_borrow(Option::is_some);
    assert!(!is_inner, "repeated work inside of repeated work");
    places.begin();
    let listing = Listing {
        stream: Arc::clone(stream),
        listed: Listed {
            work: Vec::new(),
            left: Vec::new(),
        },
        room: Arc::clone(room),
        places: mem::take(places),
    };
    LISTING.set(Some(listing));
    let end = End;
    work();
    let listing = LISTING.take().expect("only its end takes a listing");
    drop(end);
    *places = listing.places;
    listing.listed
}

/// Ends a listing that a panic has left.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        if let Some(listing) = LISTING.take() {
            for block in listing.listed.left {
                block.give(&listing.stream);
            }
        }
    }
}

/// Of this thread's listing for the stream, if there is one.
fn listing<T>(stream: &CudaStream, change: impl FnOnce(&mut Listing) -> T) -> Option<T> {
    // A thread that ends lists nothing.
    let found = LISTING.try_with(|listing| {
        let mut listing = listing.borrow_mut();
        let listing = listing.as_mut();
        let listing = listing.filter(|listing| listing.stream.cu_stream() == stream.cu_stream());
        listing.map(change)
    });
    found.ok().flatten()
}

/// Queues work, or lists it.
#[track_caller]
pub(super) fn put(stream: &CudaStream, work: Work) {
    let mut work = Some(work);
    listing(stream, |listing| listing.listed.work.extend(work.take()));
    if let Some(work) = work {
        work.start(bound(stream));
    }
}

/// Asserts that nothing is listed, before what cannot be.
#[track_caller]
pub(super) fn expect_none(stream: &CudaStream) {
    let listing = listing(stream, |_| ());
    assert!(
        listing.is_none(),
        "the host waits, or writes, inside of repeated work"
    );
}

/// Memory for what is put on the stream next.
pub(super) fn take(stream: &CudaStream, bytes: usize) -> Block {
    let room = listing(stream, |listing| Arc::clone(&listing.room));
    match room {
        Some(room) => room.take(stream, bytes),
        None => Block::new(stream, bytes),
    }
}

/// Gives memory back that nothing reads that is put on the stream later.
pub(super) fn give(stream: &CudaStream, block: Block) {
    let mut block = Some(block);
    listing(stream, |listing| {
        // The list's own memory is used again by what is listed later alone.
        if block
            .as_ref()
            .is_some_and(|block| !block.is_of(&listing.room))
        {
            listing.listed.left.extend(block.take());
        }
    });
    if let Some(block) = block {
        block.give(stream);
    }
}

/// The table of these values in this thread's listing, if there is one.
pub(super) fn table(cuda: &Cuda, values: &[u32]) -> Option<Arc<Buffer<u32>>> {
    let stream = &cuda.card.stream;
    let mut places = listing(stream, |listing| mem::take(&mut listing.places))?;
    let table = places.table(stream, values);
    listing(stream, |listing| listing.places = places);
    Some(table)
}

impl Work {
    /// Puts it on a stream, whose context is bound to this thread.
    #[track_caller]
    pub(super) fn start(&self, stream: CUstream) {
        match self {
            Work::Call(call) => call.start(stream),
            Work::Product(product) => product.start(stream),
            &Work::Copy { to, from, bytes } => {
                // SAFETY: both ranges are inside their buffers, as asserted where it was made.
                let copied = unsafe { result::memcpy_dtod_async(to, from, bytes, stream) };
                done("cuMemcpyDtoDAsync", copied);
            }
            &Work::Clear { to, bytes } => {
                // SAFETY: the bytes are those of the buffer that is cleared.
                let cleared = unsafe { result::memset_d8_async(to, 0, bytes, stream) };
                done("cuMemsetD8Async", cleared);
            }
        }
    }
}
