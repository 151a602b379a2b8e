//! Small tables of the host on the card: positions, spans, targets.
//!
//! All layers of a pass read the same tables, so the last few that were sent are kept and found
//! again by their content.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use cudarc::driver::CudaStream;

use super::Cuda;
use super::buffer::Buffer;
use super::listing;

/// Tables that are kept.
const KEPT: usize = 16;

/// The tables sent last.
#[derive(Default)]
pub(super) struct Tables {
    sent: Mutex<VecDeque<Sent>>,
}

struct Sent {
    values: Vec<u32>,
    table: Arc<Buffer<u32>>,
}

impl Cuda {
    /// A copy of these values on the card, which nobody changes.
    pub(super) fn table(&self, values: &[u32]) -> Arc<Buffer<u32>> {
        if let Some(table) = listing::table(self, values) {
            return table;
        }
        let mut sent = self.card.tables.sent.lock().expect("no thread panics here");
        if let Some(at) = sent.iter().position(|sent| sent.values == values) {
            let found = sent.remove(at).expect("a position that was just found");
            let table = Arc::clone(&found.table);
            sent.push_front(found);
            return table;
        }
        let table = Arc::new(Buffer::from_slice(self, values));
        sent.truncate(KEPT - 1);
        sent.push_front(Sent {
            values: values.to_vec(),
            table: Arc::clone(&table),
        });
        table
    }
}

/// The tables of repeated work: the first that differs from those before it lies where the first
/// lay the last time, and so on.
#[derive(Default)]
pub(super) struct Places {
    sent: Vec<Sent>,
    /// Those of this turn.
    used: usize,
}

impl Places {
    /// Begins a turn.
    pub(super) fn begin(&mut self) {
        self.used = 0;
    }

    /// A copy of these values on the card, until the next turn.
    pub(super) fn table(&mut self, stream: &Arc<CudaStream>, values: &[u32]) -> Arc<Buffer<u32>> {
        let mut sent = self.sent[..self.used].iter();
        if let Some(found) = sent.find(|sent| sent.values == values) {
            return Arc::clone(&found.table);
        }
        let new = || Arc::new(Buffer::sent(stream, values));
        if self.used == self.sent.len() {
            self.sent.push(Sent {
                values: values.to_vec(),
                table: new(),
            });
        }
        let place = &mut self.sent[self.used];
        self.used += 1;
        if place.values != values {
            let table = Arc::get_mut(&mut place.table);
            match table.filter(|table| values.len() <= table.length()) {
                Some(table) => table.send(values),
                None => place.table = new(),
            }
            place.values.clear();
            place.values.extend_from_slice(values);
        }
        Arc::clone(&place.table)
    }
}

/// Rows sorted by the target they belong to.
pub(super) struct Grouped {
    /// Each target once.
    pub(super) targets: Arc<Buffer<u32>>,
    /// Where each target's rows start among the members, and the end.
    pub(super) starts: Arc<Buffer<u32>>,
    pub(super) members: Arc<Buffer<u32>>,
    pub(super) count: usize,
}

impl Grouped {
    /// Groups rows `0..` by `targets[row]`; rows of one target stay in order.
    pub(super) fn new(cuda: &Cuda, targets: &[u32]) -> Grouped {
        let mut members: Vec<u32> = (0..targets.len() as u32).collect();
        let target = |member: &u32| targets[*member as usize];
        members.sort_by_key(target);
        let (mut unique, mut starts) = (Vec::new(), vec![0]);
        for rows in members.chunk_by(|a, b| target(a) == target(b)) {
            unique.push(target(&rows[0]));
            starts.push(starts[starts.len() - 1] + rows.len() as u32);
        }
        Grouped {
            count: unique.len(),
            targets: cuda.table(&unique),
            starts: cuda.table(&starts),
            members: cuda.table(&members),
        }
    }
}
