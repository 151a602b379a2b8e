//! A prompt as TRL's data sets have it: plain text, or the messages of a conversation.

use policy::{Message, Role, TextCodec, TextError};
use serde_json::Value;

/// What comes before a completion.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Conversation {
    /// Text that is encoded as it is; nothing is added.
    Raw(String),
    /// Messages for the chat template.
    Messages(Vec<Message>),
}

impl Conversation {
    /// Reads `"text"` or `[{"role": …, "content": …}, …]`.
    ///
    /// # Errors
    /// What was expected and found instead.
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        match value {
            Value::String(text) => Ok(Self::Raw(text.clone())),
            Value::Array(turns) if !turns.is_empty() => {
                let messages: Result<_, _> = turns.iter().map(message).collect();
                messages.map(Self::Messages)
            }
            _ => Err("expected text or a list of messages".to_owned()),
        }
    }

    /// The same in the user's turn, under a constitution where there is one; messages stay as they
    /// are.
    pub(crate) fn in_chat(self, constitution: Option<&str>) -> Self {
        match self {
            Self::Raw(text) => {
                let system = constitution.map(|text| Message::new(Role::System, text));
                Self::Messages(
                    system
                        .into_iter()
                        .chain([Message::new(Role::User, text)])
                        .collect(),
                )
            }
            Self::Messages(messages) => Self::Messages(messages),
        }
    }

    /// Token ids, ready for the completion.
    ///
    /// # Errors
    /// Where the tokenizer or the chat template refuses.
    pub(crate) fn encode(&self, codec: &dyn TextCodec) -> Result<Vec<u32>, TextError> {
        match self {
            Self::Raw(text) => codec.encode(text),
            Self::Messages(messages) => codec.render(messages),
        }
    }
}

/// The text of a completion: text itself, or one message of the assistant.
///
/// # Errors
/// What was expected and found instead.
pub(crate) fn completion(value: &Value) -> Result<String, String> {
    let text = match Conversation::parse(value)? {
        Conversation::Raw(text) => text,
        Conversation::Messages(mut messages) => match messages.pop() {
            Some(last) if last.role == Role::Assistant && messages.is_empty() => last.content,
            _ => return Err("expected text or one message of the assistant".to_owned()),
        },
    };
    if text.is_empty() {
        Err("expected text, found none".to_owned())
    } else {
        Ok(text)
    }
}

fn message(value: &Value) -> Result<Message, String> {
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let (Some(role), Some(content)) = (text("role"), text("content")) else {
        return Err("a message needs the texts `role` and `content`".to_owned());
    };
    let roles = [Role::System, Role::User, Role::Assistant];
    match roles.into_iter().find(|known| known.name() == role) {
        Some(role) => Ok(Message::new(role, content)),
        None => Err(format!("role `{role}`: expected system, user or assistant")),
    }
}
