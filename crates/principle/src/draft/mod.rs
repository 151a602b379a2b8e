//! Principles drafted from a policy document: its rules, and matched negatives for them.
//!
//! Headings, list items and sentences that give an order become statements; each keeps the line it
//! stands on. What cannot stand alone, and what cannot be negated, is told with its reason. Start
//! at [`statements`], then [`candidates`].

mod candidates;
mod clause;
mod lexicon;
pub mod matching;
mod passages;
mod polarity;
mod proposal;
mod sentences;
mod statements;
mod words;

pub use candidates::{Candidate, Pair, candidates};
pub use polarity::{Negative, Rule, negatives};
pub use proposal::{Proposal, ProposalError};
pub use statements::{Kind, Passed, Reason, Statement, Statements, statements};
