//! A document as passages: headings, list items and paragraphs, as a reader sees them.
//!
//! Code, tables, quotations and raw HTML are not read: there, policies show examples, not rules. A
//! link is its text; a link without text of its own (`[?](#other)`) makes its sentence one that
//! leans on another place, which [`LINK`] marks. Text in parentheses is an aside and left out.

use std::ops::Range;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::Kind;

/// Stands for a link whose text says nothing.
pub(crate) const LINK: char = '\u{fffc}';

/// One block of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    /// For each piece of the text, where it begins in the text and in the document.
    pieces: Vec<(usize, usize)>,
}

impl Passage {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            text: String::new(),
            pieces: Vec::new(),
        }
    }

    fn push(&mut self, text: &str, at: usize) {
        self.pieces.push((self.text.len(), at));
        self.text.push_str(text);
    }

    /// The document's offset of a byte of the text.
    pub(crate) fn source(&self, at: usize) -> usize {
        let next = self.pieces.partition_point(|&(start, _)| start <= at);
        let (start, source) = self.pieces[next.saturating_sub(1)];
        source + (at - start)
    }
}

/// The passages of a Markdown or plain text, in its order.
pub(crate) fn read(document: &str) -> Vec<Passage> {
    let options = Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH;
    let mut reader = Reader::default();
    for (event, range) in Parser::new_ext(document, options).into_offset_iter() {
        reader.event(&event, &range);
    }
    reader.passages
}

#[derive(Default)]
struct Reader {
    passages: Vec<Passage>,
    open: Option<Passage>,
    items: usize,
    /// Depth inside blocks that are not read.
    unread: usize,
}

impl Reader {
    fn event(&mut self, event: &Event, range: &Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(*tag),
            _ if self.unread > 0 => {}
            Event::Text(text) => self.text(text, range.start),
            Event::Code(text) => self.text(text, range.start + 1),
            Event::SoftBreak | Event::HardBreak => self.text(" ", range.start),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag) {
        let paragraph = if self.items > 0 {
            Kind::ListItem
        } else {
            Kind::Sentence
        };
        match tag {
            Tag::CodeBlock(_)
            | Tag::BlockQuote(_)
            | Tag::Table(_)
            | Tag::HtmlBlock
            | Tag::FootnoteDefinition(_)
            | Tag::MetadataBlock(_) => {
                self.close();
                self.unread += 1;
            }
            Tag::Heading { .. } => self.begin(Kind::Heading),
            Tag::Paragraph => self.begin(paragraph),
            Tag::Item => {
                self.items += 1;
                self.begin(Kind::ListItem);
            }
            Tag::List(_) => self.close(),
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::CodeBlock
            | TagEnd::BlockQuote(_)
            | TagEnd::Table
            | TagEnd::HtmlBlock
            | TagEnd::FootnoteDefinition
            | TagEnd::MetadataBlock(_) => self.unread -= 1,
            TagEnd::Heading(_) | TagEnd::Paragraph => self.close(),
            TagEnd::Item => {
                self.close();
                self.items -= 1;
            }
            _ => {}
        }
    }

    fn begin(&mut self, kind: Kind) {
        self.close();
        self.open = Some(Passage::new(kind));
    }

    fn close(&mut self) {
        let passage = self.open.take();
        self.passages
            .extend(passage.filter(|passage| !passage.text.trim().is_empty()));
    }

    fn text(&mut self, text: &str, at: usize) {
        let Some(passage) = &mut self.open else {
            return;
        };
        if text.trim() == "?" {
            passage.push(LINK.encode_utf8(&mut [0; 4]), at);
        } else {
            passage.push(text, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(document: &str) -> Vec<(Kind, String)> {
        let passages = read(document).into_iter();
        passages
            .map(|passage| (passage.kind, passage.text))
            .collect()
    }

    #[test]
    fn headings_items_and_paragraphs_are_read_and_examples_are_not() {
        let document = "# Be kind {#kind}\n\nOne *should* be [kind](x).\nAlways.\n\n\
                        - First\n- Second\n    - Nested\n\n~~~\nYou must not read me.\n~~~\n\n\
                        > You should not read me.\n\n| a | b |\n|---|---|\n| must | not |\n";
        let expected = [
            (Kind::Heading, "Be kind"),
            (Kind::Sentence, "One should be kind. Always."),
            (Kind::ListItem, "First"),
            (Kind::ListItem, "Second"),
            (Kind::ListItem, "Nested"),
        ];
        assert_eq!(
            texts(document),
            expected.map(|(kind, text)| (kind, text.to_owned()))
        );
    }

    #[test]
    fn a_byte_of_a_passage_is_found_again_in_the_document() {
        let document = "Intro.\n\nSee [the *rule*](x) and `code`, then stop.\n";
        let passage = &read(document)[1];
        assert_eq!(passage.text, "See the rule and code, then stop.");
        for word in ["See", "the", "rule", "code", "stop"] {
            let at = passage.text.find(word).expect("in the text");
            assert!(
                document[passage.source(at)..].starts_with(word),
                "{word} at {}",
                passage.source(at)
            );
        }
    }

    #[test]
    fn a_link_without_words_is_marked() {
        assert_eq!(
            texts("Do as [?](#other) says.\n")[0].1,
            format!("Do as {LINK} says.")
        );
    }
}
