//! The rules of the house as tests. Each rule is a pure function from text to violations, with
//! tests of its own on made-up text, and one test that runs it over the repository.
//!
//! Start at [`tree`] for what is read; every failing message says what to do.

mod blobs;
mod edges;
mod metrics;
mod papers;
mod sources;
mod tree;
