//! A boundary around readers of other crates that panic on damaged files.
//!
//! Such a panic is how they refuse: it becomes an error here, and nothing is printed. What they
//! were reading is to be dropped with them. Our own code asserts only what is a bug, and goes
//! without.

mod boundary;

pub use boundary::guarded;
