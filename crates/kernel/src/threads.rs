//! Fork and join over the cores, cheap enough for operations of a few microseconds.
//!
//! A decoder step is hundreds of small parallel regions. Workers therefore spin for a moment
//! after each region before they sleep, and a region ends as soon as every thread that joined it
//! has left: a worker that comes late is not waited for. Which thread runs which part never
//! shows in a result, because parts share no sums.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::JoinHandle;

/// Times a waiting thread looks again before it sleeps or yields: some 100 microseconds.
const SPINS: usize = 3000;
/// Values read or written that are worth a thread: about a microsecond.
const WORK_MIN: usize = 4096;
/// The gate's lowest bits count the workers inside; the next bit says whether it is open; the
/// rest numbers the regions.
const OPEN: usize = 1 << 16;
const REGION: usize = OPEN << 1;

/// The threads that share an operation: the caller and its workers.
pub(crate) struct Threads {
    hall: Arc<Hall>,
    workers: Vec<JoinHandle<()>>,
    turn: Mutex<()>,
}

/// What the caller and its workers share.
struct Hall {
    gate: AtomicUsize,
    region: AtomicPtr<Region<'static>>,
    stopping: AtomicBool,
    asleep: Vec<AtomicBool>,
}

/// One parallel region: parts that threads take until none is left.
struct Region<'a> {
    body: &'a (dyn Fn(usize) + Sync),
    parts: usize,
    next: AtomicUsize,
    panicked: AtomicBool,
}

impl Threads {
    /// Starts `count - 1` workers; the caller of an operation is the remaining thread.
    pub(crate) fn new(count: usize) -> Threads {
        assert!(
            (1..OPEN).contains(&count),
            "a device cannot have {count} threads"
        );
        let hall = Arc::new(Hall {
            gate: AtomicUsize::new(0),
            region: AtomicPtr::new(std::ptr::null_mut()),
            stopping: AtomicBool::new(false),
            asleep: (1..count).map(|_| AtomicBool::new(false)).collect(),
        });
        let start = |index| {
            let hall = Arc::clone(&hall);
            let builder = std::thread::Builder::new().name(format!("kernel-{index}"));
            builder
                .spawn(move || hall.serve(index))
                .expect("the system starts a thread")
        };
        let workers = (0..count - 1).map(start).collect();
        Threads {
            hall,
            workers,
            turn: Mutex::new(()),
        }
    }

    /// The number of threads, the caller included.
    pub(crate) fn count(&self) -> usize {
        self.workers.len() + 1
    }

    /// Rows of one part, for an operation that takes some `work` (values read or written) a row.
    pub(crate) fn part_rows(&self, rows: usize, work: usize) -> usize {
        let least = WORK_MIN.div_ceil(work.max(1));
        rows.div_ceil(self.count()).max(least)
    }

    /// Runs `body` on every item, each on one of the threads.
    pub(crate) fn for_each<T: Send>(
        &self,
        items: impl Iterator<Item = T>,
        body: impl Fn(T) + Sync,
    ) {
        if self.workers.is_empty() {
            return items.for_each(body);
        }
        let items: Vec<_> = items.map(|item| Mutex::new(Some(item))).collect();
        self.run(items.len(), &|part| {
            let item = items[part]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            body(item.expect("a part runs once"));
        });
    }

    /// Runs `body(0)` to `body(parts - 1)`, each on one of the threads.
    ///
    /// Where the threads are taken, by another caller or by the region this is called from, the
    /// caller runs all parts itself.
    pub(crate) fn run(&self, parts: usize, body: &(dyn Fn(usize) + Sync)) {
        let useful = parts > 1 && !self.workers.is_empty();
        let Some(_turn) = useful.then(|| self.take_turn()).flatten() else {
            return (0..parts).for_each(body);
        };
        let region = Region {
            body,
            parts,
            next: AtomicUsize::new(0),
            panicked: AtomicBool::new(false),
        };
        self.hall.open(&region);
        for (asleep, worker) in self.hall.asleep.iter().zip(&self.workers).take(parts - 1) {
            if asleep.swap(false, Ordering::SeqCst) {
                worker.thread().unpark();
            }
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| region.work()));
        self.hall.close();
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
        assert!(
            !region.panicked.load(Ordering::Relaxed),
            "a worker panicked"
        );
    }

    /// The right to open a region, unless someone has it.
    fn take_turn(&self) -> Option<MutexGuard<'_, ()>> {
        match self.turn.try_lock() {
            Ok(turn) => Some(turn),
            Err(TryLockError::Poisoned(turn)) => Some(turn.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.hall.stopping.store(true, Ordering::SeqCst);
        for worker in self.workers.drain(..) {
            worker.thread().unpark();
            // A worker catches the panics of its parts, so joining cannot fail.
            let _ = worker.join();
        }
    }
}

