//! Automation of the workspace.
//!
//! `cargo xtask nano-data --out DIR [--seed 1] [--rows 110000]` writes the data of the built-in
//! model; `cargo xtask nano-follows [--model nano]` tells how far a model follows its principles.
//! `cargo xtask arms --out DIR [--seeds 3]` compares the four arms of the objective on the
//! built-in run. `cargo xtask plant [--out DIR] [--only WORD]` plants faults in copies of the
//! sources and sees whether `enigma verify` catches them. `cargo xtask fuzz [--seconds 600]
//! [--only READER]` reads damaged files for so long with each reader. The tidy tests beside this
//! binary hold the rules of the house; `cargo test -p xtask` runs them.

mod arms;
mod fuzz;
mod nano;
mod plant;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask nano-data --out DIR [--seed 1] [--rows 110000]
       cargo xtask nano-follows [--model nano]
       cargo xtask arms --out DIR [--seeds 3]
       cargo xtask plant [--out DIR] [--only WORD]
       cargo xtask fuzz [--seconds 600] [--only READER]";

/// The program that `cargo build --release` makes.
fn program() -> String {
    let target = std::env::var("CARGO_TARGET_DIR").unwrap_or_else(|_| "target".to_owned());
    format!("{target}/release/enigma")
}

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    NanoData {
        out: PathBuf,
        seed: u64,
        rows: usize,
    },
    NanoFollows {
        model: String,
    },
    Arms {
        out: PathBuf,
        seeds: u64,
    },
    Plant {
        out: PathBuf,
        only: String,
    },
    Fuzz {
        seconds: u64,
        only: String,
    },
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command speaks to its user"
)]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let asked = match parse(&arguments) {
        Ok(asked) => asked,
        Err(mistake) => {
            eprintln!("{mistake}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match asked {
        Command::NanoData { out, seed, rows } => nano_data(&out, seed, rows),
        Command::NanoFollows { model } => nano::following(&program(), &model),
        Command::Arms { out, seeds } => {
            let said = &mut |line: &str| eprintln!("{line}");
            arms::compare(&program(), &out, seeds, said).map_err(|error| error.to_string())
        }
        Command::Plant { out, only } => plant::plant(&out, &only, &mut |line| eprintln!("{line}")),
        Command::Fuzz { seconds, only } => {
            fuzz::fuzz(seconds, &only, &mut |line| eprintln!("{line}"))
        }
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn nano_data(out: &Path, seed: u64, rows: usize) -> Result<String, String> {
    let design = nano::write(out, seed, rows).map_err(|error| error.to_string())?;
    Ok(format!("{:#}", serde_json::json!(design)))
}

fn parse(arguments: &[String]) -> Result<Command, String> {
    let (command, options) = arguments.split_first().ok_or("no command given")?;
    let known: &[&str] = match command.as_str() {
        "nano-data" => &["--out", "--seed", "--rows"],
        "nano-follows" => &["--model"],
        "arms" => &["--out", "--seeds"],
        "plant" => &["--out", "--only"],
        "fuzz" => &["--seconds", "--only"],
        _ => return Err(format!("unknown command `{command}`")),
    };
    let (mut out, mut model, mut only) = (None, "nano".to_owned(), String::new());
    let (mut seed, mut rows, mut seeds, mut seconds) = (1, 110_000, 3, 600);
    for pair in options.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("`{}` has no value", pair[0]));
        };
        if !known.contains(&name.as_str()) {
            return Err(format!("unknown option `{name}`"));
        }
        let number = || {
            value
                .parse()
                .map_err(|_| format!("{name} {value} is not a count"))
        };
        match name.as_str() {
            "--model" => model.clone_from(value),
            "--only" => only.clone_from(value),
            "--out" => out = Some(PathBuf::from(value)),
            "--seed" => seed = number()?,
            "--seeds" => seeds = number()?,
            "--seconds" => seconds = number()?,
            _ => rows = number()? as usize,
        }
    }
    if command == "nano-follows" {
        return Ok(Command::NanoFollows { model });
    }
    if command == "fuzz" {
        return Ok(Command::Fuzz { seconds, only });
    }
    if command == "plant" {
        let out = out.unwrap_or_else(plant::default_folder);
        return Ok(Command::Plant { out, only });
    }
    let out = out.ok_or("--out is missing")?;
    Ok(match command.as_str() {
        "arms" => Command::Arms { out, seeds },
        _ => Command::NanoData { out, seed, rows },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<Command, &str>) {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(parse(&arguments), expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn arguments_become_a_plan_or_name_their_mistake() {
        let plan = Command::NanoData {
            out: PathBuf::from("x"),
            seed: 3,
            rows: 10,
        };
        check("nano-data --rows 10 --seed 3 --out x", Ok(plan));
        let arms = Command::Arms {
            out: PathBuf::from("x"),
            seeds: 2,
        };
        check("arms --seeds 2 --out x", Ok(arms));
        let plant = Command::Plant {
            out: PathBuf::from("x"),
            only: "cache".to_owned(),
        };
        check("plant --out x --only cache", Ok(plant));
        let fuzz = Command::Fuzz {
            seconds: 5,
            only: "csv".to_owned(),
        };
        check("fuzz --seconds 5 --only csv", Ok(fuzz));
        check("arms --rows 2 --out x", Err("unknown option `--rows`"));
        check("", Err("no command given"));
        check("data", Err("unknown command `data`"));
        check("nano-data --seed 3", Err("--out is missing"));
        check("nano-data --out", Err("`--out` has no value"));
        check(
            "nano-data --rows many --out x",
            Err("--rows many is not a count"),
        );
        check("nano-data --row 1 --out x", Err("unknown option `--row`"));
    }
}
