//! Damaged input for readers: valid files, changed a little and at random, none of which may make
//! a reader panic or take long.
//!
//! For tests alone. `cargo-fuzz` needs a nightly compiler, and generators of random values start
//! from nothing where a reader's faults lie close to what is valid; so this changes valid files, by
//! words of their format, lengths, numbers and parts of one another. A case is a function of the
//! seed and its number, so that one that was found can be found again. Start at [`fuzz`].

mod campaign;
mod mutate;
mod shrink;

pub use campaign::fuzz;
