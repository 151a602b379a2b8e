//! Several processes that make one run: who they are, and how they exchange numbers over TCP.
//!
//! Each process is a *rank*, from 0 to one less than their number, the world's size. A launcher
//! tells each its place ([`Place`]); together they are [`Ranks`], whose collective operations every
//! rank calls in the same order. Rank 0 is the centre of a star: sums are made there, in the order
//! of the ranks, and the same bytes go back to all, so that all hold the same bits. A process alone
//! is a world of one, in which each operation returns at once.
//!
//! Beside the stream of numbers each rank has a second one, the pulse, on which it says that it is
//! alive and why it fails. A rank that ends, or whose machine is gone, so ends the waiting of all.
//!
//! Where other means add up faster, such as cards among themselves, the ranks line up here first,
//! and hear by the pulse of one that is lost meanwhile.
//!
//! Nothing is encrypted and nobody asked for a password, as with PyTorch's `TCPStore`: the ranks
//! belong into a network that is trusted.
//!
//! Start at [`Ranks`].

mod collective;
mod connect;
mod element;
mod elsewhere;
mod error;
mod place;
mod pulse;
mod stream;

pub use collective::Ranks;
pub use element::Element;
pub use error::{PlaceError, RankError};
pub use place::Place;
