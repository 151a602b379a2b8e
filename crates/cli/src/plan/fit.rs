//! Prompts against the model's context, before a run finds out the hard way.

use std::path::Path;

use policy::TextCodec;
use rollout::Question;

use crate::data::Source;
use crate::error::InputError;

/// A limit on length, as the recipe's author knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// The recipe's key.
    pub(super) key: &'static str,
    /// Its value.
    pub(super) length: Option<usize>,
    /// Tokens that fit beside what is measured.
    pub(super) context: usize,
    /// What to set where something does not fit.
    pub(super) remedy: &'static str,
}

/// Rows that are short enough.
#[derive(Clone, Debug)]
pub(super) struct Fitting<T> {
    /// The rows, in their order.
    pub(super) rows: Vec<T>,
    /// Rows left out.
    pub(super) left_out: usize,
    /// Tokens of the longest row that stayed.
    pub(super) longest: usize,
}

/// Keeps the rows within the limit. `measure` gives a row's line and its tokens.
///
/// # Errors
/// Where a row within the limit does not fit the context, or none is within the limit.
pub(super) fn within<T>(
    rows: Vec<T>,
    limit: Limit,
    path: &Path,
    measure: impl Fn(&T) -> Result<(usize, usize), InputError>,
) -> Result<Fitting<T>, InputError> {
    let mut fitting = Fitting {
        rows: Vec::with_capacity(rows.len()),
        left_out: 0,
        longest: 0,
    };
    let mut shortest = usize::MAX;
    for row in rows {
        let (line, found) = measure(&row)?;
        shortest = shortest.min(found);
        if limit.length.is_some_and(|length| found > length) {
            fitting.left_out += 1;
            continue;
        }
        if found > limit.context {
            return Err(InputError::TooLong {
                path: path.to_owned(),
                line,
                found,
                context: limit.context,
                remedy: limit.remedy,
            });
        }
        fitting.longest = fitting.longest.max(found);
        fitting.rows.push(row);
    }
    match limit.length {
        Some(length) if fitting.rows.is_empty() => Err(InputError::AllTooLong {
            path: path.to_owned(),
            shortest,
            key: limit.key,
            limit: length,
        }),
        _ => Ok(fitting),
    }
}

/// Passes where there are as many rows as a step takes.
///
/// # Errors
/// Where there are fewer.
pub(super) fn enough<T>(key: &'static str, found: usize, rows: &[T]) -> Result<(), InputError> {
    let rows = rows.len();
    if found > rows {
        return Err(InputError::FewRows { key, found, rows });
    }
    Ok(())
}

/// The questions whose prompt is within the limit under each of `constitutions`.
///
/// # Errors
/// As [`within`], and where the chat template refuses.
pub(super) fn questions(
    questions: Vec<Question>,
    source: &Source,
    codec: &dyn TextCodec,
    constitutions: &[String],
    instruction: &str,
    limit: Limit,
) -> Result<Fitting<Question>, InputError> {
    within(questions, limit, source.path(), |question| {
        let asked = std::slice::from_ref(question);
        let prompts = rollout::render(codec, asked, constitutions, instruction)
            .map_err(|error| InputError::refused("the prompts", &error))?;
        let lengths = prompts.iter().map(|prompt| prompt.prefix.len());
        Ok((question.id, lengths.max().unwrap_or(0)))
    })
}
