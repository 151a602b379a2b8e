//! Live bars: one for the run, one for what it is doing now. Without a terminal they are nothing.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::Screen;

const RUN: &str = "{prefix:<12.dim} {bar:32.cyan/dim} {pos}/{len}{msg:.dim}";
const PHASE: &str = "{prefix:<12.dim} {bar:32.cyan/dim} {pos}/{len}{msg:.dim}";
/// Thin, so that two of them stay calm.
pub(super) const CHARACTERS: &str = "━╸─";

/// How often bars are drawn where nothing changes.
const TICK: Duration = Duration::from_millis(200);

/// The two bars of a run.
#[derive(Debug)]
pub(crate) struct Bars {
    run: ProgressBar,
    phase: ProgressBar,
    now: Option<(Phase, usize)>,
    /// When the first step of this process began.
    started: Instant,
    /// Steps that were made before.
    before: usize,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Completions are drawn.
    Rollout,
    /// Gradients are computed.
    Update,
    /// Completions are drawn and scored outside training.
    Evaluation,
}

impl Bars {
    /// Bars for `steps` steps.
    pub(crate) fn new(screen: &Screen, steps: usize) -> Self {
        let bar = |template: &str, length| {
            let Some(live) = screen.live() else {
                return ProgressBar::hidden();
            };
            let style = ProgressStyle::with_template(template).expect("the template is ours");
            let bar = ProgressBar::new(length).with_style(style.progress_chars(CHARACTERS));
            let bar = live.add(bar);
            bar.enable_steady_tick(TICK);
            bar
        };
        let run = bar(RUN, steps as u64).with_prefix("step");
        Self {
            run,
            phase: bar(PHASE, 0),
            now: None,
            started: Instant::now(),
            before: 0,
        }
    }

    /// As they are, but that `before` of the steps are made already.
    pub(crate) fn after(mut self, before: usize) -> Self {
        self.before = before;
        self.run.set_position(before as u64);
        self
    }

    /// `done` of `total` of a phase; `round` tells one rollout from the next.
    pub(crate) fn phase(&mut self, phase: Phase, round: usize, done: usize, total: usize) {
        if self.now != Some((phase, round)) {
            if !matches!(self.now, Some((Phase::Rollout | Phase::Update, _))) {
                self.started = Instant::now();
            }
            self.now = Some((phase, round));
            self.phase.reset();
            self.phase.set_message("");
        }
        self.phase.set_length(total as u64);
        self.phase.set_position(done as u64);
        // Last, so that the figures of another phase never stand beside the name.
        self.phase.set_prefix(phase.name());
    }

    /// Tokens of the present phase so far: shows their rate and the time left.
    pub(crate) fn tokens(&self, tokens: usize) {
        let elapsed = self.phase.elapsed().as_secs_f64();
        if elapsed > 0.0 {
            self.rate(tokens as f64 / elapsed);
        }
    }

    /// Tokens per second of the present phase: shows them and the time left.
    pub(crate) fn rate(&self, tokens_per_second: f64) {
        let rate = super::grouped(tokens_per_second as usize);
        let left = match self.phase.position() {
            0 => String::new(),
            _ => format!(" · {} left", super::duration(self.phase.eta())),
        };
        self.phase.set_message(format!(" · {rate} tokens/s{left}"));
    }

    /// `done` steps are finished.
    pub(crate) fn steps(&self, done: usize) {
        self.run.set_position(done as u64);
        let made = done.saturating_sub(self.before).max(1);
        let each = self.started.elapsed().as_secs_f64() / made as f64;
        let left = self.run.length().unwrap_or(0).saturating_sub(done as u64);
        let left = super::duration(Duration::from_secs_f64(left as f64 * each));
        self.run.set_message(format!(" · {left} left"));
    }

    /// Takes the bars away.
    pub(crate) fn finish(&self) {
        self.phase.finish_and_clear();
        self.run.finish_and_clear();
    }
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Update => "update",
            Self::Evaluation => "evaluation",
        }
    }
}
