//! What a run's record says to a reader. It knows a run by its folder alone.
//!
//! [`explain`] turns the figures of a run into sentences, each with the figures it rests on; a
//! sentence whose figures are not on record is not said.
//!
//! Start at [`explain`], then the list of topics in `explain/mod.rs`.

mod course;
mod error;
mod explain;
mod number;

pub use error::ReportError;
pub use explain::{Sentence, explain};
