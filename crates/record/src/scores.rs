//! What principles scored before training came to.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{RecordError, write_atomic};

/// Principles, scored by one model on one set of prompts.
///
/// A figure that could not be measured, or is not finite, is `None`, and `null` on disk. Intervals
/// are `[low, high]` at 95 %, over prompts; those of permuted labels, over labellings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// From the highest index down.
    pub principles: Vec<PrincipleScore>,
    /// Tokens computed, drawn and scored.
    pub tokens: usize,
    /// Batches that were run forward to score.
    pub forward_passes: usize,
    /// Wall-clock time of it all.
    pub seconds: f64,
    /// The model, as it was named.
    pub model: String,
    /// Names the draws.
    pub seed: u64,
    /// The file of the completions that were given; `None`: the model drew them.
    pub given: Option<PathBuf>,
}

/// The metrics of a principle; `permuted` stands for the same scores under labels that mean
/// nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PrincipleScore {
    /// The principle.
    pub id: String,
    /// Names it to readers, where that is not its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where the rule comes from, such as `policy.md:12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Sufficiency Index: 0 says nothing, 1 is all that can be said.
    pub si: Option<f64>,
    /// Its interval.
    pub si_interval: Option<[f64; 2]>,
    /// The same of permuted labels.
    pub si_permuted: Option<f64>,
    /// Where 95 % of their labellings lie.
    pub si_permuted_interval: Option<[f64; 2]>,
    /// `si` less `si_permuted`.
    pub si_corrected: Option<f64>,
    /// Its interval.
    pub si_corrected_interval: Option<[f64; 2]>,
    /// The index of the smaller bound alone.
    pub si_min: Option<f64>,
    /// The same of permuted labels.
    pub si_min_permuted: Option<f64>,
    /// Bound from the contrast over completions.
    pub bound_completions_nats: Option<f64>,
    /// Its interval.
    pub bound_completions_nats_interval: Option<[f64; 2]>,
    /// The same of permuted labels.
    pub bound_completions_nats_permuted: Option<f64>,
    /// Bound from the contrast over constitutions: a lower bound of the information.
    pub bound_constitutions_nats: Option<f64>,
    /// Its interval.
    pub bound_constitutions_nats_interval: Option<[f64; 2]>,
    /// The same of permuted labels.
    pub bound_constitutions_nats_permuted: Option<f64>,
    /// What a whole completion tells of its constitution; of given completions a lower bound.
    pub information_nats: Option<f64>,
    /// Its interval.
    pub information_nats_interval: Option<[f64; 2]>,
    /// Upper bound of the information; `None` for given completions.
    pub upper_nats: Option<f64>,
    /// Its interval.
    pub upper_nats_interval: Option<[f64; 2]>,
    /// Share of completions whose own constitution scores highest.
    pub retrieval: Option<f64>,
    /// Its interval.
    pub retrieval_interval: Option<[f64; 2]>,
    /// The same of permuted labels: chance.
    pub retrieval_permuted: Option<f64>,
    /// Mean margin over its standard deviation between prompts.
    pub margin_z: Option<f64>,
    /// The same of permuted labels.
    pub margin_z_permuted: Option<f64>,
    /// `informative`, `weak` or `not distinguishable from permuted labels`.
    pub verdict: String,
    /// Prompts that were read.
    pub prompts: usize,
    /// Prompts left out, because a completion had nothing to score.
    pub incomplete: usize,
    /// The index on the first so many prompts.
    pub convergence: Vec<ConvergencePoint>,
    /// The prompts, by their numbers in the data.
    pub prompt_ids: Vec<usize>,
    /// For each prompt, in nats a token, how much more likely its completions are under their own
    /// constitution than under the others.
    pub margins: Vec<f64>,
    /// The rule.
    pub positive: String,
    /// Its negatives.
    pub negatives: Vec<String>,
}

/// The index on the first prompts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConvergencePoint {
    /// How many.
    pub prompts: usize,
    /// The index.
    pub si: Option<f64>,
    /// Its interval.
    pub si_interval: Option<[f64; 2]>,
}

impl Scores {
    /// Writes the scores as one file, whole or not at all.
    ///
    /// # Errors
    /// Where the file system refuses.
    pub fn write(&self, path: &Path) -> Result<(), RecordError> {
        let text = serde_json::to_string_pretty(self).expect("scores are plain values");
        write_atomic(path, format!("{text}\n").as_bytes())
    }

    /// Reads what [`write`](Self::write) wrote.
    ///
    /// # Errors
    /// Where the file cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let text = std::fs::read_to_string(path).map_err(RecordError::io("read", path))?;
        serde_json::from_str(&text).map_err(|source| RecordError::Malformed {
            line: source.line(),
            path: path.to_owned(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn scores_read_back_as_they_were_written() {
        let scratch = Scratch::new("scores");
        let path = scratch.path().join("scores.json");
        let scores = Scores {
            principles: vec![PrincipleScore {
                id: "calm".to_owned(),
                si: Some(0.25),
                si_interval: Some([0.2, 0.3]),
                margins: vec![0.1, -0.2],
                ..PrincipleScore::default()
            }],
            tokens: 10,
            forward_passes: 1,
            seconds: 0.5,
            model: "nano".to_owned(),
            seed: 1,
            given: None,
        };
        scores.write(&path).unwrap();
        assert_eq!(Scores::read(&path).unwrap(), scores);
    }
}
