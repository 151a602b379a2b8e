//! What a tokenizer and its template are, for those who look before they train.

use policy::{Message, Role};

use super::{ChatTokenizer, id_count};

/// Facts of a tokenizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizerFacts {
    /// One more than the largest id.
    pub ids: usize,
    /// Named special tokens and their text, as `("eos_token", "</s>")`.
    pub special: Vec<(String, String)>,
    /// The texts of the tokens that end a completion; the first one is taught.
    pub end_tokens: Vec<String>,
    /// Facts of the model's chat template; nothing where it has none of its own.
    pub template: Option<TemplateFacts>,
}

/// Facts of a chat template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateFacts {
    /// Why there can be no system turn, where a constitution stands; nothing where there can.
    pub refuses_system: Option<String>,
    /// What it sets before the assistant's words; nothing where it does not even take a user's.
    pub generation_prompt: Option<String>,
}

impl ChatTokenizer {
    /// Facts of this tokenizer; the template is tried out on turns of a few words.
    pub fn facts(&self) -> TokenizerFacts {
        let text = |&id: &u32| self.tokenizer.id_to_token(id);
        TokenizerFacts {
            ids: id_count(&self.tokenizer),
            special: self.template.special().to_vec(),
            end_tokens: self.end_tokens.iter().filter_map(text).collect(),
            template: self.has_template.then(|| self.template_facts()),
        }
    }

    fn template_facts(&self) -> TemplateFacts {
        let system = "Verify each step.";
        let user = Message::new(Role::User, "Hello");
        let turns = [Message::new(Role::System, system), user.clone()];
        let refuses_system = match self.template.render(&turns, true) {
            Ok(text) if text.contains(system) => None,
            Ok(_) => Some("it leaves the system turn out".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        let rendered = |prompted| self.template.render(std::slice::from_ref(&user), prompted);
        let generation_prompt = rendered(true).ok().and_then(|prompted| {
            let unprompted = rendered(false).ok()?;
            Some(prompted.strip_prefix(&unprompted)?.to_owned())
        });
        TemplateFacts {
            refuses_system,
            generation_prompt,
        }
    }
}
