//! The shapes that are timed, as `config.json` has them. Those of published models are theirs; none
//! names an end token, which the lengths that are asked for decide.

use model::{Config, Embedded, ModelError, Source};

use crate::arguments::ShapeChoice;

impl ShapeChoice {
    /// Its name on the command line.
    pub(super) fn name(self) -> &'static str {
        self.text().0
    }

    /// The configuration.
    ///
    /// # Errors
    /// Where it does not read.
    pub(super) fn config(self) -> Result<Config, ModelError> {
        Config::open(&Source::Embedded(Embedded {
            config: self.text().1,
            tokenizer: "",
            tokenizer_config: "",
            weights: &[],
        }))
    }

    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::M3 => ("3m", M3),
            Self::M25 => ("25m", M25),
            Self::M135 => ("135m", M135),
            Self::Qwen3 => ("qwen3-0.6b", QWEN3),
            Self::Llama32 => ("llama-3.2-1b", LLAMA32),
        }
    }
}

const M3: &str = r#"{
    "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 192,
    "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 2,
    "intermediate_size": 512, "vocab_size": 512, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true
}"#;

const M25: &str = r#"{
    "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 512,
    "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4,
    "intermediate_size": 1408, "vocab_size": 4096, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true
}"#;

/// HuggingFaceTB/SmolLM2-135M.
const M135: &str = r#"{
    "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 576,
    "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
    "intermediate_size": 1536, "vocab_size": 49152, "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5, "rope_theta": 100000, "tie_word_embeddings": true
}"#;

/// Qwen/Qwen3-0.6B.
const QWEN3: &str = r#"{
    "architectures": ["Qwen3ForCausalLM"], "hidden_act": "silu", "hidden_size": 1024,
    "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
    "head_dim": 128, "intermediate_size": 3072, "vocab_size": 151936,
    "max_position_embeddings": 40960, "rms_norm_eps": 1e-6, "rope_theta": 1000000,
    "tie_word_embeddings": true
}"#;

/// meta-llama/Llama-3.2-1B.
const LLAMA32: &str = r#"{
    "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 2048,
    "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
    "head_dim": 64, "intermediate_size": 8192, "vocab_size": 128256,
    "max_position_embeddings": 131072, "rms_norm_eps": 1e-5, "rope_theta": 500000,
    "rope_scaling": {
        "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192
    },
    "tie_word_embeddings": true
}"#;

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shape_reads_and_has_the_weights_of_its_name() {
        let millions = [3, 25, 135, 596, 1236];
        for (shape, expected) in ShapeChoice::value_variants().iter().zip(millions) {
            let config = shape.config().expect("a configuration of ours");
            let found = config.parameters() as f64 / 1e6;
            let name = shape.name();
            assert!(
                (found / f64::from(expected) - 1.0).abs() < 0.2,
                "{name} has {found} million"
            );
        }
    }
}
