//! Fork and join over the cores: parts of one operation, run by the caller and by workers.

/// The threads that share an operation: the caller and its workers.
pub(crate) struct Threads {
    count: usize,
}

impl Threads {
    /// Starts `count - 1` workers; the caller of [`Threads::for_each`] is the remaining thread.
    pub(crate) fn new(count: usize) -> Threads {
        assert!(count > 0, "a device needs at least one thread");
        Threads { count }
    }

    /// The number of threads, the caller included.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Runs `body` on every item, each on one of the threads.
    pub(crate) fn for_each<T: Send>(
        &self,
        items: impl Iterator<Item = T>,
        body: impl Fn(T) + Sync,
    ) {
        items.for_each(body);
    }
}
