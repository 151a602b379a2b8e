//! Chat templates: Jinja as transformers sets it up.
//!
//! # Source
//! transformers 5, `utils/chat_template_utils.py`: blocks trimmed, `tojson` without HTML escapes,
//! `raise_exception`, `strftime_now`, loop controls, and the `generation` tag.

use std::io;

use guard::guarded;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, StringInput, Value, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, filters};
use minijinja_contrib::pycompat::unknown_method_callback;
use policy::{Message, TextError};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::date;
use crate::ModelError;

const NAME: &str = "chat";
/// Parentheses inside each other, at most: minijinja 3 counts them in expressions, but not on the
/// left of an assignment, where enough of them overflow the stack.
const NESTED_MAX: usize = 100;
/// Columns that a filter may add to a line, at most, and digits of a number: minijinja 3 asks for
/// the memory of any width, and where there is none the process ends.
const WIDTH_MAX: usize = 1024;

/// A template that parsed, with the special tokens it may name.
#[derive(Debug)]
pub(super) struct ChatTemplate {
    environment: Environment<'static>,
    special: Vec<(String, String)>,
}

impl ChatTemplate {
    pub(super) fn compile(
        source: &str,
        special: Vec<(String, String)>,
    ) -> Result<Self, ModelError> {
        let nested = nested(source);
        if nested > NESTED_MAX {
            let reason =
                format!("{nested} parentheses inside each other, expected at most {NESTED_MAX}");
            return Err(ModelError::Template { reason });
        }
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build();
        environment.set_syntax(syntax.expect("the usual delimiters"));
        environment.set_unknown_method_callback(|state, value, method, arguments| {
            if let Some(text) = value.as_str().filter(|_| method == "format") {
                require_narrow_fields(text)?;
            }
            unknown_method_callback(state, value, method, arguments)
        });
        environment.add_filter("tojson", to_json);
        environment.add_filter("indent", indent);
        environment.add_filter("format", format_values);
        environment.add_function("raise_exception", |message: String| {
            Err::<Value, _>(Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |pattern: String| {
            date::format(&pattern).map_err(|text| Error::new(ErrorKind::InvalidOperation, text))
        });
        // minijinja 3.0 counts lines in 16 bits, and overflows where overflows are checked.
        let text = without_generation_tags(source);
        let added = guarded(|| environment.add_template_owned(NAME, text));
        let added = added.and_then(|result| result.map_err(|error| words(&error)));
        added.map_err(|reason| ModelError::Template { reason })?;
        Ok(Self {
            environment,
            special,
        })
    }

    /// The special tokens it may name.
    pub(super) fn special(&self) -> &[(String, String)] {
        &self.special
    }

    /// The conversation as text; with `add_generation_prompt`, ready for the assistant's turn.
    pub(super) fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, TextError> {
        let turn = |message: &Message| {
            let content = message.content.as_str();
            Value::from_pairs([("role", message.role.name()), ("content", content)])
        };
        let turns: Vec<Value> = messages.iter().map(turn).collect();
        let special = self.special.iter();
        let special = special.map(|(name, text)| (name.as_str(), Value::from(text.as_str())));
        let context = Value::from_pairs(special.chain([
            ("messages", Value::from(turns)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
        ]));
        // A template can ask minijinja for what nobody tried: where it panics, that is its refusal.
        let rendered = guarded(|| self.environment.get_template(NAME)?.render(context));
        let rendered = rendered.and_then(|result| result.map_err(|error| words(&error)));
        rendered.map_err(|reason| TextError::Template { reason })
    }
}

/// The most parentheses that are open at once in a tag, outside its strings.
fn nested(source: &str) -> usize {
    let tags = source.split("{%").skip(1);
    tags.map(|tag| {
        let (mut open, mut most, mut quote, mut escaped) = (0_usize, 0, None, false);
        for c in tag.chars() {
            match (quote, c) {
                (Some(_), _) if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(end), c) if c == end => quote = None,
                (None, '"' | '\'') => quote = Some(c),
                (None, '(') => open += 1,
                (None, ')') => open = open.saturating_sub(1),
                (None, '%') if open == 0 => break,
                _ => {}
            }
            most = most.max(open);
        }
        most
    })
    .max()
    .unwrap_or(0)
}

/// The tags that mark the assistant's words for training, as blocks that change nothing.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let (before, tag) = (&rest[..start], &rest[start..start + length + 2]);
        let name = tag.trim_matches(|c: char| "{}%+-".contains(c) || c.is_whitespace());
        text.push_str(before);
        match name {
            "generation" => text.push_str(&tag.replace(name, "if true")),
            "endgeneration" => text.push_str(&tag.replace(name, "endif")),
            _ => text.push_str(tag),
        }
        rest = &rest[start + length + 2..];
    }
    text + rest
}

/// JSON as Python's `json.dumps` writes it, without escaping what is not ASCII.
#[expect(
    clippy::needless_pass_by_value,
    reason = "the engine hands options over by value"
)]
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    options.assert_all_used()?;
    require_narrow("indent", indent.unwrap_or(0))?;
    let mut bytes = Vec::new();
    let written = match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)),
        Some(width) => {
            let indent = vec![b' '; width];
            let pretty = PrettyFormatter::with_indent(&indent);
            value.serialize(&mut Serializer::with_formatter(&mut bytes, pretty))
        }
    };
    let failure = |text: String| Error::new(ErrorKind::BadSerialization, text);
    written.map_err(|error| failure(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failure(error.to_string()))
}

/// minijinja's filter, at widths that there is memory for.
fn indent(
    text: StringInput<'_>,
    width: Option<usize>,
    first: Option<bool>,
    blank: Option<bool>,
    options: Kwargs,
) -> Result<Value, Error> {
    let named = options.get::<Option<usize>>("width")?;
    let width = width.or(named).unwrap_or(4);
    require_narrow("indent", width)?;
    filters::indent(text, Some(width), first, blank, options)
}

/// minijinja's filter, at widths that there is memory for.
fn format_values(
    state: &mut State,
    text: &Value,
    values: Rest<ValueOrKwargs>,
) -> Result<Value, Error> {
    require_narrow_fields(text.as_str().unwrap_or_default())?;
    filters::format(state, text, values)
}

/// Refuses numbers that are too large in `%8.3f` and in `{:8.3f}`.
fn require_narrow_fields(text: &str) -> Result<(), Error> {
    let is_of_field = |c: char| c.is_ascii_digit() || "#-+ .,_<>=^".contains(c);
    let text = text.replace("%%", "");
    let printed = text.split('%').skip(1).map(|rest| {
        let named = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let field = named.map_or(rest, |(_, field)| field);
        field.split(|c| !is_of_field(c)).next()
    });
    let braced = text.split('{').skip(1).map(|rest| rest.split('}').next());
    let numbers = printed
        .chain(braced)
        .flatten()
        .flat_map(|field| field.split(|c: char| !c.is_ascii_digit()));
    for number in numbers.filter(|digits| !digits.is_empty()) {
        require_narrow("a width to format", number.parse().unwrap_or(usize::MAX))?;
    }
    Ok(())
}

fn require_narrow(name: &str, width: usize) -> Result<(), Error> {
    if width <= WIDTH_MAX {
        return Ok(());
    }
    let mistake = format!("{name} is {width}, expected at most {WIDTH_MAX}");
    Err(Error::new(ErrorKind::InvalidOperation, mistake))
}

/// A space after each comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// What an error says, without the place in this program.
fn words(error: &Error) -> String {
    let line = error
        .line()
        .map_or(String::new(), |line| format!(" (line {line})"));
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    detail + &line
}
