//! Work that is done again and again with other numbers, such as a step of decoding.

use crate::cuda::graph::Turns;
use crate::device::Device;

/// Work that is repeated on a device, by one thread at a time.
///
/// On a card a turn that equals the one before but for the values of its tables (ids, positions,
/// places in a cache, what rows see) is captured as a CUDA graph, and every such turn after it is
/// one launch. The numbers are those of launching each operation, to the bit. On the processor it
/// is what it is without this.
pub struct Repeated {
    turns: Option<Turns>,
}

/// How a turn reached the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatch {
    /// Operation by operation.
    Eager,
    /// As a new graph, of this turn.
    Captured,
    /// As the graph of before, updated to this turn.
    Updated,
    /// As the graph of before.
    Replayed,
}

impl Repeated {
    /// Work on this device that has not been done yet.
    pub fn new(device: &Device) -> Repeated {
        let turns = match device {
            Device::Cpu(_) => None,
            Device::Cuda(cuda) => Some(Turns::new(cuda)),
        };
        Repeated { turns }
    }

    /// Does `work` once more. It changes matrices by operations alone: on a card these are done
    /// only once `work` returns.
    ///
    /// # Panics
    /// Where `work`, on a card, reads a matrix or writes one from the host, waits, or is itself a
    /// turn.
    pub fn turn(&mut self, work: impl FnOnce()) -> Dispatch {
        match &mut self.turns {
            None => {
                work();
                Dispatch::Eager
            }
            Some(turns) => turns.turn(work),
        }
    }
}
