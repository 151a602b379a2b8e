//! What ranks do together.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::connect::{listen, reach};
use crate::pulse::{Patience, Shared};
use crate::stream::{Head, Operation, receive, receive_head, receive_numbers, send, send_numbers};
use crate::{Element, Place, RankError};

/// A process among those of its run; dropped, it tells the others that it has ended in good order.
///
/// Every operation is one of all ranks: each calls the same ones in the same order, and returns
/// when the last has called. Where a rank is lost, each operation of the others fails from then on.
#[derive(Debug)]
pub struct Ranks {
    rank: usize,
    size: usize,
    /// From rank 0 one to each other rank, in their order; from any other the one to rank 0.
    pub(crate) streams: Vec<TcpStream>,
    pub(crate) shared: Option<Arc<Shared>>,
    /// Operations so far.
    number: AtomicU64,
}

impl Ranks {
    /// A process that is a run of its own.
    pub const fn alone() -> Self {
        Self {
            rank: 0,
            size: 1,
            streams: Vec::new(),
            shared: None,
            number: AtomicU64::new(0),
        }
    }

    /// Meets the other ranks; `say` hears now and then who is waited for.
    ///
    /// # Errors
    /// Where not all meet within ten minutes.
    pub fn connect(place: &Place, say: &mut dyn FnMut(&str)) -> Result<Self, RankError> {
        Self::meet(place, Patience::USUAL, say)
    }

