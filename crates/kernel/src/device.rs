//! Where matrices live and operations run.

use std::fmt;
use std::sync::Arc;

use crate::cuda::{CardMatrix, Cuda, CudaError, CudaOptions};
use crate::matrix::{Matrix, Values};
use crate::threads::Threads;

/// A place that holds matrices and runs operations; cheap to clone.
#[derive(Clone, Debug)]
pub enum Device {
    /// The processor, with threads of its own.
    Cpu(Cpu),
    /// An NVIDIA card.
    Cuda(Cuda),
}

/// The processor and the threads that share its operations.
#[derive(Clone)]
pub struct Cpu {
    threads: Arc<Threads>,
}

impl fmt::Debug for Cpu {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} threads", self.threads.count())
    }
}

impl Cpu {
    pub(crate) fn threads(&self) -> &Threads {
        &self.threads
    }
}

impl Device {
    /// The processor with this many threads, or as many as there are cores.
    pub fn cpu(threads: Option<usize>) -> Device {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = Arc::new(Threads::new(threads.unwrap_or_else(available)));
        Device::Cpu(Cpu { threads })
    }

    /// An NVIDIA card, with its kernels compiled or read from the cache.
    ///
    /// # Errors
    /// Where there is no such card, or a library that it takes is missing.
    pub fn cuda(options: CudaOptions) -> Result<Device, CudaError> {
        Cuda::new(options).map(Device::Cuda)
    }

    /// The device's name as a user would write it.
    pub fn name(&self) -> &'static str {
        match self {
            Device::Cpu(_) => "cpu",
            Device::Cuda(_) => "cuda",
        }
    }

    /// The number of host threads that share an operation.
    pub fn threads(&self) -> usize {
        match self {
            Device::Cpu(cpu) => cpu.threads().count(),
            Device::Cuda(_) => 1,
        }
    }

    /// Waits until all work that was given to the device is done; a processor's always is.
    pub fn wait(&self) {
        match self {
            Device::Cpu(_) => {}
            Device::Cuda(cuda) => cuda.wait(),
        }
    }

    /// A matrix of zeros on this device.
    pub fn zeros(&self, rows: usize, columns: usize) -> Matrix {
        let values = match self {
            Device::Cpu(_) => Values::Host(vec![0.0; rows * columns]),
            Device::Cuda(cuda) => Values::Card(CardMatrix::zeros(cuda, rows * columns)),
        };
        Matrix::new(self.clone(), rows, columns, values)
    }

    /// A matrix of these row-major values on this device.
    pub fn matrix(&self, rows: usize, columns: usize, values: Vec<f32>) -> Matrix {
        let found = values.len();
        assert_eq!(
            found,
            rows * columns,
            "{found} values, expected {rows} x {columns}"
        );
        let values = match self {
            Device::Cpu(_) => Values::Host(values),
            Device::Cuda(cuda) => Values::Card(CardMatrix::from_slice(cuda, &values)),
        };
        Matrix::new(self.clone(), rows, columns, values)
    }
}
