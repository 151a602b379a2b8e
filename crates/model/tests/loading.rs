//! How much memory opening a model takes; alone in its process, for the peak is the process's.

use std::{fs, path::Path};

use model::weights::{Dtype, write};
use model::{Config, Device, Family, Shape, Source, Transformer};

/// The most that opening may hold, as a share of the weights in float32.
const PEAK_MAX: f64 = 1.2;

/// A model most of which is its embedding: the worst case, for it is one tensor. Above 32 MiB the
/// allocator gives memory back at once, so that what came before is not taken for free.
fn shape(is_large: bool) -> Shape {
    let (hidden_size, vocabulary) = if is_large {
        (512, 96_000)
    } else {
        (256, 80_000)
    };
    Shape {
        family: Family::Llama,
        hidden_size,
        layers: 4,
        query_heads: 8,
        key_value_heads: 4,
        intermediate_size: 2 * hidden_size,
        vocabulary,
        max_position_embeddings: 64,
        eos_token_ids: vec![0],
    }
}

/// Writes the model's tensors in shards, by their Hugging Face names.
fn write_shards(folder: &Path, shape: &Shape, dtype: Dtype) {
    let config = Config::fresh(shape).expect("a valid shape");
    config.save(folder, dtype).expect("written");
    let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
    let narrow = hidden / 2;
    let mut names = vec![
        (
            "model.embed_tokens.weight".to_owned(),
            vec![shape.vocabulary, hidden],
        ),
        ("model.norm.weight".to_owned(), vec![hidden]),
    ];
    for layer in 0..shape.layers {
        for (name, shape) in [
            ("input_layernorm", vec![hidden]),
            ("post_attention_layernorm", vec![hidden]),
            ("self_attn.q_proj", vec![hidden, hidden]),
            ("self_attn.k_proj", vec![narrow, hidden]),
            ("self_attn.v_proj", vec![narrow, hidden]),
            ("self_attn.o_proj", vec![hidden, hidden]),
            ("mlp.gate_proj", vec![inner, hidden]),
            ("mlp.up_proj", vec![inner, hidden]),
            ("mlp.down_proj", vec![hidden, inner]),
        ] {
            names.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let tensors = names.into_iter().map(|(name, shape)| {
        let count: usize = shape.iter().product();
        (name, shape, move || {
            (0..count).map(|i| (i % 251) as f32 * 1e-3).collect()
        })
    });
    write(folder, tensors.collect(), dtype, 4 << 20).expect("written");
}

/// Bytes by a line of `/proc/self/status`; nothing where there is none.
fn status(key: &str) -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024.0 * kib)
}

#[test]
fn opening_shards_holds_little_more_than_the_weights_in_float32() {
    let is_large = std::env::var_os("SLOW_TESTS").is_some();
    let shape = shape(is_large);
    let folder = std::env::temp_dir().join(format!("enigma-loading-{}", std::process::id()));
    for dtype in [Dtype::Bf16, Dtype::F32] {
        fs::create_dir_all(&folder).expect("a folder");
        write_shards(&folder, &shape, dtype);
        // Sets the peak back to what is resident now: proc_pid_clear_refs(5).
        let reset = fs::write("/proc/self/clear_refs", "5");
        let before = status("VmHWM:").filter(|_| reset.is_ok());
        let model = Transformer::open(&Source::Folder(folder.clone()), &Device::cpu(Some(1)));
        let peak = status("VmHWM:");
        fs::remove_dir_all(&folder).expect("removed");
        let parameters = model.expect("whole").config().parameters();
        let (Some(before), Some(peak)) = (before, peak) else {
            eprintln!("skipped: this system tells no peak of memory");
            return;
        };
        let share = (peak - before) / (4 * parameters) as f64;
        let mib = 4.0 * parameters as f64 / (1 << 20) as f64;
        eprintln!("{}: {share:.3} of {mib:.0} MiB", dtype.name());
        assert!(
            share < PEAK_MAX,
            "{share} of the weights, stored as {}",
            dtype.name()
        );
    }
}
