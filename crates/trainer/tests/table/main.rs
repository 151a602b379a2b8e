//! The trainer over a table of logits: whole steps in milliseconds, with known answers.

mod evaluation;
mod failures;
mod laws;
mod ranks;
mod record;
mod resume;
mod sft;
mod stationary;
mod task;
