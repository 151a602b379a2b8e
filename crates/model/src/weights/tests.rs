//! Checkpoints written and read back, damaged and contradicted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::*;
use crate::{Config, Embedded, Family, ModelError, Shape, Source};

/// A folder of its own for a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let name = format!("enigma-weights-{test}-{}", std::process::id());
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
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A configuration with a tied embedding of 4 by 2, or an untied one.
fn config(tied: bool) -> Config {
    let shape = Shape {
        family: Family::Llama,
        hidden_size: 2,
        layers: 1,
        query_heads: 1,
        key_value_heads: 1,
        intermediate_size: 2,
        vocabulary: 4,
        max_position_embeddings: 8,
        eos_token_ids: vec![0],
    };
    let mut config = Config::fresh(&shape).expect("valid");
    config.tie_word_embeddings = tied;
    config
}

const MATRIX: [f32; 8] = [0.0, -1.5, 2.0, 0.25, 1e-30, 7.0, -0.0, 3.0];

fn write_matrix(folder: &Folder, file: &str, names: &[&str]) {
    let tensor = |name: &&str| ((*name).to_owned(), vec![4, 2], || MATRIX.to_vec());
    let tensors = names.iter().map(tensor).collect();
    write(&folder.0, tensors, Dtype::F32, usize::MAX).expect("written");
    if file != SINGLE {
        fs::rename(folder.0.join(SINGLE), folder.0.join(file)).expect("renamed");
    }
}

/// A file of this header and as many zero bytes.
fn file_of(header: &str, bytes: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(vec![0; bytes]);
    file
}

#[test]
fn what_is_written_is_read_back() {
    let folder = Folder::new("back");
    let long: Vec<f32> = (0..300_001).map(|i| i as f32 * 0.37 - 9.0).collect();
    for dtype in [Dtype::F32, Dtype::Bf16] {
        let tensors = [
            ("b.long".to_owned(), vec![300_001], long.clone()),
            ("a.matrix".to_owned(), vec![4, 2], MATRIX.to_vec()),
        ];
        let lazily = tensors.map(|(name, shape, values)| (name, shape, || values));
        write(&folder.0, lazily.into(), dtype, usize::MAX).expect("written");
        let weights = Weights::open(&folder.source(), &config(false)).expect("valid");
        let expected = |values: &[f32]| -> Vec<f32> {
            values.iter().map(|&value| dtype.rounded(value)).collect()
        };
        assert_eq!(
            weights.tensor("a.matrix", &[4, 2]).expect("there"),
            expected(&MATRIX)
        );
        assert_eq!(
            weights.tensor("b.long", &[300_001]).expect("there"),
            expected(&long)
        );
        let asked: [(&str, &[usize]); 2] = [("a.matrix", &[4, 2]), ("b.long", &[300_001])];
        weights.expect(asked).expect("no more and no less");
    }
    assert!(!folder.0.join("model.unfinished").exists());
}

#[test]
fn a_value_that_is_not_finite_is_named_when_read_and_when_written() {
    let folder = Folder::new("finite");
    let tensor = |value: f32| vec![("a".to_owned(), vec![3], move || vec![1.0, 2.0, value])];
    let nan = f32::from_bits(u32::MAX);
    for (value, dtype) in [
        (nan, Dtype::F32),
        (nan, Dtype::Bf16),
        (f32::MAX, Dtype::Bf16),
    ] {
        let error = write(&folder.0, tensor(value), dtype, 1).expect_err("not finite");
        let ModelError::NotFinite { name, position, .. } = error else {
            panic!("{error}")
        };
        assert_eq!((name.as_str(), position), ("a", 2));
        assert_eq!(
            fs::read_dir(&folder.0).expect("read").count(),
            0,
            "nothing half written"
        );
    }
    let header = r#"{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}"#;
    let mut bytes = file_of(header, 2);
    bytes.extend([0x00, 0x7c]);
    folder.put("model.safetensors", bytes);
    let weights = Weights::open(&folder.source(), &config(false)).expect("valid");
    let error = weights.tensor("a", &[2]).expect_err("infinite").to_string();
    assert_eq!(error, "a holds inf at position 1, expected finite weights");
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let folder = Folder::new("cut");
    write_matrix(&folder, "model.safetensors", &["a", "b"]);
    let whole = fs::read(folder.0.join("model.safetensors")).expect("written");
    for length in 0..whole.len() {
        folder.put("model.safetensors", &whole[..length]);
        let error = Weights::open(&folder.source(), &config(false)).expect_err("cut");
        let text = error.to_string();
        assert!(
            text.starts_with("model.safetensors is damaged: "),
            "{length} bytes: {text}"
        );
        assert!(!text.contains('\n'), "{text}");
    }
    folder.put("model.safetensors", [&whole[..], b"x"].concat());
    Weights::open(&folder.source(), &config(false)).expect_err("a byte too many");
}

