//! The text of the tiny policy: a token a byte.

use policy::{Message, TextCodec, TextError};

/// Bytes as tokens, spread over a vocabulary that the head walks in several chunks.
#[derive(Clone, Copy, Debug)]
pub struct Letters;

impl Letters {
    /// Ids are below this; most of them are no byte's.
    pub const VOCABULARY: usize = 1100;
    /// The id that ends a completion.
    pub const END: u32 = 1090;
    /// A byte's id is a multiple of this, and one more.
    const SPACING: u32 = 4;
}

impl TextCodec for Letters {
    /// A turn's first letters: enough to tell turns apart, and little to compute.
    fn render(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let turn = |message: &Message| -> String {
            let letters = message.content.chars().take(16);
            letters.chain(['\n']).collect()
        };
        self.encode(&messages.iter().map(turn).collect::<String>())
    }

    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let id = |byte: u8| u32::from(byte) * Self::SPACING + 1;
        Ok(text.bytes().map(id).collect())
    }

    fn pieces(&self, tokens_t: &[u32]) -> Vec<String> {
        let piece = |&token: &u32| {
            let byte = u8::try_from(token / Self::SPACING)
                .ok()
                .filter(u8::is_ascii);
            byte.map(|byte| char::from(byte).to_string())
                .unwrap_or_default()
        };
        tokens_t.iter().map(piece).collect()
    }

    fn end_tokens(&self) -> &[u32] {
        &[Self::END]
    }
}
