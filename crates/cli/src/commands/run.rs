//! What the commands that run a recipe share: the model with its optimiser.

use math::Key;
use model::{Device, Transformer};
use policy::TextCodec;

use super::begin::{Resumed, damaged};
use crate::error::InputError;
use crate::machine::Opened;
use crate::plan;
use crate::recipe::{ModelSection, OptimizerSection};
use crate::terminal::Screen;

/// Stream of the key of a seed that fresh weights are drawn from; the trainer's start at 0.
const WEIGHTS: u64 = u64::MAX;

/// The model with its weights, ready to learn.
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
    let mut policy = if section.random_weights {
        Transformer::random(opened.config.clone(), device, Key::new(seed).child(WEIGHTS))
    } else {
        Transformer::open(&opened.source, device)
            .map_err(|error| InputError::refused(&section.path, &error))?
    };
    policy.grow_vocabulary(opened.config.vocabulary);
    policy.set_end_tokens(opened.tokenizer.end_tokens());
    policy.set_optimizer(plan::optimizer(optimizer));
    Ok(policy)
}

/// What a reader should know before a run starts.
pub(super) fn tell<'a>(notes: impl Iterator<Item = &'a String>, screen: &Screen) {
    for note in notes {
        screen.line(format!("{} {note}", screen.dim("note:")));
    }
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
