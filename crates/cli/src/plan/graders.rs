//! `[rewards]` into graders.

use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::time::Duration;

use rollout::{
    AnswerGrader, Command, CommandGrader, Format, FormatGrader, Grader, GraderError, RegexGrader,
    WeightedGrader,
};

use crate::data::find;
use crate::error::InputError;
use crate::recipe::{CommandSection, RewardSection};

/// Checks patterns and programs without starting any; working directories become absolute.
///
/// # Errors
/// Where a pattern does not parse, or a program or its folder does not exist.
pub(super) fn resolve(
    section: &mut RewardSection,
    folder: Option<&Path>,
) -> Result<(), InputError> {
    for regex in &section.regex {
        RegexGrader::new(&regex.name, &regex.pattern).map_err(|error| refused(&error))?;
    }
    for command in &mut section.command {
        // A recipe in the working directory has an empty folder.
        let folder = folder.filter(|folder| !folder.as_os_str().is_empty());
        let default = folder.map_or(".".into(), |folder| folder.display().to_string());
        let key = "rewards.command.working_directory";
        let found = match &command.working_directory {
            Some(word) => find(key, word, folder)?,
            None => find(key, &default, None)?,
        };
        if !found.is_dir() {
            let error = std::io::Error::from(std::io::ErrorKind::NotADirectory);
            return Err(InputError::refused(found.display(), &error));
        }
        command.working_directory = Some(found.display().to_string());
        program(command, &found)?;
    }
    Ok(())
}

/// That the program is there.
fn program(command: &CommandSection, folder: &Path) -> Result<(), InputError> {
    let program = &command.program[0];
    let places: Vec<PathBuf> = if program.contains(MAIN_SEPARATOR) {
        vec![folder.to_owned()]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).collect()
    };
    let ending = std::env::consts::EXE_SUFFIX;
    let is_there = |place: &PathBuf| {
        place.join(program).is_file() || place.join(format!("{program}{ending}")).is_file()
    };
    if places.iter().any(is_there) {
        return Ok(());
    }
    let found = program.clone();
    let tried = if program.contains(MAIN_SEPARATOR) {
        vec![folder.join(program).display().to_string()]
    } else {
        vec!["the PATH".to_owned()]
    };
    let key = "rewards.command.program";
    Err(InputError::Missing { key, found, tried })
}

/// The graders of a resolved section, programs started: one of weight 0 is recorded all the same.
///
/// # Errors
/// Where a program cannot be started.
pub(crate) fn graders(
    section: &RewardSection,
    format: &Format,
) -> Result<Vec<WeightedGrader>, InputError> {
    let weighted = |grader: Box<dyn Grader>, weight| WeightedGrader { grader, weight };
    let mut graders = vec![
        weighted(Box::new(FormatGrader::new(format.clone())), section.format),
        weighted(Box::new(AnswerGrader::new(format.clone())), section.answer),
    ];
    for regex in &section.regex {
        let grader =
            RegexGrader::new(&regex.name, &regex.pattern).map_err(|error| refused(&error))?;
        graders.push(weighted(Box::new(grader), regex.weight));
    }
    for command in &section.command {
        let grader = CommandGrader::start(&command.name, settings(command))
            .map_err(|error| refused(&error))?;
        graders.push(weighted(Box::new(grader), command.weight));
    }
    Ok(graders)
}

fn settings(section: &CommandSection) -> Command {
    let working_directory = section.working_directory.as_deref().unwrap_or(".");
    Command {
        program: section.program.clone(),
        working_directory: working_directory.into(),
        timeout: Duration::from_secs_f64(section.timeout_s),
        batch_size: section.batch_size,
        workers: section.workers,
        max_failures: section.max_failures,
    }
}

fn refused(error: &GraderError) -> InputError {
    InputError::refused(format!("grader {}", error.name), error)
}
