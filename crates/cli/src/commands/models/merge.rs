//! `enigma models merge`: the model that an adapter and its base are together.

use std::error::Error;
use std::fs;

use math::Key;
use record::atomic_folder;

use crate::arguments::{MergeArguments, ModelArguments};
use crate::error::{Failure, InputError};
use crate::machine;
use crate::plan::{dtype, run_folder};
use crate::range::require;
use crate::terminal::output;

/// Writes a folder of whole weights, and prints its path.
///
/// # Errors
/// Where the folder is no adapter, or it or its base is not valid; where the file system refuses.
pub(super) fn merge(arguments: &MergeArguments) -> Result<(), Failure> {
    let out = run_folder(Some(&arguments.out), "")?;
    let named = ModelArguments {
        model: arguments.adapter.clone(),
        base: arguments.base.clone(),
        chat: false,
        chat_template: None,
    };
    let opened = machine::open_arguments(&named, false)?;
    let is_adapter = opened.adapter.is_some();
    let expected = "a folder with an adapter_config.json";
    require(is_adapter, "ADAPTER", "a model of whole weights", expected)
        .map_err(InputError::from)?;
    let policy = opened.weights(&machine::exact_device(&arguments.machine)?, Key::new(0));
    let mut policy = policy.map_err(|error| InputError::refused(&arguments.adapter, &error))?;
    policy.merge_adapter();
    let above = out.parent().map_or(Ok(()), fs::create_dir_all);
    let written = above.map_err(Box::<dyn Error>::from).and_then(|()| {
        atomic_folder::<Box<dyn Error>>(&out, |folder| {
            policy.save(folder, dtype(arguments.dtype))?;
            Ok(opened.tokenizer.save(folder)?)
        })
    });
    written.map_err(|error| Failure::Run(format!("{}: {error}", out.display())))?;
    output(&out.display().to_string())?;
    Ok(())
}
