//! Where matrices live and operations run.

use std::fmt;
use std::sync::Arc;

use crate::matrix::Matrix;
use crate::threads::Threads;

/// A place that holds matrices and runs operations; cheap to clone.
#[derive(Clone, Debug)]
pub enum Device {
    /// The processor, with threads of its own.
    Cpu(Cpu),
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

    /// The device's name as a user would write it.
    pub fn name(&self) -> &'static str {
        match self {
            Device::Cpu(_) => "cpu",
        }
    }

    /// The number of host threads that share an operation.
    pub fn threads(&self) -> usize {
        let Device::Cpu(cpu) = self;
        cpu.threads().count()
    }

    /// A matrix of zeros on this device.
    pub fn zeros(&self, rows: usize, columns: usize) -> Matrix {
        Matrix::new(self.clone(), rows, columns, vec![0.0; rows * columns])
    }

    /// A matrix of these row-major values on this device.
    pub fn matrix(&self, rows: usize, columns: usize, values: Vec<f32>) -> Matrix {
        Matrix::new(self.clone(), rows, columns, values)
    }
}
