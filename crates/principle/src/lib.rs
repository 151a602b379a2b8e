//! What a model is aligned to: principles, each with negatives that say the opposite, and the
//! contrasts that show how well completions tell them apart.
//!
//! A principle becomes `k` system texts: its positive, then its matched negatives. A
//! contrast scores one completion of each under all of them; how much a matrix of contrasts is
//! worth, in nats, is for the crates that estimate information.
//!
//! Axes: `q` questions, `k` constitutions (rows of a contrast) and their completions (columns).
//!
//! Start at [`Constitution`], then [`contrast::rows`]; for the metrics of a principle before
//! training at [`score`], then [`sufficiency`].

mod constitution;
pub mod contrast;
pub mod draft;
mod parse;
mod score;
mod select;
mod sufficiency;

pub use constitution::{Constitution, Identifiers, LENGTH_TOLERANCE, Mismatch, Principle};
pub use parse::PrincipleError;
pub use score::{Asked, Completion, Contrasts, draw, score};
pub use select::{Candidate, Pick, coverage, nearest, select};
pub use sufficiency::{
    Contrast, Figure, INFORMATIVE, PROMPTS_MIN, Sufficiency, Verdict, sufficiency,
};
