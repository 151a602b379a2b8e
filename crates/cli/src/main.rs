//! The binary `enigma`: arguments → checked plan → wiring. Only this crate knows them all.
//!
//! Results go to standard output, everything else to standard error. Bad input ends with one line
//! and exit code 2 before anything is written; other failures end with 1. Start at
//! [`arguments`], then [`commands`].

mod arguments;
mod commands;
mod data;
mod error;
mod hub;
mod inputs;
mod machine;
mod nano;
mod plan;
mod range;
mod recipe;
mod signals;
mod terminal;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use error::Failure;
use terminal::Screen;

fn main() -> ExitCode {
    let Arguments { mut command } = Arguments::parse();
    let screen = Screen::new(command.is_plain());
    match machine::on_card(|| run(&mut command, &screen)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of standard output has seen enough.
        Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) if failure.is_asked_for() => {
            screen.line(failure.to_string());
            failure.exit_code()
        }
        Err(failure) => {
            screen.line(format!("{} {failure}", screen.red("error:")));
            failure.exit_code()
        }
    }
}

fn run(command: &mut Command, screen: &Screen) -> Result<(), Failure> {
    if let Some((key, model)) = command.model() {
        hub::fetch(key, model, None, screen)?;
    }
    match command {
        Command::Train(arguments) => commands::train(arguments, screen),
        Command::Sft(arguments) => commands::sft(arguments, screen),
        Command::Generate(arguments) => commands::generate(arguments, screen),
        Command::Score(arguments) => commands::score(arguments, screen),
        Command::Verify(arguments) => commands::verify(arguments, screen),
        Command::Explain(arguments) => commands::explain(arguments, screen),
        Command::Principles(arguments) => commands::principles(arguments, screen),
        Command::Stationary(arguments) => commands::stationary(arguments, screen),
        Command::Models(arguments) => commands::models(arguments, screen),
        Command::Bench(arguments) => commands::bench(arguments, screen),
    }
}
