//! Damaged model folders: no file of one may make its reader panic.

use std::fs;
use std::path::{Path, PathBuf};

use fuzz::fuzz;
use model::weights::{Dtype, Weights, write};
use model::{
    ChatTokenizer, Config, Family, LoraOptions, PLAIN_TEMPLATE, Shape, Source, TargetModules,
    Trained, Workload,
};
use policy::{Message, Role, TextCodec};

/// A folder of its own for a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("enigma-fuzz-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    fn source(&self) -> Source {
        Source::Folder(self.0.clone())
    }

    fn put(&self, file: &str, content: impl AsRef<[u8]>) {
        fs::write(self.0.join(file), content).expect("written");
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.0.join(file)).expect("written before")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn config() -> Config {
    let shape = Shape {
        family: Family::Llama,
        hidden_size: 2,
        layers: 1,
        query_heads: 1,
        key_value_heads: 1,
        intermediate_size: 2,
        vocabulary: 300,
        max_position_embeddings: 8,
        eos_token_ids: vec![0],
    };
    Config::fresh(&shape).expect("valid")
}

/// Files of this name in the folders of the fixtures.
fn fixtures(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the fixtures")
        .map(|entry| entry.expect("the fixtures").path())
        .collect();
    folders.sort();
    let files = folders.iter().map(|folder| folder.join(name));
    files.filter_map(|file| fs::read(file).ok()).collect()
}

const TENSORS: [(&str, [usize; 2]); 2] = [("a.weight", [4, 2]), ("lm_head.weight", [1, 3])];

/// `model.safetensors` in either number format that is written.
fn written(folder: &Folder) -> Vec<Vec<u8>> {
    let write_all = |dtype| {
        let tensor = |(name, shape): &(&str, [usize; 2])| {
            let values = vec![0.5; shape[0] * shape[1]];
            ((*name).to_owned(), shape.to_vec(), move || values)
        };
        let tensors = TENSORS.iter().map(tensor).collect();
        write(&folder.0, tensors, dtype, usize::MAX).expect("written");
        folder.bytes("model.safetensors")
    };
    [Dtype::F32, Dtype::Bf16].map(write_all).to_vec()
}

fn read_weights(source: &Source, config: &Config) {
    let Ok(weights) = Weights::open(source, config) else {
        return;
    };
    let _ = weights.formats();
    for (name, shape) in &TENSORS {
        let _ = weights.tensor(name, shape);
    }
    let _ = weights.expect(TENSORS.iter().map(|(name, shape)| (*name, &shape[..])));
}

#[test]
fn damaged_safetensors_are_refused_or_read() {
    let folder = Folder::new("safetensors");
    let seeds = written(&folder);
    let words = [
        "dtype",
        "shape",
        "data_offsets",
        "F32",
        "BF16",
        "F16",
        "F64",
        "__metadata__",
    ];
    let config = config();
    fuzz("safetensors", &seeds, &words, |bytes| {
        folder.put("model.safetensors", bytes);
        read_weights(&folder.source(), &config);
    });
}

#[test]
fn a_damaged_index_of_shards_is_refused_or_read() {
    let folder = Folder::new("index");
    let shard = written(&folder).remove(0);
    folder.put("1.safetensors", shard);
    fs::remove_file(folder.0.join("model.safetensors")).expect("written before");
    let index = r#"{"metadata": {"total_size": 44},
        "weight_map": {"a.weight": "1.safetensors", "lm_head.weight": "1.safetensors"}}"#;
    let words = ["weight_map", "1.safetensors", "..", "/", "a.weight"];
    let config = config();
    fuzz("index", &[index.into()], &words, |bytes| {
        folder.put("model.safetensors.index.json", bytes);
        read_weights(&folder.source(), &config);
    });
}

/// What a plan asks of a configuration before anything is loaded.
fn figures(config: &Config) {
    let workload = Workload {
        computed_tokens: 4096,
        completions: 64,
        max_completion_length: 256,
        prompt_tokens: 2048,
        gradient_checkpointing: false,
        sampling_dtype: model::Dtype::F32,
    };
    let options = LoraOptions {
        r: 16,
        lora_alpha: 32.0,
        lora_dropout: 0.0,
        target_modules: TargetModules::AllLinear,
        use_rslora: false,
    };
    let full = Trained::Full {
        keeps_reference: true,
    };
    for trained in [full, Trained::Lora(&options)] {
        assert!(config.training_bytes(&workload, trained) > 0);
    }
    assert!(config.sampling_bytes(&workload) > 0);
    assert!(config.card_inference_bytes(&workload) > 0);
    assert!(config.scored_context(10) > 0);
}

