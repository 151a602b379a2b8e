//! The folder that a fresh built-in model starts from: everything but its weights, as
//! `transformers` reads it.

use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::tokenizer::{END, PAD};

/// Tokens that the model attends to.
const CONTEXT: usize = 256;

const CHAT_TEMPLATE: &str = "{% for message in messages %}\
    {{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}";

/// The configuration files by name, for a tokenizer that holds the special tokens.
pub(crate) fn configurations(tokenizer: &Tokenizer) -> [(&'static str, Value); 4] {
    let id = |token| tokenizer.token_to_id(token);
    let config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": tokenizer.get_vocab_size(true),
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "attention_bias": false,
        "mlp_bias": false,
        "tie_word_embeddings": true,
        "initializer_range": 0.02,
        "bos_token_id": null,
        "eos_token_id": id(END),
        "pad_token_id": id(PAD),
        "torch_dtype": "float32",
    });
    let tokenizer_config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": CONTEXT,
        "bos_token": null,
        "eos_token": END,
        "pad_token": PAD,
        "add_bos_token": false,
        "add_eos_token": false,
        "clean_up_tokenization_spaces": false,
        "chat_template": CHAT_TEMPLATE,
    });
    let generation_config = json!({
        "do_sample": true,
        "temperature": 1.0,
        "eos_token_id": id(END),
        "pad_token_id": id(PAD),
    });
    [
        ("config.json", config),
        ("tokenizer_config.json", tokenizer_config),
        ("generation_config.json", generation_config),
        (
            "special_tokens_map.json",
            json!({"eos_token": END, "pad_token": PAD}),
        ),
    ]
}
