//! Questions, and the prompts they become under each constitution.

use policy::{Message, Role, TextCodec};

use crate::RolloutError;

/// What a model is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Its number in the data; it names the draws of its completions.
    pub id: usize,
    /// Turns before the question, where the data has some; a system turn can only be the first.
    pub history: Vec<Message>,
    /// The question itself.
    pub text: String,
    /// The expected answer, where the data has one.
    pub answer: Option<String>,
    /// The other columns of the data, for graders.
    pub fields: serde_json::Map<String, serde_json::Value>,
}

/// A question under a constitution, ready for the assistant's turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Index into the questions it was rendered from.
    pub question: usize,
    /// Index into the constitutions.
    pub constitution: usize,
    /// Token ids; not empty.
    pub prefix: Vec<u32>,
}

/// Every question under every constitution, `q · k` prompts with the constitutions of a question
/// side by side.
///
/// The system turn is the constitution's text, an empty line, and the system turn of the data if
/// there is one; there is none where both are empty. The other turns of the data follow. The last
/// turn, the user's, is the question, an empty line, and the instruction if there is one.
///
/// # Errors
/// If the chat template refuses the conversation, or gives a constitution no place in it.
pub fn render(
    codec: &dyn TextCodec,
    questions: &[Question],
    constitutions: &[String],
    instruction: &str,
) -> Result<Vec<Prompt>, RolloutError> {
    let mut prompts = Vec::with_capacity(questions.len() * constitutions.len());
    for (question, asked) in questions.iter().enumerate() {
        let mut turns = asked.history.clone();
        turns.push(Message::new(Role::User, joined(&asked.text, instruction)));
        for (constitution, text) in constitutions.iter().enumerate() {
            let prefix = if text.is_empty() {
                codec.render(&turns)?
            } else {
                render_constitution(codec, text, &turns)?
            };
            assert!(!prefix.is_empty(), "a chat template gave an empty prompt");
            prompts.push(Prompt {
                question,
                constitution,
                prefix,
            });
        }
    }
    Ok(prompts)
}

/// Both texts with an empty line between them, or the first alone where the second is empty.
fn joined(first: &str, second: &str) -> String {
    if second.is_empty() {
        first.to_owned()
    } else {
        format!("{first}\n\n{second}")
    }
}

/// Templates differ in what they do with a system turn: take it, refuse it, or drop it silently.
fn render_constitution(
    codec: &dyn TextCodec,
    constitution: &str,
    turns: &[Message],
) -> Result<Vec<u32>, RolloutError> {
    let (own, others) = match turns {
        [first, others @ ..] if first.role == Role::System => (first.content.as_str(), others),
        _ => ("", turns),
    };
    let system = Message::new(Role::System, joined(constitution, own));
    let turns: Vec<Message> = std::iter::once(system)
        .chain(others.iter().cloned())
        .collect();
    let without = codec.render(others)?;
    match codec.render(&turns) {
        Err(source) => Err(RolloutError::SystemTurnRefused { source }),
        Ok(prefix) if prefix == without => Err(RolloutError::SystemTurnDropped),
        Ok(prefix) => Ok(prefix),
    }
}

#[cfg(test)]
mod tests {
    use policy::TextError;

    use super::*;

    #[derive(PartialEq)]
    enum System {
        Taken,
        Refused,
        Dropped,
    }

    /// One id a byte, and a template that treats the system turn in one of the three ways.
    struct Bytes(System);

    impl TextCodec for Bytes {
        fn render(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
            let mut text = String::new();
            for message in messages {
                let is_system = message.role == Role::System;
                if is_system && self.0 == System::Refused {
                    let reason = "System role not supported".to_owned();
                    return Err(TextError::Template { reason });
                }
                if !is_system || self.0 == System::Taken {
                    text.extend(["[", message.role.name(), "]", &message.content]);
                }
            }
            self.encode(&text)
        }

        fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
            Ok(text.bytes().map(u32::from).collect())
        }

        fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
            let piece = |&id: &u32| char::from_u32(id).map(String::from).unwrap_or_default();
            tokens_t.iter().map(piece).collect()
        }

        fn end_tokens(&self) -> &[u32] {
            &[]
        }
    }

    fn prompts(system: System, constitutions: &[&str]) -> Result<Vec<Prompt>, RolloutError> {
        let question = |id, text: &str| Question {
            id,
            history: Vec::new(),
            text: text.to_owned(),
            answer: None,
            fields: serde_json::Map::new(),
        };
        let questions = [question(7, "Why?"), question(3, "How?")];
        let constitutions: Vec<String> = constitutions.iter().map(|&c| c.to_owned()).collect();
        render(&Bytes(system), &questions, &constitutions, "Use tags.")
    }

    #[test]
    fn each_question_stands_under_each_constitution() {
        let prompts = prompts(System::Taken, &["Verify.", ""]).expect("a template that takes all");
        let texts: Vec<_> = prompts
            .iter()
            .map(|p| {
                let text = Bytes(System::Taken).pieces(&p.prefix).concat();
                (p.question, p.constitution, text)
            })
            .collect();
        let expected = [
            (0, 0, "[system]Verify.[user]Why?\n\nUse tags."),
            (0, 1, "[user]Why?\n\nUse tags."),
            (1, 0, "[system]Verify.[user]How?\n\nUse tags."),
            (1, 1, "[user]How?\n\nUse tags."),
        ];
        assert_eq!(texts, expected.map(|(q, c, text)| (q, c, text.to_owned())));
    }

    #[test]
    fn turns_of_the_data_stand_before_the_question_and_their_system_turn_after_the_constitution() {
        let turn = |role, text: &str| Message::new(role, text);
        let question = Question {
            id: 0,
            history: vec![
                turn(Role::System, "Be brief."),
                turn(Role::User, "Hi."),
                turn(Role::Assistant, "Hello."),
            ],
            text: "Why?".to_owned(),
            answer: None,
            fields: serde_json::Map::new(),
        };
        let codec = Bytes(System::Taken);
        let constitutions = ["Verify.".to_owned(), String::new()];
        let prompts = render(&codec, &[question], &constitutions, "").expect("a template");
        let text = |index: usize| codec.pieces(&prompts[index].prefix).concat();
        let rest = "[user]Hi.[assistant]Hello.[user]Why?";
        assert_eq!(text(0), format!("[system]Verify.\n\nBe brief.{rest}"));
        assert_eq!(text(1), format!("[system]Be brief.{rest}"));
    }

    #[test]
    fn a_template_without_a_place_for_the_constitution_is_an_error() {
        let refused = prompts(System::Refused, &["Verify."]).expect_err("refused");
        assert!(
            matches!(refused, RolloutError::SystemTurnRefused { .. }),
            "{refused}"
        );
        let dropped = prompts(System::Dropped, &["Verify."]).expect_err("dropped");
        assert!(
            matches!(dropped, RolloutError::SystemTurnDropped),
            "{dropped}"
        );
        assert_eq!(
            prompts(System::Refused, &[""]).map(|p| p.len()).ok(),
            Some(2)
        );
    }
}