#[test]
fn a_damaged_configuration_is_refused_or_read() {
    let folder = Folder::new("config");
    let words = [
        "rope_scaling",
        "rope_parameters",
        "rope_type",
        "llama3",
        "yarn",
        "longrope",
        "linear",
        "factor",
        "long_factor",
        "short_factor",
        "layer_types",
        "sliding_attention",
        "full_attention",
        "sliding_window",
        "no_rope_layers",
        "LlamaForCausalLM",
        "Gemma3ForCausalLM",
        "Phi3ForCausalLM",
        "Qwen3ForCausalLM",
        "SmolLM3ForCausalLM",
        "head_dim",
        "eos_token_id",
        "original_max_position_embeddings",
        "attention_bias",
    ];
    fuzz("config", &fixtures("config.json"), &words, |bytes| {
        folder.put("config.json", bytes);
        if let Ok(config) = Config::open(&folder.source()) {
            figures(&config);
        }
    });
}

const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [
        {"id": 6, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false,
         "normalized": false, "special": true},
        {"id": 7, "content": "<a>", "single_word": false, "lstrip": false, "rstrip": true,
         "normalized": true, "special": false}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"},
        {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{N}|\\s+(?!\\S)"}, "behavior": "Isolated",
         "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
         "use_regex": false}]},
    "post_processor": {"type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}},
                   {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [6], "tokens": ["<|end|>"]}}},
    "decoder": {"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
    "model": {"type": "BPE", "dropout": null, "unk_token": "<0x0A>",
        "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
        "byte_fallback": true, "ignore_merges": false,
        "vocab": {"a": 0, "b": 1, "ab": 2, "<0x0A>": 3, "▁": 4, "h": 5},
        "merges": [["a", "b"]]}}"#;

const SETTINGS: &str = r#"{"add_bos_token": true, "bos_token": "<s>",
    "eos_token": {"content": "<|end|>", "lstrip": false, "special": true},
    "tokenizer_class": "Qwen2Tokenizer", "model_max_length": 32768,
    "added_tokens_decoder": {"6": {"content": "<|end|>", "special": true}},
    "chat_template": [{"name": "default",
        "template": "{% for m in messages %}{{ m.content }}{% endfor %}"}]}"#;

const TEMPLATE: &str = r#"{%- macro turn(m, last=false) -%}
{{ '<|im_start|>' ~ m['role'] ~ '\n' ~ m.content | trim }}{{ '<|im_end|>' if not last }}
{%- endmacro -%}
{%- set ns = namespace(first=true, n=messages | length - 1) -%}
{%- if tools is defined and not tools %}{{ messages | tojson(indent=2) }}{% endif -%}
{%- for message in messages[::-1] %}
  {%- if loop.index0 > 100 %}{{ raise_exception('long') }}{% endif %}
  {%- if message.role == 'user' and '</think>' in message.content %}
    {%- set content = message.content.split('</think>')[-1].lstrip('\n').replace('a', 'b') %}
    {%- break %}
  {%- endif %}
  {%- set ns.first = false %}
  {%- generation %}{{ turn(message, loop.last) }}{% endgeneration %}
{%- endfor %}
{{ strftime_now('%d %b %Y') }}{{ range(3) | list | join(',') }}{{ "%s" | format(ns.n * 2 // 3) }}
{%- if add_generation_prompt %}{{ bos_token }}{% endif %}"#;

/// Text there and back, in every way a run does it.
fn use_tokenizer(folder: &Folder, config: &Config) {
    let Ok(mut tokenizer) = ChatTokenizer::open(&folder.source(), config, Some(PLAIN_TEMPLATE))
    else {
        return;
    };
    let _ = tokenizer.facts();
    let turns = [
        Message::new(Role::System, "ab"),
        Message::new(Role::User, "a b\u{e9} 12</think>"),
    ];
    let _ = tokenizer.render(&turns);
    let ids = tokenizer
        .encode("ab <a> a\n1 <|end|>\u{1f642}")
        .unwrap_or_default();
    let _ = tokenizer.decode(&ids);
    let _ = tokenizer.decode(&[0, 3, 7, 6, 299, 5]);
    assert_eq!(tokenizer.pieces(&ids).len(), ids.len());
    let _ = tokenizer.add_tokens(&["<think>".to_owned()]);
}

/// One that is opened in no time.
const SMALL: &str = r#"{"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel",
    "vocab": {"a": 0, "<|end|>": 1}, "unk_token": "a"}}"#;

/// A folder with a tokenizer of which one file is damaged.
fn fuzz_tokenizer(file: &str, seeds: &[Vec<u8>], words: &[&str]) {
    let reader = file.split('.').next().expect("a name");
    let folder = Folder::new(reader);
    folder.put("tokenizer.json", SMALL);
    folder.put("tokenizer_config.json", SETTINGS);
    let config = config();
    fuzz(reader, seeds, words, |bytes| {
        folder.put(file, bytes);
        use_tokenizer(&folder, &config);
    });
}

#[test]
fn a_damaged_tokenizer_configuration_is_refused_or_read() {
    let words = [
        "chat_template",
        "bos_token",
        "content",
        "default",
        "tokenizer_class",
        "{{",
        "%}",
    ];
    fuzz_tokenizer("tokenizer_config.json", &[SETTINGS.into()], &words);
}

#[test]
fn a_damaged_chat_template_is_refused_or_rendered() {
    let mut seeds: Vec<Vec<u8>> = vec![TEMPLATE.into(), PLAIN_TEMPLATE.into()];
    let shared =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/chat_templates/trl");
    let mut files: Vec<PathBuf> = fs::read_dir(shared)
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect()
        })
        .unwrap_or_default();
    files.sort();
    seeds.extend(files.iter().filter_map(|file| fs::read(file).ok()));
    let words = [
        "{{",
        "}}",
        "{%",
        "%}",
        "{%-",
        "-%}",
        "{#",
        "#}",
        "if",
        "else",
        "endif",
        "for",
        "endfor",
        "set",
        "macro",
        "endmacro",
        "loop",
        "messages",
        "range",
        "length",
        "join",
        "trim",
        "not",
        "is",
        "defined",
        "namespace",
        "(",
        ")",
        "**",
        "//",
        "~",
        "|",
        "indent",
        "include",
        "self",
        "turn",
        "split",
        "replace",
        "format",
        "break",
        "recursive",
        "call",
        "caller",
    ];
    fuzz_tokenizer("chat_template.jinja", &seeds, &words);
}

