//! `enigma models`: what a model is before it is trained, and adapters made part of one.

mod describe;
mod inspect;
mod memory;
mod merge;

use crate::arguments::{ModelsArguments, ModelsCommand};
use crate::error::Failure;
use crate::terminal::Screen;

/// Runs the command of the model that was asked for.
///
/// # Errors
/// Where the model is damaged or an argument out of range.
pub(crate) fn models(arguments: &ModelsArguments, screen: &Screen) -> Result<(), Failure> {
    match &arguments.command {
        ModelsCommand::Inspect(arguments) => inspect::inspect(arguments, screen),
        ModelsCommand::Merge(arguments) => merge::merge(arguments),
    }
}
