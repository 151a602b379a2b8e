//! Launches of kernels, whose arguments are checked against the kernel's own declaration.

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::Arc;

use cudarc::driver::result;
use cudarc::driver::sys::{CUfunction, CUfunction_attribute, CUstream};

use super::buffer::{Buffer, Element};
use super::compile::{Program, cubin, parameters};
use super::fault::{done, stopped};
use super::listing::{Work, put};
use super::{Cuda, CudaError, words};

/// Threads of a block of a kernel that walks entries.
pub(super) const THREADS: usize = 256;
/// Bytes of shared memory that a kernel has without asking.
const SHARED_FREE: usize = 48 << 10;

/// The kernels of a program on a card.
pub(super) struct Module {
    kernels: HashMap<String, Arc<Kernel>>,
}

struct Kernel {
    function: CUfunction,
    /// The types of its parameters, as in its source.
    parameters: Vec<String>,
}

// SAFETY: handles of the driver may be used by every thread that has bound the context.
unsafe impl Send for Kernel {}
// SAFETY: as above; nothing of a kernel changes.
unsafe impl Sync for Kernel {}

/// A launch that is being put together.
pub(super) struct Launch<'a> {
    cuda: &'a Cuda,
    name: &'static str,
    kernel: Arc<Kernel>,
    kinds: Vec<&'static str>,
    values: Vec<u64>,
}

/// A launch that is put together.
#[derive(PartialEq)]
pub(super) struct Call {
    name: &'static str,
    function: CUfunction,
    grid: [u32; 3],
    threads: [u32; 2],
    /// Dynamic shared memory of a block in bytes.
    shared: usize,
    /// Each argument's bytes, the lowest first.
    values: Vec<u64>,
}

impl Cuda {
    /// Compiles a program, or reads it from the cache, and loads it.
    pub(super) fn load(&self, program: Program) -> Result<(), CudaError> {
        let card = &self.card;
        let image = cubin(program, &card.architecture, card.options.cache.as_deref())?;
        let failed = |call| {
            move |error| CudaError::Call {
                call,
                reason: words(error),
            }
        };
        self.bound_stream();
        // SAFETY: the image is what the compiler gave, and is copied by the call.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
        let module = module.map_err(failed("cuModuleLoadData"))?;
        let mut kernels = HashMap::new();
        for (name, parameters) in parameters(&program.source()) {
            let symbol = CString::new(name.clone()).expect("a name in a source has no NUL");
            // SAFETY: the module was loaded above and is never unloaded.
            let function = unsafe { result::module::get_function(module, symbol) };
            let function = function.map_err(failed("cuModuleGetFunction"))?;
            let kernel = Kernel {
                function,
                parameters,
            };
            kernels.insert(name, Arc::new(kernel));
        }
        let mut modules = card.modules.lock().expect("no thread panics in here");
        modules.insert(program, Module { kernels });
        Ok(())
    }

    /// A launch of a kernel, to be given its arguments in order.
    pub(super) fn kernel(&self, program: Program, name: &'static str) -> Launch<'_> {
        let loaded = || {
            let modules = self.card.modules.lock().expect("no thread panics in here");
            let module = modules.get(&program)?;
            let kernel = module.kernels.get(name);
            let kernel = kernel.unwrap_or_else(|| panic!("no kernel {name}"));
            Some(Arc::clone(kernel))
        };
        let kernel = loaded().unwrap_or_else(|| {
            if let Err(error) = self.load(program) {
                stopped(name, &error.to_string());
            }
            loaded().expect("a program that was just loaded")
        });
        Launch {
            cuda: self,
            name,
            kernel,
            kinds: Vec::new(),
            values: Vec::new(),
        }
    }

    /// A launch of a kernel of the core program.
    pub(super) fn core(&self, name: &'static str) -> Launch<'_> {
        self.kernel(Program::Core, name)
    }
}

impl<'a> Launch<'a> {
    fn argument(mut self, kind: &'static str, value: u64) -> Self {
        self.kinds.push(kind);
        self.values.push(value);
        self
    }

    /// A buffer that the kernel reads, and which lives until it is launched.
    pub(super) fn read<T: Element>(self, buffer: &'a Buffer<T>) -> Self {
        self.argument(T::READ, buffer.address(0))
    }

    /// A buffer that the kernel writes.
    pub(super) fn write<T: Element>(self, buffer: &mut Buffer<T>) -> Self {
        self.argument(T::WRITE, buffer.address(0))
    }

    /// A `size_t`.
    pub(super) fn size(self, size: usize) -> Self {
        self.argument("size_t", size as u64)
    }

    /// A `float`.
    pub(super) fn number(self, number: f32) -> Self {
        self.argument("float", u64::from(number.to_bits()))
    }

    /// A `u32`.
    pub(super) fn word(self, word: u32) -> Self {
        self.argument("u32", u64::from(word))
    }

    /// A `u64`.
    pub(super) fn long(self, long: u64) -> Self {
        self.argument("u64", long)
    }

    /// Runs over `count` entries, which the kernel walks with the stride of the grid; the count is
    /// no argument yet.
    pub(super) fn over(self, count: usize) {
        let blocks = count
            .div_ceil(THREADS)
            .min(32 * self.cuda.card.multiprocessors);
        self.run([blocks, 1, 1], [THREADS, 1], 0);
    }

    /// Runs a grid of blocks; `shared` is the dynamic shared memory of a block in bytes. An empty
    /// grid runs nothing.
    pub(super) fn run(self, grid: [usize; 3], threads: [usize; 2], shared: usize) {
        let Launch { cuda, name, .. } = self;
        assert_eq!(self.kinds, self.kernel.parameters, "arguments of {name}");
        if grid.contains(&0) {
            return;
        }
        let fits = grid[0] < 1 << 31 && grid[1] < 1 << 16 && grid[2] < 1 << 16;
        assert!(fits, "a grid of {grid:?} for {name}");
        let call = Call {
            name,
            function: self.kernel.function,
            grid: grid.map(|count| count as u32),
            threads: threads.map(|count| count as u32),
            shared,
            values: self.values,
        };
        put(&cuda.card.stream, Work::Call(call));
    }
}

impl Call {
    /// Puts it on a stream, whose context is bound to this thread.
    #[track_caller]
    pub(super) fn start(&self, stream: CUstream) {
        if self.shared > SHARED_FREE {
            let wanted = CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let bytes = self.shared.cast_signed() as i32;
            // SAFETY: the function is of a module that is never unloaded.
            let set =
                unsafe { result::function::set_function_attribute(self.function, wanted, bytes) };
            done("cuFuncSetAttribute", set);
        }
        let pointer = |value: &u64| (&raw const *value).cast_mut().cast::<c_void>();
        let mut arguments: Vec<_> = self.values.iter().map(pointer).collect();
        let ([x, y, z], [across, down]) = (self.grid, self.threads);
        // SAFETY: number and types of the arguments are those of the kernel's declaration, as
        // asserted where it was put together, and the call copies them; buffers live until work
        // queued before their release is done; that a kernel stays inside them is tested on every
        // shape of the tests with guarded memory.
        let launched = unsafe {
            result::launch_kernel(
                self.function,
                (x, y, z),
                (across, down, 1),
                self.shared as u32,
                stream,
                &mut arguments,
            )
        };
        done(self.name, launched);
    }
}
