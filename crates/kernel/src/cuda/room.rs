//! Pieces of the card's memory, and where repeated work finds those it had the last time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use cudarc::driver::{CudaStream, result};

use super::buffer::bound;
use super::fault::{allocated, done};

/// A piece of the card's memory.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) pointer: u64,
    bytes: usize,
    /// To where it goes back, in place of the driver.
    room: Option<Arc<Room>>,
}

/// Memory of work that is repeated. What is taken depends on nothing but what is free, so work that
/// asks for the same in the same order has the same addresses each time.
pub(super) struct Room {
    /// Bytes and address of what is free; none once the work is not repeated any more.
    free: Mutex<Option<BTreeSet<(usize, u64)>>>,
}

impl Block {
    /// Asks the driver, which gives the memory in the stream's order.
    pub(super) fn new(stream: &CudaStream, bytes: usize) -> Block {
        // SAFETY: the stream is the card's own.
        let pointer = unsafe { result::malloc_async(bound(stream), bytes) };
        let memory = || done("cuMemGetInfo", stream.context().mem_get_info());
        Block {
            pointer: allocated(bytes, pointer, memory),
            bytes,
            room: None,
        }
    }

    pub(super) fn is_of(&self, room: &Arc<Room>) -> bool {
        self.room.as_ref().is_some_and(|own| Arc::ptr_eq(own, room))
    }

    /// Gives the memory back, to be used by what is queued later.
    pub(super) fn give(self, stream: &CudaStream) {
        let kept = self.room.is_some_and(|room| {
            let mut free = room.free.lock().expect("no thread panics in here");
            let free = free.as_mut();
            free.is_some_and(|free| free.insert((self.bytes, self.pointer)))
        });
        if !kept {
            free(stream, self.pointer);
        }
    }
}

impl Room {
    pub(super) fn new() -> Arc<Room> {
        let free = Mutex::new(Some(BTreeSet::new()));
        Arc::new(Room { free })
    }

    /// The smallest that is free and fits, unless it is more than twice as large; else a new one.
    pub(super) fn take(self: &Arc<Room>, stream: &CudaStream, bytes: usize) -> Block {
        let fits = (bytes, 0)..=(2 * bytes, u64::MAX);
        let found = {
            let mut free = self.free.lock().expect("no thread panics in here");
            let free = free.as_mut().expect("a room that is open");
            let found = free.range(fits).next().copied();
            found.inspect(|block| assert!(free.remove(block)))
        };
        let room = Some(Arc::clone(self));
        match found {
            Some((bytes, pointer)) => Block {
                pointer,
                bytes,
                room,
            },
            None => Block {
                room,
                ..Block::new(stream, bytes)
            },
        }
    }

    /// Gives all memory that is free back to the driver, and later the rest.
    pub(super) fn close(&self, stream: &CudaStream) {
        let blocks = self.free.lock().expect("no thread panics in here").take();
        for (_, pointer) in blocks.into_iter().flatten() {
            free(stream, pointer);
        }
    }
}

fn free(stream: &CudaStream, pointer: u64) {
    // An error here was that of an earlier call, which has said so.
    let _ = stream.context().bind_to_thread();
    // SAFETY: nobody else holds the pointer; the stream frees it after the work before it.
    let _ = unsafe { result::free_async(pointer, stream.cu_stream()) };
}
