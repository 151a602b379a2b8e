//! A grader whose rewards differ, so that deviations and means are put to use.

use rollout::{Grader, Item};

/// Grades a completion by its length in bytes, 0 to 1.
pub(crate) struct LengthGrader;

impl Grader for LengthGrader {
    fn name(&self) -> &'static str {
        "length"
    }

    fn grade(&mut self, items: &[Item]) -> Vec<Option<f64>> {
        let grade = |item: &Item| Some((item.text.len() % 17) as f64 / 16.0);
        items.iter().map(grade).collect()
    }
}
