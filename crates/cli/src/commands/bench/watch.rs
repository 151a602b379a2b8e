//! When tokens are drawn, seen from outside: the progress that sampler and trainer report.

use std::time::{Duration, Instant};

use policy::SampleProgress;
use trainer::Observer;

use crate::terminal::{Bars, Phase, Screen, duration};

/// Watches repetitions: bars on a terminal, a line a repetition, and the times of draws.
pub(super) struct Watch<'a> {
    screen: &'a Screen,
    bars: Bars,
    launch: Instant,
    first_token: Option<Duration>,
    first_round: Option<Duration>,
    round: Option<Round>,
}

/// The draws of one repetition.
#[derive(Clone, Copy)]
struct Round {
    index: usize,
    first: Instant,
    last: Instant,
}

impl<'a> Watch<'a> {
    /// Before the first of `rounds` repetitions; the process began at `launch`.
    pub(super) fn new(screen: &'a Screen, rounds: usize, launch: Instant) -> Self {
        Self {
            screen,
            bars: Bars::new(screen, rounds),
            launch,
            first_token: None,
            first_round: None,
            round: None,
        }
    }

    /// The completions of repetition `index` have one token more each.
    pub(super) fn drawn(&mut self, index: usize, progress: SampleProgress) {
        let now = Instant::now();
        self.first_token.get_or_insert(now - self.launch);
        let same = self.round.filter(|round| round.index == index);
        let first = same.map_or(now, |round| round.first);
        self.round = Some(Round {
            index,
            first,
            last: now,
        });
        let (finished, total) = (progress.finished, progress.total);
        self.bars.phase(Phase::Rollout, index, finished, total);
        self.bars.tokens(progress.tokens);
    }

    /// Repetition `done` is over, after these seconds of its parts; the last is the whole.
    pub(super) fn done(&mut self, done: usize, of: usize, seconds: &[(&str, f64)]) {
        self.first_round.get_or_insert(self.launch.elapsed());
        self.bars.steps(done);
        let parts: Vec<String> = seconds
            .iter()
            .map(|(name, seconds)| format!("{name} {seconds:.3} s"))
            .collect();
        let note = if done == 1 { ", not counted" } else { "" };
        let line = format!("{done}/{of}: {}{note}", parts.join(", "));
        self.screen.line(self.screen.dim(&line));
    }

    /// Seconds from the launch to the first token.
    pub(super) fn first_token(&self) -> Option<f64> {
        self.first_token.map(|time| time.as_secs_f64())
    }

    /// Seconds from the launch to the end of the first repetition.
    pub(super) fn first_round(&self) -> Option<f64> {
        self.first_round.map(|time| time.as_secs_f64())
    }

    /// Seconds from `start` until the first tokens of the latest repetition were drawn.
    pub(super) fn first_draw(&self, start: Instant) -> f64 {
        let first = self.round.map(|round| round.first - start);
        first.unwrap_or_default().as_secs_f64()
    }

    /// Seconds from the first tokens of the latest repetition to its last.
    pub(super) fn decode_seconds(&self) -> f64 {
        let time = self.round.map(|round| round.last - round.first);
        time.unwrap_or_default().as_secs_f64()
    }

    /// Takes the bars away.
    pub(super) fn finish(&self) {
        self.bars.finish();
        let time = duration(self.launch.elapsed());
        let line = format!("after {time}; now the machine's own rates");
        self.screen.line(self.screen.dim(&line));
    }
}

impl Observer for Watch<'_> {
    fn rollout(&mut self, step: usize, progress: SampleProgress) {
        self.drawn(step, progress);
    }

    fn update(&mut self, step: usize, done: usize, passes: usize) {
        self.bars.phase(Phase::Update, step, done, passes);
    }
}
