//! Llama: the configuration that the others differ from.

use super::{Facts, nothing_more, silu};
use crate::config::read::Presumptions;

pub(super) static FACTS: Facts = Facts {
    architecture: "LlamaForCausalLM",
    model_type: "llama",
    presumptions: Presumptions::LLAMA,
    differ: |json, _| silu(json),
    complete: nothing_more,
};
