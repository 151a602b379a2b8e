//! Automation of the workspace: `cargo xtask nano-data --out DIR [--seed 1] [--rows 110000]`
//! writes the data of the built-in model.
//!
//! The tidy tests beside this binary hold the rules of the house; `cargo test -p xtask` runs them.

mod nano;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask nano-data --out DIR [--seed 1] [--rows 110000]";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct NanoData {
    out: PathBuf,
    seed: u64,
    rows: usize,
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
    match nano::write(&asked.out, asked.seed, asked.rows) {
        Ok(design) => {
            println!("{:#}", serde_json::json!(design));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[String]) -> Result<NanoData, String> {
    let (command, options) = arguments.split_first().ok_or("no command given")?;
    if command != "nano-data" {
        return Err(format!("unknown command `{command}`"));
    }
    let mut out = None;
    let (mut seed, mut rows) = (1, 110_000);
    for pair in options.chunks(2) {
        let [name, value] = pair else {
            return Err(format!("`{}` has no value", pair[0]));
        };
        let number = || {
            value
                .parse()
                .map_err(|_| format!("{name} {value} is not a count"))
        };
        match name.as_str() {
            "--out" => out = Some(PathBuf::from(value)),
            "--seed" => seed = number()?,
            "--rows" => rows = number()? as usize,
            _ => return Err(format!("unknown option `{name}`")),
        }
    }
    let out = out.ok_or("--out is missing")?;
    Ok(NanoData { out, seed, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: Result<NanoData, &str>) {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(parse(&arguments), expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn arguments_become_a_plan_or_name_their_mistake() {
        let plan = NanoData {
            out: PathBuf::from("x"),
            seed: 3,
            rows: 10,
        };
        check("nano-data --rows 10 --seed 3 --out x", Ok(plan));
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
