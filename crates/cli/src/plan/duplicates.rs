//! Rows that say the same, and what becomes of them.

use std::collections::HashSet;
use std::hash::Hash;

use crate::recipe::Duplicates;

/// For each row, whether an earlier one has its key.
pub(super) fn mark<K: Eq + Hash>(keys: impl Iterator<Item = K>) -> Vec<bool> {
    let mut seen = HashSet::new();
    keys.map(|key| !seen.insert(key)).collect()
}

impl Duplicates {
    /// Leaves the marked rows out where the policy says so.
    pub(super) fn apply<T>(self, rows: &mut Vec<T>, is_marked: &[bool]) {
        if self == Self::Drop {
            let mut marks = is_marked.iter();
            rows.retain(|_| !marks.next().expect("one mark a row"));
        }
    }

    /// What a reader should know of `count` marked rows, of which `what` is true.
    pub(super) fn note(self, count: usize, what: &str) -> Option<String> {
        match self {
            _ if count == 0 => None,
            Self::Drop => Some(format!("{count} {what}; they are left out")),
            Self::Keep => Some(format!(
                "{count} {what}; data.duplicates = \"drop\" leaves them out"
            )),
        }
    }
}
