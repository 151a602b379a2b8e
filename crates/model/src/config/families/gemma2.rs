//! Gemma 2: norms before and after, whose weights add to 1; a scaled embedding; capped scores and
//! logits; every other layer slides, the first one too.
//!
//! # Source
//! Gemma 2, arXiv 2408.00118, section 2; what the paper leaves open: transformers,
//! `modeling_gemma2.py`.

use super::{Facts, Gate, key_value_heads_required, slide, window_or};
use crate::ModelError;
use crate::config::Config;
use crate::config::read::Presumptions;
use crate::config::value::{Object, number, refuse_other, refuse_true, required};

pub(super) static FACTS: Facts = Facts {
    architecture: "Gemma2ForCausalLM",
    model_type: "gemma2",
    presumptions: Presumptions {
        tied: true,
        ..Presumptions::LLAMA
    },
    differ,
    complete: complete_gemma,
};

fn differ(json: &Object, config: &mut Config) -> Result<(), ModelError> {
    gemma(json, config, [Some(50.0), Some(30.0)])?;
    slide(json, config, window_or(json, 4096)?, |index| {
        index.is_multiple_of(2)
    })
}

/// What Gemma 2 and Gemma 3 share; the caps of scores and of logits are those of absent keys.
pub(super) fn gemma(
    json: &Object,
    config: &mut Config,
    [scores, logits]: [Option<f64>; 2],
) -> Result<(), ModelError> {
    refuse_other(json, "hidden_activation", "gelu_pytorch_tanh")?;
    refuse_true(json, "use_bidirectional_attention")?;
    key_value_heads_required(json)?;
    required(json, "head_dim")?;
    config.norm_offset = 1.0;
    config.post_norms = true;
    config.gate = Gate::GeluTanh;
    config.embedding_scale = (config.hidden_size as f64).sqrt();
    let scalar = number(json, "query_pre_attn_scalar")?.unwrap_or(256.0);
    config.attention_scale = scalar.sqrt().recip();
    config.attention_softcap = softcap(json, "attn_logit_softcapping", scores)?;
    config.logit_softcap = softcap(json, "final_logit_softcapping", logits)?;
    Ok(())
}

/// A cap; null means none.
fn softcap(
    json: &Object,
    key: &'static str,
    default: Option<f64>,
) -> Result<Option<f64>, ModelError> {
    if json.contains_key(key) {
        number(json, key)
    } else {
        Ok(default)
    }
}

/// The keys of a fresh model that Gemma 2 and Gemma 3 share.
pub(super) fn complete_gemma(json: &mut Object) {
    json.remove("hidden_act");
    let head_size = json["head_dim"].clone();
    json.insert("query_pre_attn_scalar".to_owned(), head_size);
    json.insert("hidden_activation".to_owned(), "gelu_pytorch_tanh".into());
}
