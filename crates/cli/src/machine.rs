//! Words of the command line and the recipe into what they name: devices, models, templates.

use std::path::{Path, PathBuf};

use math::Key;
use model::{
    AdapterFolder, ChatTokenizer, Config, Cuda, CudaError, CudaOptions, Device, LoraOptions,
    ModelError, PLAIN_TEMPLATE, Precision, Source, Transformer,
};
use ranks::Place;

use crate::arguments::{DeviceChoice, MachineArguments, ModelArguments};
use crate::data::find;
use crate::error::{Failure, InputError};
use crate::hub;
use crate::nano;
use crate::range::require;
use crate::recipe::{LoraSection, ModelSection};
use crate::terminal::Screen;

/// The word that names [`PLAIN_TEMPLATE`] in place of a file.
pub(crate) const PLAIN: &str = "plain";

/// A model's files, shape and tokenizer: all but its weights.
#[derive(Debug)]
pub(crate) struct Opened {
    source: Source,
    /// What an adapter trained here stands beside, as others find it.
    pub(crate) base: String,
    /// The adapter, where the folder is one.
    pub(crate) adapter: Option<AdapterFolder>,
    /// How adapters are trained, where a run trains them: the folder's, or fresh ones.
    pub(crate) lora: Option<LoraOptions>,
    /// The shape.
    pub(crate) config: Config,
    /// The tokenizer.
    pub(crate) tokenizer: ChatTokenizer,
}

/// The most tokens of a completion, where nothing is asked for and the context is long enough.
pub(crate) const LENGTH_MAX: usize = 256;

impl Opened {
    /// What was asked for, else 256 tokens or half the context, whichever is less.
    pub(crate) fn max_completion_length(&self, asked: Option<usize>) -> usize {
        let half = self.config.context(1).div_ceil(2);
        asked.unwrap_or(LENGTH_MAX.min(half))
    }

    /// The files of the model, or of the one that the adapter stands beside.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The model with its weights, and its adapter if it has one; `key` names the adapter's draws.
    ///
    /// # Errors
    /// Where the weights are missing or not valid.
    pub(crate) fn weights(&self, device: &Device, key: Key) -> Result<Transformer, ModelError> {
        let mut policy = Transformer::open(&self.source, device)?;
        if let Some(adapter) = &self.adapter {
            policy.load_adapter(adapter, key)?;
        }
        Ok(policy)
    }

    /// Trains fresh adapters beside the weights.
    ///
    /// # Errors
    /// Where the model is an adapter itself, or a target is no module of it.
    fn add_adapters(&mut self, section: &LoraSection) -> Result<(), InputError> {
        require(
            self.adapter.is_none(),
            "model.path",
            "an adapter beside [lora]",
            "no [lora], to train that adapter on, or a model of whole weights",
        )?;
        let options = section.options();
        let names = options.module_names(&self.config);
        names.map_err(|error| InputError::refused("[lora]", &error))?;
        self.lora = Some(options);
        Ok(())
    }

    /// Numbers that a run changes.
    pub(crate) fn trainable_parameters(&self) -> usize {
        match &self.lora {
            Some(lora) => self.config.lora_parameters(lora),
            None => self.config.parameters(),
        }
    }
}

/// Memory that a command takes of a card at most, by its plan.
pub(crate) struct Room {
    /// Bytes.
    pub(crate) bytes: usize,
    /// What to do where there is less, as the words of an error end.
    pub(crate) lower: &'static str,
}

/// The device that was asked for; a card's matrix products are in bfloat16.
///
/// # Errors
/// Where a card was asked for and none can be used, or it has less free memory than is planned.
pub(crate) fn device(machine: &MachineArguments, room: &Room) -> Result<Device, InputError> {
    device_of(machine, &Place::alone(), room)
}

/// As [`device`], for a rank: where no number of threads was asked for, the ranks of a machine
/// share its cores; each takes a card of its own, as far as there are enough.
///
/// # Errors
/// As [`device`].
pub(crate) fn device_of(
    machine: &MachineArguments,
    place: &Place,
    room: &Room,
) -> Result<Device, InputError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let share = (place.local_size > 1).then(|| (cores / place.local_size).max(1));
    let threads = machine.threads.map(usize::from).or(share);
    choose(machine, Precision::Bfloat16, threads, place, Some(room))
}

