//! What a run minimises, and the only list of terms.

use crate::{Grpo, Kl, Sami, SinkhornDrift, WarmUp, Weighted};

/// The weights and choices of an objective. A term of weight 0 is left out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The policy gradient; its weight is 1.
    pub grpo: Grpo,
    /// Weight of the k3 divergence from the reference, with the aggregation of `grpo`.
    pub beta: f64,
    /// Weight of the contrast between constitutions.
    pub sami_weight: f64,
    /// How that weight rises.
    pub sami_warm_up: WarmUp,
    /// Weight of the drift of hidden states.
    pub transport_weight: f64,
    /// How that drift is measured.
    pub transport: SinkhornDrift,
}

impl Settings {
    /// The terms of this objective, in the order in which they are logged.
    pub fn terms(&self) -> Vec<Weighted> {
        let kl = Kl {
            aggregation: self.grpo.aggregation,
        };
        let constant = WarmUp::default();
        let mut terms = vec![
            Weighted::new(self.grpo, 1.0, constant),
            Weighted::new(kl, self.beta, constant),
            Weighted::new(Sami, self.sami_weight, self.sami_warm_up),
            Weighted::new(self.transport, self.transport_weight, constant),
        ];
        terms.retain(|term| term.weight.abs() > 0.0);
        terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Aggregation, RatioLevel};

    #[test]
    fn a_term_is_listed_if_and_only_if_it_has_weight() {
        let names = |settings: Settings| -> Vec<_> {
            settings
                .terms()
                .iter()
                .map(|term| term.term.name())
                .collect()
        };
        let with = |beta, sami_weight, transport_weight| Settings {
            grpo: Grpo {
                level: RatioLevel::Token,
                epsilon: 0.2,
                epsilon_high: 0.2,
                aggregation: Aggregation::Dapo,
            },
            beta,
            sami_weight,
            sami_warm_up: WarmUp { steps: 50 },
            transport_weight,
            transport: SinkhornDrift {
                options: transport::Options::default(),
            },
        };
        assert_eq!(names(with(0.0, 0.0, 0.0)), ["grpo"]);
        assert_eq!(names(with(0.04, 0.0, 0.0)), ["grpo", "kl"]);
        assert_eq!(names(with(0.0, 0.05, 0.01)), ["grpo", "sami", "transport"]);
        let all = ["grpo", "kl", "sami", "transport"];
        assert_eq!(names(with(0.04, 0.05, 0.01)), all);
    }
}
