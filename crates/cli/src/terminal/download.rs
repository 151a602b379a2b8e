//! A bar of bytes; without a terminal it is nothing.

use hf_hub::api::Progress;
use indicatif::{ProgressBar, ProgressStyle};

use super::Screen;
use super::bars::CHARACTERS;

const TEMPLATE: &str =
    "{prefix:<28.dim} {bar:24.cyan/dim} {bytes}/{total_bytes} · {bytes_per_sec} · {eta} left";

/// One file on its way from the hub.
pub(crate) struct Download(ProgressBar);

impl Download {
    /// A bar for `file`.
    pub(crate) fn new(screen: &Screen, file: &str) -> Self {
        let Some(live) = screen.live() else {
            return Self(ProgressBar::hidden());
        };
        let style = ProgressStyle::with_template(TEMPLATE).expect("the template is ours");
        let bar = ProgressBar::new(0).with_style(style.progress_chars(CHARACTERS));
        Self(live.add(bar.with_prefix(file.to_owned())))
    }
}

impl Progress for Download {
    fn init(&mut self, size: usize, _file: &str) {
        self.0.set_length(size as u64);
        self.0.set_position(0);
    }

    fn update(&mut self, size: usize) {
        self.0.inc(size as u64);
    }

    fn finish(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
