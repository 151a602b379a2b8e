//! A language model behind an OpenAI-compatible server, asked for the rules of a policy.
//!
//! Its key comes from the environment, goes into one header, and is in no message and no file.

use std::time::Duration;

use principle::draft::Proposal;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::StatusCode;

use crate::error::{Failure, InputError};

/// Where the key is read from, as `OpenAI`'s own clients do.
const KEY: &str = "OPENAI_API_KEY";

/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_mins(3);

/// Waits before a request is sent again.
const WAITS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(16),
];

/// Characters of a policy that are sent at once.
const PART_CHARACTERS: usize = 6000;

const INSTRUCTION: &str = "You read a part of a policy whose lines are numbered. List every rule \
in it that can stand alone as a principle for an assistant. For each rule give the number of its \
line, the rule as one sentence close to the policy's words, and one or two negatives: the same \
sentence with as few words changed as possible so that it demands the opposite, skips the \
procedure or settles for fewer sources, within 20 % of the rule's length. Answer with a JSON array \
alone, of objects {\"line\": 12, \"positive\": \"…\", \"negatives\": [\"…\"]}; an empty array \
where there is no rule.";

/// A server and the model to ask there.
pub(super) struct Endpoint {
    agent: Agent,
    url: String,
    model: String,
    authorization: Option<String>,
}

/// What the server proposed, and how many of its entries were no proposals.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    pub(super) proposals: Vec<Proposal>,
    pub(super) unread: usize,
}

/// Why a request failed, and whether it is worth another try.
struct Refusal {
    reason: String,
    may_pass: bool,
}

impl Endpoint {
    /// # Errors
    /// Where the address is no `http` or `https` one, or holds a password.
    pub(super) fn new(url: &str, model: &str) -> Result<Self, InputError> {
        let rest = ["http://", "https://"]
            .iter()
            .find_map(|scheme| url.strip_prefix(scheme));
        let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or("");
        if host.is_empty() || host.contains('@') {
            return Err(InputError::Said(
                "--endpoint: expected an address such as http://localhost:8000/v1, with the key \
                 in OPENAI_API_KEY"
                    .to_owned(),
            ));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .http_status_as_error(false);
        let key = std::env::var(KEY).ok().filter(|key| !key.is_empty());
        Ok(Self {
            agent: config.build().new_agent(),
            url: format!("{}/chat/completions", url.trim_end_matches('/')),
            model: model.to_owned(),
            authorization: key.map(|key| format!("Bearer {key}")),
        })
    }

    /// The rules of a part of a document, as [`parts`] cuts it.
    ///
    /// # Errors
    /// Where the server cannot be reached, refuses, or answers in another form; it was asked again
    /// where that might have helped.
    pub(super) fn propose(&self, part: &str) -> Result<Proposals, Failure> {
        let body = json!({
            "model": self.model,
            "temperature": 0,
            "messages": [
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": part},
            ],
        });
        let body = body.to_string();
        for wait in WAITS {
            match self.ask(&body) {
                Ok(content) => return self.read(&content),
                Err(refusal) if refusal.may_pass => std::thread::sleep(wait),
                Err(refusal) => return Err(self.failure(&refusal.reason)),
            }
        }
        let content = self.ask(&body);
        self.read(&content.map_err(|refusal| self.failure(&refusal.reason))?)
    }

    fn ask(&self, body: &str) -> Result<String, Refusal> {
        let request = self.agent.post(&self.url).content_type("application/json");
        let request = match &self.authorization {
            Some(authorization) => request.header("Authorization", authorization),
            None => request,
        };
        let passing = |error: ureq::Error| Refusal {
            reason: error.to_string(),
            may_pass: true,
        };
        let mut response = request.send(body).map_err(passing)?;
        let status = response.status();
        let text = response.body_mut().read_to_string().map_err(passing)?;
        if !status.is_success() {
            return Err(Refusal {
                reason: format!("{status}: {}", first_line(&text)),
                may_pass: status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
            });
        }
        let answer: Value = serde_json::from_str(&text).unwrap_or_default();
        let content = answer["choices"][0]["message"]["content"].as_str();
        content.map(str::to_owned).ok_or_else(|| Refusal {
            reason: format!(
                "expected choices[0].message.content, found {}",
                first_line(&text)
            ),
            may_pass: false,
        })
    }

    fn read(&self, content: &str) -> Result<Proposals, Failure> {
        let array = content.find('[').zip(content.rfind(']'));
        let array = array.filter(|(start, end)| start < end);
        let entries = array
            .and_then(|(start, end)| serde_json::from_str(&content[start..=end]).ok())
            .ok_or_else(|| {
                let found = first_line(content);
                self.failure(&format!("expected a JSON array of rules, found {found}"))
            })?;
        let entries: Vec<Value> = entries;
        let total = entries.len();
        let read = entries.into_iter().map(serde_json::from_value::<Proposal>);
        let proposals: Vec<Proposal> = read.filter_map(Result::ok).collect();
        let unread = total - proposals.len();
        Ok(Proposals { proposals, unread })
    }

    fn failure(&self, reason: &str) -> Failure {
        Failure::Run(format!("{} ({}): {reason}", self.url, self.model))
    }
}

/// A document in parts whose lines are numbered; a part ends before a heading where it can.
pub(super) fn parts(document: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for (index, line) in document.lines().enumerate() {
        let part = parts.last_mut().expect("one is there");
        let is_full = part.len() > PART_CHARACTERS;
        let is_half = 2 * part.len() > PART_CHARACTERS;
        if is_full || is_half && line.starts_with('#') {
            parts.push(String::new());
        }
        let part = parts.last_mut().expect("one is there");
        let numbered = [&(index + 1).to_string(), ": ", line, "\n"];
        part.extend(numbered);
    }
    parts
}

fn first_line(text: &str) -> String {
    const CHARACTERS: usize = 160;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "nothing".to_owned(),
        None => line,
    }
}
