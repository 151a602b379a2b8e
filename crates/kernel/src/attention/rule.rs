//! What a score is, and which keys are near enough to have one.
//!
//! # Source
//! Windows: Beltagy et al., arXiv 2004.05150, section 3.1, and Mistral, arXiv 2310.06825,
//! section 2; a window of `w` keys holds the query's own, as in transformers.

use std::ops::Range;

use super::softmax::Sight;
use super::{Heads, Layout};

/// How a query scores a key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// What the product of query and key is multiplied by.
    pub scale: f32,
    /// Caps scores softly ([`crate::softcap`]).
    pub softcap: Option<f32>,
    /// A query sees only so many keys, its own the last of them; at least 1.
    pub window: Option<usize>,
}

impl Rule {
    /// Scores `q kᵀ / √size` of every key that comes before.
    pub fn plain(heads: &Heads) -> Rule {
        Rule {
            scale: 1.0 / (heads.size as f32).sqrt(),
            softcap: None,
            window: None,
        }
    }

    /// Of a segment's own rows, or of an ancestor's, those that some of a segment's rows see, and
    /// which of these see which.
    pub(super) fn seen(
        &self,
        layout: &Layout,
        heads: &Heads,
        (segment, rows): (usize, &Range<usize>),
        source: usize,
    ) -> (Range<usize>, Sight) {
        let start = layout.segments()[segment].start;
        let before = rows.start - start;
        let position = layout.positions()[segment] + before;
        let above = layout.positions()[source];
        let own = source == segment;
        let keys = if own {
            start..rows.end
        } else {
            layout.segments()[source].rows()
        };
        let window = self.window.unwrap_or(usize::MAX);
        assert!(window > 0, "a window must hold the query's own key");
        let far = (position + 1).saturating_sub(window.saturating_add(above));
        let far = far.min(keys.len());
        let sight = Sight::new(
            heads.queries(),
            rows.len(),
            if own { before - far } else { usize::MAX },
            window.saturating_add(above + far).saturating_sub(position),
        );
        (keys.start + far..keys.end, sight)
    }
}
