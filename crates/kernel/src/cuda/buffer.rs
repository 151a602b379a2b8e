//! Memory of the card.

use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use cudarc::driver::sys::{CUmemPool_attribute, CUstream};
use cudarc::driver::{CudaStream, result};

use super::Cuda;
use super::fault::done;
use super::listing::{Work, expect_none, give, put, take};
use super::room::Block;

/// A type that a buffer may hold, and its name in the kernels.
pub(crate) trait Element: Copy {
    /// As a parameter that is read.
    const READ: &'static str;
    /// As a parameter that is written.
    const WRITE: &'static str;
}

macro_rules! elements {
    ($($type:ty: $read:literal, $write:literal;)*) => {$(
        impl Element for $type {
            const READ: &'static str = $read;
            const WRITE: &'static str = $write;
        }
    )*};
}

elements! {
    f32: "const float*", "float*";
    f64: "const double*", "double*";
    u32: "const u32*", "u32*";
    u64: "const u64*", "u64*";
    // The bits of a bfloat16.
    u16: "const bf16*", "bf16*";
}

/// Some entries in the card's memory.
pub(crate) struct Buffer<T: Element> {
    stream: Arc<CudaStream>,
    block: Block,
    length: usize,
    entries: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// Room for so many entries of any value.
    pub(super) fn unset(cuda: &Cuda, length: usize) -> Buffer<T> {
        Buffer::unset_on(&cuda.card.stream, length)
    }

    pub(super) fn unset_on(stream: &Arc<CudaStream>, length: usize) -> Buffer<T> {
        Buffer::of(stream, take(stream, bytes::<T>(length)), length)
    }

    /// A copy of these values that is there before any work that is still listed.
    pub(super) fn sent(stream: &Arc<CudaStream>, values: &[T]) -> Buffer<T> {
        let length = values.len();
        let block = Block::new(stream, bytes::<T>(length));
        let mut buffer = Buffer::of(stream, block, length);
        buffer.send(values);
        buffer
    }

    fn of(stream: &Arc<CudaStream>, block: Block, length: usize) -> Buffer<T> {
        Buffer {
            stream: Arc::clone(stream),
            block,
            length,
            entries: PhantomData,
        }
    }

    /// So many zeros.
    pub(super) fn zeros(cuda: &Cuda, length: usize) -> Buffer<T> {
        let mut buffer = Buffer::unset(cuda, length);
        buffer.clear();
        buffer
    }

    /// A copy of these values.
    pub(super) fn from_slice(cuda: &Cuda, values: &[T]) -> Buffer<T> {
        let mut buffer = Buffer::unset(cuda, values.len());
        buffer.write(values);
        buffer
    }

    /// The address of the entry at `offset`.
    pub(super) fn address(&self, offset: usize) -> u64 {
        assert!(offset <= self.length, "entry {offset} of {}", self.length);
        self.block.pointer + (offset * size_of::<T>()) as u64
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Sets every entry to zero.
    pub(super) fn clear(&mut self) {
        let (to, bytes) = (self.block.pointer, self.length * size_of::<T>());
        put(&self.stream, Work::Clear { to, bytes });
    }

    /// Overwrites the first entries.
    pub(super) fn write(&mut self, values: &[T]) {
        expect_none(&self.stream);
        self.send(values);
    }

    /// Overwrites the first entries before any work that is still listed.
    pub(super) fn send(&mut self, values: &[T]) {
        assert!(values.len() <= self.length, "more values than entries");
        if values.is_empty() {
            return;
        }
        let stream = bound(&self.stream);
        // SAFETY: the entries are this buffer's; the driver has read pageable memory of the host
        // when the call returns.
        let written = unsafe { result::memcpy_htod_async(self.block.pointer, values, stream) };
        done("cuMemcpyHtoDAsync", written);
    }

    /// Overwrites `count` entries from `at` on by those of another buffer from `start` on.
    pub(super) fn copy(&mut self, at: usize, from: &Buffer<T>, start: usize, count: usize) {
        let inside = at + count <= self.length && start + count <= from.length;
        assert!(inside, "a copy beyond its buffers");
        let bytes = count * size_of::<T>();
        if bytes == 0 {
            return;
        }
        let (to, from) = (self.address(at), from.address(start));
        put(&self.stream, Work::Copy { to, from, bytes });
    }

    /// A copy of the first entries on the host, once all work before it is done.
    pub(super) fn to_vec(&self, count: usize) -> Vec<T>
    where
        T: Default,
    {
        assert!(count <= self.length, "{count} entries of {}", self.length);
        expect_none(&self.stream);
        let mut values = vec![T::default(); count];
        if count == 0 {
            return values;
        }
        let stream = bound(&self.stream);
        // SAFETY: the vector has as many entries as are copied, and lives until they are.
        let copied = unsafe { result::memcpy_dtoh_async(&mut values, self.block.pointer, stream) };
        done("cuMemcpyDtoHAsync", copied);
        // SAFETY: the stream is the card's own.
        let waited = unsafe { result::stream::synchronize(stream) };
        done("cuStreamSynchronize", waited);
        values
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        give(&self.stream, self.block.clone());
    }
}

/// Bytes of so many entries, at least one.
fn bytes<T>(length: usize) -> usize {
    (length * size_of::<T>()).max(1)
}

/// The values of a matrix on a card.
pub(crate) struct CardMatrix {
    values: Buffer<f32>,
    /// The values in bfloat16, where a product has read them as its weight.
    half: OnceLock<Buffer<u16>>,
}

impl CardMatrix {
    pub(crate) fn zeros(cuda: &Cuda, length: usize) -> CardMatrix {
        CardMatrix::new(Buffer::zeros(cuda, length))
    }

