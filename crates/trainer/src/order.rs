//! In which order a run meets its data: every item at most once an epoch, shuffled anew each time.

use math::Key;

/// The `size` items of batch `index`. An epoch is as many whole batches as `length` items give; the
/// items left over stand back until the next shuffle. A batch depends on the key and its index
/// alone, and holds no item twice.
///
/// # Panics
/// If a batch is larger than an epoch, or empty.
///
/// # Source
/// TRL 1.16, `RepeatSampler`, which drops the last incomplete batch likewise.
pub(crate) fn batch(key: Key, length: usize, size: usize, index: usize) -> Vec<usize> {
    let batches = length.checked_div(size).filter(|&batches| batches > 0);
    let batches = batches.expect("a batch is not empty and fits into an epoch");
    let order = key.child((index / batches) as u64).permutation(length);
    order[index % batches * size..][..size].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_holds_every_item_once_in_an_order_of_its_own() {
        let epoch = |epoch: usize| -> Vec<usize> {
            let batches = epoch * 10..(epoch + 1) * 10;
            batches
                .flat_map(|index| batch(Key::new(1), 50, 5, index))
                .collect()
        };
        assert_ne!(epoch(0), epoch(1));
        for mut items in [epoch(0), epoch(1)] {
            items.sort_unstable();
            assert_eq!(items, (0..50).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_batch_holds_an_item_twice_though_the_epoch_does_not_divide() {
        for index in 0..40 {
            let mut items = batch(Key::new(4), 7, 3, index);
            items.sort_unstable();
            items.dedup();
            assert_eq!(items.len(), 3, "batch {index}");
        }
    }
}
