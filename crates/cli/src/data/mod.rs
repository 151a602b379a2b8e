//! Rows from JSONL files: questions to train on, examples to imitate, completions to score. A
//! mistake names the file and the line.

mod conversation;
mod examples;
mod gsm8k;
mod lines;
mod questions;
mod source;

pub(crate) use conversation::{Conversation, completion};
pub(crate) use examples::{Exemplar, Form, examples};
pub(crate) use lines::{Row, rows};
pub(crate) use questions::questions;
pub(crate) use source::{Source, find};
