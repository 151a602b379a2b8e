//! Which prompts a question becomes: itself under each constitution of a principle.

use policy::TextCodec;
use principle::Principle;
use rollout::{Prompt, Question, RolloutError};

use crate::Task;

/// The prompts of `question` under the constitutions of `principle`, the positive one first; one
/// prompt without a constitution where there is no principle.
///
/// `index` is what the prompts call the question.
///
/// # Errors
/// As [`rollout::render`].
pub(crate) fn prompts(
    codec: &dyn TextCodec,
    task: &Task,
    index: usize,
    question: &Question,
    principle: Option<&Principle>,
) -> Result<Vec<Prompt>, RolloutError> {
    let constitutions: Vec<String> = match principle {
        Some(principle) => {
            let positive = std::iter::once(&principle.positive);
            positive.chain(&principle.negatives).cloned().collect()
        }
        None => vec![String::new()],
    };
    let asked = std::slice::from_ref(question);
    let mut prompts = rollout::render(codec, asked, &constitutions, &task.format_instruction)?;
    for prompt in &mut prompts {
        prompt.question = index;
    }
    Ok(prompts)
}