#[test]
fn sizes_beyond_counting_are_no_overflow() {
    let size = i64::MAX;
    let entry = format!(r#"{{"dtype":"I4","shape":[{size},2],"data_offsets":[0,0]}}"#);
    let folder = Folder::new("sizes");
    let header = format!(r#"{{"a":{entry},"b":{entry}}}"#);
    folder.put("model.safetensors", file_of(&header, 0));
    let weights = Weights::headers(&folder.source()).expect("no byte is missing");
    assert_eq!(weights.formats()["I4"], usize::MAX);
    let found = weights.tensor("a", &[size as usize, 2]).unwrap_err();
    assert!(found.to_string().contains("stored as I4"), "{found}");
}

#[test]
fn a_header_that_contradicts_the_file_is_an_error() {
    let header = |entry: &str| format!(r#"{{"a":{entry}}}"#);
    let cases = [
        file_of("[1]", 0),
        file_of(r#"{"a":3}"#, 0),
        file_of(&header(r#"{"dtype":"F32","shape":[1]}"#), 4),
        file_of(
            &header(r#"{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}"#),
            4,
        ),
        file_of(
            &header(r#"{"dtype":"F32","shape":[1],"data_offsets":[0,8]}"#),
            4,
        ),
        file_of(
            &header(r#"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#),
            8,
        ),
        file_of(
            &header(r#"{"dtype":"F32","shape":[1],"data_offsets":[8,4]}"#),
            8,
        ),
        [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
    ];
    let folder = Folder::new("header");
    for bytes in cases {
        folder.put("model.safetensors", &bytes);
        let opened = Weights::open(&folder.source(), &config(false));
        let shown = String::from_utf8_lossy(&bytes);
        assert!(
            matches!(opened, Err(ModelError::DamagedWeights { .. })),
            "{shown}"
        );
    }
}

#[test]
fn a_tensor_that_is_missing_misshaped_mistyped_or_extra_is_named() {
    let header = json!({
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "I64", "shape": [1], "data_offsets": [24, 32]},
        "c": {"dtype": "F32", "shape": [3], "data_offsets": [32, 40]},
        "d": {"dtype": "F32", "shape": [usize::MAX, 2], "data_offsets": [40, 44]},
        "model.layers.0.self_attn.rotary_emb.inv_freq":
            {"dtype": "F32", "shape": [1], "data_offsets": [44, 48]},
    });
    let folder = Folder::new("named");
    folder.put("model.safetensors", file_of(&header.to_string(), 48));
    let weights = Weights::open(&folder.source(), &config(false)).expect("valid");
    let cases: [(&str, &[usize], &str); 5] = [
        ("x", &[4], "the weights have no x, expected of shape [4]"),
        ("a", &[3, 2], "a has shape [2, 3], expected [3, 2]"),
        ("b", &[1], "b is stored as I64, expected F32, BF16 or F16"),
        (
            "c",
            &[3],
            "model.safetensors is damaged: c has 8 bytes, expected 3 numbers of 4 bytes",
        ),
        (
            "d",
            &[usize::MAX, 2],
            "model.safetensors is damaged: d has 4 bytes, expected ",
        ),
    ];
    for (name, shape, message) in cases {
        let error = weights.tensor(name, shape).expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}");
    }
    weights.tensor("a", &[2, 3]).expect("there");
    let whole: (&str, &[usize]) = ("a", &[2, 3]);
    let other: (&str, &[usize]) = ("z", &[1]);
    for (asked, expected) in [
        (
            vec![whole],
            "the weights hold 3 tensors the configuration does not know, such as b",
        ),
        (
            vec![whole, other, ("y", &[7])],
            "the weights have no y, expected of shape [7], nor 1 others; they have b instead",
        ),
        (vec![("a", &[6])], "a has shape [2, 3], expected [6]"),
        (
            vec![("b", &[1])],
            "b is stored as I64, expected F32, BF16 or F16",
        ),
    ] {
        let error = weights.expect(asked).expect_err(expected).to_string();
        assert_eq!(error, expected);
    }
}

#[test]
fn a_tied_matrix_is_found_under_either_name_and_must_be_one() {
    let folder = Folder::new("tied");
    let (input, output) = ("model.embed_tokens.weight", "lm_head.weight");
    for names in [&[input][..], &[output], &[input, output]] {
        write_matrix(&folder, "model.safetensors", names);
        let weights = Weights::open(&folder.source(), &config(true)).expect("valid");
        assert_eq!(weights.tensor(input, &[4, 2]).expect("there"), MATRIX);
        let asked: [(&str, &[usize]); 1] = [(input, &[4, 2])];
        weights.expect(asked).expect("no more and no less");
    }
    let weights = Weights::open(&folder.source(), &config(false)).expect("valid");
    assert_eq!(weights.tensor(output, &[4, 2]).expect("there"), MATRIX);
    let tensor = |(name, value)| (str::to_owned(name), vec![4, 2], move || vec![value; 8]);
    let different = [(input, 1.0), (output, 2.0)].map(tensor);
    write(&folder.0, different.into(), Dtype::F32, usize::MAX).expect("written");
    let error = Weights::open(&folder.source(), &config(true)).expect_err("not one matrix");
    assert!(
        matches!(error, ModelError::TiedMatricesDiffer { .. }),
        "{error}"
    );
}

#[test]
fn shards_read_as_one_file_and_their_index_must_be_true() {
    let folder = Folder::new("shards");
    let tensor = |name: &str| (name.to_owned(), vec![4, 2], || MATRIX.to_vec());
    let three = ["a", "b", "c"].map(tensor);
    write(&folder.0, three.into(), Dtype::F32, 64).expect("written");
    let weights = Weights::open(&folder.source(), &config(false)).expect("valid");
    for name in ["c", "a", "b"] {
        assert_eq!(weights.tensor(name, &[4, 2]).expect("there"), MATRIX);
    }
    assert_eq!(weights.formats(), [("F32".to_owned(), 24)].into());
    let open = |map: serde_json::Value| {
        let index = json!({"metadata": {"total_size": 96}, "weight_map": map});
        folder.put("model.safetensors.index.json", index.to_string());
        Weights::open(&folder.source(), &config(false))
    };
    let one = "model-00001-of-00002.safetensors";
    let two = "model-00002-of-00002.safetensors";
    open(json!({"a": one, "b": one, "c": two})).expect("the index that was written");
    let cases = [
        (
            json!({"a": one, "c": one}),
            "c is not in model-00001-of-00002.safetensors",
        ),
        (
            json!({"a": "../model-1.safetensors"}),
            "is not the name of a file beside it",
        ),
        (json!({"a": "model-3.safetensors"}), "model-3.safetensors: "),
    ];
    for (map, message) in cases {
        let error = open(map).expect_err(message).to_string();
        assert!(error.contains(message), "{error}");
    }
    write_matrix(&folder, two, &["a"]);
    let error = open(json!({"a": one, "b": two}))
        .expect_err("twice")
        .to_string();
    assert!(error.contains("a is in another file as well"), "{error}");
}

#[test]
fn weights_that_are_not_safetensors_are_refused_by_their_name() {
    let folder = Folder::new("pickle");
    let open = || Weights::open(&folder.source(), &config(false)).expect_err("none");
    assert!(open().to_string().ends_with("has no model.safetensors"));
    folder.put("pytorch_model.bin", "");
    let error = open().to_string();
    assert!(
        error.contains("but pytorch_model.bin, which is not read; convert"),
        "{error}"
    );
}

#[test]
fn weights_inside_the_program_read_as_those_of_a_folder() {
    let folder = Folder::new("embedded");
    write_matrix(&folder, "model.safetensors", &["a"]);
    let bytes = fs::read(folder.0.join("model.safetensors")).expect("written");
    let embedded = Embedded {
        config: "{}",
        tokenizer: "{}",
        tokenizer_config: "{}",
        weights: bytes.leak(),
    };
    let weights = Weights::open(&Source::Embedded(embedded), &config(false)).expect("valid");
    assert_eq!(weights.tensor("a", &[4, 2]).expect("there"), MATRIX);
}

#[test]
fn a_published_tied_model_opens_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/models");
    let folder = root.join("tinystories-656k-bf16");
    if !folder.exists() {
        eprintln!("skipped: {} is absent", folder.display());
        return;
    }
    let source = Source::Folder(folder);
    let config = Config::open(&source).expect("valid");
    let weights = Weights::open(&source, &config).expect("valid");
    let embedding = weights
        .tensor("model.embed_tokens.weight", &[2048, 128])
        .expect("there");
    assert_eq!(embedding.len(), 2048 * 128);
    let query = "model.layers.1.self_attn.k_proj.weight";
    assert_eq!(
        weights.tensor(query, &[64, 128]).expect("there").len(),
        64 * 128
    );
    let asked: [(&str, &[usize]); 1] = [(query, &[64, 128])];
    let error = weights.expect(asked).expect_err("most were not asked for");
    assert!(error.to_string().contains("hold 19 tensors"), "{error}");
}
