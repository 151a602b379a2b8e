//! A grader whose rewards differ, so that deviations and means are put to use.

use rollout::{Grade, Grader, GraderError, Item};

/// Grades a completion by its length in bytes, 0 to 1.
pub(crate) struct LengthGrader;

impl Grader for LengthGrader {
    fn name(&self) -> &'static str {
        "length"
    }

    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
        let grade = |item: &Item| Ok((item.text.len() % 17) as f64 / 16.0);
        Ok(items.iter().map(grade).collect())
    }
}