/// As [`device`], with all numbers in float32, for what no plan is made of.
///
/// # Errors
/// Where a card was asked for and none can be used.
pub(crate) fn exact_device(machine: &MachineArguments) -> Result<Device, InputError> {
    choose(
        machine,
        Precision::Float32,
        machine.threads.map(usize::from),
        &Place::alone(),
        None,
    )
}

fn choose(
    machine: &MachineArguments,
    precision: Precision,
    threads: Option<usize>,
    place: &Place,
    room: Option<&Room>,
) -> Result<Device, InputError> {
    let cpu = || Device::cpu(threads);
    if machine.device == DeviceChoice::Cpu {
        return Ok(cpu());
    }
    let screen = Screen::new(machine.plain).of_rank(place.rank);
    let ordinal = place.local_rank % Cuda::count().max(1);
    let found = Device::cuda(CudaOptions {
        ordinal: ordinal as u16,
        precision,
        cache: kernel_cache(),
    });
    match found {
        Ok(card) => {
            room.map_or(Ok(()), |room| expect_room(&card, room))?;
            screen.line(format!("{} {}", screen.dim("note:"), untried(&card)));
            Ok(card)
        }
        Err(error) if machine.device == DeviceChoice::Cuda => Err(InputError::NoCard {
            reason: error.to_string(),
        }),
        Err(CudaError::NoDriver | CudaError::NoCard { .. }) => Ok(cpu()),
        Err(error) => {
            let note = screen.dim("note:");
            screen.line(format!(
                "{note} the processor computes, not the card: {error}"
            ));
            Ok(cpu())
        }
    }
}

/// Passes where the device has room; a processor is not asked.
fn expect_room(device: &Device, room: &Room) -> Result<(), InputError> {
    let Device::Cuda(card) = device else {
        return Ok(());
    };
    let free = card.free_bytes();
    if room.bytes > free {
        return Err(InputError::NoRoomOnCard {
            planned: room.bytes >> 20,
            free: free >> 20,
            lower: room.lower,
        });
    }
    Ok(())
}

/// What `work` gives; where the card could not go on, that is a failure like others.
///
/// # Errors
/// Those of `work`, and of the card.
pub(crate) fn on_card<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    let made = model::on_card(work);
    made.unwrap_or_else(|fault| Err(Failure::Card { fault, left: None }))
}

/// What a user of a card has to know while its kernels have run on none.
fn untried(device: &Device) -> String {
    let name = match device {
        Device::Cuda(card) => card.name(),
        Device::Cpu(_) => device.name(),
    };
    format!(
        "computing on {name}; kernels have been tested on an emulated card alone, never on a \
         card: `enigma verify --device cuda` checks this one"
    )
}

/// Where compiled kernels are kept.
fn kernel_cache() -> Option<PathBuf> {
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let home = || path("HOME").map(|home| home.join(".cache"));
    let caches = path("XDG_CACHE_HOME").or_else(|| path("LOCALAPPDATA"));
    let caches = caches.filter(|path| path.is_absolute()).or_else(home)?;
    Some(caches.join("enigma").join("kernels"))
}

/// The model of a recipe; the recipe's paths become absolute.
///
/// # Errors
/// Where a file is missing or not valid.
pub(crate) fn open_section(
    section: &mut ModelSection,
    lora: Option<&LoraSection>,
    folder: Option<&Path>,
) -> Result<Opened, InputError> {
    let source = source("model.path", &section.path, folder)?;
    if let (Source::Folder(path), None) = (&source, hub::snapshot(&section.path)) {
        section.path = path.display().to_string();
    }
    let template = match &mut section.chat_template {
        Some(word) => {
            let (name, text) = template("model.chat_template", word, folder)?;
            *word = name;
            Some(text)
        }
        None => None,
    };
    let base = Base {
        key: "model.base",
        word: section.base.as_deref(),
        folder,
    };
    let mut opened = open(&section.path, &source, &base, template.as_deref())?;
    if opened.adapter.is_some() {
        section.base = Some(opened.base.clone());
    }
    if let Some(lora) = lora {
        opened.add_adapters(lora)?;
    }
    if !section.random_weights {
        Transformer::check_weights(&opened.source, &opened.config)
            .map_err(|error| InputError::refused(&section.path, &error))?;
    }
    let ids = opened.tokenizer.add_tokens(&section.add_tokens);
    let ids = ids.map_err(|error| InputError::refused(&section.path, &error))?;
    opened.config.grow_vocabulary(ids);
    Ok(opened)
}

