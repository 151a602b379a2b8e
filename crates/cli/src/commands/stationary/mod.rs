//! `enigma stationary`: what GRPO converges to on one question, and what RLHF and NLHF would give.

mod given;
mod model;
mod run;
mod show;
mod sweep;
mod variant;

use ::stationary::{Question, Variant};

use crate::arguments::StationaryArguments;
use crate::error::{Failure, InputError};
use crate::terminal::Screen;

/// A question with names for its answers, and the variant it is trained by.
struct Inquiry {
    question: Question,
    names: Vec<String>,
    variant: Variant,
}

/// Solves and prints a table, or with `--json` one object; with `--sweep` curves.
///
/// # Errors
/// Where an argument, a file, the model or the run is wrong, or an output cannot be written.
pub(crate) fn stationary(arguments: &StationaryArguments, screen: &Screen) -> Result<(), Failure> {
    if arguments.sweep.is_none() && !arguments.out.is_empty() {
        return Err(said("--out is given without --sweep; expected both, it writes curves").into());
    }
    if arguments.run.is_some() {
        return run::from_run(arguments, screen);
    }
    let inquiry = given::inquiry(arguments, screen)?;
    match &arguments.sweep {
        Some(range) => sweep::sweep(&inquiry, range, arguments, screen),
        None => show::show(&inquiry, arguments.json, screen),
    }
}

/// A mistake in the arguments, in its own words.
fn said(words: impl Into<String>) -> InputError {
    InputError::Said(words.into())
}

/// A mistake that the theory names.
fn refused(error: &::stationary::StationaryError) -> InputError {
    said(error.to_string())
}
