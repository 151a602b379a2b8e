//! The border between text and token ids. Only prompts and given completions are ever encoded;
//! what was sampled is decoded for graders and readers, and the ids stay the truth.

/// Who speaks in a turn of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sets the frame: here, the constitution.
    System,
    /// Asks.
    User,
    /// Answers.
    Assistant,
}

/// A turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Turns text into token ids and back.
pub trait TextCodec {
    /// The ids of a conversation under the chat template, ready for the assistant's turn.
    ///
    /// # Errors
    /// Where the template refuses the conversation.
    fn render(&self, messages: &[Message]) -> Result<Vec<u32>, TextError>;

    /// The ids of raw text; nothing is added before or after.
    ///
    /// # Errors
    /// Where the tokenizer cannot express the text.
    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError>;

    /// For each id, the text it adds; joined, they are the decoded text without special tokens. An
    /// id inside a character of several bytes adds nothing until the character is whole.
    fn pieces(&self, tokens_t: &[u32]) -> Vec<String>;

    /// The ids that end a completion, at least one; the first is the one that a warm start teaches.
    fn end_tokens(&self) -> &[u32];
}

/// Why text could not become ids.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The chat template raised an error or does not parse.
    #[error("the chat template refuses the conversation: {reason}")]
    Template {
        /// The template's own words.
        reason: String,
    },
    /// The tokenizer failed.
    #[error("the tokenizer cannot encode the text: {reason}")]
    Encode {
        /// The tokenizer's own words.
        reason: String,
    },
}

impl Message {
    /// A turn.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

impl Role {
    /// The name that chat templates know.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}