/// The model that the command line names. A model that is not prompted in turns needs no template.
///
/// # Errors
/// Where a file is missing or not valid.
pub(crate) fn open_arguments(
    arguments: &ModelArguments,
    is_chat: bool,
) -> Result<Opened, InputError> {
    let source = source("--model", &arguments.model, None)?;
    let template = match &arguments.chat_template {
        Some(word) => Some(template("--chat-template", word, None)?.1),
        None => (!is_chat).then(|| PLAIN_TEMPLATE.to_owned()),
    };
    let base = Base {
        key: "--base",
        word: arguments.base.as_deref(),
        folder: None,
    };
    open(&arguments.model, &source, &base, template.as_deref())
}

/// What was said of the model that an adapter stands beside.
struct Base<'a> {
    key: &'static str,
    word: Option<&'a str>,
    folder: Option<&'a Path>,
}

fn open(
    name: &str,
    source: &Source,
    base: &Base,
    template: Option<&str>,
) -> Result<Opened, InputError> {
    let refused = |error: ModelError| InputError::refused(name, &error);
    let adapter = match source {
        Source::Folder(folder) => AdapterFolder::open(folder).map_err(refused)?,
        Source::Embedded(_) => None,
    };
    let (files, base) = match &adapter {
        Some(adapter) => beside(adapter, base)?,
        None => (source.clone(), name.to_owned()),
    };
    let config = Config::open(&files).map_err(refused)?;
    // An adapter's folder may have a tokenizer of its own.
    let has_tokenizer =
        matches!(source, Source::Folder(folder) if folder.join("tokenizer.json").exists());
    let spoken = if has_tokenizer { source } else { &files };
    let tokenizer = ChatTokenizer::open(spoken, &config, template).map_err(refused)?;
    Ok(Opened {
        source: files,
        base,
        lora: adapter.as_ref().map(|adapter| adapter.options.clone()),
        adapter,
        config,
        tokenizer,
    })
}

/// The model that an adapter stands beside, and its name: absolute where it is a folder.
fn beside(adapter: &AdapterFolder, base: &Base) -> Result<(Source, String), InputError> {
    let folder = Some(adapter.folder.as_path());
    let (key, word, folder) = match (base.word, &adapter.base) {
        (Some(word), _) => (base.key, word, base.folder),
        (None, Some(word)) => ("base_model_name_or_path", word.as_str(), folder),
        (None, None) => return Err(InputError::NoBase { key: base.key }),
    };
    let source = source(key, word, folder)?;
    let name = match (&source, hub::snapshot(word)) {
        (Source::Folder(path), None) => path.display().to_string(),
        _ => word.to_owned(),
    };
    Ok((source, name))
}

/// The files that a word names.
///
/// # Errors
/// Where it names none.
pub(crate) fn source(
    key: &'static str,
    word: &str,
    folder: Option<&Path>,
) -> Result<Source, InputError> {
    if word == nano::NANO {
        return Ok(nano::model());
    }
    match find(key, word, folder) {
        Ok(path) => Ok(Source::Folder(path)),
        Err(missing) => hub::snapshot(word).map(Source::Folder).ok_or(missing),
    }
}

/// The template's name, absolute where it is a file, and its text.
fn template(
    key: &'static str,
    word: &str,
    folder: Option<&Path>,
) -> Result<(String, String), InputError> {
    if word == PLAIN {
        return Ok((PLAIN.to_owned(), PLAIN_TEMPLATE.to_owned()));
    }
    let path = find(key, word, folder)?;
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path.display().to_string(), text)),
        Err(error) => Err(InputError::Unreadable {
            path,
            reason: error.to_string(),
        }),
    }
}
