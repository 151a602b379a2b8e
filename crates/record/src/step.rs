//! What a step leaves behind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The metrics of one step: an object with `step` and each metric beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// Its number, from 1.
    pub step: usize,
    /// Value of each metric; none is called `step`. One that is not finite is written as `null`,
    /// which reads as NaN: it was measured and came to nothing.
    #[serde(flatten, with = "null_is_nan")]
    pub metrics: BTreeMap<String, f64>,
}

/// One completion of a step, graded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletionRecord {
    /// Id of the question.
    pub question: usize,
    /// Which constitution it was drawn under, from 0: the positive one.
    pub constitution: usize,
    /// Its number in its group, from 0.
    pub sample: usize,
    /// The question's text.
    pub prompt: String,
    /// The text, without special tokens.
    pub completion: String,
    /// Its length in tokens, the end token included.
    pub tokens: usize,
    /// Whether the length limit cut it.
    pub truncated: bool,
    /// Whether it has the format.
    pub format_valid: bool,
    /// Whether it gives the expected answer; `None` if none is expected.
    pub answer_right: Option<bool>,
    /// The grade of each grader; `None` where it gave none.
    pub rewards: BTreeMap<String, Option<f64>>,
    /// The weighted sum of the grades; `None`: ungraded.
    pub reward: Option<f64>,
    /// Its advantage in its group; `None` where it has none.
    pub advantage: Option<f64>,
}

mod null_is_nan {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        metrics: &BTreeMap<String, f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let finite = |value: f64| value.is_finite().then_some(value);
        serializer.collect_map(metrics.iter().map(|(name, &value)| (name, finite(value))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<String, f64>, D::Error> {
        let metrics = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
        let value = |value: Option<f64>| value.unwrap_or(f64::NAN);
        Ok(metrics
            .into_iter()
            .map(|(name, v)| (name, value(v)))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_one_flat_object_in_which_only_the_not_finite_is_null() {
        let metrics = [
            ("entropy", 0.1 + 0.2),
            ("grad_norm", f64::INFINITY),
            ("kl", f64::NAN),
            ("num_tokens", 4096.0),
            ("reward", -5e-324),
        ];
        let record = StepRecord {
            step: 3,
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
        };
        let line = serde_json::to_string(&record).unwrap();
        let expected = concat!(
            r#"{"step":3,"entropy":0.30000000000000004,"grad_norm":null,"kl":null,"#,
            r#""num_tokens":4096.0,"reward":-5e-324}"#
        );
        assert_eq!(line, expected);
        let read: StepRecord = serde_json::from_str(&line).unwrap();
        assert_eq!(read.step, 3);
        for (name, value) in metrics {
            let found = read.metrics[name];
            let expected = if value.is_finite() { value } else { f64::NAN };
            assert_eq!(found.to_bits(), expected.to_bits(), "{name} is {found}");
        }
    }
}
