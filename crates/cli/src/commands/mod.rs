//! The commands, one a file; each turns its arguments into a plan, and runs that.

mod begin;
mod bench;
mod explain;
mod generate;
mod keeper;
mod memory;
mod models;
mod principles;
mod report;
mod run;
mod score;
mod sft;
mod stationary;
mod study;
mod train;
mod verify;
mod world;

pub(crate) use bench::bench;
pub(crate) use explain::explain;
pub(crate) use generate::generate;
pub(crate) use models::models;
pub(crate) use principles::principles;
pub(crate) use score::score;
pub(crate) use sft::sft;
pub(crate) use stationary::stationary;
pub(crate) use train::train;
pub(crate) use verify::verify;
