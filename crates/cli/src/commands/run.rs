//! What the commands that run a recipe share: the model with its optimiser.

use math::Key;
use model::{Device, ModelError, Sums, Transformer};
use policy::TextCodec;
use ranks::{RankError, Ranks};

use super::begin::{Resumed, damaged};
use crate::error::InputError;
use crate::machine::Opened;
use crate::plan::{self, Disk, Memory};
use crate::recipe::{ModelSection, OptimizerSection};
use crate::terminal::{Screen, grouped};

/// Streams of the key of a seed that weights and adapters are drawn from; the trainer's start at 0.
const WEIGHTS: u64 = u64::MAX;
const ADAPTERS: u64 = u64::MAX - 1;

/// What a run leaves on disk, beside what is free.
pub(super) fn disk_words(disk: &Disk) -> String {
    let mebibytes = |bytes: u64| grouped((bytes >> 20) as usize);
    let free = disk.free_bytes.map_or(String::new(), |free| {
        format!("; {} MiB free", mebibytes(free))
    });
    format!(
        "at most {} MiB, {} checkpoints of {} MiB at once{free}",
        mebibytes(disk.needed()),
        disk.checkpoints,
        mebibytes(disk.checkpoint_bytes),
    )
}

/// Memory in words.
pub(super) fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", grouped(bytes >> 20))
}

/// What a run takes of a card.
pub(super) fn card_words(memory: &Memory) -> String {
    format!("{}, not yet measured", mebibytes(memory.card_bytes))
}

/// The model with its weights, ready to learn: all of them, or adapters beside them.
///
/// # Errors
/// Where the weights are missing or not valid.
pub(super) fn learner(
    opened: &Opened,
    section: &ModelSection,
    optimizer: &OptimizerSection,
    seed: u64,
    device: &Device,
) -> Result<Transformer, InputError> {
    let refused = |error: ModelError| InputError::refused(&section.path, &error);
    let key = Key::new(seed).child(ADAPTERS);
    let mut policy = if section.random_weights {
        Transformer::random(opened.config.clone(), device, Key::new(seed).child(WEIGHTS))
    } else {
        opened.weights(device, key).map_err(refused)?
    };
    policy.grow_vocabulary(opened.config.vocabulary);
    policy.set_end_tokens(opened.tokenizer.end_tokens());
    if let (Some(fresh), None) = (&opened.lora, &opened.adapter) {
        policy.add_adapter(fresh, key).map_err(refused)?;
    }
    policy.set_optimizer(plan::optimizer(optimizer));
    policy.set_gradient_checkpointing(section.gradient_checkpointing);
    Ok(policy)
}

/// What a reader should know before a run starts.
pub(super) fn tell<'a>(notes: impl Iterator<Item = &'a String>, screen: &Screen) {
    for note in notes {
        screen.line(format!("{} {note}", screen.dim("note:")));
    }
}

/// Prepares a learner for sums with the other ranks, and says how they are made between cards.
///
/// # Errors
/// Where a rank is lost, or what cards add up by fails.
pub(super) fn connect(
    policy: &mut Transformer,
    ranks: &Ranks,
    screen: &Screen,
) -> Result<(), RankError> {
    let note = match policy.connect(ranks)? {
        Sums::Tcp => return Ok(()),
        Sums::TcpBetweenCards { reason } => format!(
            "gradients are summed over TCP, through the memory of the hosts; NCCL is not used: \
             {reason}"
        ),
        Sums::Nccl { version } => format!(
            "gradients are summed by NCCL {version}; this has been tested with a library in its \
             place and emulated cards alone, never on cards"
        ),
    };
    tell([note].iter(), screen);
    Ok(())
}

/// Gives the model what it had learnt, where it learns on; its reference stays what it is.
///
/// # Errors
/// Where the checkpoint is damaged.
pub(super) fn take_up(
    policy: &mut Transformer,
    resumed: Option<&Resumed>,
) -> Result<(), InputError> {
    let Some(resumed) = resumed else {
        return Ok(());
    };
    let checkpoint = resumed.checkpoint();
    policy
        .resume(&checkpoint.path)
        .map_err(|error| damaged(checkpoint, &error))
}
