//! `enigma explain`: what a run did and why, from its record alone.

use ::report::Sentence;
use record::{RecordError, RunFolder};
use serde_json::json;

use super::report::wrapped;
use crate::arguments::ExplainArguments;
use crate::error::{Failure, InputError};
use crate::terminal::{Screen, output};

/// Characters to the left of a sentence, for its topic.
const MARGIN: usize = 13;

/// Prints the sentences, or a JSON object for each.
///
/// # Errors
/// Where the folder is no run, or has not the step.
pub(crate) fn explain(arguments: &ExplainArguments, screen: &Screen) -> Result<(), Failure> {
    let (plan, steps) = record(arguments).map_err(|error| refused(arguments, &error))?;
    let sentences = ::report::explain(&plan, &steps, arguments.step).map_err(|error| {
        let context = arguments.run.display().to_string();
        let reason = error.to_string();
        InputError::Refused { context, reason }
    })?;
    if arguments.json {
        for Sentence {
            topic,
            text,
            figures,
        } in &sentences
        {
            let object = json!({"topic": topic, "text": text, "figures": figures});
            output(&object.to_string())?;
        }
        return Ok(());
    }
    let width = screen.columns().map(|columns| columns.max(40) - MARGIN);
    let mut before = "";
    for Sentence { topic, text, .. } in &sentences {
        let shown = if *topic == before { "" } else { topic };
        let mut head = screen.dim(&format!("{shown:<MARGIN$}"));
        for line in wrapped(text, width) {
            output(&format!("{head}{line}"))?;
            head = " ".repeat(MARGIN);
        }
        before = topic;
    }
    Ok(())
}

fn record(arguments: &ExplainArguments) -> Result<(String, Vec<record::StepRecord>), RecordError> {
    let folder = RunFolder::open(&arguments.run)?;
    Ok((folder.plan()?, folder.steps()?))
}

fn refused(arguments: &ExplainArguments, error: &dyn std::error::Error) -> InputError {
    InputError::refused(arguments.run.display(), error)
}