impl Hall {
    /// Lets workers into `region` until the gate closes.
    fn open(&self, region: &Region) {
        self.region.store(
            std::ptr::from_ref(region).cast_mut().cast(),
            Ordering::Relaxed,
        );
        let number = self.gate.load(Ordering::Relaxed) & !(REGION - 1);
        self.gate
            .store(number.wrapping_add(REGION) | OPEN, Ordering::SeqCst);
    }

    /// Closes the gate and waits until every worker inside has left.
    fn close(&self) {
        self.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let mut spins = 0;
        while self.gate.load(Ordering::Acquire) & (OPEN - 1) != 0 {
            pause(&mut spins, std::thread::yield_now);
        }
    }

    /// A worker's life: enter each region once, and sleep when none comes.
    fn serve(&self, index: usize) {
        let (mut served, mut spins) = (0, 0);
        while !self.stopping.load(Ordering::SeqCst) {
            let gate = self.gate.load(Ordering::SeqCst);
            let number = gate & !(REGION - 1);
            if gate & OPEN == 0 || number == served {
                pause(&mut spins, || self.sleep(index, served));
                continue;
            }
            let entered =
                self.gate
                    .compare_exchange(gate, gate + 1, Ordering::AcqRel, Ordering::Relaxed);
            if entered.is_ok() {
                // SAFETY: `open` stored the pointer before it opened the gate with this number,
                // and `close` keeps the region alive until the count below has gone back.
                let region = unsafe { &*self.region.load(Ordering::Relaxed) };
                if catch_unwind(AssertUnwindSafe(|| region.work())).is_err() {
                    region.panicked.store(true, Ordering::Relaxed);
                }
                self.gate.fetch_sub(1, Ordering::Release);
                (served, spins) = (number, 0);
            }
        }
    }

    /// Sleeps until the caller opens a region that this worker has not served.
    fn sleep(&self, index: usize, served: usize) {
        self.asleep[index].store(true, Ordering::SeqCst);
        let gate = self.gate.load(Ordering::SeqCst);
        let idle = gate & OPEN == 0 || gate & !(REGION - 1) == served;
        if idle && !self.stopping.load(Ordering::SeqCst) {
            std::thread::park();
        }
        self.asleep[index].store(false, Ordering::SeqCst);
    }
}

impl Region<'_> {
    /// Runs parts until none is left.
    fn work(&self) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= self.parts {
                break;
            }
            (self.body)(part);
        }
    }
}

/// Spins, and from `SPINS` on rests at every call.
fn pause(spins: &mut usize, rest: impl FnOnce()) {
    if *spins < SPINS {
        *spins += 1;
        std::hint::spin_loop();
    } else {
        rest();
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn every_part_runs_once_in_every_region() {
        let threads = Threads::new(4);
        for parts in (0..400).map(|region| region % 9) {
            let mut counts = vec![0; parts];
            threads.for_each(counts.iter_mut(), |count| *count += 1);
            assert_eq!(counts, vec![1; parts]);
        }
    }

    #[test]
    fn a_region_inside_a_region_runs_on_its_caller() {
        let threads = Threads::new(2);
        let sum = AtomicUsize::new(0);
        threads.run(3, &|_| {
            threads.run(5, &|part| {
                sum.fetch_add(part, Ordering::Relaxed);
            });
        });
        assert_eq!(sum.into_inner(), 30);
    }

    #[test]
    fn two_callers_at_once_both_finish() {
        let threads = Threads::new(2);
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        threads.run(4, &|part| {
                            sum.fetch_add(part, Ordering::Relaxed);
                        });
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 2 * 200 * 6);
    }

    #[test]
    fn a_panic_in_a_part_reaches_the_caller_and_leaves_the_threads_usable() {
        let threads = Threads::new(3);
        let panics = || threads.run(8, &|part| assert_ne!(part, 7, "part 7"));
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        let ran = AtomicUsize::new(0);
        threads.run(8, &|_| {
            ran.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(ran.into_inner(), 8);
    }

    #[test]
    fn workers_that_slept_wake_for_the_next_region() {
        let threads = Threads::new(2);
        let deadline = Instant::now() + Duration::from_secs(20);
        while !threads.hall.asleep[0].load(Ordering::SeqCst) {
            assert!(Instant::now() < deadline, "the worker still spins");
            std::thread::sleep(Duration::from_millis(1));
        }
        let here = std::thread::current().id();
        let elsewhere = AtomicBool::new(false);
        while !elsewhere.load(Ordering::Relaxed) {
            assert!(Instant::now() < deadline, "the worker never joined");
            threads.run(2, &|_| {
                std::thread::sleep(Duration::from_micros(100));
                elsewhere.fetch_or(std::thread::current().id() != here, Ordering::Relaxed);
            });
        }
    }
}
