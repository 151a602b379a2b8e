//! Which rows of the cache are free.

use std::ops::Range;

/// Free rows of a cache, in order; no two ranges touch.
#[derive(Debug)]
pub(super) struct Slots {
    free: Vec<Range<usize>>,
}

impl Slots {
    /// All of so many rows.
    pub(super) fn new(count: usize) -> Self {
        let all = 0..count;
        Self { free: vec![all] }
    }

    /// The first free rows of this length, if there are any.
    pub(super) fn take(&mut self, length: usize) -> Option<Range<usize>> {
        let place = self.free.iter().position(|range| range.len() >= length)?;
        let range = &mut self.free[place];
        let taken = range.start..range.start + length;
        range.start = taken.end;
        if range.start == range.end {
            self.free.remove(place);
        }
        Some(taken)
    }

    /// Takes rows back that were taken.
    pub(super) fn give(&mut self, range: Range<usize>) {
        let place = self.free.partition_point(|free| free.start < range.start);
        self.free.insert(place, range);
        for left in [place, place.saturating_sub(1)] {
            let touching = self.free.get(left..=left + 1);
            if touching.is_some_and(|pair| pair[0].end == pair[1].start) {
                self.free[left].end = self.free.remove(left + 1).end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use math::Key;

    use super::*;

    #[test]
    fn what_was_taken_in_any_order_and_given_back_is_whole_again() {
        let mut slots = Slots::new(100);
        let mut held: Vec<Range<usize>> = Vec::new();
        let key = Key::new(5);
        for i in 0..400 {
            let wanted = key.below(i, 30) + 1;
            if let Some(range) = slots.take(wanted) {
                let overlaps =
                    |other: &&Range<usize>| range.start < other.end && other.start < range.end;
                assert_eq!(
                    held.iter().find(overlaps),
                    None,
                    "{range:?} was taken twice"
                );
                assert_eq!(range.len(), wanted);
                held.push(range);
            } else {
                let given = held.remove(key.child(1).below(i, held.len()));
                slots.give(given);
            }
            let all: usize = held
                .iter()
                .chain(&slots.free)
                .map(ExactSizeIterator::len)
                .sum();
            assert_eq!(all, 100, "rows were lost");
        }
        for range in held {
            slots.give(range);
        }
        assert_eq!(slots.take(100), Some(0..100));
    }
}
