//! All tests of the processor on a card: the one of this machine, and one emulated on the
//! processor (`tests/emulator`), where there is no other. The emulated card runs all code for cards
//! as it is, kernels included, but no instruction of a card.

use std::path::{Path, PathBuf};
use std::process::Command;

use kernel::attention::{Heads, Rule};
use kernel::{
    Communicator, CudaError, CudaFault, CudaOptions, Device, Matrix, Mode, Norm, PROGRAMS,
    Precision, bf16, compile, head, linear, on_card, rms_norm,
};

use crate::attention::{layout, run};
use crate::check::{DEVICE, EXACT, assert_close, device, hashed_on, is_card, wide};

/// Runs the tests of this executable with a card under test.
fn run_on_card(libraries: Option<&Path>, variables: &[(&str, &str)]) {
    let executable = std::env::current_exe().expect("a test is an executable");
    let mut command = Command::new(executable);
    command.env(DEVICE, "cuda").arg("--test-threads=2");
    command.envs(variables.iter().copied());
    if let Some(folder) = libraries {
        command.env("LD_LIBRARY_PATH", folder);
    }
    let output = command.output().expect("a test can be run");
    let text = String::from_utf8_lossy(&output.stdout);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{words}");
}

/// A folder with the emulated card's libraries; none where there is no compiler of C++ for the
/// processor of this test, which may itself be emulated.
fn emulator() -> Option<PathBuf> {
    let machine = Command::new("g++").arg("-dumpmachine").output().ok()?;
    let machine = String::from_utf8_lossy(&machine.stdout);
    if machine.split('-').next() != Some(std::env::consts::ARCH) {
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator/card.cpp");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated-card");
    std::fs::create_dir_all(&folder).expect("the target's folder can be written");
    let library = folder.join("libcuda.so");
    let flags = [
        "-std=c++17",
        "-O2",
        "-U_FORTIFY_SOURCE",
        "-shared",
        "-fPIC",
        "-pthread",
    ];
    let mut compile = Command::new("g++");
    compile
        .args(flags)
        .arg(source)
        .arg("-ldl")
        .arg("-o")
        .arg(&library);
    let status = compile.status().ok()?;
    assert!(status.success(), "the emulator does not compile");
    for name in ["libnvrtc.so", "libcublasLt.so"] {
        std::fs::copy(&library, folder.join(name)).expect("the target's folder can be written");
    }
    Some(folder)
}

#[test]
fn every_operation_passes_on_an_emulated_card() {
    // A card computes alike whatever vectors the processor has.
    if is_card() || std::env::var_os("ENIGMA_CPU_CAPABILITY").is_some() {
        return;
    }
    let Some(folder) = emulator() else {
        eprintln!("left out: no g++ for this processor, which an emulated card takes");
        return;
    };
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulator/device.h");
    let header = ("EMULATED_HEADER", header.to_str().expect("a path in UTF-8"));
    run_on_card(Some(&folder), &[header]);
    // In the other order of threads a missing barrier shows on its other side.
    if std::env::var_os("SLOW_TESTS").is_some() {
        run_on_card(Some(&folder), &[header, ("EMULATED_BACKWARDS", "1")]);
    }
}

#[test]
fn every_operation_passes_on_the_card_of_this_machine() {
    if is_card() {
        return;
    }
    match Device::cuda(EXACT) {
        Ok(_) => run_on_card(None, &[]),
        Err(error) => eprintln!("left out: no card: {error}"),
    }
}

/// The compute capabilities of an A100, an H100 and a desktop Blackwell.
const ARCHITECTURES: [&str; 3] = ["sm_80", "sm_90", "sm_120"];

