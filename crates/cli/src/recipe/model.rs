//! `[model]` and `[format]`: what is trained, and the shape its completions are to have.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::range::{OutOfRange, require};

/// `[model]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelSection {
    /// A Hugging Face folder (`config.json`, `tokenizer.json`, safetensors), `org/name` or
    /// `org/name@revision` of the hub, or `nano`, the model in the binary; or an adapter's folder
    /// in PEFT's layout, which is then trained on. Required.
    pub(crate) path: String,
    /// Where `path` is an adapter: the model that it stands beside. By default the one that its
    /// `adapter_config.json` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base: Option<String>,
    /// For a model without a chat template: a file of Jinja, or `plain` for the turns one after the
    /// other. The checkpoint carries it. By default none, and a model without one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chat_template: Option<String>,
    /// Draws the weights afresh (named by `run.seed`); the folder needs none. Default false.
    #[serde(default)]
    pub(crate) random_weights: bool,
    /// Tokens that the tokenizer lacks, such as a format's tags. They are ordinary tokens: decoding
    /// keeps them. Each new row of the embedding is the mean of the old ones. By default none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) add_tokens: Vec<String>,
    /// How the checkpoint's weights are stored. Computation is in float32 whatever this says.
    /// Default `float32`: no rounding between a run and what is opened elsewhere.
    #[serde(default)]
    pub(crate) checkpoint_dtype: FloatType,
    /// The backward pass computes each layer again instead of reading what the forward pass kept:
    /// the same gradient for less memory and more time. Default false (TRL: true).
    #[serde(default)]
    pub(crate) gradient_checkpointing: bool,
}

impl ModelSection {
    /// # Errors
    /// A token without text.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        require(
            !self.add_tokens.contains(&String::new()),
            "model.add_tokens",
            "a list with an empty text",
            "tokens of one character or more",
        )
    }
}

/// A format of numbers, by PyTorch's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FloatType {
    /// That of training.
    #[default]
    Float32,
    /// Half the size, 8 bits of mantissa.
    Bfloat16,
}

/// `[format]`: reasoning first, then the answer.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct FormatSection {
    /// `xml` (default): `<reasoning>…</reasoning>` then `<answer>…</answer>`, the strict XML of
    /// arXiv 2510.11278; `think`: `<think>…</think>` then the answer itself.
    pub(crate) preset: FormatPreset,
    /// With `xml`, the name of the first tag. Default `reasoning`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_tag: Option<String>,
    /// With `xml`, the name of the second tag. Default `answer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) answer_tag: Option<String>,
    /// What each question is followed by, to ask for the format; empty text asks nothing. By
    /// default a sentence that names the tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) instruction: Option<String>,
}

/// A known format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FormatPreset {
    /// Two tags.
    #[default]
    Xml,
    /// One tag; what follows is the answer.
    Think,
}

impl FormatSection {
    /// Name of the reasoning's tag, and of the answer's where it has one.
    pub(crate) fn tags(&self) -> (&str, Option<&str>) {
        match self.preset {
            FormatPreset::Xml => (
                self.reasoning_tag.as_deref().unwrap_or("reasoning"),
                Some(self.answer_tag.as_deref().unwrap_or("answer")),
            ),
            FormatPreset::Think => ("think", None),
        }
    }

    /// The section with its tags written out.
    pub(crate) fn resolved(&self) -> Self {
        let (reasoning, answer) = self.tags();
        let answer_tag = answer.map(str::to_owned);
        let reasoning_tag = answer.map(|_| reasoning.to_owned());
        Self {
            reasoning_tag,
            answer_tag,
            ..self.clone()
        }
    }

    /// # Errors
    /// Tag names beside a preset that has its own.
    pub(super) fn check(&self) -> Result<(), OutOfRange> {
        let is_named = self.reasoning_tag.is_some() || self.answer_tag.is_some();
        require(
            self.preset == FormatPreset::Xml || !is_named,
            "format.preset",
            "`think`, which has its own tags",
            "no `reasoning_tag` or `answer_tag` beside it",
        )
    }
}
