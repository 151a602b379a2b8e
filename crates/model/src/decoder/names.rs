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
    MlpNorm,
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
                Part::AttentionNorm | Part::MlpNorm | Part::OutputBias => (1, hidden),
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
    let key = config.key_value_heads * config.head_size;
    let tensor = |name: &str, shape: &[usize], part, column| Tensor {
        name: format!("model.layers.{index}.{name}"),
        shape: shape.to_vec(),
        place: Place::Layer(index, part),
        column,
    };
    let projections = [
        ("q_proj", query, 0),
        ("k_proj", key, query),
        ("v_proj", key, query + key),
    ];
    let mut all = vec![
        tensor("input_layernorm.weight", &[hidden], Part::AttentionNorm, 0),
        tensor("self_attn.o_proj.weight", &[hidden, query], Part::Output, 0),
        tensor(
            "post_attention_layernorm.weight",
            &[hidden],
            Part::MlpNorm,
            0,
        ),
        tensor("mlp.gate_proj.weight", &[inner, hidden], Part::GateUp, 0),
        tensor("mlp.up_proj.weight", &[inner, hidden], Part::GateUp, inner),
        tensor("mlp.down_proj.weight", &[hidden, inner], Part::Down, 0),
    ];
    for (name, width, column) in projections {
        let weight = format!("self_attn.{name}.weight");
        all.push(tensor(&weight, &[width, hidden], Part::Qkv, column));
        if config.qkv_bias {
            all.push(tensor(
                &format!("self_attn.{name}.bias"),
                &[width],
                Part::QkvBias,
                column,
            ));
        }
    }
    if config.output_bias {
        all.push(tensor(
            "self_attn.o_proj.bias",
            &[hidden],
            Part::OutputBias,
            0,
        ));
    }
    if config.qk_norm {
        let size = config.head_size;
        all.push(tensor(
            "self_attn.q_norm.weight",
            &[size],
            Part::QueryNorm,
            0,
        ));
        all.push(tensor("self_attn.k_norm.weight", &[size], Part::KeyNorm, 0));
    }
    all
}
