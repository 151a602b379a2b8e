//! `enigma principles`: what is done with principles before any training.

mod create;
mod measure;
mod metrics;
mod report;
mod score;
mod select;

pub(super) use select::constitution_text;

use crate::arguments::{PrinciplesArguments, PrinciplesCommand};
use crate::error::Failure;
use crate::terminal::Screen;

/// Runs the command about principles.
///
/// # Errors
/// As the command.
pub(crate) fn principles(arguments: &PrinciplesArguments, screen: &Screen) -> Result<(), Failure> {
    match &arguments.command {
        PrinciplesCommand::Score(arguments) => score::score(arguments, screen),
        PrinciplesCommand::Select(arguments) => select::select(arguments, screen),
        PrinciplesCommand::Create(arguments) => create::create(arguments, screen),
    }
}