    fn meet(
        place: &Place,
        patience: Patience,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self, RankError> {
        let &Place { rank, size, .. } = place;
        if size == 1 {
            return Ok(Self::alone());
        }
        let meet = if rank == 0 { listen } else { reach };
        let [streams, pulses] = meet(place, patience, say)?;
        let peers: Vec<usize> = if rank == 0 {
            (1..size).collect()
        } else {
            vec![0]
        };
        let shared = Shared::begin(&peers, &streams, &pulses, patience);
        let shared = shared.map_err(|error| RankError::Lost {
            rank,
            reason: format!("cannot watch the others: {error}"),
        })?;
        Ok(Self {
            rank,
            size,
            streams,
            shared: Some(shared),
            number: AtomicU64::new(0),
        })
    }

    /// The number of this process.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Processes of the run, this one among them.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this is rank 0, which writes and shows the run.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// What each rank brings, in the order of the ranks.
    ///
    /// # Errors
    /// Where a rank is lost or out of step.
    pub fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, RankError> {
        let head = self.head(Operation::Gather, own.len());
        if !self.is_first() {
            let stream = &self.streams[0];
            self.told(0, send(stream, head, own))?;
            return (0..self.size)
                .map(|_| self.taken(0, stream, head))
                .collect();
        }
        let mut all = vec![own.to_vec()];
        for (peer, stream) in self.peers() {
            all.push(self.taken(peer, stream, head)?);
        }
        for (peer, stream) in self.peers() {
            for part in &all {
                let bytes = part.len() as u64;
                self.told(peer, send(stream, Head { bytes, ..head }, part))?;
            }
        }
        Ok(all)
    }

    /// Each number becomes the sum of those of all ranks, `((rank 0 + rank 1) + rank 2) + …`, the
    /// same bits on all.
    ///
    /// Cost: rank 0 receives and sends the numbers once for each other rank.
    ///
    /// # Errors
    /// Where a rank is lost or out of step; the numbers are then worth nothing.
    pub fn all_reduce<T: Element>(&self, numbers: &mut [T]) -> Result<(), RankError> {
        let head = self.head(Operation::Sum, numbers.len() * T::BYTES);
        if !self.is_first() {
            let stream = &self.streams[0];
            self.told(0, send_numbers(stream, head, numbers))?;
            self.met(0, stream, head)?;
            return self.told(0, receive_numbers(stream, numbers, |own, sum| *own = sum));
        }
        for (peer, stream) in self.peers() {
            self.met(peer, stream, head)?;
            let added = receive_numbers(stream, numbers, |sum, theirs| *sum += theirs);
            self.told(peer, added)?;
        }
        for (peer, stream) in self.peers() {
            self.told(peer, send_numbers(stream, head, numbers))?;
        }
        Ok(())
    }

    /// Passes where all ranks have the same digest of `what`.
    ///
    /// # Errors
    /// Names the first that differs from rank 0, on every rank alike; and as
    /// [`all_gather`](Self::all_gather).
    pub fn agree(&self, what: &str, digest: &[u8]) -> Result<(), RankError> {
        let all = self.all_gather(digest)?;
        let hexadecimal = |digest: &[u8]| {
            let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            bytes.concat()
        };
        match all.iter().position(|theirs| *theirs != all[0]) {
            None => Ok(()),
            Some(rank) => Err(RankError::Differs {
                rank,
                what: what.to_owned(),
                found: hexadecimal(&all[rank]),
                expected: hexadecimal(&all[0]),
            }),
        }
    }

    /// Tells all others that this rank fails, and why; their operations fail with that.
    pub fn fail(&self, reason: &str) {
        if let Some(shared) = &self.shared {
            shared.declare(self.rank, &format!("failed: {reason}"));
        }
    }

    pub(crate) fn head(&self, operation: Operation, bytes: usize) -> Head {
        Head {
            operation,
            number: self.number.fetch_add(1, Ordering::Relaxed),
            bytes: bytes as u64,
        }
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = (usize, &TcpStream)> {
        self.streams
            .iter()
            .enumerate()
            .map(|(i, stream)| (i + 1, stream))
    }

    /// The content of the next frame, which may have any length.
    fn taken(&self, peer: usize, stream: &TcpStream, expected: Head) -> Result<Vec<u8>, RankError> {
        let head = self.told(peer, receive_head(stream))?;
        let bytes = head.map_or(expected.bytes, |head| head.bytes);
        require(peer, head, Head { bytes, ..expected })?;
        self.told(peer, receive(stream, bytes))
    }

    /// Takes the head of the next frame.
    pub(crate) fn met(
        &self,
        peer: usize,
        stream: &TcpStream,
        expected: Head,
    ) -> Result<(), RankError> {
        let head = self.told(peer, receive_head(stream))?;
        require(peer, head, expected)
    }

    /// Where a stream broke: who was lost.
    pub(crate) fn told<T>(&self, peer: usize, result: io::Result<T>) -> Result<T, RankError> {
        result.map_err(|_| {
            let shared = self.shared.as_ref();
            shared.expect("streams have pulses").verdict(peer)
        })
    }
}

fn require(peer: usize, found: Option<Head>, expected: Head) -> Result<(), RankError> {
    if found == Some(expected) {
        return Ok(());
    }
    Err(RankError::OutOfStep {
        rank: peer,
        found: found.map_or_else(|| "no frame".to_owned(), |head| head.to_string()),
        expected: expected.to_string(),
    })
}

impl Drop for Ranks {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.end();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::net::TcpListener;
    use std::thread::{self, ScopedJoinHandle};
    use std::time::{Duration, Instant};

    use super::*;

    const HASTE: Patience = Patience {
        meeting: Duration::from_secs(20),
        beat: Duration::from_millis(20),
        silence: Duration::from_millis(400),
    };

    /// Places of so many ranks, at a port that is free.
    fn places(size: usize) -> Vec<Place> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let place = |rank| Place {
            rank,
            size,
            address: ("127.0.0.1".to_owned(), port),
            local_size: size,
            local_rank: rank,
        };
        (0..size).map(place).collect()
    }

    /// What each of so many ranks makes of `work`, each on a thread.
    pub(crate) fn each<T: Send>(size: usize, work: impl Fn(Ranks) -> T + Sync) -> Vec<T> {
        let places = places(size);
        let work = &work;
        thread::scope(|scope| {
            let start = |place| {
                scope.spawn(move || {
                    let ranks = Ranks::meet(place, HASTE, &mut |_| ()).expect("all come");
                    work(ranks)
                })
            };
            let threads: Vec<_> = places.iter().map(start).collect();
            let ends = threads.into_iter().map(ScopedJoinHandle::join);
            ends.map(|end| end.expect("no panic")).collect()
        })
    }

    #[test]
    fn every_rank_has_what_all_brought_in_the_order_of_the_ranks() {
        for size in [1, 2, 4] {
            let gathered = each(size, |ranks| {
                let own = vec![ranks.rank() as u8; 100_000 * ranks.rank()];
                let first = ranks.all_gather(&own).expect("all are there");
                (first, ranks.all_gather(&[7]).expect("all are there"))
            });
            let expected: Vec<_> = (0..size).map(|r| vec![r as u8; 100_000 * r]).collect();
            for (first, second) in gathered {
                assert_eq!(first, expected, "{size} ranks");
                assert_eq!(second, vec![vec![7]; size]);
            }
        }
    }

    #[test]
    fn sums_are_those_in_the_order_of_the_ranks_with_the_same_bits_on_all() {
        let own = |rank: usize, index: usize| {
            let wave = ((index * 31 + rank * 17) as f32).sin();
            wave * 10_f32.powf(3.0 * rank as f32 - 4.0)
        };
        for size in [1, 2, 4] {
            let sums = each(size, |ranks| {
                let mut narrow: Vec<f32> = (0..40_000).map(|i| own(ranks.rank(), i)).collect();
                let mut wide = [ranks.rank() as f64 + 0.5; 3];
                ranks.all_reduce(&mut narrow).expect("all are there");
                ranks.all_reduce(&mut wide).expect("all are there");
                ranks.all_reduce::<f64>(&mut []).expect("all are there");
                (narrow, wide)
            });
            let sum = |index| (1..size).fold(own(0, index), |sum, rank| sum + own(rank, index));
            let expected: Vec<u32> = (0..40_000).map(|i| sum(i).to_bits()).collect();
            for (narrow, wide) in sums {
                let bits: Vec<u32> = narrow.into_iter().map(f32::to_bits).collect();
                assert!(bits == expected, "{size} ranks");
                let halves = wide.map(|sum| (2.0 * sum) as usize);
                assert_eq!(halves, [size * size; 3]);
            }
        }
    }

    #[test]
    fn a_rank_that_fails_is_named_to_all_with_its_reason() {
        let ends = each(3, |ranks| {
            if ranks.rank() == 2 {
                ranks.fail("the disk is full");
                return None;
            }
            Some(
                ranks
                    .all_gather(&[])
                    .expect_err("rank 2 is lost")
                    .to_string(),
            )
        });
        let expected = Some("rank 2 failed: the disk is full".to_owned());
        assert_eq!(ends, [expected.clone(), expected, None]);
    }

    #[test]
    fn a_rank_that_ends_early_in_good_order_is_no_silence() {
        let ends = each(2, |ranks| {
            if ranks.rank() == 1 {
                return None;
            }
            Some(
                ranks
                    .all_gather(&[])
                    .expect_err("rank 1 is gone")
                    .to_string(),
            )
        });
        assert_eq!(
            ends[0].as_deref(),
            Some("rank 1 has ended, while others go on")
        );
    }

    /// Two streams to rank 0 that greet and then do nothing.
    fn mute(place: &Place) -> [TcpStream; 2] {
        let hello = |kind: u8| loop {
            if let Ok(stream) = TcpStream::connect((place.address.0.as_str(), place.address.1)) {
                let size = (place.size as u32).to_le_bytes();
                let hello = [&b"enigma-1"[..], &[kind, 1, 0, 0, 0], &size].concat();
                (&stream).write_all(&hello).expect("rank 0 reads");
                return stream;
            }
        };
        [hello(0), hello(1)]
    }

    #[test]
    fn a_rank_that_falls_silent_or_is_killed_ends_the_waiting() {
        for (is_killed, expected) in [
            (
                false,
                "rank 1 has been silent for 0 s: stopped, or its machine or network is gone",
            ),
            (
                true,
                "rank 1 ended without a word: killed, or its machine or network is gone",
            ),
        ] {
            let places = places(2);
            thread::scope(|scope| {
                let streams = scope.spawn(|| {
                    let streams = mute(&places[1]);
                    thread::sleep(if is_killed {
                        HASTE.silence / 4
                    } else {
                        HASTE.silence * 4
                    });
                    drop(streams);
                });
                let ranks = Ranks::meet(&places[0], HASTE, &mut |_| ()).expect("it greets");
                let start = Instant::now();
                let found = ranks
                    .all_gather(&[])
                    .expect_err("rank 1 is mute")
                    .to_string();
                assert_eq!(found, expected);
                assert!(
                    start.elapsed() < Duration::from_secs(2),
                    "{:?}",
                    start.elapsed()
                );
                streams.join().expect("no panic");
            });
        }
    }

    #[test]
    fn ranks_at_different_points_do_not_take_each_other_s_numbers() {
        let ends = each(2, |ranks| {
            let mut numbers = vec![1.0; 2 + ranks.rank()];
            ranks
                .all_reduce(&mut numbers)
                .expect_err("lengths differ")
                .to_string()
        });
        let expected = "rank 1 is at another point of the run: it sends sum 0 of 24 bytes, \
                        expected sum 0 of 16 bytes; ";
        assert!(ends[0].starts_with(expected), "{}", ends[0]);
    }

    #[test]
    fn the_first_rank_that_has_something_else_is_named_on_every_rank() {
        let ends = each(3, |ranks| {
            ranks
                .agree("weights", &[10, 255])
                .expect("all have the same");
            let own = [10, ranks.rank() as u8 / 2];
            ranks
                .agree("weights", &own)
                .expect_err("rank 2 differs")
                .to_string()
        });
        for found in ends {
            assert_eq!(
                found,
                "rank 2 has other weights than rank 0: 0a01, expected 0a00"
            );
        }
    }

    #[test]
    fn who_does_not_come_or_is_not_expected_is_named() {
        let hasty = Patience {
            meeting: Duration::from_millis(300),
            ..HASTE
        };
        let places = places(4);
        let end = |place: &Place, patience| {
            Ranks::meet(place, patience, &mut |_| ())
                .expect_err("not all come")
                .to_string()
        };
        let found = end(&places[3], hasty);
        assert!(
            found.starts_with("rank 3 did not reach rank 0 at 127.0.0.1:"),
            "{found}"
        );
        thread::scope(|scope| {
            let first = scope.spawn(|| {
                end(
                    &places[0],
                    Patience {
                        meeting: 3 * hasty.meeting,
                        ..HASTE
                    },
                )
            });
            let one = scope.spawn(|| end(&places[2], HASTE));
            thread::sleep(hasty.meeting);
            let twice = end(&places[2], HASTE);
            let other = end(
                &Place {
                    size: 3,
                    ..places[1].clone()
                },
                HASTE,
            );
            assert_eq!(twice, "rank 0 refuses rank 2: another process is rank 2");
            assert_eq!(
                other,
                "rank 0 refuses rank 1: it is one of 3 ranks, expected 4"
            );
            let first = first.join().expect("no panic");
            assert_eq!(
                first,
                "2 of 4 ranks met within 0 s; missing: rank 1, rank 3"
            );
            let gave_up = "rank 0 ended, or gave up waiting, before all ranks had met";
            assert_eq!(one.join().expect("no panic"), gave_up);
        });
    }
}
