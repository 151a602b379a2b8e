//! `enigma bench`: seconds of the real step, or of a part of it, on a model of random weights.
//!
//! What is timed is what `train` runs: the trainer's step, the sampler, the policy's passes. Only
//! what surrounds them is made up: prompts are words without meaning, rewards a remainder.
//! Start at [`subject`], then [`grpo`].

mod decode;
mod grpo;
mod lengths;
mod report;
mod shape;
mod subject;
mod update;
mod watch;
mod words;

use std::time::Instant;

use crate::arguments::{BenchArguments, BenchCommand};
use crate::error::Failure;
use crate::terminal::Screen;

/// Times, and prints a table or with `--json` one object.
///
/// # Errors
/// Where an argument is out of range, or a number of the model is not finite.
pub(crate) fn bench(arguments: &BenchArguments, screen: &Screen) -> Result<(), Failure> {
    let launch = Instant::now();
    match &arguments.command {
        BenchCommand::Grpo(arguments) => grpo::grpo(arguments, launch, screen),
        BenchCommand::Decode(arguments) => decode::decode(arguments, launch, screen),
        BenchCommand::Update(arguments) => update::update(arguments, launch, screen),
    }
}

/// What a crate below says of a run that could not go on.
fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Run(error.to_string())
}
