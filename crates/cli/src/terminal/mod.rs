//! What a person sees, all of it on standard error: live bars and colours on a terminal, plain
//! lines elsewhere. Results for scripts go to standard output, through [`output`].

mod bars;
mod download;
mod number;
mod progress;
mod table;

use std::io::Write;

use console::Style;
use indicatif::MultiProgress;

pub(crate) use bars::{Bars, Phase};
pub(crate) use download::Download;
pub(crate) use number::{duration, grouped, percent, short};
pub(crate) use progress::Progress;
pub(crate) use table::Table;

/// Standard error, with or without life.
#[derive(Clone, Debug)]
pub(crate) struct Screen {
    live: Option<MultiProgress>,
    colours: bool,
    is_mute: bool,
}

impl Screen {
    /// `plain`, `NO_COLOR`, or standard error not being a terminal turn life off.
    pub(crate) fn new(plain: bool) -> Self {
        let is_terminal = console::Term::stderr().is_term();
        let live = (is_terminal && !plain).then(MultiProgress::new);
        let colours = live.is_some() && console::colors_enabled_stderr();
        Self {
            live,
            colours,
            is_mute: false,
        }
    }

    /// The screen of a rank: of several, the first alone says anything.
    pub(crate) fn of_rank(&self, rank: usize) -> Self {
        let is_mute = rank > 0;
        Self {
            live: self.live.clone().filter(|_| !is_mute),
            colours: self.colours && !is_mute,
            is_mute,
        }
    }

    /// The bars' home, where there are any.
    pub(crate) fn live(&self) -> Option<&MultiProgress> {
        self.live.as_ref()
    }

    /// Characters of a line, where there is life.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.live.as_ref()?;
        let size = console::Term::stderr().size_checked();
        size.map(|(_, columns)| usize::from(columns))
    }

    /// One line, above any bars. A closed standard error is nobody's loss.
    pub(crate) fn line(&self, text: impl AsRef<str>) {
        if self.is_mute {
            return;
        }
        let text = text.as_ref();
        let shown = self.live.as_ref().map(|bars| bars.println(text));
        if !matches!(shown, Some(Ok(()))) {
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    }

    /// Text of less weight.
    pub(crate) fn dim(&self, text: &str) -> String {
        self.styled(Style::new().dim(), text)
    }

    /// A heading.
    pub(crate) fn bold(&self, text: &str) -> String {
        self.styled(Style::new().bold(), text)
    }

    /// A number that matters.
    pub(crate) fn accent(&self, text: &str) -> String {
        self.styled(Style::new().cyan(), text)
    }

    /// The word `error`.
    pub(crate) fn red(&self, text: &str) -> String {
        self.styled(Style::new().red().bold(), text)
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.colours {
            style.for_stderr().apply_to(text).to_string()
        } else {
            text.to_owned()
        }
    }
}

/// One line on standard output.
///
/// # Errors
/// Where its reader is gone.
pub(crate) fn output(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