    pub(crate) fn from_slice(cuda: &Cuda, values: &[f32]) -> CardMatrix {
        CardMatrix::new(Buffer::from_slice(cuda, values))
    }

    fn new(values: Buffer<f32>) -> CardMatrix {
        let half = OnceLock::new();
        CardMatrix { values, half }
    }

    /// A copy of the first entries, which are all.
    pub(crate) fn copied(&self, length: usize) -> CardMatrix {
        let mut values = Buffer::unset_on(&self.values.stream, length);
        values.copy(0, &self.values, 0, length);
        CardMatrix::new(values)
    }

    pub(crate) fn to_vec(&self, length: usize) -> Vec<f32> {
        self.values.to_vec(length)
    }

    pub(crate) fn write(&mut self, values: &[f32]) {
        self.values_mut().write(values);
    }

    /// Makes room for so many entries; they have any value where there was too little.
    pub(crate) fn resize(&mut self, length: usize) {
        if length > self.values.length {
            let stream = Arc::clone(&self.values.stream);
            // Freed first, so that both are never held at once.
            self.values = Buffer::unset_on(&stream, 0);
            self.values = Buffer::unset_on(&stream, length);
        }
        self.half.take();
    }

    /// Overwrites `count` entries from `at` on.
    pub(crate) fn copy(&mut self, at: usize, from: &CardMatrix, start: usize, count: usize) {
        self.values_mut().copy(at, &from.values, start, count);
    }

    pub(super) fn values(&self) -> &Buffer<f32> {
        &self.values
    }

    /// The values to be changed, which no copy in bfloat16 outlives.
    pub(super) fn values_mut(&mut self) -> &mut Buffer<f32> {
        self.half.take();
        &mut self.values
    }

    /// The first `length` values in bfloat16, kept until the values change.
    pub(super) fn half(&self, cuda: &Cuda, length: usize) -> &Buffer<u16> {
        self.half
            .get_or_init(|| super::elements::halved(cuda, &self.values, length))
    }
}

/// Memory that is freed stays with the process, so that after the first step none is asked for.
pub(super) fn keep_memory(ordinal: i32) -> Result<(), result::DriverError> {
    let mut threshold = u64::MAX;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the attribute is an unsigned 64-bit number.
    unsafe {
        let card = result::device::get(ordinal)?;
        let pool = result::device::get_default_mem_pool(card)?;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast())
    }
}

/// The most that the pool of this process has held.
pub(super) fn peak_bytes(ordinal: i32) -> Result<usize, result::DriverError> {
    let mut bytes = 0_u64;
    let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH;
    // SAFETY: the attribute is an unsigned 64-bit number.
    unsafe {
        let card = result::device::get(ordinal)?;
        let pool = result::device::get_default_mem_pool(card)?;
        result::mem_pool::get_attribute(pool, attribute, (&raw mut bytes).cast())?;
    }
    Ok(bytes as usize)
}

/// The stream, with its card's context bound to this thread.
#[track_caller]
pub(super) fn bound(stream: &CudaStream) -> CUstream {
    done("cuCtxSetCurrent", stream.context().bind_to_thread());
    stream.cu_stream()
}
