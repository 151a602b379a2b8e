//! Arguments into a variant of GRPO.

use ::stationary::{Group, Penalty, Scale, Variant};

use super::{refused, said};
use crate::arguments::{PenaltyChoice, ScaleChoice, StationaryArguments};
use crate::error::InputError;

/// What stands in for arguments that are not given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) beta: Option<f64>,
    pub(super) group: Option<Group>,
    pub(super) scale: Scale,
}

/// The variant that the arguments name.
///
/// # Errors
/// Where one is missing or outside its range.
pub(super) fn variant(
    arguments: &StationaryArguments,
    defaults: Defaults,
) -> Result<Variant, InputError> {
    // A sweep gives its own.
    let swept = |name: &str| {
        let sweep = arguments.sweep.as_deref().unwrap_or_default();
        sweep
            .strip_prefix(name)
            .is_some_and(|rest| rest.starts_with('='))
    };
    let beta = match arguments.beta.or(defaults.beta) {
        Some(beta) => beta,
        None if swept("beta") => 1.0,
        None => {
            return Err(said(
                "--beta is missing; expected the weight of the penalty, as in 0.04",
            ));
        }
    };
    let group = match (&arguments.group, defaults.group) {
        (Some(word), _) => parse_group(word)?,
        (None, Some(group)) => group,
        (None, None) if swept("group") => Group::Large,
        (None, None) => {
            return Err(said(
                "--group is missing; expected the size of a group, as in 8, or inf",
            ));
        }
    };
    let penalty = match arguments.penalty {
        PenaltyChoice::K3 => Penalty::K3,
        PenaltyChoice::Kl => Penalty::Kl,
    };
    let scale = match (arguments.scale, arguments.ddof) {
        (Some(ScaleChoice::None), None) => Scale::None,
        (Some(ScaleChoice::None), Some(ddof)) => {
            return Err(said(format!(
                "--ddof is {ddof} with --scale none; expected no --ddof where nothing is divided by"
            )));
        }
        (_, Some(0)) => Scale::Population,
        (_, Some(_)) => Scale::Sample,
        (Some(ScaleChoice::Std), None) if defaults.scale == Scale::None => Scale::Population,
        (_, None) => defaults.scale,
    };
    let variant = Variant::new(beta, group).map_err(|error| refused(&error))?;
    Ok(variant.with_penalty(penalty).with_scale(scale))
}

/// A size of a group, or `inf`.
pub(super) fn parse_group(word: &str) -> Result<Group, InputError> {
    match word {
        "inf" => Ok(Group::Large),
        _ => word.parse().map(Group::Of).map_err(|_| {
            said(format!(
                "--group is {word}; expected a whole number from 2, or inf"
            ))
        }),
    }
}

/// `8`, or `inf`.
pub(super) fn group_name(group: Group) -> String {
    match group {
        Group::Of(group) => group.to_string(),
        Group::Large => "inf".to_owned(),
    }
}