#[test]
fn a_damaged_tokenizer_is_refused_or_read() {
    let words = [
        "type",
        "BPE",
        "WordPiece",
        "Unigram",
        "WordLevel",
        "ByteLevel",
        "Metaspace",
        "Prepend",
        "Split",
        "Strip",
        "Fuse",
        "Regex",
        "String",
        "vocab",
        "merges",
        "added_tokens",
        "id",
        "byte_fallback",
        "unk_token",
        "truncation",
        "Isolated",
        "Removed",
        "Digits",
        "Precompiled",
        "precompiled_charsmap",
        "replacement",
        "prepend_scheme",
        "CTC",
        "WordPieceDecoder",
    ];
    fuzz_tokenizer("tokenizer.json", &[TOKENIZER.into()], &words);
}

#[test]
fn what_made_a_reader_fail_once_is_refused_in_one_line() {
    let folder = Folder::new("found");
    folder.put("tokenizer_config.json", SETTINGS);
    let open = || ChatTokenizer::open(&folder.source(), &config(), Some(PLAIN_TEMPLATE));
    folder.put("tokenizer.json", TOKENIZER);
    let wide = "{{ messages | tojson(indent=18446744073709551615) }}";
    folder.put("chat_template.jinja", wide);
    let rendered = open().expect("it parses").render(&[]);
    let refusal = rendered.expect_err("no memory is so large").to_string();
    assert!(
        refusal.ends_with("indent is 18446744073709551615, expected at most 1024 (line 1)"),
        "{refusal}"
    );
    // No memory has so many columns; asking for them would end the process.
    for wide in [
        "{{ 'a' | indent(4000000000000, true) }}",
        "{{ 'a' | indent(width=4000000000000) }}",
        "{{ '%4000000000000s' | format('a') }}",
        "{{ '%(key)-.4000000000000f' | format({'key': 1}) }}",
        "{{ '{:>4000000000000}'.format('a') }}",
    ] {
        folder.put("chat_template.jinja", wide);
        let rendered = open().expect("it parses").render(&[]);
        let refusal = rendered.expect_err(wide).to_string();
        let expected = " is 4000000000000, expected at most 1024 (line 1)";
        assert!(refusal.ends_with(expected), "{wide}: {refusal}");
    }
    let ids = |template: &str| {
        folder.put("chat_template.jinja", template);
        open().expect("it parses").render(&[]).expect(template)
    };
    let narrow = "{{ 'a' | indent(2, true) }}|{{ '5000%% %4.1f' | format(1) }}|\
                  {{ '{:>3}'.format('b') }}";
    assert_eq!(ids(narrow), ids("  a|5000%  1.0|  b"));
    // minijinja's parser calls itself for each of these, and the stack is no longer.
    let deep = format!("{{%- set {} = 1 %}}", "(".repeat(100_000));
    folder.put("chat_template.jinja", &deep);
    let refusal = open().expect_err("no template is so deep").to_string();
    assert!(
        refusal.ends_with("100000 parentheses inside each other, expected at most 100"),
        "{refusal}"
    );
    // More lines than minijinja counts: refused where overflows are checked, else no matter.
    folder.put("chat_template.jinja", "\n".repeat(1 << 17));
    drop(open());
    folder.put("chat_template.jinja", "");
    // `tokenizers` unwraps what it reads under `decoder`.
    let (cut, _) = TOKENIZER.split_once("ByteFallback").expect("it is there");
    folder.put("tokenizer.json", cut);
    let refusal = open().expect_err("it is cut").to_string();
    assert!(
        refusal.starts_with("tokenizer.json: ") && !refusal.contains('\n'),
        "{refusal}"
    );
}
