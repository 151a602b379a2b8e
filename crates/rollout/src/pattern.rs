//! A grade by a regular expression.

use regex::Regex;

use crate::{Grade, Grader, GraderError, Item};

/// 1 for a completion in which a regular expression matches somewhere, else 0.
#[derive(Clone, Debug)]
pub struct RegexGrader {
    name: String,
    pattern: Regex,
}

impl RegexGrader {
    /// A grader of this pattern, in the syntax of the crate `regex`: as in other engines, without
    /// look-around and back-references, in linear time.
    ///
    /// # Errors
    /// Where the pattern does not parse.
    pub fn new(name: &str, pattern: &str) -> Result<Self, GraderError> {
        let name = name.to_owned();
        match Regex::new(pattern) {
            Ok(pattern) => Ok(Self { name, pattern }),
            Err(error) => {
                let last = error.to_string();
                let last = last.lines().last().unwrap_or_default();
                let reason = last.trim_start_matches("error: ").to_owned();
                Err(GraderError { name, reason })
            }
        }
    }
}

impl Grader for RegexGrader {
    fn name(&self) -> &str {
        &self.name
    }

    fn grade(&mut self, items: &[Item]) -> Result<Vec<Grade>, GraderError> {
        let matches = |item: &Item| Ok(f64::from(self.pattern.is_match(item.text)));
        Ok(items.iter().map(matches).collect())
    }
}
