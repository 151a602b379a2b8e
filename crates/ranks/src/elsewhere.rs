//! What ranks say to each other while cards add up their numbers among themselves.

use crate::stream::{Operation, send};
use crate::{RankError, Ranks};

impl Ranks {
    /// Passes when all ranks are about to add up so many bytes by other means, which might wait
    /// forever for one that is not.
    ///
    /// # Errors
    /// Where a rank is lost or out of step.
    pub fn line_up(&self, bytes: usize) -> Result<(), RankError> {
        let head = self.head(Operation::SumElsewhere, bytes);
        if !self.is_first() {
            let stream = &self.streams[0];
            self.told(0, send(stream, head, &[]))?;
            return self.met(0, stream, head);
        }
        for (peer, stream) in self.peers() {
            self.met(peer, stream, head)?;
        }
        for (peer, stream) in self.peers() {
            self.told(peer, send(stream, head, &[]))?;
        }
        Ok(())
    }

    /// Whether no rank is known to be lost or to have ended. Where this is false, whatever waits
    /// for another rank by other means is to be given up.
    pub fn are_whole(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| shared.is_whole())
    }

    /// Why other means failed: the rank that was lost, of which word may come two seconds later, or
    /// that has ended, or else the `reason` of this one.
    pub fn cause(&self, reason: &str) -> RankError {
        let lost = self.shared.as_ref().and_then(|shared| shared.cause());
        lost.unwrap_or_else(|| RankError::Elsewhere {
            reason: reason.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use crate::collective::tests::each;

    #[test]
    fn nobody_passes_before_all_have_lined_up() {
        for size in [1, 3] {
            let times = each(size, |ranks| {
                sleep(Duration::from_millis(50 * ranks.rank() as u64));
                let came = Instant::now();
                ranks.line_up(64).expect("all come");
                (came, Instant::now())
            });
            let last = times.iter().map(|&(came, _)| came).max();
            let first = times.iter().map(|&(_, passed)| passed).min();
            assert!(first >= last, "{size} ranks");
        }
    }

    #[test]
    fn sums_of_different_sizes_do_not_begin() {
        let ends = each(2, |ranks| {
            let lined_up = ranks.line_up(8 + 8 * ranks.rank());
            lined_up.expect_err("sizes differ").to_string()
        });
        let expected = "rank 1 is at another point of the run: it sends sum elsewhere 0 of 16 \
                        bytes, expected sum elsewhere 0 of 8 bytes; ";
        assert!(ends[0].starts_with(expected), "{}", ends[0]);
    }

    #[test]
    fn the_rank_that_was_lost_is_the_cause_even_where_other_means_notice_first() {
        let ends = each(3, |ranks| {
            ranks.line_up(8).expect("all are there");
            if ranks.rank() == 2 {
                sleep(Duration::from_millis(100));
                ranks.fail("the card is broken");
                return (None, false);
            }
            let cause = ranks.cause("a stream broke").to_string();
            (Some(cause), ranks.are_whole())
        });
        let expected = (Some("rank 2 failed: the card is broken".to_owned()), false);
        assert_eq!(ends, [expected.clone(), expected, (None, false)]);
    }

    #[test]
    fn a_rank_that_has_ended_is_not_waited_for_elsewhere() {
        let ends = each(2, |ranks| {
            ranks.line_up(8).expect("all are there");
            if ranks.rank() == 1 {
                return None;
            }
            while ranks.are_whole() {
                sleep(Duration::from_millis(5));
            }
            Some(ranks.cause("a stream broke").to_string())
        });
        let expected = "rank 1 has ended, while others go on";
        assert_eq!(ends[0].as_deref(), Some(expected));
    }

    #[test]
    fn where_nobody_is_lost_the_words_are_those_of_what_failed() {
        let ends = each(2, |ranks| {
            let cause = ranks.cause("a stream broke").to_string();
            ranks.line_up(0).expect("all are there");
            cause
        });
        assert_eq!(ends, ["a stream broke"; 2]);
    }
}
