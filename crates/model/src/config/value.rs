//! Values of `config.json` by their keys, each with its range.

use serde_json::{Map, Value};

use crate::ModelError;

pub(super) type Object = Map<String, Value>;

/// A value that is there and not null.
pub(super) fn present<'a>(json: &'a Object, key: &str) -> Option<&'a Value> {
    json.get(key).filter(|value| !value.is_null())
}

/// A size, in a range that keeps products of a few sizes countable; nothing where the key is
/// absent or null.
pub(super) fn size(json: &Object, key: &'static str) -> Result<Option<usize>, ModelError> {
    const MAX: u64 = 1 << 24;
    match present(json, key) {
        None => Ok(None),
        Some(value) => match value.as_u64() {
            Some(size @ 1..=MAX) => Ok(Some(size as usize)),
            _ => Err(mistaken(
                key,
                Some(value),
                &format!("an integer from 1 to {MAX}"),
            )),
        },
    }
}

pub(super) fn required(json: &Object, key: &'static str) -> Result<usize, ModelError> {
    size(json, key)?.ok_or_else(|| mistaken(key, None, "a positive integer"))
}

/// A positive number; nothing where the key is absent or null.
pub(super) fn number(json: &Object, key: &'static str) -> Result<Option<f64>, ModelError> {
    match present(json, key) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) if number > 0.0 && number.is_finite() => Ok(Some(number)),
            _ => Err(mistaken(key, Some(value), "a positive number")),
        },
    }
}

pub(super) fn positive(json: &Object, key: &'static str, default: f64) -> Result<f64, ModelError> {
    Ok(number(json, key)?.unwrap_or(default))
}

pub(super) fn flag(json: &Object, key: &'static str, default: bool) -> Result<bool, ModelError> {
    match present(json, key) {
        None => Ok(default),
        Some(Value::Bool(flag)) => Ok(*flag),
        value => Err(mistaken(key, value, "true or false")),
    }
}

/// A list of positive numbers of this length.
pub(super) fn numbers(
    json: &Object,
    key: &'static str,
    length: usize,
) -> Result<Vec<f64>, ModelError> {
    let expected = format!("a list of {length} positive numbers");
    let value = present(json, key);
    let entries = value.and_then(Value::as_array);
    let numbers: Option<Vec<f64>> = entries.and_then(|list| {
        let number = |value: &Value| value.as_f64().filter(|x| *x > 0.0 && x.is_finite());
        list.iter().map(number).collect()
    });
    numbers
        .filter(|numbers| numbers.len() == length)
        .ok_or_else(|| match entries {
            Some(list) if list.len() != length => ModelError::ConfigValue {
                key,
                found: format!("a list of {}", list.len()),
                expected,
            },
            _ => mistaken(key, value, &expected),
        })
}

/// Token ids, given as a number, a list or not at all.
pub(super) fn ids(json: &Object, key: &'static str) -> Result<Vec<u32>, ModelError> {
    let value = json.get(key);
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    let ids = match value {
        None | Some(Value::Null) => Some(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(id).collect(),
        Some(value) => id(value).map(|id| vec![id]),
    };
    ids.ok_or_else(|| mistaken(key, value, "a token id or a list of them"))
}

/// Refuses a key whose value Python takes for true.
pub(super) fn refuse_true(json: &Object, key: &'static str) -> Result<(), ModelError> {
    let truthy = |value: &Value| !(*value == false || *value == 0 || *value == 0.0);
    match present(json, key).filter(|value| truthy(value)) {
        None => Ok(()),
        value => Err(refused(key, value)),
    }
}

/// Refuses a key whose value is another than this one; absent and null pass.
pub(super) fn refuse_other(
    json: &Object,
    key: &'static str,
    known: &str,
) -> Result<(), ModelError> {
    match present(json, key).filter(|value| *value != known) {
        None => Ok(()),
        value => Err(refused(key, value)),
    }
}

pub(super) fn refused(key: &str, value: Option<&Value>) -> ModelError {
    ModelError::Unsupported {
        what: format!("{key} {}", shown(value)),
    }
}

pub(super) fn mistaken(key: &'static str, value: Option<&Value>, expected: &str) -> ModelError {
    ModelError::ConfigValue {
        key,
        found: shown(value),
        expected: expected.to_owned(),
    }
}

pub(super) fn shown(value: Option<&Value>) -> String {
    match value {
        None => "missing".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}
