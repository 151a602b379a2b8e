//! Rows from JSONL, JSON, CSV and Parquet files: questions to train on, examples to imitate,
//! completions to score. A mistake names the file and the row.
//!
//! Rows are read one at a time; what is kept of them is up to the reader. Start at [`rows`].

mod conversation;
mod csv;
mod examples;
mod given;
mod gsm8k;
mod json;
mod jsonl;
mod layout;
mod parquet;
mod questions;
mod row;
mod rows;
mod source;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;

pub(crate) use conversation::{Conversation, completion};
pub(crate) use examples::{Exemplar, Form, examples};
pub(crate) use given::{GivenCompletions, given_completions};
pub(crate) use questions::{Asked, Columns, questions};
pub(crate) use row::{Place, Row};
pub(crate) use rows::rows;
pub(crate) use source::{Source, find};
