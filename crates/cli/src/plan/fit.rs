//! Prompts against the model's context, before a run finds out the hard way.

use std::path::Path;

use crate::data::Place;
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

/// Keeps the rows within the limit, one after the other. `measure` gives a row's tokens.
///
/// # Errors
/// Where a row cannot be read, one within the limit does not fit the context, or none is within the
/// limit.
pub(super) fn within<T>(
    rows: impl Iterator<Item = Result<(Place, T), InputError>>,
    limit: Limit,
    path: &Path,
    measure: impl Fn(&T) -> Result<usize, InputError>,
) -> Result<Fitting<T>, InputError> {
    let mut fitting = Fitting {
        rows: Vec::new(),
        left_out: 0,
        longest: 0,
    };
    let mut shortest = usize::MAX;
    for row in rows {
        let (place, row) = row?;
        let found = measure(&row)?;
        shortest = shortest.min(found);
        if limit.length.is_some_and(|length| found > length) {
            fitting.left_out += 1;
            continue;
        }
        if found > limit.context {
            let Limit {
                context, remedy, ..
            } = limit;
            return Err(place.refuse(format!(
                "{found} tokens, expected at most {context}, for which the model's context has \
                 room; set {remedy}"
            )));
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
