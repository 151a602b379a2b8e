//! What a run came to.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::CompletionRecord;

/// How a policy does on the evaluation questions.
///
/// A figure that could not be measured is `None`, and `null` on disk, as is one that is not
/// finite. Intervals are `[low, high]` at 95 %, left out where there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Share of completions with a valid format.
    pub format_valid: Option<f64>,
    /// Its interval.
    #[serde(default, skip_serializing_if = "is_open")]
    pub format_valid_interval: Option<[f64; 2]>,
    /// Share of right answers among the completions whose question has an expected one.
    pub accuracy: Option<f64>,
    /// Its interval.
    #[serde(default, skip_serializing_if = "is_open")]
    pub accuracy_interval: Option<[f64; 2]>,
    /// Lower bound on what a completion tells about its constitution, in nats; at most `ln k`.
    pub bound_constitutions_nats: Option<f64>,
    /// Its interval.
    #[serde(default, skip_serializing_if = "is_open")]
    pub bound_constitutions_nats_interval: Option<[f64; 2]>,
    /// Lower bound on what a constitution tells about its completion, in nats; at most `ln k`.
    pub bound_completions_nats: Option<f64>,
    /// Its interval.
    #[serde(default, skip_serializing_if = "is_open")]
    pub bound_completions_nats_interval: Option<[f64; 2]>,
    /// Completions that were drawn.
    pub completions: usize,
    /// Questions with a gated completion under every constitution: those the bounds rest on.
    pub contrasts: usize,
    /// Debiased transport divergence between the hidden states of policy and reference, in units
    /// of squared distance between directions, over the gated completions or an even draw of 1024
    /// of them. `None` before training, where there is no drift, and where it did not converge.
    #[serde(default)]
    pub s_epsilon: Option<f64>,
    /// Divergence of the policy from the reference on its own completions, in nats a token.
    /// `None` before training.
    #[serde(default)]
    pub kl_reference: Option<f64>,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The policy it started from.
    pub before: Evaluation,
    /// The policy it ended with.
    pub after: Evaluation,
    /// Wall-clock time of the whole run.
    pub seconds: f64,
    /// Most memory resident at once, where the system tells.
    pub peak_mib: Option<f64>,
    /// Tokens of the training steps, prompts and completions.
    pub tokens: u64,
    /// The run folder.
    pub run: PathBuf,
    /// The last checkpoint.
    pub checkpoint: PathBuf,
    /// The best checkpoint, where a metric was named for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_checkpoint: Option<PathBuf>,
    /// The step after which the run was taken up again; the last time, where there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_from: Option<usize>,
}

/// What a run found before its first step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// The figures.
    pub evaluation: Evaluation,
    /// The completions behind them.
    pub completions: Vec<CompletionRecord>,
}

/// Whether there is no interval, or none with two finite ends.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn is_open(interval: &Option<[f64; 2]>) -> bool {
    !interval.is_some_and(|ends| ends.iter().all(|end| end.is_finite()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let before = Evaluation {
            format_valid: Some(0.25),
            format_valid_interval: Some([0.1, 0.4]),
            accuracy: Some(f64::NAN),
            accuracy_interval: Some([f64::NAN, f64::NAN]),
            bound_constitutions_nats: Some(0.5),
            bound_completions_nats: None,
            completions: 32,
            contrasts: 7,
            ..Evaluation::default()
        };
        let after = Evaluation {
            s_epsilon: Some(0.01),
            kl_reference: Some(0.02),
            ..before.clone()
        };
        Summary {
            before,
            after,
            seconds: 12.5,
            peak_mib: Some(900.0),
            tokens: 4096,
            run: PathBuf::from("runs/a"),
            checkpoint: PathBuf::from("runs/a/checkpoint-10"),
            best_checkpoint: None,
            resumed_from: None,
        }
    }

    #[test]
    fn the_summary_prints_the_keys_that_its_readers_know() {
        let evaluation = concat!(
            r#""format_valid":0.25,"format_valid_interval":[0.1,0.4],"accuracy":null,"#,
            r#""bound_constitutions_nats":0.5,"bound_completions_nats":null,"#,
            r#""completions":32,"contrasts":7"#
        );
        let expected = [
            r#"{"before":{"#,
            evaluation,
            r#","s_epsilon":null,"kl_reference":null},"after":{"#,
            evaluation,
            r#","s_epsilon":0.01,"kl_reference":0.02},"seconds":12.5,"peak_mib":900.0,"#,
            r#""tokens":4096,"run":"runs/a","checkpoint":"runs/a/checkpoint-10"}"#,
        ];
        assert_eq!(
            serde_json::to_string(&summary()).unwrap(),
            expected.concat()
        );
    }

    #[test]
    fn a_summary_reads_back_with_the_unmeasured_as_none() {
        let text = serde_json::to_string(&summary()).unwrap();
        let mut expected = summary();
        for evaluation in [&mut expected.before, &mut expected.after] {
            evaluation.accuracy = None;
            evaluation.accuracy_interval = None;
        }
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), expected);
    }
}
