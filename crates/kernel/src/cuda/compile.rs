//! Kernels from their sources, by NVRTC, kept on disk.

use std::ffi::{CStr, CString};
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use cudarc::nvrtc::{result, sys};
use sha2::{Digest, Sha256};

use super::CudaError;

/// Kernels that are compiled together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// All but attention.
    Core,
    /// Attention for heads of at most so many entries.
    Attention(usize),
}

/// Every program there is; sizes of heads are rounded up to one of these.
pub const PROGRAMS: [Program; 6] = [
    Program::Core,
    Program::Attention(32),
    Program::Attention(64),
    Program::Attention(96),
    Program::Attention(128),
    Program::Attention(256),
];

const CORE: &str = concat!(
    include_str!("kernels/device.cuh"),
    include_str!("kernels/elements.cu"),
    include_str!("kernels/norms.cu"),
    include_str!("kernels/rows.cu"),
    include_str!("kernels/head.cu"),
    include_str!("kernels/sample.cu"),
);

const ATTENTION: &str = concat!(
    include_str!("kernels/device.cuh"),
    include_str!("kernels/attention.cu"),
    include_str!("kernels/cached.cu"),
    include_str!("kernels/tensor.cu"),
);

const TENSOR_BACKWARD: &str = include_str!("kernels/tensor_backward.cu");

/// The largest heads whose gradient is computed on tensor cores.
pub(super) const TENSOR_BACKWARD_COLUMNS_MAX: usize = 128;

impl Program {
    /// The CUDA C of all its kernels.
    pub(super) fn source(self) -> String {
        match self {
            Program::Core => CORE.to_owned(),
            Program::Attention(columns) => {
                let fits = columns <= TENSOR_BACKWARD_COLUMNS_MAX;
                let backward = if fits { TENSOR_BACKWARD } else { "" };
                format!("#define COLUMNS {columns}\n{ATTENTION}{backward}")
            }
        }
    }

    fn name(self) -> String {
        match self {
            Program::Core => "core".to_owned(),
            Program::Attention(columns) => format!("attention of {columns} columns"),
        }
    }
}

/// Compiles a program for an architecture, such as `sm_90`, and gives the loadable image.
///
/// # Errors
/// Where NVRTC is missing or refuses.
pub fn compile(program: Program, architecture: &str) -> Result<Vec<u8>, CudaError> {
    // SAFETY: this loads the library by name, whose initialiser is NVIDIA's.
    if !unsafe { sys::is_culib_present() } {
        let library = "libnvrtc.so";
        return Err(CudaError::NoLibrary { library });
    }
    let refused = |log: String| CudaError::Compile {
        program: program.name(),
        architecture: architecture.to_owned(),
        log: log.trim().to_owned(),
    };
    let source = CString::new(program.source()).expect("sources have no NUL");
    let name = CString::new(program.name()).expect("names have no NUL");
    let handle = result::create_program(&source, Some(&name));
    let handle = handle.map_err(|error| refused(error.to_string()))?;
    // SAFETY: the handle was made above and is destroyed below, once.
    unsafe {
        let compiled = result::compile_program(handle, &options(architecture));
        let image = match compiled {
            Ok(()) => image(handle).map_err(|error| refused(error.to_string())),
            Err(error) => Err(refused(format!("{error}: {}", log(handle)))),
        };
        let _ = result::destroy_program(handle);
        image
    }
}

fn options(architecture: &str) -> [String; 2] {
    [
        format!("--gpu-architecture={architecture}"),
        "--std=c++17".to_owned(),
    ]
}

/// # Safety
/// The program must have been compiled and not destroyed.
unsafe fn image(handle: sys::nvrtcProgram) -> Result<Vec<u8>, result::NvrtcError> {
    let mut size = 0;
    // SAFETY: as the caller promises; the vector has the size that the compiler asks for.
    unsafe {
        sys::nvrtcGetCUBINSize(handle, &raw mut size).result()?;
        let mut image = vec![0_u8; size];
        sys::nvrtcGetCUBIN(handle, image.as_mut_ptr().cast()).result()?;
        Ok(image)
    }
}

/// # Safety
/// The program must not have been destroyed.
unsafe fn log(handle: sys::nvrtcProgram) -> String {
    // SAFETY: as the caller promises.
    let text = unsafe { result::get_program_log(handle) }.unwrap_or_default();
    let bytes: Vec<u8> = text.iter().flat_map(|c| c.to_ne_bytes()).collect();
    let text = CStr::from_bytes_until_nul(&bytes).map(CStr::to_string_lossy);
    text.map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// The image of a program, from the cache's folder where it is there, else compiled and left there.
/// A cache that cannot be read or written is as none.
pub(super) fn cubin(
    program: Program,
    architecture: &str,
    cache: Option<&Path>,
) -> Result<Vec<u8>, CudaError> {
    let Some(folder) = cache else {
        return compile(program, architecture);
    };
    let path = folder.join(format!("{}.cubin", key(program, architecture)));
    if let Ok(image) = fs::read(&path) {
        return Ok(image);
    }
    let image = compile(program, architecture)?;
    let _ = keep(folder, &path, &image);
    Ok(image)
}

/// Everything that the image depends on.
fn key(program: Program, architecture: &str) -> String {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: both are numbers of the call's type.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) };
    let mut hash = Sha256::new();
    hash.update(format!(
        "{major}.{minor}\n{}\n",
        options(architecture).join(" ")
    ));
    hash.update(program.source());
    let mut name = String::new();
    for byte in hash.finalize() {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Writes the image whole or not at all.
fn keep(folder: &Path, path: &Path, image: &[u8]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    let draft = path.with_extension(format!("{}", std::process::id()));
    let mut file = fs::File::create(&draft)?;
    file.write_all(image)?;
    file.sync_all()?;
    fs::rename(draft, path)
}

/// The kernels that a source declares, each with the types of its parameters.
pub(super) fn parameters(source: &str) -> Vec<(String, Vec<String>)> {
    let declarations = source.split("__global__").skip(1);
    let kernel = |text: &str| {
        let text = text.trim_start().strip_prefix("void");
        let text = text.expect("a kernel gives nothing");
        let text = match text.trim_start().strip_prefix("__launch_bounds__") {
            Some(bounded) => bounded.split_once(')').map_or("", |(_, text)| text),
            None => text,
        };
        let (name, rest) = text.split_once('(').expect("a kernel has parameters");
        let (list, _) = rest.split_once(')').expect("parameters end");
        let kind = |parameter: &str| {
            let words: Vec<&str> = parameter.split_whitespace().collect();
            words[..words.len() - 1].join(" ")
        };
        let kinds = list.split(',').map(kind).collect();
        (name.trim().to_owned(), kinds)
    };
    declarations.map(kernel).collect()
}