#[test]
fn every_kernel_compiles_with_the_compiler_of_nvidia() {
    if is_card() {
        return;
    }
    if std::env::var_os("SLOW_TESTS").is_none() {
        eprintln!("left out: SLOW_TESTS=1 runs it, as scripts/gpu/nvrtc does");
        return;
    }
    std::thread::scope(|scope| {
        for architecture in ARCHITECTURES {
            scope.spawn(move || {
                for program in PROGRAMS {
                    match compile(program, architecture) {
                        Ok(image) => assert!(image.starts_with(b"\x7fELF"), "{program:?}"),
                        Err(error @ CudaError::NoLibrary { .. }) => {
                            return eprintln!("left out: {error}");
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                eprintln!("every kernel compiles for {architecture}");
            });
        }
    });
}

#[test]
fn the_nccl_of_this_machine_has_every_call_and_gives_ids_that_differ() {
    let version = match Communicator::version() {
        Ok(version) => version,
        Err(error @ CudaError::NoNccl { .. }) => {
            return eprintln!("left out: {error}; scripts/gpu/nccl brings it");
        }
        Err(error) => panic!("{error}"),
    };
    let [first, second] = [(), ()].map(|()| Communicator::id().expect("it listens on loopback"));
    assert_ne!(first, second);
    eprintln!("NCCL {version} gives ids");
}

/// The first card with products in bfloat16, where a card is under test.
fn rounding_card() -> Option<Device> {
    let options = CudaOptions {
        precision: Precision::Bfloat16,
        ..EXACT
    };
    is_card().then(|| Device::cuda(options).expect("the card that the environment asks for"))
}

/// `x W` on the processor with both rounded to bfloat16.
fn rounded_product(x: &Matrix, weight: &Matrix) -> Vec<f64> {
    let cpu = Device::cpu(Some(1));
    let copy = |m: &Matrix| cpu.matrix(m.rows(), m.columns(), m.to_vec());
    let mut y = cpu.zeros(x.rows(), weight.columns());
    let weight = bf16::Weight::new(&copy(weight));
    bf16::forward(&copy(x), &weight, None, &mut y, Mode::Write);
    wide(&y)
}

#[test]
fn products_in_bfloat16_equal_those_of_the_processor_and_follow_a_weight_that_changes() {
    let Some(card) = rounding_card() else {
        return;
    };
    let x = hashed_on(&card, 1, 37, 70, 2.0);
    let mut weight = hashed_on(&card, 2, 70, 45, 1.0);
    let mut y = card.zeros(37, 45);
    for scale in [1.0, 3.0] {
        weight.write(&hashed_on(&card, 3, 70, 45, scale).to_vec());
        linear::forward(&x, &weight, None, &mut y, Mode::Write);
        let expected = rounded_product(&x, &weight);
        assert_close("linear::forward", &wide(&y), &expected, 1e-6);
        let rounded = bf16::Weight::new(&weight);
        bf16::forward(&x, &rounded, None, &mut y, Mode::Write);
        assert_close("bf16::forward", &wide(&y), &expected, 1e-6);
    }
}

#[test]
fn gradients_in_bfloat16_equal_products_of_rounded_operands() {
    let Some(card) = rounding_card() else {
        return;
    };
    let (x, weight) = (
        hashed_on(&card, 1, 37, 70, 2.0),
        hashed_on(&card, 2, 70, 45, 1.0),
    );
    let grad_y = hashed_on(&card, 3, 37, 45, 1.0);
    let (mut grad_x, mut grad_weight) = (card.zeros(37, 70), card.zeros(70, 45));
    linear::backward_input(&grad_y, &weight, &mut grad_x, Mode::Write);
    let expected = rounded_product(&grad_y, &transposed(&weight));
    assert_close("grad_x", &wide(&grad_x), &expected, 1e-6);
    linear::backward_weight(&x, &grad_y, &mut grad_weight, None);
    let expected = rounded_product(&transposed(&x), &grad_y);
    assert_close("grad_weight", &wide(&grad_weight), &expected, 1e-6);
}

/// Hashed values that bfloat16 has.
fn representable(seed: u64, rows: usize, columns: usize) -> Vec<f32> {
    let values = hashed_on(&Device::cpu(Some(1)), seed, rows, columns, 2.0).to_vec();
    let cut = |x: f32| f32::from_bits(x.to_bits() & 0xffff_0000);
    values.into_iter().map(cut).collect()
}

#[test]
fn attention_on_tensor_cores_equals_that_of_the_processor_within_the_rounding_of_weights() {
    let Some(card) = rounding_card() else {
        return;
    };
    let cpu = Device::cpu(Some(2));
    let layout = layout(&[
        (70, None),
        (33, Some(0)),
        (1, Some(0)),
        (40, Some(1)),
        (66, None),
    ]);
    for (query, key_value, size) in [(4, 2, 16), (2, 2, 40), (3, 1, 80), (2, 1, 128), (1, 1, 256)] {
        let heads = Heads {
            query,
            key_value,
            size,
        };
        let plain = Rule::plain(&heads);
        let near = Rule {
            window: Some(37),
            softcap: Some(2.0),
            ..plain
        };
        let (qkv, grad) = (heads.columns(), heads.query_columns());
        let (qkv, grad) = (representable(1, 210, qkv), representable(2, 210, grad));
        for rule in [plain, near] {
            let on = |device: &Device| {
                let qkv = device.matrix(210, heads.columns(), qkv.clone());
                let grad = device.matrix(210, heads.query_columns(), grad.clone());
                run(device, &layout, &heads, &rule, &qkv, &grad)
            };
            let names = ["out", "log_sum_exp", "grad_qkv"];
            for (name, (found, expected)) in names.iter().zip(on(&card).iter().zip(on(&cpu))) {
                let context = format!("{name} of {heads:?}, {rule:?}");
                assert_close(&context, &wide(found), &wide(&expected), 1e-2);
            }
        }
    }
}

fn transposed(matrix: &Matrix) -> Matrix {
    let (rows, columns, values) = (matrix.rows(), matrix.columns(), matrix.to_vec());
    let entries = (0..rows * columns).map(|i| values[i % rows * columns + i / rows]);
    Device::cpu(Some(1)).matrix(columns, rows, entries.collect())
}

/// Sizes that the tests of the processor are too small for: rows of a norm that a whole block of
/// threads sums, a vocabulary of several chunks.
#[test]
fn wide_norms_and_large_vocabularies_equal_those_of_the_processor() {
    if !is_card() {
        return;
    }
    let devices = [device(), Device::cpu(Some(2))];
    let [found, expected] = devices.each_ref().map(wide_norm);
    for (found, expected) in found.iter().zip(&expected) {
        assert_close("norm", &wide(found), &wide(expected), 1e-6);
    }
    let [found, expected] = devices.each_ref().map(large_head);
    for (found, expected) in found.iter().zip(&expected) {
        assert_close("head", found, expected, 2e-6);
    }
}

fn wide_norm(device: &Device) -> [Matrix; 3] {
    let norm = Norm {
        epsilon: 1e-5,
        offset: 1.0,
    };
    let hashed = |seed, rows| hashed_on(device, seed, rows, 777, 1.0);
    let (x, weight, grad_y) = (hashed(1, 9), hashed(2, 1), hashed(3, 9));
    let (mut y, mut inverse_rms) = (device.zeros(9, 777), device.zeros(9, 1));
    rms_norm::forward(&x, &weight, norm, &mut y, &mut inverse_rms);
    let (mut grad_x, mut grad) = (device.zeros(9, 777), device.zeros(1, 777));
    let to = (&mut grad_x, &mut grad);
    rms_norm::backward(&x, &weight, norm, &inverse_rms, &grad_y, to.0, to.1);
    [y, grad_x, grad]
}

fn large_head(device: &Device) -> [Vec<f64>; 4] {
    let (rows, width, vocabulary) = (5, 6, 40_003);
    let settings = head::Settings {
        inverse_temperature: 1.3,
        softcap: Some(9.0),
    };
    let hidden = hashed_on(device, 1, rows, width, 4.0);
    let weight = hashed_on(device, 2, width, vocabulary, 2.0);
    let (targets, grads) = ([0, 16_384, 40_002, 7, 30_000], [1.0, -0.5, 2.0, 0.25, -1.0]);
    let scores = head::forward(&hidden, &weight, &targets, settings);
    let (mut grad, mut grad_weight) = (device.zeros(rows, width), device.zeros(width, vocabulary));
    let sums = &scores.log_sum_exp_m;
    let into = Some(&mut grad_weight);
    head::backward(
        &hidden, &weight, &targets, settings, sums, &grads, &mut grad, into,
    );
    let widened = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect();
    let scored = (widened(&scores.logprobs_m), widened(sums));
    [scored.0, scored.1, wide(&grad), wide(&grad_weight)]
}

#[test]
fn memory_that_a_card_lacks_is_told_with_its_figures_and_work_goes_on() {
    if !is_card() {
        return;
    }
    let card = device();
    let found = on_card(|| card.zeros(1 << 21, 1 << 21).rows());
    let Err(CudaFault::NoRoom {
        wanted,
        free,
        total,
    }) = found
    else {
        panic!("16 TiB of a card: {found:?}");
    };
    assert_eq!(wanted, 1 << 24);
    assert!(
        0 < free && free <= total && total < wanted,
        "{free} of {total}"
    );
    assert_eq!(on_card(|| card.zeros(2, 3).to_vec()), Ok(vec![0.0; 6]));
}

#[test]
fn a_mistake_on_a_card_is_no_fault_of_the_card() {
    let caught = std::panic::catch_unwind(|| on_card(|| panic!("a mistake")));
    let payload = caught.expect_err("a panic goes on");
    assert_eq!(payload.downcast_ref(), Some(&"a mistake"));
}

#[test]
fn compiled_kernels_are_read_from_their_folder_the_second_time() {
    if !is_card() {
        return;
    }
    let folder = std::env::temp_dir().join(format!("kernels-{}", std::process::id()));
    let options = CudaOptions {
        cache: Some(folder.clone()),
        ..EXACT
    };
    let files = || {
        let entries = std::fs::read_dir(&folder).expect("the cache's folder");
        let modified = |entry: std::io::Result<std::fs::DirEntry>| {
            let entry = entry.expect("an entry");
            (
                entry.file_name(),
                entry.metadata().and_then(|m| m.modified()).ok(),
            )
        };
        entries.map(modified).collect::<Vec<_>>()
    };
    Device::cuda(options.clone()).expect("a card");
    let before = files();
    Device::cuda(options).expect("a card");
    assert_eq!((before.len(), files()), (1, before));
    std::fs::remove_dir_all(&folder).expect("the test's own folder");
}
