//! Where each tensor of a Hugging Face folder lives: one table, read by loading and by saving.

use crate::Config;

/// A matrix of the decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Embedding,
    Layer(usize, Part),
    Norm,
    Head,
}

/// A matrix of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    AttentionNorm,
    Qkv,
    QkvBias,
    QueryNorm,
    KeyNorm,
    Output,
    OutputBias,
    AttentionPostNorm,
    MlpNorm,
    MlpPostNorm,
    GateUp,
    Down,
}

/// A tensor by its Hugging Face name: the columns from `column` on of a matrix.
///
/// A tensor of two axes is `[out, in]` and stands transposed in its matrix; one of one axis is a
/// row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Place,
    pub(crate) column: usize,
}

impl Place {
    /// Rows and columns.
    pub(crate) fn shape(self, config: &Config) -> (usize, usize) {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let query = config.query_heads * config.head_size;
        let fused = query + 2 * config.key_value_heads * config.head_size;
        match self {
            Self::Embedding | Self::Head => (hidden, config.vocabulary),
            Self::Norm => (1, hidden),
            Self::Layer(_, part) => match part {
                Part::AttentionNorm
                | Part::AttentionPostNorm
                | Part::MlpNorm
                | Part::MlpPostNorm
                | Part::OutputBias => (1, hidden),
                Part::Qkv => (hidden, fused),
                Part::QkvBias => (1, fused),
                Part::QueryNorm | Part::KeyNorm => (1, config.head_size),
                Part::Output => (query, hidden),
                Part::GateUp => (hidden, 2 * inner),
                Part::Down => (inner, hidden),
            },
        }
    }
}

/// Every tensor of the configured model.
pub(crate) fn tensors(config: &Config) -> Vec<Tensor> {
    let (hidden, vocabulary) = (config.hidden_size, config.vocabulary);
    let whole = |name: &str, shape: &[usize], place| Tensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        place,
        column: 0,
    };
    let mut all = vec![
        whole(
            "model.embed_tokens.weight",
            &[vocabulary, hidden],
            Place::Embedding,
        ),
        whole("model.norm.weight", &[hidden], Place::Norm),
    ];
    if !config.tie_word_embeddings {
        all.push(whole("lm_head.weight", &[vocabulary, hidden], Place::Head));
    }
    all.extend((0..config.layers).flat_map(|index| layer_tensors(config, index)));
    all
}

fn layer_tensors(config: &Config, index: usize) -> Vec<Tensor> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let query = config.query_heads * config.head_size;
    let tensor = |name: &str, shape: &[usize], part, column| Tensor {
        name: format!("model.layers.{index}.{name}"),
        shape: shape.to_vec(),
        place: Place::Layer(index, part),
        column,
    };
    let mut all = Vec::new();
    for (name, part) in norms(config) {
        all.push(tensor(&format!("{name}.weight"), &[hidden], part, 0));
    }
    let output = [hidden, query];
    all.push(tensor("self_attn.o_proj.weight", &output, Part::Output, 0));
    for (name, width, column) in gate_up(config) {
        let name = format!("mlp.{name}.weight");
        all.push(tensor(&name, &[width, hidden], Part::GateUp, column));
    }
    let down = [hidden, inner];
    all.push(tensor("mlp.down_proj.weight", &down, Part::Down, 0));
    for (name, width, column) in query_key_value(config) {
        let name = format!("self_attn.{name}");
        let shape = [width, hidden];
        all.push(tensor(&format!("{name}.weight"), &shape, Part::Qkv, column));
        if config.qkv_bias {
            let name = format!("{name}.bias");
            all.push(tensor(&name, &[width], Part::QkvBias, column));
        }
    }
    if config.output_bias {
        let name = "self_attn.o_proj.bias";
        all.push(tensor(name, &[hidden], Part::OutputBias, 0));
    }
    if config.qk_norm {
        let size = [config.head_size];
        all.push(tensor("self_attn.q_norm.weight", &size, Part::QueryNorm, 0));
        all.push(tensor("self_attn.k_norm.weight", &size, Part::KeyNorm, 0));
    }
    all
}

/// Norms of the stream. `post_attention_layernorm` stands behind attention where there are norms
/// behind, and else before the MLP.
fn norms(config: &Config) -> Vec<(&'static str, Part)> {
    let first = ("input_layernorm", Part::AttentionNorm);
    if !config.post_norms {
        return vec![first, ("post_attention_layernorm", Part::MlpNorm)];
    }
    vec![
        first,
        ("post_attention_layernorm", Part::AttentionPostNorm),
        ("pre_feedforward_layernorm", Part::MlpNorm),
        ("post_feedforward_layernorm", Part::MlpPostNorm),
    ]
}

/// Modules that make queries, keys and values: their outputs and where those start.
fn query_key_value(config: &Config) -> Vec<(&'static str, usize, usize)> {
    let query = config.query_heads * config.head_size;
    let key = config.key_value_heads * config.head_size;
    if config.fused_projections {
        return vec![("qkv_proj", query + 2 * key, 0)];
    }
    vec![
        ("q_proj", query, 0),
        ("k_proj", key, query),
        ("v_proj", key, query + key),
    ]
}

/// Modules that make gate and up.
fn gate_up(config: &Config) -> Vec<(&'static str, usize, usize)> {
    let inner = config.intermediate_size;
    if config.fused_projections {
        return vec![("gate_up_proj", 2 * inner, 0)];
    }
    vec![("gate_proj", inner, 0), ("up_proj", inner, inner)]
}
