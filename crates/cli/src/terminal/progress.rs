//! A run as it goes: bars for what it does now, a line for what it did.

use policy::SampleProgress;
use record::StepRecord;
use trainer::Observer;

use super::{Bars, Phase, Screen, percent, short};

/// Supervised runs have many short steps; so many lines tell enough of them.
const SFT_LINES: usize = 50;

/// Watches a run from the screen.
#[derive(Debug)]
pub(crate) struct Progress {
    screen: Screen,
    bars: Bars,
    steps: usize,
    every: usize,
    columns: &'static [Column],
    evaluations: usize,
    has_head: bool,
    latest: Option<StepRecord>,
}

/// A figure of a step.
#[derive(Debug)]
struct Column {
    head: &'static str,
    metric: &'static str,
    show: fn(Option<f64>) -> String,
}

impl Column {
    /// Text of the column to the right of it; a line of all fits into 80 characters.
    fn cell(&self, text: &str) -> String {
        let width = self.head.len().max(9) + 1;
        format!("{text:>width$}")
    }
}

const TRAIN: &[Column] = &[
    Column {
        head: "reward",
        metric: "reward",
        show: short,
    },
    Column {
        head: "format",
        metric: "format_valid",
        show: percent,
    },
    Column {
        head: "bound, nats",
        metric: "sami/bound_constitutions",
        show: short,
    },
    Column {
        head: "S_ε",
        metric: "transport/s_epsilon",
        show: short,
    },
    Column {
        head: "loss",
        metric: "loss",
        show: short,
    },
    Column {
        head: "grad_norm",
        metric: "grad_norm",
        show: short,
    },
    Column {
        head: "s/step",
        metric: "step_time",
        show: short,
    },
];

const SFT: &[Column] = &[
    Column {
        head: "loss",
        metric: "loss",
        show: short,
    },
    Column {
        head: "grad_norm",
        metric: "grad_norm",
        show: short,
    },
    Column {
        head: "rate",
        metric: "learning_rate",
        show: short,
    },
    Column {
        head: "s/step",
        metric: "step_time",
        show: short,
    },
];

impl Progress {
    /// Of `enigma train`, from step `done` on: every step has its line.
    pub(crate) fn train(screen: &Screen, steps: usize, done: usize) -> Self {
        Self::new(screen, [steps, done], 1, TRAIN)
    }

    /// Of `enigma sft`, from step `done` on: lines are spread over the run.
    pub(crate) fn sft(screen: &Screen, steps: usize, done: usize) -> Self {
        Self::new(screen, [steps, done], steps.div_ceil(SFT_LINES), SFT)
    }

    fn new(
        screen: &Screen,
        [steps, done]: [usize; 2],
        every: usize,
        columns: &'static [Column],
    ) -> Self {
        Self {
            screen: screen.clone(),
            bars: Bars::new(screen, steps).after(done),
            steps,
            every,
            columns,
            evaluations: 0,
            has_head: false,
            latest: None,
        }
    }

    /// Says that the draws that follow are an evaluation of their own.
    pub(crate) fn begin_evaluation(&mut self) {
        self.evaluations += 1;
    }

    /// A figure of the latest step.
    pub(crate) fn latest(&self, metric: &str) -> Option<f64> {
        self.latest.as_ref()?.metrics.get(metric).copied()
    }

    /// Steps of the run.
    pub(crate) fn steps(&self) -> usize {
        self.steps
    }

    /// Takes the bars away.
    pub(crate) fn finish(&self) {
        self.bars.finish();
    }

    fn draws(&mut self, phase: Phase, round: usize, progress: SampleProgress) {
        self.bars
            .phase(phase, round, progress.finished, progress.total);
        self.bars.tokens(progress.tokens);
    }
}

impl Observer for Progress {
    fn rollout(&mut self, step: usize, progress: SampleProgress) {
        self.draws(Phase::Rollout, step, progress);
    }

    fn update(&mut self, step: usize, done: usize, passes: usize) {
        self.bars.phase(Phase::Update, step, done, passes);
        // A pass says nothing of itself until it is over; the step before was of the same kind.
        if let Some(rate) = self.latest("update_tokens_per_second") {
            self.bars.rate(rate);
        }
    }

    fn step(&mut self, record: &StepRecord) {
        self.bars.steps(record.step);
        self.latest = Some(record.clone());
        if !record.step.is_multiple_of(self.every) && record.step != self.steps {
            return;
        }
        let width = 2 * self.steps.to_string().len() + 1;
        if !self.has_head {
            self.has_head = true;
            let heads = self.columns.iter().map(|column| column.cell(column.head));
            let line = format!("{:>width$}{}", "step", heads.collect::<String>());
            self.screen.line(self.screen.dim(&line));
        }
        let step = format!("{}/{}", record.step, self.steps);
        let figures = self.columns.iter().map(|column| {
            let figure = record.metrics.get(column.metric).copied();
            column.cell(&(column.show)(figure))
        });
        self.screen
            .line(format!("{step:>width$}{}", figures.collect::<String>()));
        let missing = record.metrics.iter().filter_map(|(name, count)| {
            let (grader, reason) = name.strip_prefix("ungraded/")?.split_once('/')?;
            (reason != "null").then(|| format!("{grader} {count} {reason}"))
        });
        let missing: Vec<String> = missing.collect();
        if !missing.is_empty() {
            let line = format!("{:>width$} ungraded: {}", "", missing.join(", "));
            self.screen.line(self.screen.dim(&line));
        }
    }

    fn evaluation(&mut self, progress: SampleProgress) {
        self.draws(Phase::Evaluation, self.evaluations, progress);
    }
}
